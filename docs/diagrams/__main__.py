"""Draw the pictures of the documentation again: `python -m docs.diagrams`."""

from pathlib import Path
from typing import Final

from docs.diagrams import architecture, overview, refund_life, transitions

IMAGES: Final = Path(__file__).parents[1] / "images"
PICTURES: Final = {
    "architecture.svg": architecture.draw,
    "overview.svg": overview.draw,
    "refund-life.svg": refund_life.draw,
    "transitions.svg": transitions.draw,
}


def main() -> None:
    """Write every picture to `docs/images`."""
    IMAGES.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (IMAGES / name).write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
