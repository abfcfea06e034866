"""The commands about plugins, and which plugins any command loads."""

import json
import stat
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from typing import Any

import attrs
import click
import pytest

import refundry.cli.audit
import refundry.cli.plugin_commands
import refundry.cli.plugins
import refundry.gateway.gateway
import refundry.testing.contract as contract
from refundry.cli import main
from refundry.cli.base import configs_in
from refundry.cli.plugins import plugins_of
from refundry.errors import PluginError
from refundry.plugin_host import Observer, hookimpl, load_plugins
from refundry.provider import ProviderPlugin
from refundry.testing.contract import Result
from refundry_antom.provider import PLUGIN

GOOD = EntryPoint("antom", "refundry_antom", "refundry")
BAD = EntryPoint("bad", "not_there_at_all", "refundry")


@attrs.frozen
class Done:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFUNDRY_CONFIG", raising=False)

    def running(*arguments: str) -> Done:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, *capfd.readouterr())

    return running


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Replace the installed plugins by these."""

    def installing(points: Sequence[EntryPoint] = (GOOD,), extra: Sequence[object] = ()) -> None:
        def load(allow: Sequence[str] | None = None) -> Any:
            return load_plugins(points, extra, allow=allow)

        monkeypatch.setattr(refundry.cli.plugin_commands, "has_third_party_plugins", lambda: True)
        for module in (refundry.cli.plugins, refundry.cli.audit, refundry.gateway.gateway):
            monkeypatch.setattr(module, "load_plugins", load)

    return installing


class Surplus:
    """A plugin with a command of its own and one that would replace ours."""

    @hookimpl
    def refundry_commands(self) -> list[click.Command]:
        return [click.Command("greet", callback=lambda: click.echo("hello")), click.Command("request")]


class Broken:
    @hookimpl
    def refundry_commands(self) -> list[click.Command]:
        raise RuntimeError("no command\ntoday")


class Watcher:
    """A plugin that only observes."""

    @hookimpl
    def refundry_observers(self) -> list[Observer]:
        return [Observer("watcher", print)]


class Bare:
    """A plugin with a provider and without a simulator."""

    @hookimpl
    def refundry_providers(self) -> list[ProviderPlugin]:
        return [attrs.evolve(PLUGIN, name="bare", notifications=False)]


# --- list -------------------------------------------------------------------------------------------------------------


def test_list_says_what_a_plugin_can_do(run: Run) -> None:
    """Name, version, origin, capabilities and terms of a provider are there, as data and for people."""
    (row,) = [row for row in run("plugins", "list", "--json").lines if row["name"] == "antom"]
    shown = run("plugins", "list")

    assert {"name": "antom", "plugin": "antom", "version": "0.1.0", "origin": "refundry 0.1.0"}.items() <= row.items()
    assert ("ok", None) == (row["status"], row["error"])
    assert {"operations": ["refund", "inquire"], "notifications": True, "simulator": True}.items() <= row[
        "capabilities"
    ].items()
    assert 48 == row["capabilities"]["codes"]
    assert attrs.asdict(PLUGIN.terms).keys() == row["terms"].keys()
    assert 64 == row["terms"]["id_length"]
    assert 0 == shown.status
    assert "refund, inquire, 48 codes, notifications, simulator" in shown.out
    assert "inquire by refund_request_id; not found 4 times 15 s apart" in shown.out


def test_list_names_commands_and_observers(run: Run, install: Install) -> None:
    """What a plugin adds next to providers is listed too, and a provider without a simulator is listed as such."""
    install([], [Surplus(), Watcher(), Bare()])
    able = {row["name"]: row["capabilities"] for row in run("plugins", "list", "--json").lines}

    assert {"Surplus", "Watcher", "bare"} == set(able)
    assert ["greet", "request"] == able["Surplus"]["commands"]
    assert (["refundry_observers"], ["refundry_commands"]) == (able["Watcher"]["hooks"], able["Surplus"]["hooks"])
    assert (False, False) == (able["bare"]["simulator"], able["bare"]["notifications"])
    assert "observes events" in run("plugins", "list").out


def test_list_shows_what_is_broken(run: Run, install: Install) -> None:
    """A plugin that cannot be used is listed with the reason, the others work, and the status is 1."""
    install([GOOD, BAD])
    result = run("plugins", "list", "--json")
    rows = {row["name"]: row for row in result.lines}

    assert 1 == result.status
    assert ("ok", "broken") == (rows["antom"]["status"], rows["bad"]["status"])
    assert "not_there_at_all" in rows["bad"]["error"]
    assert 1 == result.err.count("\n")
    assert "not_there_at_all" in run("plugins", "list").out
    assert 0 == run("plugins", "new", "other").status


def test_a_hook_that_fails_makes_a_plugin_broken(run: Run, install: Install) -> None:
    """Also what only shows when a hook is asked is listed with its reason."""
    install([GOOD], [Broken()])
    (row,) = [row for row in run("plugins", "list", "--json").lines if row["name"] == "Broken"]

    assert "broken" == row["status"]
    assert "fails in refundry_commands: RuntimeError: no command today" in row["error"]


def test_list_shows_what_is_not_allowed(run: Run, install: Install, tmp_path: Path) -> None:
    """A plugin that the configuration leaves out is listed by its metadata, which is not an error."""
    install([GOOD, BAD])
    (tmp_path / "refundry.toml").write_text('plugins = ["antom"]\n', "utf-8")
    result = run("plugins", "list", "--json")
    rows = {row["name"]: row for row in result.lines}

    assert (0, "") == (result.status, result.err)
    assert ("not allowed", None, None) == tuple(rows["bad"][key] for key in ("status", "capabilities", "error"))
    assert "not allowed" in run("plugins", "list").out


def test_two_plugins_of_one_name_are_one_line(run: Run, install: Install) -> None:
    """Where going on would be a guess, the status is 2 and both origins are named."""
    install([GOOD, EntryPoint("antom", "somewhere.else", "refundry")])
    result = run("plugins", "list")

    assert (2, "", 1) == (result.status, result.out, result.err.count("\n"))
    assert "two plugins are called 'antom': refundry_antom and somewhere.else" in result.err


# --- the allow-list ---------------------------------------------------------------------------------------------------


EVERYWHERE = (
    "list", "events", "show R1", "work --until-idle", "import none.csv", "audit verify", "audit replay",
    "plugins list", "plugins check marker", "simulate marker",
)  # fmt: skip
"""Commands that load plugins, or could."""


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install) -> Path:
    """A plugin with a command, whose import leaves a file behind."""
    text = """
        from pathlib import Path
        import click
        from refundry.plugin_host import hookimpl
        Path(__file__).with_suffix(".imported").touch()

        @hookimpl
        def refundry_commands():
            return [click.Command("ping", callback=lambda: click.echo("pong"))]
        """
    module = f"refundry_marker_{abs(hash(tmp_path))}"
    (tmp_path / f"{module}.py").write_text(dedent(text), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    install([GOOD, EntryPoint("marker", module, "refundry")])
    return tmp_path / f"{module}.imported"


@pytest.mark.parametrize("how", ["default", "before", "after", "equals", "environment"])
def test_no_command_imports_what_is_not_allowed(
    run: Run, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """However the configuration is named, its list holds before the first line of a plugin runs."""
    path = tmp_path / ("refundry.toml" if how == "default" else "other.toml")
    path.write_text('plugins = ["antom"]\nstore = "sqlite:///refunds.db"\n', "utf-8")
    monkeypatch.setenv("REFUNDRY_CONFIG", str(path) if how == "environment" else "")
    before = ("--config", str(path)) if how == "before" else ()
    after = {"after": ("--config", str(path)), "equals": (f"--config={path}",)}.get(how, ())
    for words in EVERYWHERE:
        run(*before, *words.split(), *after)
    unknown = run(*before, "ping", *after)

    assert not marker.exists()
    assert 2 == unknown.status
    path.write_text('plugins = ["antom", "marker"]\n', "utf-8")
    pinged = run(*before, "ping") if how not in ("after", "equals") else run("--config", str(path), "ping")

    assert (0, "pong\n") == (pinged.status, pinged.out)
    assert marker.exists()


def test_a_configuration_that_cannot_be_read_loads_nothing(run: Run, marker: Path, tmp_path: Path) -> None:
    """What may load is not known then; the command says what is wrong, and a named file must be there."""
    (tmp_path / "refundry.toml").write_text("plugins = [", "utf-8")
    for words in (("plugins", "list"), ("--config", "none.toml", "plugins", "list"), ("simulate", "antom")):
        result = run(*words)

        assert (2, 1) == (result.status, result.err.count("\n"))
        assert "config: " in result.err
    assert not marker.exists()


def test_an_unknown_name_in_the_list_is_one_line(run: Run, tmp_path: Path) -> None:
    """The error names the key."""
    (tmp_path / "refundry.toml").write_text('plugins = ["anton"]\n', "utf-8")
    result = run("list")

    assert (2, "", 1) == (result.status, result.out, result.err.count("\n"))
    assert "plugins: names 'anton'" in result.err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], ["refundry.toml"]),
        (["list"], ["refundry.toml"]),
        (["--config", "a", "list"], ["a"]),
        (["list", "--json", "--config=a"], ["a"]),
        (["--config", "a", "list", "--config", "b"], ["a", "b"]),
        (["list", "--reason", "--config", "b"], ["b", "refundry.toml"]),
        (["list", "--pair", "a", "--config", "b"], ["b", "refundry.toml"]),
        (["list", "--", "--config", "a"], ["a", "refundry.toml"]),
        (["list", "--reason", "--", "--config", "a"], ["a", "refundry.toml"]),
        (["list", "--config"], ["refundry.toml"]),
    ],
)
def test_every_configuration_that_may_be_meant_is_found(
    arguments: list[str], found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that the command will use is among those found, whatever options a plugin's command has."""
    monkeypatch.delenv("REFUNDRY_CONFIG", raising=False)

    assert found == configs_in(arguments)


