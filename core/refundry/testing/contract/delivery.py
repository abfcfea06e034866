"""Collecting genuine notifications from the simulator, exactly as they were posted.

The rule of this module: it only collects; the checks judge.
"""

from typing import Final

from aiohttp import web

from refundry.provider import Notification
from refundry.testing.contract.base import NotApplicable
from refundry.testing.contract.environment import Environment, Stuck

_SOON: Final = 1.5
"""Seconds after which a notification that not every provider sends counts as not sent."""


async def notified(env: Environment, number: int = 1, status: str | None = None) -> Notification:
    """Return the simulator's notification about the refund with this number, without acknowledging it.

    The refund must be in the simulator's ledger. `status` replaces the refund's own; the check does not apply to a
    provider that never notifies of that status.
    """
    data = {} if status is None else {"status": status}
    await env.control.call("POST", f"refunds/{env.instruction(number).refund_request_id}/notify", data)
    try:
        received = await (env.receiver.next() if status is None else env.receiver.next(_SOON))
    except Stuck:
        if status is None:
            raise
        raise NotApplicable(f"the provider sends no notification of {status}") from None
    received.answered.set_result(web.Response(status=503))
    return received.notification
