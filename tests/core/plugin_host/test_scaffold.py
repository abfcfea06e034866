"""`plugins new`: what it writes is whole, is right as it is, and never in the way of anything."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import pytest

from refundry.errors import Invalid
from refundry.plugin_host.scaffold import project as scaffold
from refundry.plugin_host.scaffold.project import write_project

NAMES = ("acme", "a", "a23456789_123456789_1234")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, found by Python as if it were installed."""
    place: Path = tmp_path_factory.mktemp("new") / "acme"
    write_project("acme", place)
    metadata = place / "src" / "refundry_acme-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: refundry-acme\nVersion: 0.1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text("[refundry]\nacme = refundry_acme\n", "utf-8")
    return place


def run(place: Path, *command: str) -> None:
    """Run a tool in a project, as its author does."""
    path = os.pathsep.join(filter(None, [str(place / "src"), os.environ.get("PYTHONPATH")]))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=place,
        env=environment | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, f"{done.stdout}{done.stderr}"


def everything_below(directory: Path) -> Sequence[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


# --- what is written --------------------------------------------------------------------------------------------------


def test_a_project_is_complete(tmp_path: Path) -> None:
    """Everything a distribution needs is there, nothing is left to fill in, and the names are consistent."""
    place = tmp_path / "refundry-acme-pay"
    written = write_project("acme_pay", place)
    project = tomllib.loads((place / "pyproject.toml").read_text("utf-8"))

    assert list(written) == sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    assert "refundry-acme-pay" == project["project"]["name"]
    assert {"acme_pay": "refundry_acme_pay"} == project["project"]["entry-points"]["refundry"]
    assert (place / "src" / "refundry_acme_pay" / "py.typed").exists()
    for name in written:
        assert not re.search(r"@\w+@|TODO|FIXME", (place / name).read_text("utf-8")), name


def test_every_template_is_used() -> None:
    """What ships as a template is what a project is made of."""
    shipped = {path.name for path in files("refundry").joinpath("plugin_host", "scaffold", "template").iterdir()}

    assert {f"{source}.tmpl" for source in scaffold._FILES.values()} == shipped


@pytest.mark.parametrize("name", NAMES)
def test_it_is_in_good_style(name: str, tmp_path: Path) -> None:
    """Ruff finds nothing to say about a project, however short or long its name is."""
    place = tmp_path / name
    write_project(name, place)
    run(place, "ruff", "check", "--no-cache")
    run(place, "ruff", "format", "--check", "--no-cache")


@pytest.mark.slow
def test_its_types_are_right(project: Path, tmp_path: Path) -> None:
    """Mypy, strict, finds nothing in the package and its tests."""
    run(project, "mypy", f"--cache-dir={tmp_path}")


@pytest.mark.slow
def test_its_own_tests_pass(project: Path) -> None:
    """The tests that come with it pass as they are."""
    run(project, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_provider.py")


@pytest.mark.slow
def test_its_contract_is_a_class_of_tests(project: Path) -> None:
    """Its fixtures are what the contract wants; tests/system/test_third_party.py runs all of it."""
    run(project, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contract.py", "-k", "described or code")


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", "Acme", "1acme", "acme-pay", "acme pay", "acme_", "_acme", "ac__me", "äcme", "../acme", "a" * 25, "acme\n"],
)
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    """The name becomes that of a package and of a distribution; any other is refused, and nothing is written."""
    with pytest.raises(Invalid, match="^NAME: "):
        write_project(name, tmp_path / "new")

    assert [] == everything_below(tmp_path)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    """Two plugins of one name could not be used together."""
    with pytest.raises(Invalid, match=r"^NAME: 'antom' is the name of an installed plugin \(refundry\)"):
        write_project("antom", tmp_path / "new")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A directory with content, a file, and a place in a missing directory are refused and stay as they are."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine", "utf-8")
    (tmp_path / "file").write_text("mine", "utf-8")
    for place, rule in (("full", "not empty"), ("file", "not a directory"), ("none/new", "does not exist")):
        with pytest.raises(Invalid, match=f"^--directory: .*{rule}"):
            write_project("acme", tmp_path / place)

    assert ["file", "full", "full/notes"] == everything_below(tmp_path)


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """A folder that was made for it is used, also through a link."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    write_project("acme", tmp_path / "link")

    assert (tmp_path / "empty" / "pyproject.toml").exists()


@pytest.mark.parametrize("fails", ["write_text", "rename"])
def test_nothing_half_written_is_left(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails at the last file, or at the very end, there is nothing at all."""
    written = 0

    def failing(*arguments: object, **more: object) -> int:
        nonlocal written
        written += 1
        if fails == "rename" or written == len(scaffold._FILES):
            raise OSError(28, "No space left on device")
        return 0

    monkeypatch.setattr(Path if fails == "write_text" else os, fails, failing)
    with pytest.raises(Invalid, match="No space left on device"):
        write_project("acme", tmp_path / "new")

    assert [] == everything_below(tmp_path)
