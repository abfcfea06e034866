"""What a plugin declares: its name, settings, terms and codes.

The rule of this module: only declarations are examined; nothing is sent.
"""

import math
import re
from collections.abc import Iterator
from typing import Final

import attrs

from refundry.provider import (
    Breaker,
    Code,
    CodeClass,
    NewId,
    NotificationHandler,
    Provider,
    ProviderPlugin,
    Resend,
    SameId,
    Terms,
)
from refundry.testing.contract.base import check, fail, require
from refundry.testing.contract.environment import Subject

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
_SAME_ID: Final = frozenset(SameId)
_NEW_ID: Final = frozenset(NewId)
_BREAKER: Final = frozenset(Breaker)
_RESENT_AUTOMATICALLY: Final = {SameId.AFTER_BACKOFF: Resend.SAME, SameId.AFTER_INQUIRY: Resend.AFTER_NOT_FOUND}
_INQUIRE_BY: Final = frozenset({"refund_request_id", "provider_refund_id"})


def rows(plugin: ProviderPlugin) -> Iterator[tuple[str, str, Code]]:
    """Yield every code of every table: the operation, the key, the row."""
    for operation, table in plugin.codes.items():
        for key, row in table.items():
            yield operation, key, row


@check(
    "declared",
    "It declares a name, a version, attrs settings and a Provider for them; its simulator has the same name.",
)
async def described(subject: Subject) -> None:
    """Check the registration."""
    plugin = subject.plugin
    require(_NAME.fullmatch(plugin.name) is not None, f"the name {plugin.name!r} does not look like acme or acme-pay")
    require(bool(plugin.version.strip()), "there is no version")
    require(attrs.has(plugin.settings), "settings is not an attrs class")
    require(subject.simulator.name == plugin.name, f"the simulator's name is {subject.simulator.name!r}")
    provider = subject.account().provider
    require(isinstance(provider, Provider), f"build returns a {type(provider).__name__}, which is not a Provider")
    parses_notifications = isinstance(provider, NotificationHandler)
    require(
        parses_notifications == plugin.notifications,
        f"notifications is {plugin.notifications}, but parse_notification exists: {parses_notifications}",
    )


@check("identity-stable", "The identity is one short line, the same for the same settings, with and without keys.")
async def identity_stable(subject: Subject) -> None:
    """Open the account three times; all of them exist at once, so that no two are the same object."""
    accounts = subject.account(), subject.account(), subject.account(keys=False)
    providers = [account.provider for account in accounts] + [account.sender() for account in accounts[:2]]
    identities = {provider.identity for provider in providers}
    require(len(identities) == 1, f"the same account has the identities {' and '.join(sorted(identities))}")
    identity = identities.pop()
    require(
        0 < len(identity) <= 300 and identity.isprintable(), "the identity is not one line of at most 300 characters"
    )


@check("terms-sane", "Every term is a number that the core can use, and no two terms contradict each other.")
async def terms_sane(subject: Subject) -> None:
    """Check the plugin's own terms and those of the account."""
    account = subject.account()
    require(account.provider.terms == account.terms, "the provider does not use the terms it was built with")
    terms = subject.plugin.terms
    for field in attrs.fields(Terms):
        value = getattr(terms, field.name)
        numbers = value if field.name == "inquiry_intervals" else (value,)
        if isinstance(value, int | float | tuple) and not isinstance(value, bool) and field.name != "inquire_by":
            fine = bool(numbers) and all(math.isfinite(number) and number > 0 for number in numbers)
            require(fine, f"{field.name} is {value}; it must be greater than zero")
    unknown = set(terms.inquire_by) - _INQUIRE_BY
    require(bool(terms.inquire_by) and not unknown, f"inquire_by must name some of {', '.join(sorted(_INQUIRE_BY))}")
    require(Resend.NEVER not in terms.resend_after, "resend_after contains `never`, after which nothing may be sent")
    try:
        re.compile(f"[{terms.id_characters}]+", re.ASCII)
    except re.error:
        fail("id_characters is not valid inside a character class")


@check("codes-sane", "Every code is listed under its own name, with a cause, an advice and known rules.")
async def codes_sane(subject: Subject) -> None:
    """Check each row."""
    for operation in ("refund", "inquire"):
        require(bool(subject.plugin.codes.get(operation)), f"there is no table for {operation}")
    for operation, key, row in rows(subject.plugin):
        where = f"{operation} {key}"
        require(row.code == key, f"{where}: its row is about {row.code}")
        require(len(row.cause) > 3 and len(row.advice) > 3, f"{where}: lacks a cause or an advice")
        for field, known in (("same_id", _SAME_ID), ("new_id", _NEW_ID), ("breaker", _BREAKER)):
            value = getattr(row, field)
            require(value in known, f"{where}: {field} is {value!r}, which is not one of {', '.join(sorted(known))}")


@check(
    "codes-consistent", "What a code allows (same id, new id, what is put on hold) agrees with its class and the terms."
)
async def codes_consistent(subject: Subject) -> None:
    """Compare each row with its class."""
    for operation, key, row in rows(subject.plugin):
        wrong = _inconsistent(operation, row, subject.plugin.terms)
        require(wrong is None, f"{operation} {key} is {row.meaning}: {wrong}")


def _inconsistent(operation: str, row: Code, terms: Terms) -> str | None:
    meaning, resend = row.meaning, _RESENT_AUTOMATICALLY.get(row.same_id)
    if resend is not None and meaning not in _RESENDABLE:
        return f"same_id is `{row.same_id}`; only an outcome that is not known may be sent again"
    if resend is not None and resend not in terms.resend_after:
        return f"same_id is `{row.same_id}`, which the terms do not allow"
    if meaning is CodeClass.NOT_FOUND and operation != "inquire":
        return "only an inquiry can be answered with it"
    if row.new_id != NewId.NEVER and meaning not in _MAY_BE_REPLACED:
        return f"new_id is `{row.new_id}`; a new id could pay twice while this one may still pay"
    if (meaning is CodeClass.FAILED_NEW_ID) != (row.new_id == NewId.REQUIRED):
        return "new_id must be `required` exactly if the class requires a new id"
    if (meaning is CodeClass.MISCONFIGURED) != (row.breaker == Breaker.ACCOUNT):
        return "breaker must be `account` exactly if the configuration is wrong"
    if meaning is CodeClass.BAD_REQUEST and row.breaker != Breaker.REQUEST:
        return "breaker must be `request` if a single request is wrong"
    return None


_RESENDABLE: Final = frozenset({CodeClass.RETRY, CodeClass.INDETERMINATE, CodeClass.NOT_FOUND, CodeClass.UNCHANGED})
_MAY_BE_REPLACED: Final = frozenset(
    {
        CodeClass.FAILED,
        CodeClass.FAILED_NEW_ID,
        CodeClass.FAILED_UNCONFIRMED,
        CodeClass.MISCONFIGURED,
        CodeClass.BAD_REQUEST,
        CodeClass.INDETERMINATE,
    }
)


def handles_notifications(subject: Subject) -> bool:
    """Return whether the plugin handles notifications."""
    return isinstance(subject.account().provider, NotificationHandler)
