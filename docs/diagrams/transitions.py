"""The transition table of a refund as a picture: one arrow for each pair of statuses and event."""

from collections.abc import Mapping
from typing import Final

from docs.diagrams.svg import Drawing
from refundry.refund import FINAL, TRANSITIONS, Status

Point = tuple[float, float]
Path = tuple[Point, tuple[Point, Point], Point]

_BOX: Final = (124, 44)
_PLACES: Final[Mapping[str, Point]] = {
    "requested": (124, 236),
    "submitted": (344, 236),
    "pending": (570, 126),
    "unknown": (570, 346),
    "settled": (850, 126),
    "failed": (850, 346),
}
_PATHS: Final[Mapping[tuple[str, str], Path]] = {
    ("requested", "submitted"): ((186, 230), ((214, 230), (250, 230)), (278, 230)),
    ("submitted", "requested"): ((282, 246), ((250, 262), (214, 262)), (190, 247)),
    ("requested", "requested"): ((76, 214), ((50, 168), (120, 168)), (102, 210)),
    ("requested", "pending"): ((140, 214), ((190, 130), (400, 116)), (504, 120)),
    ("requested", "settled"): ((118, 214), ((190, 10), (660, 10)), (806, 100)),
    ("requested", "failed"): ((118, 258), ((190, 464), (660, 464)), (806, 372)),
    ("submitted", "pending"): ((380, 214), ((410, 180), (450, 150)), (504, 136)),
    ("submitted", "unknown"): ((366, 258), ((400, 310), (450, 336)), (504, 346)),
    ("submitted", "settled"): ((406, 230), ((560, 214), (700, 190)), (784, 142)),
    ("submitted", "failed"): ((406, 242), ((560, 258), (700, 282)), (784, 330)),
    ("pending", "pending"): ((540, 104), ((526, 64), (614, 64)), (602, 100)),
    ("pending", "settled"): ((632, 120), ((680, 112), (730, 112)), (784, 120)),
    ("pending", "failed"): ((612, 148), ((670, 190), (780, 240)), (822, 320)),
    ("unknown", "submitted"): ((508, 332), ((450, 316), (410, 290)), (386, 262)),
    ("unknown", "unknown"): ((540, 368), ((526, 408), (614, 408)), (602, 372)),
    ("unknown", "pending"): ((570, 324), ((570, 270), (570, 210)), (570, 152)),
    ("unknown", "settled"): ((612, 324), ((670, 282), (780, 232)), (822, 152)),
    ("unknown", "failed"): ((632, 352), ((680, 360), (730, 360)), (784, 352)),
    ("settled", "settled"): ((830, 104), ((816, 64), (904, 64)), (882, 100)),
    ("settled", "failed"): ((870, 148), ((884, 210), (884, 270)), (872, 320)),
    ("failed", "failed"): ((830, 368), ((816, 408), (904, 408)), (882, 372)),
    ("failed", "settled"): ((896, 324), ((912, 270), (912, 210)), (898, 152)),
}
_KINDS: Final[Mapping[str, str]] = {"submitted": "accent", "inquired": "line", "settled": "good", "failed": "bad"}
_LABELS: Final = (("not sent", 214, 274), ("pending", 240, 132), ("pending", 420, 152))


def draw() -> Drawing:
    """Return the picture."""
    rows = [f"{source} to {target}: {trigger}" for (source, trigger), target in TRANSITIONS.items()]
    drawing = Drawing(980, 488, "The transitions of a refund", "; ".join(rows) + ".")
    drawing.circle(28, 236, 6, "accent")
    drawing.line([(36, 236), (58, 236)], "line", arrow=True)
    for (source, trigger), target in TRANSITIONS.items():
        event = trigger.split()[0]
        kind = _KINDS[event] + (" dashed" if trigger.endswith("by an operator") else "")
        drawing.curve(*_moved(_PATHS[source, target], target == source and "dashed" in kind), kind)
    for status in Status:
        x, y = _PLACES[status]
        kind = {"settled": "good", "failed": "bad"}[status] if status in FINAL else "box"
        drawing.box(x - _BOX[0] / 2, y - _BOX[1] / 2, *_BOX, kind, radius=22)
        drawing.text(x, y + 5, status, "name", anchor="middle")
    for text, x, y in _LABELS:
        drawing.text(x, y, text, "small", anchor="middle")
    _legend(drawing)
    return drawing


def _moved(path: Path, outwards: bool) -> Path:
    """Return a second loop at the same place a little larger, so that both are seen."""
    if not outwards:
        return path
    (x1, y1), ((x2, y2), (x3, y3)), (x4, y4) = path
    rise = 26 if y2 > y1 else -26
    return (x1 - 10, y1), ((x2 - 24, y2 + rise), (x3 + 24, y3 + rise)), (x4 + 10, y4)


def _legend(drawing: Drawing) -> None:
    entries = (
        ("Submitted", "accent"),
        ("Inquired", "line"),
        ("Settled", "good"),
        ("Failed", "bad"),
        ("by an operator only", "line dashed"),
    )
    for number, (text, kind) in enumerate(entries):
        x = 40 + number * 130
        drawing.line([(x, 466), (x + 30, 466)], kind, arrow=True)
        drawing.text(x + 40, 470, text, "small")
