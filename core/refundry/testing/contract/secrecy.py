"""Secrets: keys and tokens must never be exposed.

The rule of this module: everything that can be shown, raised, logged or stored is searched for the secret settings of
the account, line by line.
"""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs

from refundry.errors import Invalid
from refundry.provider import NotificationHandler, Provider, Secret
from refundry.testing.contract.base import NotApplicable, check, require
from refundry.testing.contract.delivery import notified
from refundry.testing.contract.environment import Environment, Subject, now
from refundry.testing.contract.reading import read

_SHORT: Final = 12
"""A line of fewer characters may occur anywhere by chance."""


def settings_of(subject: Subject, **where: Any) -> tuple[Any, Any]:
    """Return the settings and terms that the account's provider is built from."""
    caught: list[tuple[Any, Any]] = []

    def catch(settings: Any, terms: Any) -> Provider:
        caught.append((settings, terms))
        return subject.plugin.build(settings, terms)

    attrs.evolve(subject, plugin=attrs.evolve(subject.plugin, build=catch)).account(**where)
    return caught[-1]


def secret_fields(settings: Any) -> dict[str, bytes]:
    """Return the secret settings: those of type `Secret`, and strings that the class hides from its repr."""
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
    require(not any(line in text for line in lines), f"a secret is exposed in {where}")


@check("secrets-not-shown", "No key or token appears in the repr or text of a provider, a request or an outcome.")
async def not_shown(subject: Subject) -> None:
    """Convert everything that a plugin returns to text."""
    lines = _lines(secret_fields(settings_of(subject)[0]))
    async with subject.environment() as env:
        samples = await env.refund_and_inquire()
        shown: list[tuple[str, Any]] = [("settings", settings_of(subject)[0]), ("provider", env.provider)]
        shown += [
            ("account", env.account),
            ("identity", env.provider.identity),
            ("plugin", subject.plugin),
        ]
        for sample in samples:
            shown += [
                ("call", sample.call),
                ("request", sample.request),
                ("answer's reader", sample.call.read),
            ]
            shown += [("outcome", read(sample)), ("key version", sample.call.key_version)]
            for header in (*sample.request.headers, ("url", sample.request.url)):
                shown.append((f"header {header[0]}", header[1]))
        if isinstance(env.provider, NotificationHandler):
            shown.append(("notification", env.provider.parse_notification(await notified(env))))
    for name, thing in shown:
        for text in (repr(thing), str(thing), f"{thing}"):
            _hidden(text, lines, f"the text of the {name}")


@check("secrets-not-raised", "An unusable key raises an error that names the setting and never shows the key.")
async def not_raised(subject: Subject) -> None:
    """Build with keys that are truncated, corrupt, empty and of another type."""
    settings, terms = settings_of(subject)
    secrets = secret_fields(settings)
    if not secrets:
        raise NotApplicable("it has no secret settings")
    for name, value in secrets.items():
        for damaged in _damaged(value):
            instead = (
                Secret(damaged) if isinstance(getattr(settings, name), Secret) else damaged.decode("utf-8", "replace")
            )
            try:
                subject.plugin.build(attrs.evolve(settings, **{name: instead}), terms)
            except Invalid as error:
                require(error.field == name, f"the error about {name} names {error.field}")
                _hidden("".join(traceback.format_exception(error)), _lines({name: damaged}), f"the error about {name}")
            except Exception as error:
                require(False, f"build raised {type(error).__name__} for an unusable {name}")


def _damaged(value: bytes) -> Iterator[bytes]:
    lines = value.splitlines(keepends=True)
    middle = len(lines) // 2
    yield b"".join(lines[:middle] + lines[middle + 1 :])
    yield value[: len(value) // 2]
    yield value.replace(b"-----BEGIN", b"----BEGIN")
    yield value.replace(b"PRIVATE", b"PUBLIC")
    yield b"NOT-A-USABLE-KEY---" + bytes(range(48, 90))
    yield b""


class _Notebook(logging.Handler):
    """A handler that keeps every record as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.written: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the formatted record."""
        self.written.append(self.format(record))


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    root, notebook = logging.getLogger(), _Notebook()
    level = root.level
    root.addHandler(notebook)
    root.setLevel(logging.DEBUG)
    try:
        yield notebook.written
    finally:
        root.setLevel(level)
        root.removeHandler(notebook)


@check("secrets-not-logged-or-stored", "No key or token reaches the log or the store, whatever happens.")
async def not_logged(subject: Subject) -> None:
    """Search the log and the store's files after successful and failed refunds."""
    lines = _lines(secret_fields(settings_of(subject)[0]))
    with _captured_log() as written:
        async with subject.environment() as env:
            for number, fault in enumerate(("corrupt", "bad_signature", "other_refund", "drop_response", None)):
                await _one(env, number, fault)
            subject.account(keys=False).provider.refund(env.instruction(), now())
    for record in written:
        _hidden(record, lines, f"the log: {record[:40]}...")
    for file in subject.directory.glob("refunds.db*"):
        if file.is_file():
            _hidden(file.read_bytes().decode("latin-1"), lines, f"the store's file {file.name}")


async def _one(env: Environment, number: int, fault: str | None) -> None:
    if fault is not None:
        await env.control.fault(fault, "refund", **({"kind": "half_json"} if fault == "corrupt" else {}))
    await env.finish(await env.request(number))
