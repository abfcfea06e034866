"""The shape of the project: where things are, who imports whom, and what must not be in it."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
TOP: Final = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "core",
    "docs",
    "noxfile.py",
    "plugins",
    "pyproject.toml",
    "tests",
}
SHIPPED: Final = ("core", "plugins", "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")

# Put together from halves, so that a search of the whole project finds nothing here either.
HOSTS: Final = [r"pypi\." + "org", "python" + "hosted", "npmjs" + r"\.(?:org|com)"]
PATHS: Final = r"(?<![\w.~-])/" + r"(?:work|tmp|root|home)/\w"
FOREIGN: Final = re.compile("|".join([*HOSTS, PATHS]))


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _git(*arguments: str) -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    found = subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True)
    return found.stdout.splitlines()


def _shipped_texts() -> Iterator[tuple[Path, str]]:
    for name in SHIPPED:
        place = ROOT / name
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT), path.read_text(encoding="utf-8", errors="replace")


def test_every_plugin_comes_in_through_its_entry_point() -> None:
    """The folders in `plugins/` are the entry points of the group `refundry`, in pyproject.toml and as installed."""
    folders = {path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists()}
    declared = _project()["project"]["entry-points"]["refundry"]
    installed = metadata.distribution("refundry").entry_points.select(group="refundry")

    assert folders == set(declared.values())
    assert declared == {entry.name: entry.value for entry in installed}
    assert all(value == f"refundry_{name}" for name, value in declared.items())


def test_the_wheel_has_every_package() -> None:
    """Hatchling packs the core and every plugin."""
    packed = _project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    plugins = {f"plugins/{path.name}" for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists()}

    assert {"core/refundry", *plugins} == set(packed)


@pytest.mark.parametrize("package", ["refundry", "refundry_alipay", "refundry_alphapay", "refundry_antom"])
def test_every_package_is_typed(package: str) -> None:
    """Each import package ships its `py.typed`."""
    assert files(package).joinpath("py.typed").is_file()


def test_the_version_is_one() -> None:
    """The installed distribution is the one of this pyproject.toml."""
    assert _project()["project"]["version"] == metadata.version("refundry")


def test_nothing_else_lies_at_the_top() -> None:
    """The top level holds what the layout names, and dotfiles."""
    names = {line.split("/")[0] for line in _git("ls-files", "--cached", "--others", "--exclude-standard")}

    assert set() == {name for name in names if not name.startswith(".")} - TOP


def test_no_file_speaks_of_one_machine() -> None:
    """Nothing that is shipped names the host of a package registry or a path of a developer's machine."""
    found = [
        f"{path}: {match[0]}" for path, text in _shipped_texts() for match in FOREIGN.finditer(text)
    ]  # fmt: skip

    assert [] == found


def test_the_constraints_are_names_and_versions() -> None:
    """The constraints of the continuous test name no host and no path."""
    lines = (ROOT / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()

    assert lines
    assert [] == [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)]


def test_the_readme_gives_the_command_that_is_run() -> None:
    """The README's test command is the one in `.ci/run`, letter by letter."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    (command,) = [line for line in script if line.startswith("python3 -m venv")]

    assert command in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


def test_imports_go_downwards_only() -> None:
    """The layers hold: who imports whom is what pyproject.toml allows."""
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_audit_contains_no_sql() -> None:
    """The audit reads every store through the journal's read port, so a second database needs no second audit."""
    sql = re.compile(r"sqlite3|\bSELECT\b|\bPRAGMA\b|\bexecute(many)?\(")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "core/refundry/audit").rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if sql.search(line)
    ]

    assert [] == found


ALLOWED_IN_PLUGINS = ("refundry.errors", "refundry.money", "refundry.plugin_host", "refundry.provider")
ALLOWED_IN_SIMULATORS = (*ALLOWED_IN_PLUGINS, "refundry.ports", "refundry.testing.simulator")


def test_plugins_import_what_is_theirs() -> None:
    """A plugin imports the provider interface and shared values of the core, and only its simulator the simulators."""
    refused = []
    for file in sorted((ROOT / "plugins").rglob("*.py")):
        allowed = ALLOWED_IN_SIMULATORS if "simulator" in file.relative_to(ROOT).as_posix() else ALLOWED_IN_PLUGINS
        imports = re.findall(r"^\s*(?:from|import) (refundry(?:\.\w+)*)\b", file.read_text("utf-8"), re.MULTILINE)
        refused += [
            (file.name, name)
            for name in imports
            if not any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
        ]

    assert [] == refused


def test_files_and_functions_fit_in_the_head() -> None:
    """No file of the core and the plugins has more than 400 lines, and no function more than 50."""
    found = []
    for path in [*sorted((ROOT / "core").rglob("*.py")), *sorted((ROOT / "plugins").rglob("*.py"))]:
        text = path.read_text("utf-8")
        found += [path.name] if len(text.splitlines()) > 400 else []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                found += [f"{path.name}: {node.name}"] if node.end_lineno - node.lineno >= 50 else []

    assert [] == found