def test_a_plugin_needs_the_permission_of_every_configuration(tmp_path: Path) -> None:
    """Of two files that a command line may name, both must allow a plugin."""
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text('plugins = ["antom", "alipay"]')
    second.write_text('plugins = ["alipay", "alphapay"]')

    assert {"alipay"} == {one.name for one in plugins_of(str(first), str(second)).loaded if one.allowed}


# --- commands of plugins ----------------------------------------------------------------------------------------------


def test_commands_of_plugins_are_added_and_replace_nothing(run: Run, install: Install) -> None:
    """A plugin adds commands; one that has a name of ours is left out and named."""
    install([GOOD], [Surplus()])
    greeted, asked = run("greet"), run("request", "--help")

    assert (0, "hello\n") == (greeted.status, greeted.out)
    assert "'request' is left out" in greeted.err
    assert "--payment-total" in asked.out


def test_two_commands_of_one_name_are_reported(run: Run, install: Install) -> None:
    """The first of two plugins keeps the name, and the other is reported."""

    class Twin(Surplus):
        pass

    install([GOOD], [Surplus(), Twin()])
    result = run("greet")

    assert "hello\n" == result.out
    assert "'greet' is left out" in result.err


def test_a_plugin_whose_commands_fail_stops_no_command(run: Run, install: Install) -> None:
    """What a plugin raises is one line in the list of commands, and every command of Refundry works without it."""
    install([GOOD], [Broken()])
    listed, result = run("--help"), run("plugins", "new", "other")

    assert (0, 1) == (listed.status, listed.err.count("\n"))
    assert "'Broken' fails in refundry_commands" in listed.err
    assert (0, "") == (result.status, result.err)


