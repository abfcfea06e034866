"""Getting a genuine notification out of the simulator, as it was posted.

The rule of this module: it only collects; what a notification is worth is for the checks to say.
"""

from typing import Final

from aiohttp import web

from refundry.provider import Notification
from refundry.testing.contract.base import NotApplicable
from refundry.testing.contract.environment import Stage, Stuck

_SOON: Final = 1.5
"""Seconds after which a notification that some providers do not send counts as not sent."""


async def notified(stage: Stage, number: int = 1, status: str | None = None) -> Notification:
    """Let the simulator notify of the refund with this number, which must be in its books; it is not acknowledged.

    `status` is what is told instead of the refund's own; a provider that never tells that is no subject for the check.
    """
    data = {} if status is None else {"status": status}
    await stage.control.call("POST", f"refunds/{stage.instruction(number).refund_request_id}/notify", data)
    try:
        letter = await (stage.box.next() if status is None else stage.box.next(_SOON))
    except Stuck:
        if status is None:
            raise
        raise NotApplicable(f"the provider sends no notification of {status}") from None
    letter.answered.set_result(web.Response(status=503))
    return letter.notification
