"""What the log of a process says about refunds: a line for each event, call, review and blocked account.

The rule of this module: fields are names, codes and numbers. What people or providers wrote stays out, and so does who
asked for a refund, which can be erased from the store and not from a log; an operator's action has a name.
"""

import logging
from typing import Any

from refundry.journal import Write
from refundry.logs import log
from refundry.provider import NotSent, Outcome, Scope
from refundry.refund import Channel, Refund

__all__ = ["log_call", "log_saved"]


def log_call(account: str, refund: Refund, operation: str, outcome: Outcome | NotSent, seconds: float) -> None:
    """Report one call to a provider."""
    log(
        logging.INFO, "call", account=account, refund=refund.refund_request_id, operation=operation,
        attempt=refund.attempts, outcome=outcome.kind, code=getattr(outcome, "code", None), ms=round(seconds * 1000),
    )  # fmt: skip


def log_saved(before: Refund | None, write: Write) -> None:
    """Report what was recorded about a refund, and the reviews and blocks that this raised or cleared."""
    after = write.refund
    names: dict[str, Any] = {"account": after.account, "refund": after.refund_request_id}
    for event in write.events:
        operator = getattr(event, "channel", None) is Channel.OPERATOR
        log(
            logging.INFO, "operator action" if operator else "recorded", **names, type=type(event).__name__,
            channel=getattr(event, "channel", None), outcome=getattr(event, "outcome", None),
            code=getattr(event, "code", None), by=getattr(event, "by", None) if operator else None,
            status=after.status, attempts=after.attempts, id=after.id,
        )  # fmt: skip
    was, now = _codes(before), _codes(after)
    for code in (code for code in now if code not in was):
        log(logging.WARNING, "review raised", **names, code=code)
    for code in (code for code in was if code not in now):
        log(logging.INFO, "review cleared", **names, code=code)
    blocked = before is not None and before.blocked is Scope.ACCOUNT
    if after.blocked is Scope.ACCOUNT and not blocked:
        log(logging.ERROR, "account blocked", **names, code=after.code)
    if blocked and after.blocked is not Scope.ACCOUNT:
        log(logging.INFO, "account no longer blocked by this refund", **names)


def _codes(refund: Refund | None) -> list[str]:
    return [] if refund is None else [review.code for review in refund.review]