# --- check ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """What the contract will find."""
    found = [Result("one", "It holds.", "passed"), Result("two", "It is so.", "not applicable", "there is no such")]

    async def check(plugin: object, simulator: object, *, progress: Callable[[Result], None]) -> list[Result]:
        for result in found:
            progress(result)
        return found

    monkeypatch.setattr(contract, "check_plugin", check)
    return found


def test_check_prints_what_the_contract_finds(run: Run, results: list[Result]) -> None:
    """Every check is there with its result; the status is 0 when none failed, and 1 when one did."""
    fine = run("plugins", "check", "antom")
    results.append(Result("three", "It is true.", "failed", "it is \x1b[31mnot"))
    wrong, data = run("plugins", "check", "antom"), run("plugins", "check", "antom", "--json")

    assert (0, 1, 1) == (fine.status, wrong.status, data.status)
    assert "1 passed, 0 failed, 1 not applicable" in fine.out
    assert "It holds." in fine.out
    assert "there is no such" in fine.out
    assert "\x1b" not in wrong.out
    assert {"name": "one", "sentence": "It holds.", "status": "passed", "text": ""} == data.lines[0]
    assert ["passed", "not applicable", "failed"] == [line["status"] for line in data.lines]


def test_check_of_a_plugin_that_is_none(run: Run, install: Install) -> None:
    """An unknown name and a broken plugin are one line with status 2."""
    install([GOOD, BAD])
    unknown, broken = run("plugins", "check", "none"), run("plugins", "check", "bad")

    assert (2, 2) == (unknown.status, broken.status)
    assert "no installed plugin has the provider 'none'; there are: antom" in unknown.err
    assert "not_there_at_all" in broken.err


