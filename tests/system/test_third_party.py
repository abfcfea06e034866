"""A third-party plugin: created with `plugins new`, built as its own wheel, installed next to Refundry, and used.

The environment is fresh: nothing is in it but the two wheels and what pip fetches for them, so what is proved is also
that the wheels say what they need. Where pip cannot fetch anything the tests are skipped; under CI that is a failure.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.request import urlopen

import attrs
import pytest

from refundry.plugin_host.scaffold.project import write_project
from tests.plugins.peers import in_real_time
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("thirdparty")]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "howto" / "write-a-provider.md"
PATIENCE: Final = 900
TERMS: Final = "[accounts.shop.terms]\nfirst_inquiry = 0.2\ninquiry_intervals = [0.2]\n"
ASK: Final = ("request", "--account", "shop", "--payment", "P1", "--amount", "12.33", "--currency", "EUR", "--json")


@attrs.frozen
class Done:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@attrs.frozen
class Place:
    """A folder with a refundry.toml, and the environment whose `refundry` is called there."""

    python: Path
    directory: Path
    more: Path | None = None
    """Further distributions, installed into a folder of their own."""

    @property
    def _environment(self) -> Mapping[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "REFUNDRY"))}
        return kept | ({} if self.more is None else {"PYTHONPATH": str(self.more)})

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [str(self.python.with_name("refundry")), *arguments]

    def run(self, *arguments: str) -> Done:
        done = subprocess.run(
            self._command(arguments), cwd=self.directory, env=self._environment,
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def simulator(self, *options: str, head: str = "") -> Iterator[str]:
        """Run the plugin's simulator in a process of its own, configured with a store; give its address."""
        command = self._command(("simulate", "thirdparty", "--port", "0", "--json", *options))
        running = subprocess.Popen(
            command, cwd=self.directory, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            assert running.stdout is not None
            announced = json.loads(running.stdout.readline())
            self.configure(f"{head}\n{announced['section']}\n{TERMS}")
            created = self.run("init")
            assert 0 == created.status, created.err
            yield announced["url"]
        finally:
            running.kill()
            running.communicate()

    def configure(self, text: str) -> None:
        (self.directory / "refundry.toml").write_text(text, "utf-8")

    def statuses(self) -> dict[str, str]:
        return {row["name"]: row["status"] for row in self.run("plugins", "list", "--json").lines}


def movements(url: str) -> list[str]:
    with urlopen(f"{url}/control/ledger", timeout=10) as answer:
        return [item["refund_request_id"] for item in json.load(answer)["movements"]]


# --- wheels and environments ------------------------------------------------------------------------------------------


def tool(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, f"{done.stdout}{done.stderr}"


def built(project: Path, into: Path) -> Path:
    """Build the wheel of a project."""
    before = set(into.glob("*.whl"))
    tool(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", into, cwd=project)
    (wheel,) = set(into.glob("*.whl")) - before
    return wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with Refundry and the plugin `thirdparty`, each from its wheel."""
    place: Path = tmp_path_factory.mktemp("thirdparty")
    tool(sys.executable, "-m", "refundry", "plugins", "new", "thirdparty", cwd=place)
    (place / "wheels").mkdir()
    wheels = [built(project, place / "wheels") for project in (ROOT, place / "refundry-thirdparty")]
    tool(sys.executable, "-m", "venv", place / "venv", cwd=place)
    interpreter = place / "venv" / "bin" / "python"
    command: list[str | Path] = [interpreter, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wheels]
    done = subprocess.run(
        command, env=in_real_time(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )  # fmt: skip
    if done.returncode != 0:
        cannot(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip says nothing")
    return interpreter


def cannot(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"a fresh environment is needed here: {reason}")
    pytest.skip(f"there can be no fresh environment: {reason}")


@pytest.fixture
def place(python: Path, tmp_path: Path) -> Place:
    return Place(python, tmp_path)


def with_another(place: Place, name: str, changes: Mapping[str, tuple[str, str]]) -> Place:
    """Install one more distribution, made of a new project by replacing texts in its files."""
    project, wheels = place.directory / name, place.directory / "wheels"
    write_project(name, project)
    wheels.mkdir()
    for file, (old, new) in changes.items():
        text = (project / file).read_text("utf-8")
        assert old in text
        (project / file).write_text(text.replace(old, new), "utf-8")
    more = place.directory / "more"
    wheel = built(project, wheels)
    tool(place.python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", more, wheel, cwd=wheels)
    return attrs.evolve(place, more=more)


# --- one that is well -------------------------------------------------------------------------------------------------


def test_it_is_found(place: Place) -> None:
    """Both wheels bring a plugin through the same door, and each is listed with its origin."""
    rows = {row["name"]: row for row in place.run("plugins", "list", "--json").lines}

    assert "refundry-thirdparty 0.1.0" == rows["thirdparty"]["origin"]
    assert rows["antom"]["origin"].startswith("refundry ")
    assert {"ok"} == {row["status"] for row in rows.values()}
    assert rows["thirdparty"]["capabilities"]["simulator"]
    assert rows["thirdparty"]["capabilities"]["notifications"]
    assert "refundry-thirdparty 0.1.0" in place.run("plugins", "list").out


def test_a_refund_is_settled(place: Place) -> None:
    """Configured in refundry.toml, it refunds in one process what its simulator records in another, once."""
    with place.simulator() as url:
        asked = place.run(*ASK, "--id", "R1", "--wait", "20")
        again = place.run(*ASK, "--id", "R1", "--wait", "20")

        assert (0, "settled") == (asked.status, asked.lines[0]["status"]), asked.err
        assert asked.lines == again.lines
        assert "thirdparty" == asked.lines[0]["provider"]
        assert ["R1"] == movements(url)
    assert "thirdparty 0.1.0" in place.run("events", "R1", "--json").out


def test_a_refund_that_takes_time_is_settled_by_a_worker(place: Place) -> None:
    """Its terms and its inquiry complete a refund that the provider did not finish immediately."""
    with place.simulator("--option", "mode=async", "--option", "async_delay=0.5") as url:
        pending = place.run(*ASK, "--id", "R1")
        worked = place.run("work", "--until-idle", "--json")

        assert (0, "pending") == (pending.status, pending.lines[0]["status"]), pending.err
        assert {"settled": 1, "failed": 0}.items() <= worked.lines[0].items(), worked.err
        assert ["R1"] == movements(url)


# --- those that are not -----------------------------------------------------------------------------------------------


def test_a_second_plugin_of_the_name_is_refused(place: Place) -> None:
    """Two distributions that bring one name stop everything, with one line that names both."""
    duplicates = with_another(
        place, "twin", {"pyproject.toml": ('twin = "refundry_twin"', 'thirdparty = "refundry_twin"')}
    )
    place.configure("")
    for words in (("plugins", "list"), ("list",), ("work", "--until-idle")):
        done = duplicates.run(*words)

        assert (2, "", 1) == (done.status, done.out, done.err.count("\n"))
        assert "two plugins are called 'thirdparty': refundry-thirdparty and refundry-twin" in done.err
    assert "ok" == place.statuses()["thirdparty"]


def test_two_providers_of_one_name_are_refused(place: Place) -> None:
    """It does not help to hide the second one under another plugin name."""
    changes = {"src/refundry_twin/provider.py": ('name="twin"', 'name="thirdparty"')}
    done = with_another(place, "twin", changes).run("plugins", "list")

    assert 2 == done.status
    assert "two plugins bring the provider 'thirdparty': 'thirdparty' and 'twin'" in done.err


def test_one_that_cannot_be_imported_affects_no_other(place: Place) -> None:
    """It is reported with its reason, and a refund through another plugin is settled nevertheless."""
    changes = {"src/refundry_broken/__init__.py": ("__version__: Final", 'raise RuntimeError("no licence")\nx')}
    both = with_another(place, "broken", changes)
    listed = both.run("plugins", "list", "--json")
    rows = {row["name"]: row for row in listed.lines}

    assert 1 == listed.status
    assert ("broken", "ok") == (rows["broken"]["status"], rows["thirdparty"]["status"])
    assert "no licence" in rows["broken"]["error"]
    with both.simulator() as url:
        assert "settled" == both.run(*ASK, "--id", "R1", "--wait", "20").lines[0]["status"]
        assert ["R1"] == movements(url)
    both.configure('[accounts.shop]\nprovider = "broken"\n')
    refused = both.run("list")

    assert 2 == refused.status
    assert "accounts.shop.provider: plugin 'broken' cannot be loaded" in refused.err


def test_the_allow_list_decides_which_may_load(place: Place) -> None:
    """No line runs of a plugin that refundry.toml leaves out, whatever is done; allowed, it runs."""
    loud = "from pathlib import Path\nPath(__file__).with_name('imported').touch()\n__version__: Final"
    both = with_another(place, "loud", {"src/refundry_loud/__init__.py": ("__version__: Final", loud)})
    assert both.more is not None
    imported = both.more / "refundry_loud" / "imported"
    both.configure('plugins = ["thirdparty"]\n')
    with both.simulator(head='plugins = ["thirdparty"]') as url:
        assert "settled" == both.run(*ASK, "--id", "R1", "--wait", "20").lines[0]["status"]
        assert ["R1"] == movements(url)
        for words in (("list",), ("work", "--until-idle"), ("events",), ("plugins", "check", "loud"), ("loud",)):
            both.run(*words)

    assert {"thirdparty": "ok", "antom": "not allowed", "loud": "not allowed"}.items() <= both.statuses().items()
    assert not imported.exists()
    both.configure('plugins = ["thirdparty"]\n[accounts.shop]\nprovider = "loud"\n')
    refused = both.run("list")

    assert (2, 1) == (refused.status, refused.err.count("\n"))
    assert "accounts.shop.provider: the plugin 'loud' is installed, and `plugins` does not allow it" in refused.err
    assert not imported.exists()
    both.configure('plugins = ["thirdparty", "loud"]\n')

    assert "ok" == both.statuses()["loud"]
    assert imported.exists()


# --- the page that says how -------------------------------------------------------------------------------------------

CHANGE: Final = """
import pathlib, sys
head, *lines = sys.stdin.read().splitlines()
path = pathlib.Path(head.removeprefix("--- "))
old = "\\n".join(line[1:] for line in lines if line[0] in " -")
new = "\\n".join(line[1:] for line in lines if line[0] in " +")
text = path.read_text("utf-8")
if text.count(old) != 1:
    sys.exit(f"{path} has {text.count(old)} of:\\n{old}")
path.write_text(text.replace(old, new), "utf-8")
"""
"""Makes one change of the page, which must fit exactly one place of the file."""


def script_of_the_page(change: Path) -> str:
    """Return every command and every change of the page, in its order, as one script that leaves no process behind."""
    blocks = re.findall(r"```(sh|diff)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    steps = [text if kind == "sh" else f"python {change} <<'CHANGE'\n{text}CHANGE\n" for kind, text in blocks]
    script = "\n".join(["set -e", "trap '[ -z \"$!\" ] || kill $!; wait' EXIT", *steps])
    return script.replace("8701", str(free_port()))


@pytest.mark.slow(seconds=100)
def test_the_afternoon(place: Place) -> None:
    """The page's commands succeed and its changes fit, one after the other; what it breaks is found by name.

    Its first check is that of the project as generated, its last that of the project as changed.
    """
    change = place.directory / "change.py"
    change.write_text(CHANGE, "utf-8")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "REFUNDRY", "PYTEST"))}
    path = f"{place.python.parent}{os.pathsep}{kept['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-c", script_of_the_page(change)], cwd=place.directory, env=kept | {"PATH": path},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    finally:
        tool(place.python, "-m", "pip", "uninstall", "-q", "-y", "refundry-acme", cwd=place.directory)
    found, shown = (
        re.findall(r"^(\S+) +failed  ", text, re.MULTILINE) for text in (done.stdout, PAGE.read_text("utf-8"))
    )

    assert 0 == done.returncode, f"{done.stdout}{done.stderr}"
    assert shown
    assert found == shown
    assert "refused, as it should be\n" in done.stdout
    assert "\nsettled at " in done.stdout
    assert "refundry_acme-0.1.0-py3-none-any.whl\n" in done.stdout
