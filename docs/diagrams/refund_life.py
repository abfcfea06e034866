"""The life of one refund whose reply is lost, as a sequence diagram."""

from typing import Final

import attrs

from docs.diagrams.svg import Anchor, Drawing, text_width

_LANES: Final = ("Platform", "Gateway", "Store", "Worker", "Provider")
_LEFT: Final = 90
_GAP: Final = 200
_TOP: Final = 84
_ROW: Final = 46
_WIDTH: Final = 2 * _LEFT + (len(_LANES) - 1) * _GAP


@attrs.frozen
class Message:
    """An arrow from one lane to another."""

    source: str
    target: str
    text: str
    kind: str = "line"
    reply: bool = False
    lost: bool = False


@attrs.frozen
class Note:
    """A remark at one lane."""

    lane: str
    text: str
    kind: str


@attrs.frozen
class Divider:
    """Time passes."""

    text: str


_STEPS: Final[tuple[Message | Note | Divider, ...]] = (
    Message("Platform", "Gateway", "request case-1, 12.33 EUR"),
    Message("Gateway", "Store", "Requested + Submitted", "accent"),
    Note("Store", "durable before the first byte is sent", "accent"),
    Message("Gateway", "Provider", "refund case-1, 12.33 EUR (signed)"),
    Note("Provider", "the money moves", "good"),
    Message("Provider", "Gateway", "reply", "bad", reply=True, lost=True),
    Message("Gateway", "Store", "Inquired: unknown", "accent"),
    Message("Gateway", "Platform", "status: unknown", reply=True),
    Divider("the inquiry is due; the platform may have restarted meanwhile"),
    Message("Worker", "Store", "take refunds that are due"),
    Message("Worker", "Provider", "inquire about case-1"),
    Message("Provider", "Worker", "done, 12.33 EUR (signed)", reply=True),
    Note("Worker", "signature, id, amount and currency match", "good"),
    Message("Worker", "Store", "Settled + evidence", "accent"),
    Message("Worker", "Platform", "observer: Settled", reply=True),
    Divider("the provider's notification arrives"),
    Message("Provider", "Gateway", "notification: case-1 is done (signed)"),
    Note("Gateway", "verified; nothing new to record", "good"),
    Message("Gateway", "Provider", "acknowledgement", reply=True),
)


def _x(lane: str) -> float:
    return _LEFT + _LANES.index(lane) * _GAP


def draw() -> Drawing:
    """Return the picture."""
    height = _TOP + _ROW * len(_STEPS) + 40
    drawing = Drawing(
        _WIDTH,
        height,
        "The life of a refund whose reply is lost",
        "The platform requests a refund. The gateway records Requested and Submitted before it calls the provider. The "
        "reply is lost, so the refund is unknown. A worker inquires, the provider confirms, and Settled is recorded. "
        "The notification that follows is verified and acknowledged; it adds nothing.",
    )
    for lane in _LANES:
        drawing.line([(_x(lane), 58), (_x(lane), height - 22)], "line faint")
    for lane in _LANES:
        width = text_width(lane, 13, bold=True) + 32
        drawing.box(_x(lane) - width / 2, 24, width, 34)
        drawing.text(_x(lane), 46, lane, "name", anchor="middle")
    for row, step in enumerate(_STEPS):
        y = _TOP + _ROW * row + _ROW / 2
        if isinstance(step, Message):
            _message(drawing, step, y)
        elif isinstance(step, Note):
            _note(drawing, step, y)
        else:
            _divider(drawing, step, y)
    return drawing


def _message(drawing: Drawing, step: Message, y: float) -> None:
    start, end = _x(step.source), _x(step.target)
    if step.lost:
        end = (start + end) / 2
    direction = 1 if end > start else -1
    style = f"{step.kind} dashed" if step.reply else step.kind
    drawing.line([(start + 3 * direction, y), (end - 3 * direction, y)], style, arrow=not step.lost)
    kind = "" if step.kind == "line" else step.kind
    if abs(end - start) <= _GAP and not step.lost:
        _label(drawing, (start + end) / 2, y - 8, step.text, kind)
    else:
        _label(drawing, start + 14 * direction, y - 8, step.text, kind, anchor="start" if direction > 0 else "end")
    if step.lost:
        for slope in (1, -1):
            drawing.line([(end - 6, y - 6 * slope), (end + 6, y + 6 * slope)], step.kind)
        _label(drawing, end - 14, y + 4, "lost", step.kind, anchor="end")


def _label(drawing: Drawing, x: float, y: float, text: str, kind: str, *, anchor: Anchor = "middle") -> None:
    width = text_width(text, 13) + 8
    left = {"start": x - 4, "middle": x - width / 2, "end": x - width + 4}[anchor]
    drawing.box(left, y - 13, width, 17, "mark", radius=2)
    drawing.text(x, y, text, kind, anchor=anchor)


def _note(drawing: Drawing, step: Note, y: float) -> None:
    width = text_width(step.text, 13) + 24
    x = min(max(_x(step.lane) - width / 2, 12), _WIDTH - width - 12)
    drawing.box(x, y - 17, width, 28, step.kind)
    drawing.text(x + width / 2, y + 1, step.text, step.kind, anchor="middle")


def _divider(drawing: Drawing, step: Divider, y: float) -> None:
    drawing.line([(24, y), (_WIDTH - 24, y)], "line dashed")
    _label(drawing, _WIDTH / 2, y + 4, step.text, "soft")
