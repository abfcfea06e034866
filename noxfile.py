"""The project's tasks: `nox` alone runs what must be green, `nox -s fast` answers in a minute, `nox --list` shows all.

Packages are held at the versions of `.ci/constraints.txt` if `CI` is set; otherwise the newest that fit are used.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path
from typing import NoReturn

import nox

ROOT = Path(__file__).parent
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = [
    match[1]
    for classifier in PROJECT["classifiers"]
    if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier))
]
FAST = ("-q", "-n", "auto", "-m", "not slow")
DAYS = (400, -400)
"""How far the session `clock` moves the system clock."""
MUTANTS = {
    "policy": (["refundry/refund/policy/*"], ["tests/core/refund", "tests/core/gateway"]),
    "state": (["refundry/refund/*.py"], ["tests/core/refund"]),
    "gateway": (["refundry/gateway/*", "refundry/outbound/*"], ["tests/core/gateway", "tests/core/outbound"]),
    "journal": (["refundry/journal/*"], ["tests/core/journal", "tests/core/audit"]),
    "reading": (["refundry/provider/*"], ["tests/core/provider", "tests/plugins"]),
    "alipay": (["refundry_alipay/*.py"], ["tests/plugins/alipay"]),
    "alphapay": (["refundry_alphapay/*.py"], ["tests/plugins/alphapay"]),
    "antom": (["refundry_antom/*.py"], ["tests/plugins/antom"]),
}
"""The parts of the session `mutants`: where mistakes are planted, and the tests that should notice them."""
IS_MOVED = "import sys, time; sys.exit(abs(time.time() - float(sys.argv[2]) - 86400 * float(sys.argv[1])) > 60)"


def _runs(command: str) -> bool:
    # Executed, not only located: a version manager leaves commands on the path that run nothing.
    return subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0


def _find(python: str) -> bool:
    """Find a Python on the path or under pyenv; put the latter on the path, where nox looks for it."""
    command = shutil.which(f"python{python}")
    if command is not None and _runs(command):
        return True
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for command in map(str, pyenv.glob(f"versions/{python}.*/bin/python{python}")):
        if _runs(command):
            os.environ["PATH"] = f"{Path(command).parent}{os.pathsep}{os.environ['PATH']}"
            return True
    return False


FOUND = [python for python in PYTHONS if _find(python)] or PYTHONS[:1]

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]


def _constraints() -> list[str]:
    return ["-c", str(CONSTRAINTS)] if "CI" in os.environ else []


def _install_wheel(session: nox.Session, extra: str = "test") -> None:
    """Build the wheel and install that: what is tested is what is shipped."""
    folder = session.create_tmp()
    for old in Path(folder).glob("*.whl"):
        old.unlink()
    session.install("build", *_constraints())
    session.run("python", "-m", "build", "--wheel", "--outdir", folder, str(ROOT), silent=True)
    (wheel,) = Path(folder).glob("*.whl")
    # pip as well: some tests use it to download software that must not be installed.
    session.install(f"{wheel}[{extra}]", "pip", *_constraints())


def _install_editable(session: nox.Session) -> None:
    """Install the project as it is in this directory, unless the session's environment has it from an earlier run."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()
    installed = Path(session.virtualenv.location) / "installed"
    if not installed.exists() or installed.read_text() != wanted:
        session.install("-e", ".[test]", "pip", *_constraints())
        installed.write_text(wanted)