def test_check_without_a_simulator_says_what_needs_one(run: Run, install: Install) -> None:
    """Nothing counts as passed that was not looked at, and the status is not that of a pass."""
    install([], [Bare()])
    result = run("plugins", "check", "bare", "--json")

    assert 2 == result.status
    assert {"needs a simulator"} == {line["text"] for line in result.lines}
    assert list(contract.CHECKS) == [line["name"] for line in result.lines]
    assert "has no simulator" in result.err


# --- new --------------------------------------------------------------------------------------------------------------


def test_new_writes_a_project(run: Run, tmp_path: Path) -> None:
    """By default the project is in the current directory; --json names every file, and other users can read it."""
    shown = run("plugins", "new", "acme_pay")
    listed = run("plugins", "new", "other", "--directory", "here", "--json")
    (row,) = listed.lines

    assert (0, 0) == (shown.status, listed.status)
    assert "refundry-acme-pay" in shown.out
    assert (tmp_path / "refundry-acme-pay" / "src" / "refundry_acme_pay" / "provider.py").exists()
    assert {"name": "other", "directory": "here"}.items() <= row.items()
    assert all((tmp_path / "here" / name).is_file() for name in row["files"])
    assert 0o755 == stat.S_IMODE((tmp_path / "here").stat().st_mode)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Acme",), "NAME: 'Acme' is not"),
        (("../acme",), "NAME: '../acme' is not"),
        (("antom",), "NAME: 'antom' is the name of an installed plugin"),
        (("acme", "--directory", "full"), "--directory: full is not empty"),
        (("acme", "--directory", "none/new"), "--directory: none/new cannot be created"),
    ],
)
def test_new_refuses_in_one_line(run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """A name or a place that cannot be used is one line, and nothing is written."""
    (tmp_path / "full" / "of").mkdir(parents=True)
    result = run("plugins", "new", *arguments)

    assert (2, "", 1) == (result.status, result.out, result.err.count("\n"))
    assert words in result.err
    assert ["full"] == [path.name for path in tmp_path.iterdir()]


def test_an_error_of_a_plugin_is_no_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stops the plugins as a whole is one line."""

    def fails(allow: object = None) -> Any:
        raise PluginError("two plugins are called 'antom'")

    monkeypatch.setattr(refundry.cli.plugins, "load_plugins", fails)
    for words in (("plugins", "list"), ("plugins", "check", "antom"), ("simulate", "antom")):
        result = run(*words)

        assert (2, "", 1) == (result.status, result.out, result.err.count("\n"))
