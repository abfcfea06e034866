"""What must stay out of sight: keys and tokens.

The rule of this module: the texts that are looked for are those of the account's own settings, line by line, and
whatever can be shown, raised, logged or stored is searched for them.
"""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs

from refundry.errors import Invalid
from refundry.provider import NotificationHandler, Provider, Secret
from refundry.testing.contract.base import NotApplicable, check, demand
from refundry.testing.contract.delivery import notified
from refundry.testing.contract.environment import Stage, Subject, now
from refundry.testing.contract.reading import read

_SHORT: Final = 12
"""A line of fewer characters may stand anywhere by chance."""


def settings_of(subject: Subject, **where: Any) -> tuple[Any, Any]:
    """Give the settings and the terms that the account's provider is built from."""
    caught: list[tuple[Any, Any]] = []

    def catch(settings: Any, terms: Any) -> Provider:
        caught.append((settings, terms))
        return subject.plugin.build(settings, terms)

    attrs.evolve(subject, plugin=attrs.evolve(subject.plugin, build=catch)).account(**where)
    return caught[-1]


def secret_fields(settings: Any) -> dict[str, bytes]:
    """Give the settings that must not be seen: of type `Secret`, and texts that the class itself does not show."""
    found: dict[str, bytes] = {}
    for field in attrs.fields(type(settings)):
        value = getattr(settings, field.name)
        if isinstance(value, Secret):
            found[field.name] = value.reveal()
        elif type(value) is str and field.repr is False:
            found[field.name] = value.encode()
    return found


def _lines(secrets: dict[str, bytes]) -> set[str]:
    texts = (line.strip() for value in secrets.values() for line in value.decode("utf-8", "replace").splitlines())
    return {line for line in texts if len(line) >= _SHORT and not line.startswith("-----")}


def _hidden(text: str, lines: set[str], where: str) -> None:
    demand(not any(line in text for line in lines), f"a secret stands in {where}")


@check("secrets-not-shown", "No key and no token stands in what is shown: of the provider, a request, an outcome.")
async def not_shown(subject: Subject) -> None:
    """Show everything that a plugin makes."""
    lines = _lines(secret_fields(settings_of(subject)[0]))
    async with subject.stage() as stage:
        samples = await stage.both()
        shown: list[tuple[str, Any]] = [("settings", settings_of(subject)[0]), ("provider", stage.provider)]
        shown += [("account", stage.account), ("identity", stage.provider.identity), ("plugin", subject.plugin)]
        for sample in samples:
            shown += [
                ("exchange", sample.call),
                ("request", sample.request),
                ("answer's reader", sample.call.read),
            ]
            shown += [("outcome", read(sample)), ("key version", sample.call.key_version)]
            for header in (*sample.request.headers, ("url", sample.request.url)):
                shown.append((f"header {header[0]}", header[1]))
        if isinstance(stage.provider, NotificationHandler):
            shown.append(("notification", stage.provider.parse_notification(await notified(stage))))
    for name, thing in shown:
        for text in (repr(thing), str(thing), f"{thing}"):
            _hidden(text, lines, f"the {name} as it is shown")


@check("secrets-not-raised", "A key that cannot be used is an error that names the setting and never shows the key.")
async def not_raised(subject: Subject) -> None:
    """Build with keys that are cut, garbled, empty and of another kind."""
    settings, terms = settings_of(subject)
    secrets = secret_fields(settings)
    if not secrets:
        raise NotApplicable("no setting is a secret")
    for name, value in secrets.items():
        for spoilt in _spoilt(value):
            instead = (
                Secret(spoilt) if isinstance(getattr(settings, name), Secret) else spoilt.decode("utf-8", "replace")
            )
            try:
                subject.plugin.build(attrs.evolve(settings, **{name: instead}), terms)
            except Invalid as error:
                demand(error.field == name, f"the error about {name} names {error.field}")
                _hidden("".join(traceback.format_exception(error)), _lines({name: spoilt}), f"the error about {name}")
            except Exception as error:
                demand(False, f"build raised {type(error).__name__} for a {name} that cannot be used")


def _spoilt(value: bytes) -> Iterator[bytes]:
    lines = value.splitlines(keepends=True)
    middle = len(lines) // 2
    yield b"".join(lines[:middle] + lines[middle + 1 :])
    yield value[: len(value) // 2]
    yield value.replace(b"-----BEGIN", b"----BEGIN")
    yield value.replace(b"PRIVATE", b"PUBLIC")
    yield b"A-KEY-THAT-IS-NONE-" + bytes(range(48, 90))
    yield b""


class _Notebook(logging.Handler):
    """Keeps every record as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.written: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.written.append(self.format(record))


@contextmanager
def _noted() -> Iterator[list[str]]:
    root, notebook = logging.getLogger(), _Notebook()
    level = root.level
    root.addHandler(notebook)
    root.setLevel(logging.DEBUG)
    try:
        yield notebook.written
    finally:
        root.setLevel(level)
        root.removeHandler(notebook)


@check("secrets-not-logged-or-stored", "No key and no token gets into the log or into the store, whatever happens.")
async def not_logged(subject: Subject) -> None:
    """Search the log and the store's files after refunds that went well and badly."""
    lines = _lines(secret_fields(settings_of(subject)[0]))
    with _noted() as written:
        async with subject.stage() as stage:
            for number, fault in enumerate(("corrupt", "bad_signature", "other_refund", "drop_response", None)):
                await _one(stage, number, fault)
            subject.account(keys=False).provider.refund(stage.instruction(), now())
    for record in written:
        _hidden(record, lines, f"the log: {record[:40]}...")
    for file in subject.directory.glob("refunds.db*"):
        if file.is_file():
            _hidden(file.read_bytes().decode("latin-1"), lines, f"the store's file {file.name}")


async def _one(stage: Stage, number: int, fault: str | None) -> None:
    if fault is not None:
        await stage.control.fault(fault, "refund", **({"kind": "half_json"} if fault == "corrupt" else {}))
    await stage.finish(await stage.request(number))
