"""The commands about plugins: what is installed, whether one keeps the contract, and a new one.

The rule of this module: a plugin that the configuration does not allow is shown by its metadata and never imported.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import click

from refundry import formatting
from refundry.cli.base import command, new_table, print_json, print_table, progress_bars, warn
from refundry.cli.exit_status import ExitStatus
from refundry.config import read_allow_list
from refundry.errors import ConfigError
from refundry.plugin_host import Loaded, Plugins, load_plugins
from refundry.plugin_host.scaffold.project import write_project
from refundry.provider import ProviderPlugin, Terms

_DEFAULT: Final = "refundry.toml"


def plugins_of(*configs: str) -> Plugins:
    """Load the plugins that every one of the configurations allows; all of them where there is no refundry.toml."""
    allowed: set[str] | None = None
    for config in configs:
        if config != _DEFAULT and not Path(config).exists():
            raise ConfigError("config", f"there is no file {config}")
        names = read_allow_list(config)
        if names is not None:
            allowed = set(names) if allowed is None else allowed & set(names)
    return load_plugins(allow=allowed)


# --- list -------------------------------------------------------------------------------------------------------------


@click.command("list", short_help="List every installed plugin and what it can do.")
@command
async def plugins_list(config: str, as_json: bool) -> int:
    """List every installed plugin: version, origin, what it can do, its terms; or why it cannot be used.

    A plugin that `plugins` in the configuration leaves out is listed as not allowed, and not imported.
    """
    found = plugins_of(config)
    rows = [row for plugin in _asked(found) for row in _rows(found, plugin)]
    for row in rows if as_json else ():
        print_json(row)
    if not as_json:
        table = new_table(("name", "version", "origin", "status", "capabilities", "terms"))
        for row in rows:
            table.add_row(*map(formatting.plain, _cells(row)))
        print_table(table)
    for plugin in found.errors:
        warn(plugin.error or "")
    return ExitStatus.INTERNAL_ERROR if found.errors else ExitStatus.DONE


def _asked(found: Plugins) -> Sequence[Loaded]:
    """Return every plugin, with what is wrong with any of its hooks."""
    found.simulators()
    found.commands()
    errors = {plugin.name: plugin.error for plugin in found.errors}
    return sorted((attrs.evolve(one, error=errors.get(one.name)) for one in found.loaded), key=lambda one: one.name)


def _rows(found: Plugins, plugin: Loaded) -> Iterator[Mapping[str, Any]]:
    """Yield a row for each provider of a plugin, or one for a plugin without providers."""
    names = found.brought("refundry_providers", plugin.name)
    given = [provider for name, provider in sorted(found.providers.items()) if name in names]
    for provider in given or (None,):
        yield {
            "name": provider.name if provider else plugin.name,
            "plugin": plugin.name,
            "version": provider.version if provider else plugin.version,
            "origin": f"{plugin.distribution} {plugin.version}".strip(),
            "status": "not allowed" if not plugin.allowed else "broken" if plugin.error else "ok",
            "capabilities": _capabilities(found, plugin, provider) if plugin.allowed else None,
            "terms": _terms(provider.terms) if provider else None,
            "error": plugin.error,
        }


def _capabilities(found: Plugins, plugin: Loaded, provider: ProviderPlugin | None) -> dict[str, Any]:
    codes = provider.codes if provider else {}
    simulators = found.brought("refundry_simulators", plugin.name)
    return {
        "operations": list(codes),
        "codes": sum(len(table) for table in codes.values()),
        "notifications": provider.notifications if provider else False,
        "simulator": provider.name in found.simulators() if provider else bool(simulators),
        "reports": [report.name for report in provider.reports] if provider else [],
        "commands": sorted(found.brought("refundry_commands", plugin.name)),
        "hooks": found.hooks_of(plugin.name),
    }


def _terms(terms: Terms) -> dict[str, Any]:
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in attrs.asdict(terms, recurse=False).items()
    }


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    capabilities, terms = row["capabilities"], row["terms"]
    able = row["error"] or ("" if capabilities is None else _in_words(capabilities))
    return row["name"], row["version"], row["origin"], row["status"], able, _terms_in_words(terms) if terms else ""


def _in_words(able: Mapping[str, Any]) -> str:
    words = [*able["operations"], f"{able['codes']} codes"] if able["codes"] else []
    words += [word for word in ("notifications", "simulator") if able[word]]
    words += [f"report {name}" for name in able["reports"]]
    words += [f"command {name}" for name in able["commands"]]
    words += [words_of for hook, words_of in _HOOKS.items() if hook in able["hooks"]]
    return ", ".join(words) or "none"


_HOOKS: Final = {
    "refundry_observers": "observes events",
    "refundry_audit_signer": "signs the log",
    "refundry_audit_anchors": "anchors the log",
}


def _terms_in_words(terms: Mapping[str, Any]) -> str:
    tries, apart = 1 + terms["not_found_tries"], terms["not_found_interval"]
    return "; ".join(
        (
            f"inquire by {' or '.join(terms['inquire_by'])}",
            f"not found {tries} times {apart:g} s apart",
            f"resend: {', '.join(terms['resend_after']) or 'never'}",
            f"ids of at most {terms['id_length']}",
        )
    )


# --- check ------------------------------------------------------------------------------------------------------------


@click.command("check", short_help="Run the contract on an installed provider.")
@click.argument("name")
@command
async def plugins_check(config: str, as_json: bool, name: str) -> int:
    """Run the contract on an installed provider, against its own simulator on loopback.

    Exits with 1 if it is broken anywhere, and with 2 if there is no simulator to check it with.
    """
    from refundry.testing.contract import CHECKS, Result, check_plugin

    found = plugins_of(config)
    provider, simulator = found.provider(name), found.simulators().get(name)
    if simulator is None:
        results: Sequence[Result] = [
            Result(one.name, one.sentence, "not applicable", "needs a simulator") for one in CHECKS.values()
        ]
    else:
        with _quiet(), progress_bars(as_json) as progress:
            bar = progress.add_task(f"checking {name}", total=len(CHECKS))
            results = await check_plugin(provider, simulator, progress=lambda _: progress.advance(bar))
    _show(results, as_json)
    if simulator is None:
        warn(f"nothing of {name!r} was checked: the plugin has no simulator (hook refundry_simulators)")
        return ExitStatus.REFUSED
    return ExitStatus.INTERNAL_ERROR if any(result.status == "failed" for result in results) else ExitStatus.DONE


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the log off stderr: faults are injected on purpose, and the results report what matters."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [logging.NullHandler()]
    try:
        yield
    finally:
        root.handlers = handlers


def _show(results: Sequence[Any], as_json: bool) -> None:
    for result in results if as_json else ():
        print_json(attrs.asdict(result))
    if as_json:
        return
    table = new_table(("check", "result", "what holds, or why not"))
    for result in results:
        table.add_row(result.name, result.status, formatting.plain(result.text or result.sentence))
    print_table(table)
    counts = {status: sum(result.status == status for result in results) for status in _STATUSES}
    click.echo(", ".join(f"{count} {status}" for status, count in counts.items()))


_STATUSES: Final = ("passed", "failed", "not applicable")


# --- new --------------------------------------------------------------------------------------------------------------


@click.command("new", short_help="Write a small plugin project that keeps the contract.")
@click.argument("name")
@click.option("--directory", type=click.Path(), help="Where; by default refundry-NAME in the current directory.")
@command
async def plugins_new(config: str, as_json: bool, name: str, directory: str | None) -> None:
    """Write a complete small plugin project, which keeps the contract as it is written.

    NAME is what `provider` will say in refundry.toml: 1 to 24 of a-z, 0-9 and _, a letter first.
    """
    place = Path(directory or f"refundry-{name.replace('_', '-')}")
    written = write_project(name, place)
    if as_json:
        print_json({"name": name, "directory": str(place), "files": written})
        return
    click.echo(f"{len(written)} files in {place}; begin with its README.md")
