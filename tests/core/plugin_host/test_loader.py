"""How plugins are found, and what becomes of those that are broken."""

import inspect
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from typing import Any

import attrs
import click
import pytest

from refundry.config import open_accounts, read_allow_list, read_config
from refundry.errors import ConfigError, PluginError
from refundry.gateway import Gateway
from refundry.plugin_host import Hooks, Observer, hookimpl, load_plugins
from refundry.provider import ProviderPlugin, Terms
from refundry.testing.simulator.settings import SimulatorPlugin, make_keys

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "hooks.md"
GOOD = EntryPoint("antom", "refundry_antom", "refundry")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that a test writes to `tmp_path`."""
    monkeypatch.syspath_prepend(tmp_path)
    yield "refundry_of_a_test"
    sys.modules.pop("refundry_of_a_test", None)


def write(directory: Path, module: str, text: str) -> EntryPoint:
    (directory / f"{module}.py").write_text(dedent(text), "utf-8")
    return EntryPoint("mine", module, "refundry")


def plugin_named(name: str) -> ProviderPlugin:
    def build(settings: object, terms: Terms) -> Any:
        raise AssertionError("never built")

    return ProviderPlugin(name=name, version="1", settings=object, build=build, codes={})


class Brings:
    """A plugin with a provider of this name."""

    def __init__(self, name: str, plugin: str = "") -> None:
        self._name = name
        self.__name__ = plugin or name

    @hookimpl
    def refundry_providers(self) -> list[ProviderPlugin]:
        return [plugin_named(self._name)]


def test_our_plugin_comes_through_the_same_door() -> None:
    """Antom is announced by an entry point, brings a provider and a simulator, and is without error."""
    found = load_plugins()

    assert "antom" in found.providers
    assert "antom" in found.simulators()
    assert [] == found.errors


def test_an_extra_plugin_is_used() -> None:
    """An object with hooks is a plugin."""
    found = load_plugins([], [Brings("mine")])

    assert ["mine"] == list(found.providers)
    assert ["mine"] == [plugin.name for plugin in found.loaded]


def test_two_entry_points_of_one_name_are_refused() -> None:
    """The plugin library would silently take one of the two."""
    with pytest.raises(PluginError, match="two plugins are called 'antom'"):
        load_plugins([GOOD, EntryPoint("antom", "somewhere.else", "refundry")])


def test_an_extra_plugin_with_a_name_that_is_taken_is_refused() -> None:
    """Neither of two plugins of one name is dropped in silence."""
    with pytest.raises(PluginError, match="two plugins are called 'same'"):
        load_plugins([], [Brings("one", "same"), Brings("two", "same")])


def test_two_providers_of_one_name_are_refused() -> None:
    """Two plugins that both bring one provider are an error that names both."""
    with pytest.raises(PluginError, match=r"provider 'antom'.*'antom' and 'other'"):
        load_plugins([GOOD], [Brings("antom", "other")])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('no licence')", "no licence"),
        ("import a_package_that_nobody_has", "a_package_that_nobody_has"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(7)", "SystemExit"),
        (
            "from refundry.plugin_host import hookimpl\n@hookimpl\ndef refundry_provider(): return []",
            "refundry_provider",
        ),
        ("from refundry.plugin_host import hookimpl\n@hookimpl\ndef refundry_providers(wrong): return []", "wrong"),
        ("from refundry.plugin_host import hookimpl\n@hookimpl\ndef refundry_providers(): return None", "TypeError"),
        (
            "from refundry.plugin_host import hookimpl\n@hookimpl\ndef refundry_providers(): return ['x']",
            "ProviderPlugin",
        ),
        ("from refundry.plugin_host import hookimpl\n@hookimpl\ndef refundry_providers(): 1 / 0", "ZeroDivisionError"),
    ],
    ids=["raises", "import", "syntax", "exit", "unknown hook", "argument", "none", "type", "fails"],
)
def test_a_broken_plugin_is_reported_and_the_others_are_used(
    tmp_path: Path, module: str, text: str, reason: str
) -> None:
    """Whatever a plugin does when it is loaded, it is named with the reason, and the others work."""
    found = load_plugins([GOOD, write(tmp_path, module, text)])

    assert ["antom"] == list(found.providers)
    (broken,) = found.errors
    assert "mine" == broken.name
    assert reason in (broken.error or "")
    assert ["antom"] == list(found.simulators())


def test_an_account_of_a_broken_plugin_gets_the_reason(tmp_path: Path, module: str) -> None:
    """Asking for the provider of a broken plugin gives the reason why it is broken."""
    found = load_plugins([write(tmp_path, module, "raise RuntimeError('no licence')")])
    with pytest.raises(PluginError, match="no licence"):
        found.provider("mine")
    with pytest.raises(PluginError, match="no installed plugin has the provider 'none'"):
        found.provider("none")


class Extras:
    """A plugin with a simulator and a command."""

    @hookimpl
    def refundry_simulators(self) -> list[SimulatorPlugin]:
        return [SimulatorPlugin(name="mine", version="1", account_section=None, run=None, make_keys=make_keys)]  # type: ignore[arg-type]  # never run  # fmt: skip

    @hookimpl
    def refundry_commands(self) -> list[click.Command]:
        return [click.Command("reconcile"), click.Command("request")]


class Fails:
    """A plugin whose hooks raise."""

    @hookimpl
    def refundry_simulators(self) -> list[SimulatorPlugin]:
        raise RuntimeError("no simulator\ntoday")

    @hookimpl
    def refundry_commands(self) -> list[click.Command]:
        raise RuntimeError("no command\r\ntoday")


def test_simulators_and_commands_are_collected() -> None:
    """What every plugin brings is there, by its name."""
    found = load_plugins([GOOD], [Extras()])

    assert {"antom", "mine"} == set(found.simulators())
    assert ["reconcile", "request"] == [command.name for command in found.commands()]


def test_two_simulators_of_one_name_are_refused() -> None:
    """As with providers."""

    class Twin(Extras):
        pass

    with pytest.raises(PluginError, match="simulator 'mine'"):
        load_plugins([], [Extras(), Twin()]).simulators()


class Erratic:
    """A plugin that returns objects of another type, or ends the process."""

    @hookimpl
    def refundry_simulators(self) -> list[Any]:
        return [None]

    @hookimpl
    def refundry_commands(self) -> list[click.Command]:
        raise SystemExit(7)


def test_a_hook_that_raises_is_reported_and_the_others_are_used() -> None:
    """An error inside a hook is one line about that plugin, and stops no other plugin."""
    found = load_plugins([GOOD], [Fails(), Erratic(), Extras()])
    for _ in range(2):
        assert {"antom", "mine"} == set(found.simulators())
        assert ["reconcile", "request"] == [command.name for command in found.commands()]

    assert {
        "plugin 'Fails' fails in refundry_simulators: RuntimeError: no simulator today",
        "plugin 'Fails' fails in refundry_commands: RuntimeError: no command today",
        "plugin 'Erratic' fails in refundry_simulators: PluginError: what it returns has no name",
        "plugin 'Erratic' fails in refundry_commands: SystemExit: 7",
    } == {plugin.error for plugin in found.errors}
    assert "antom" in found.providers


def test_a_command_that_is_none_is_reported() -> None:
    """Anything with a name would be taken, and would break the help of every command."""

    class Mistaken:
        @hookimpl
        def refundry_commands(self) -> list[Any]:
            return [plugin_named("mine")]

    found = load_plugins([], [Mistaken(), Extras()])

    assert ["reconcile", "request"] == [command.name for command in found.commands()]
    assert ["plugin 'Mistaken' fails in refundry_commands: PluginError: what it returns is not of type Command"] == [
        plugin.error for plugin in found.errors
    ]


def test_a_reason_is_one_line(tmp_path: Path, module: str) -> None:
    """Whatever an error says, the reason has no line breaks."""
    found = load_plugins([write(tmp_path, module, "raise RuntimeError('no\\n\\nlicence')")])

    assert ["plugin 'mine' cannot be loaded: RuntimeError: no licence"] == [plugin.error for plugin in found.errors]


# --- the allow-list ---------------------------------------------------------------------------------------------------

TRACE = """
from pathlib import Path
Path(__file__).with_suffix(".imported").touch()
from refundry.plugin_host import hookimpl
"""


def has_run(directory: Path, module: str) -> bool:
    return (directory / f"{module}.imported").exists()


def test_what_is_not_allowed_is_never_imported(tmp_path: Path, module: str) -> None:
    """Not a line runs of a plugin that the list leaves out; it is known by its name alone."""
    point = write(tmp_path, module, TRACE)
    found = load_plugins([GOOD, point], allow=["antom"])
    found.simulators(), found.commands()

    assert not has_run(tmp_path, module)
    assert ["antom"] == list(found.providers)
    assert {"antom": True, "mine": False} == {plugin.name: plugin.allowed for plugin in found.loaded}
    assert [] == found.errors
    with pytest.raises(PluginError, match="'mine' is installed, and `plugins` does not allow it"):
        found.provider("mine")
    with pytest.raises(PluginError, match="not allowed by `plugins`: mine"):
        found.provider("theirs")

    load_plugins([GOOD, point], allow=["antom", "mine"])

    assert has_run(tmp_path, module)


def test_an_empty_list_allows_nothing() -> None:
    """`plugins = []` is a list like any other; without the key every plugin is loaded."""
    assert {} == load_plugins([GOOD], allow=[]).providers
    assert ["antom"] == list(load_plugins([GOOD], allow=None).providers)


def test_a_list_with_an_unknown_name_is_refused() -> None:
    """A misspelt name would silently turn a plugin off."""
    with pytest.raises(ConfigError) as refused:
        load_plugins([GOOD], [Brings("mine")], allow=["antom", "mine", "anton"])

    assert "plugins" == refused.value.field
    assert "'anton'" in refused.value.rule
    assert "antom, mine" in refused.value.rule


def test_twins_that_are_not_allowed_do_not_matter() -> None:
    """Where neither of two plugins of one name may load, there is nothing to guess."""
    twins = [EntryPoint("mine", "one.place", "refundry"), EntryPoint("mine", "other.place", "refundry")]
    found = load_plugins([GOOD, *twins], allow=["antom"])

    assert ["antom", "mine", "mine"] == [plugin.name for plugin in found.loaded]
    with pytest.raises(PluginError, match="two plugins are called 'mine'"):
        load_plugins([GOOD, *twins], allow=["antom", "mine"])


@pytest.mark.parametrize("value", ['"antom"', "[1]", "{}", "true"])
def test_a_list_is_a_list_of_names(tmp_path: Path, value: str) -> None:
    """Any other value is refused, and the key is named."""
    path = tmp_path / "refundry.toml"
    path.write_text(f"plugins = {value}\n", "utf-8")
    for read in (read_config, read_allow_list):
        with pytest.raises(ConfigError, match="^plugins: must be a list of names"):
            read(path)


def test_the_list_can_be_read_alone(tmp_path: Path) -> None:
    """The list is there before anything else of the file is looked at; no file has no list."""
    path = tmp_path / "refundry.toml"

    assert read_allow_list(path) is None
    path.write_text("[accounts.shop]\nnonsense = 1\n", "utf-8")
    assert read_allow_list(path) is None
    path.write_text('plugins = ["antom"]\nother = 1\n', "utf-8")
    assert ("antom",) == read_allow_list(path)
    path.write_text("plugins = [", "utf-8")
    with pytest.raises(ConfigError, match="is not TOML"):
        read_allow_list(path)


async def test_the_gateway_loads_what_the_configuration_allows(tmp_path: Path) -> None:
    """A gateway has the plugins of the list and no others; a name that is not installed stops it."""
    path = tmp_path / "refundry.toml"
    path.write_text("plugins = []\n", "utf-8")
    async with Gateway.open(path, create=True) as gateway:
        assert {} == gateway.plugins.providers
    path.write_text('plugins = ["absent"]\n', "utf-8")
    with pytest.raises(ConfigError, match="^plugins: names 'absent'"):
        async with Gateway.open(path):
            pass


def test_an_account_of_a_plugin_that_is_not_allowed_is_an_error(tmp_path: Path) -> None:
    """The error names the account's key, and says that the list leaves the plugin out."""
    path = tmp_path / "refundry.toml"
    path.write_text('plugins = []\n[accounts.shop]\nprovider = "antom"\n', "utf-8")
    config = read_config(path)
    with pytest.raises(ConfigError, match="`plugins` does not allow it") as refused:
        open_accounts(config, load_plugins([GOOD], allow=config.plugins))

    assert "accounts.shop.provider" == refused.value.field


