"""Refundry between a platform and its payment providers, as the README shows it."""

from typing import Final

from docs.diagrams.svg import Drawing

_USERS: Final = (("Your platform", "Python API"), ("Operators", "command line"), ("Auditors", "exports, proofs"))
_PARTS: Final = (
    ("Gateway", "records, then sends"),
    ("Workers", "inquire, resend, escalate"),
    ("Notifications", "verified, then recorded"),
    ("Audit", "signs, verifies, replays"),
)
_PROVIDERS: Final = ("Antom", "Alipay", "AlphaPay", "your plugin")
_STORE: Final = ("Store", "append-only events, evidence, a signed Merkle tree")
_MIDDLE: Final = 246
_MIDDLE_WIDTH: Final = 488
_RIGHT: Final = 806
_ROW: Final = 62


def draw() -> Drawing:
    """Return the picture."""
    drawing = Drawing(
        980,
        336,
        "Refundry between a platform and its payment providers",
        "A platform uses Refundry through its Python API, operators through the command line, auditors through exports "
        "and proofs. Refundry has a gateway, workers, a receiver of notifications and an audit on one store. It talks "
        "to Antom, Alipay, AlphaPay and other providers through plugins.",
    )
    drawing.box(_MIDDLE, 24, _MIDDLE_WIDTH, 288, "accent", radius=10)
    drawing.text(_MIDDLE + 20, 52, "Refundry", "title")
    for number, (name, text) in enumerate(_PARTS):
        x = _MIDDLE + 20 + number % 2 * 228
        y = 70 + number // 2 * (_ROW + 14)
        _labeled(drawing, x, y, 220, name, text)
    _labeled(drawing, _MIDDLE + 20, 226, _MIDDLE_WIDTH - 40, *_STORE, kind="good")
    for number, (name, text) in enumerate(_USERS):
        y = 44 + number * 92
        _labeled(drawing, 24, y, 148, name, text)
        drawing.line([(176, y + 31), (_MIDDLE - 5, y + 31)], "line", arrow=True)
    for number, name in enumerate(_PROVIDERS):
        y = 42 + number * 66
        drawing.box(_RIGHT, y, 150, 46)
        drawing.text(_RIGHT + 75, y + 28, name, "soft" if number == len(_PROVIDERS) - 1 else "name", anchor="middle")
        drawing.line([(_MIDDLE + _MIDDLE_WIDTH + 5, y + 17), (_RIGHT - 4, y + 17)], "line", arrow=True)
        drawing.line([(_RIGHT - 4, y + 31), (_MIDDLE + _MIDDLE_WIDTH + 5, y + 31)], "line dashed", arrow=True)
    return drawing


def _labeled(drawing: Drawing, x: float, y: float, width: float, name: str, text: str, kind: str = "box") -> None:
    drawing.box(x, y, width, _ROW, kind)
    drawing.text(x + 14, y + 26, name, "name")
    drawing.text(x + 14, y + 46, text, "small")