def _fast_environment() -> dict[str, str]:
    """Return the environment of the fast tests: fewer examples each, files in memory if there is room."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30
    # Bytecode is kept in any case, or every process would compile the modules that pytest rewrites.
    apart = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(ROOT / ".pytest_cache" / "bytecode")}
    return {
        "HYPOTHESIS_PROFILE": "fast",
        **({"TMPDIR": str(memory)} if roomy else {}),
        **(apart if os.environ.get("PYTHONDONTWRITEBYTECODE") else {}),
    }


def _moved_clock(days: int) -> dict[str, str]:
    """Return the environment in which every process has its clock moved; time that is only measured stays real."""
    # The library alone: the command `faketime` shares a lock, which a test that kills a process would leave locked.
    command = ["faketime", "-m", "now", "printenv", "LD_PRELOAD"]
    library = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "LD_PRELOAD": library,
        "FAKETIME": f"{days:+}d",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # the fix makes threads spin while they wait for Python's lock
        "NO_FAKE_STAT": "1",  # or compiled modules would seem to be older than their sources
        "PYTHONPATH": str(ROOT / "tests" / "clock"),
    }


def _missing(session: nox.Session, reason: str) -> NoReturn:
    """Fail under CI, where everything must run; skip with the reason elsewhere."""
    if "CI" in os.environ:
        session.error(reason)
    session.skip(reason)


@nox.session(python=FOUND[0])
def lint(session: nox.Session) -> None:
    """Check style, spelling, layers, and dependencies that are missing or unused."""
    session.install("-e", ".[dev]", *_constraints())
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("python", "-m", "tests.core.language")
    session.run("lint-imports", "--no-cache")
    session.run("deptry", "core", "plugins")


@nox.session(python=FOUND[0])
def types(session: nox.Session) -> None:
    """Run mypy, strict, over everything, and pyright, strict, over the public API as others see it."""
    session.install("-e", ".[dev]", *_constraints())
    session.run("mypy", *session.posargs)
    try:
        # Pyright's package fetches pyright itself from npm when it runs for the first time.
        session.run("pyright", "--version", silent=True)
    except nox.command.CommandFailed:
        if "CI" in os.environ:
            raise
        session.warn("pyright cannot be fetched: the public API was checked by mypy only")
        return
    session.run("pyright")


@nox.session(python=FOUND)
def tests(session: nox.Session) -> None:
    """Run all tests against the installed wheel."""
    _install_wheel(session)
    session.run("pytest", "-q", "-n", "auto", *session.posargs)


@nox.session(python=FOUND[0], reuse_venv=True)
def fast(session: nox.Session) -> None:
    """Run what finds most mistakes, in under a minute: all tests but the slow ones, with fewer examples each."""
    _install_editable(session)
    session.run("pytest", *FAST, *session.posargs, env=_fast_environment())


@nox.session(python=FOUND[1:], reuse_venv=True)
def pythons(session: nox.Session) -> None:
    """Run the fast tests on every other Python that is found."""
    _install_editable(session)
    session.run("pytest", *FAST, *session.posargs, env=_fast_environment())


@nox.session(python=FOUND[0], reuse_venv=True)
def clock(session: nox.Session) -> None:
    """Run the fast tests, or the given ones, with the system clock 400 days in the future and 400 days in the past."""
    if shutil.which("faketime") is None:
        _missing(session, "Debian's faketime is needed")
    _install_editable(session)
    for days in DAYS:
        environment = _fast_environment() | _moved_clock(days)
        session.run("python", "-c", IS_MOVED, str(days), str(time.time()), env=environment)
        session.run("pytest", *(session.posargs or FAST), env=environment)


@nox.session(python=FOUND[0])
def kills(session: nox.Session) -> None:
    """Run a long campaign of SIGKILL: REFUNDRY_KILLS sets how many, REFUNDRY_SEED repeats a campaign that failed."""
    _install_wheel(session)
    kills = os.environ.get("REFUNDRY_KILLS", "2000")
    session.run("pytest", "-q", "tests/system/test_kill.py", *session.posargs, env={"REFUNDRY_KILLS": kills})


@nox.session(python=FOUND[0])
def attacks(session: nox.Session) -> None:
    """Run a long campaign of attacks that try to have a refund paid twice; REFUNDRY_ATTACKS and REFUNDRY_SEED."""
    _install_wheel(session)
    attacks = os.environ.get("REFUNDRY_ATTACKS", "2000")
    tests = ("tests/system/test_attacks.py", "tests/system/test_late_answers.py", "tests/system/test_stopped.py")
    session.run("pytest", "-q", *tests, *session.posargs, env={"REFUNDRY_ATTACKS": attacks})


@nox.session(python=FOUND[0])
def faulty(session: nox.Session) -> None:
    """Run the whole contract on every faulty provider: each fails exactly the checks that are named for it."""
    _install_wheel(session)
    test = "tests/core/testing/test_contract.py"
    session.run("pytest", "-q", test, *session.posargs, env={"REFUNDRY_FAULTY": "all"})


@nox.session(python=FOUND[0])
def tampering(session: nox.Session) -> None:
    """Run a long campaign of tampering with the store; REFUNDRY_TRIALS and REFUNDRY_SEED as for `kills`."""
    _install_wheel(session)
    trials = os.environ.get("REFUNDRY_TRIALS", "10000")
    test = "tests/system/test_tampering.py"
    session.run("pytest", "-q", "-s", test, *session.posargs, env={"REFUNDRY_TRIALS": trials})


@nox.session(python=FOUND[0])
def mutants(session: nox.Session) -> None:
    """Run a long campaign of planted mistakes, and list those that no fast test notices (tests/survivors.md)."""
    _install_wheel(session)
    session.install("mutmut>=3.8", *_constraints())
    for part in session.posargs or MUTANTS:
        files, selected = MUTANTS[part]
        place = ROOT / "build" / "mutants" / part
        _copy_sources(place)
        table = {
            "source_paths": ["src"],
            "only_mutate": [f"src/{pattern}" for pattern in files],
            "also_copy": ["docs"],
            "pytest_add_cli_args": ["-q", "-n0", "-p", "no:cacheprovider", "-m", "not slow"],
            "pytest_add_cli_args_test_selection": selected,
        }
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        with (place / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(f"\n[tool.mutmut]\n{lines}\n")
        with session.chdir(place):
            session.run("mutmut", "run", env=_fast_environment())
            session.run("mutmut", "results")


def _copy_sources(place: Path) -> None:
    """Copy what the tests need to `place`, with all packages in `src`, where mutmut looks for them.

    What an earlier run found out stays there: only what has changed since is tried again.
    """
    place.mkdir(parents=True, exist_ok=True)
    for name in ("tests", "docs"):
        shutil.copytree(ROOT / name, place / name, dirs_exist_ok=True)
    for package in ("core/refundry", *(f"plugins/{path.name}" for path in (ROOT / "plugins").glob("refundry_*"))):
        shutil.copytree(ROOT / package, place / "src" / Path(package).name, dirs_exist_ok=True)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, place / name)


@nox.session(python=FOUND[0])
def docs(session: nox.Session) -> None:
    """Build the documentation site in build/docs, with warnings as errors, and check it."""
    session.install("-e", ".[docs]", *_constraints())
    site = ROOT / "build" / "docs"
    shutil.rmtree(site, ignore_errors=True)
    session.run("sphinx-build", "-q", "-n", "-W", "--keep-going", "-d", session.create_tmp(), "docs", str(site))
    session.run("python", "docs/check_site.py", str(site))


@nox.session(python=FOUND[0])
def bench(session: nox.Session) -> None:
    """Run the benchmarks, print the ratios of one run and write them to the docs."""
    _install_wheel(session)
    session.run("python", "-m", "tests.bench", *session.posargs)