# --- the page of the hooks --------------------------------------------------------------------------------------------


def test_the_page_names_every_hook() -> None:
    """Every hook is there, in its order, with its arguments and its sentence, and no other."""
    hooks = {name: hook for name, hook in vars(Hooks).items() if name.startswith("refundry_")}
    signatures = {name: ", ".join(list(inspect.signature(hook).parameters)[1:]) for name, hook in hooks.items()}
    rows = re.findall(r"^\| `(refundry_.*?)` \| (.*?) \| (.+?) \| (.+?) \|$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert [(f"{name}({signatures[name]})", inspect.getdoc(hook)) for name, hook in hooks.items()] == [
        row[:2] for row in rows
    ]


def test_a_hook_takes_exactly_its_arguments() -> None:
    """A hook with another argument than specified is found when it is loaded, not when it is called."""

    class Curious:
        @hookimpl
        def refundry_observers(self, store: Any) -> list[Observer]:
            return []

    with pytest.raises(PluginError, match="plugin 'Curious' cannot be loaded: .*'store'"):
        load_plugins([], [Curious()])


def test_an_object_that_is_passed_in_code_and_has_no_hook_is_refused() -> None:
    """A hook that is misspelled, or not marked as one, is an error of the call and not silence."""

    class Misspelled:
        @hookimpl
        def refundry_observer(self) -> list[Observer]:
            return []

    class Unmarked:
        def refundry_observers(self) -> list[Observer]:
            return []

    with pytest.raises(PluginError, match="there is no hook 'refundry_observer'"):
        load_plugins([], [Misspelled()])
    with pytest.raises(PluginError, match="it has no hook"):
        load_plugins([], [Unmarked()])


def test_an_observer_that_is_none_is_reported() -> None:
    """A plugin whose hook returns anything but observers is named with the reason, and the others are used."""

    class Wrong:
        @hookimpl
        def refundry_observers(self) -> list[Any]:
            return [Bare()]

    class Right:
        @hookimpl
        def refundry_observers(self) -> list[Observer]:
            return [Observer("right", print)]

    found = load_plugins([], [Wrong(), Right()])

    assert ["right"] == [observer.name for observer in found.observers()]
    assert ["plugin 'Wrong' fails in refundry_observers: PluginError: what it returns is not of type Observer"] == [
        plugin.error for plugin in found.errors
    ]


@attrs.frozen
class Bare:
    """Something with a name."""

    name: str = "bare"
