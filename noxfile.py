"""What there is to run: `nox` alone runs what must be green; `nox --list` shows the rest.

Packages are held at the versions of `.ci/constraints.txt` where `CI` is set; elsewhere the newest that fit are used.
"""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = [
    match[1]
    for classifier in PROJECT["classifiers"]
    if (match := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier))
]


def _runs(python: str) -> bool:
    # Asked, not only looked for: a version manager leaves commands on the path that run nothing.
    command = shutil.which(f"python{python}")
    return command is not None and subprocess.run([command, "-c", ""], capture_output=True, check=False).returncode == 0


FOUND = [python for python in PYTHONS if _runs(python)] or PYTHONS[:1]

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests"]


def _constraints() -> list[str]:
    return ["-c", str(ROOT / ".ci" / "constraints.txt")] if "CI" in os.environ else []


def _install_wheel(session: nox.Session, extra: str = "test") -> None:
    """Build the wheel and install that: what is tested is what is shipped."""
    folder = session.create_tmp()
    for old in Path(folder).glob("*.whl"):
        old.unlink()
    session.install("build", *_constraints())
    session.run("python", "-m", "build", "--wheel", "--outdir", folder, str(ROOT), silent=True)
    (wheel,) = Path(folder).glob("*.whl")
    # pip as well: some tests fetch with it what must not be installed.
    session.install(f"{wheel}[{extra}]", "pip", *_constraints())


@nox.session(python=FOUND[0])
def lint(session: nox.Session) -> None:
    """Style, spelling, layers, and dependencies that are missing or unused."""
    session.install("-e", ".[dev]", *_constraints())
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("lint-imports", "--no-cache")
    session.run("deptry", "core", "plugins")


@nox.session(python=FOUND[0])
def types(session: nox.Session) -> None:
    """Mypy, strict, over the core, the plugins and the tests."""
    session.install("-e", ".[dev]", *_constraints())
    session.run("mypy", *session.posargs)


@nox.session(python=FOUND)
def tests(session: nox.Session) -> None:
    """All tests, against the installed wheel."""
    _install_wheel(session)
    session.run("pytest", "-q", *session.posargs)


@nox.session(python=FOUND[0])
def kills(session: nox.Session) -> None:
    """A long campaign of SIGKILL; REFUNDRY_KILLS says how many, REFUNDRY_SEED makes one again that went wrong."""
    _install_wheel(session)
    kills = os.environ.get("REFUNDRY_KILLS", "2000")
    session.run("pytest", "-q", "tests/system/test_kill.py", *session.posargs, env={"REFUNDRY_KILLS": kills})


@nox.session(python=FOUND[0])
def faulty(session: nox.Session) -> None:
    """The whole contract on every faulty provider: each fails exactly the checks that are named for it."""
    _install_wheel(session)
    test = "tests/core/testing/test_contract.py"
    session.run("pytest", "-q", test, *session.posargs, env={"REFUNDRY_FAULTY": "all"})


@nox.session(python=FOUND[0])
def tampering(session: nox.Session) -> None:
    """A long campaign of tampering with the store; REFUNDRY_TRIALS and REFUNDRY_SEED as for `kills`."""
    _install_wheel(session)
    trials = os.environ.get("REFUNDRY_TRIALS", "10000")
    test = "tests/system/test_tampering.py"
    session.run("pytest", "-q", "-s", test, *session.posargs, env={"REFUNDRY_TRIALS": trials})


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
    """The benchmarks: prints ratios of one run and writes them to the docs."""
    _install_wheel(session)
    session.run("python", "-m", "tests.bench", *session.posargs)
