"""A small drawing surface: shapes and text in, one deterministic SVG file out.

Each picture has its own background, so that it is readable on a light page and on a dark one, and follows the reader's
color scheme. Nothing is measured by a browser: text widths are estimated, generously.
"""

from collections.abc import Iterable
from html import escape
from typing import Final, Literal

Anchor = Literal["start", "middle", "end"]

_NARROW: Final = frozenset("ijlI.,:;'|!")
_SLIM: Final = frozenset('frt()[]-/ "')
_WIDE: Final = frozenset("mwMW@%")
_LIGHT: Final = {
    "paper": "#ffffff",
    "frame": "#d5dae1",
    "ink": "#1f2933",
    "soft": "#52606d",
    "line": "#7b8794",
    "box": "#f5f7fa",
    "edge": "#b8c2cc",
    "accent": "#0b69a3",
    "tint": "#e3f0f9",
    "good": "#147d64",
    "goodtint": "#e3f6f0",
    "bad": "#ba2525",
    "badtint": "#fdeaea",
}
_DARK: Final = {
    "paper": "#171b20",
    "frame": "#343c46",
    "ink": "#e6eaee",
    "soft": "#a6b1bd",
    "line": "#8793a0",
    "box": "#222830",
    "edge": "#4a5561",
    "accent": "#6cc0f2",
    "tint": "#17324a",
    "good": "#5fd3b3",
    "goodtint": "#14372e",
    "bad": "#ff8f8f",
    "badtint": "#46201f",
}
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_MONO: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def text_width(text: str, size: float, *, bold: bool = False, mono: bool = False) -> float:
    """Return about how wide a line of text is, on the generous side: the widest of the usual fonts."""
    if mono:
        return len(text) * size * 0.62
    ems = sum(_ems(character) for character in text)
    return ems * size * (1.08 if bold else 1.0)


def _ems(character: str) -> float:
    if character in _NARROW:
        return 0.31
    if character in _SLIM:
        return 0.39
    if character in _WIDE:
        return 0.95
    return 0.7 if character.isupper() else 0.61


class Drawing:
    """One picture of a fixed size; shapes are drawn in the order in which they are added."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self.width = width
        self.height = height
        self._title = title
        self._description = description
        self._shapes: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, kind: str = "box", *, radius: float = 6
    ) -> None:  # fmt: skip
        """Add a rectangle with rounded corners; its kind is a style class."""
        self._shapes.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"/>'
        )

    def text(self, x: float, y: float, text: str, kind: str = "", *, anchor: Anchor = "start") -> None:
        """Add one line of text with its baseline at `y`."""
        place = "" if anchor == "start" else f' text-anchor="{anchor}"'
        style = f' class="{kind}"' if kind else ""
        self._shapes.append(f'<text x="{x:g}" y="{y:g}"{place}{style}>{escape(text, quote=False)}</text>')

    def line(self, points: Iterable[tuple[float, float]], kind: str = "line", *, arrow: bool = False) -> None:
        """Add a line through points, with an arrowhead at the end if wanted."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        head = f' marker-end="url(#{kind.split()[0]}-head)"' if arrow else ""
        self._shapes.append(f'<polyline class="{kind}" points="{path}"{head}/>')

    def curve(
        self,
        start: tuple[float, float],
        bend: tuple[tuple[float, float], tuple[float, float]],
        end: tuple[float, float],
        kind: str = "line",
    ) -> None:
        """Add a curved arrow from one point to another, bent towards two more."""
        (x1, y1), (x2, y2) = bend
        path = f"M{start[0]:g},{start[1]:g} C{x1:g},{y1:g} {x2:g},{y2:g} {end[0]:g},{end[1]:g}"
        self._shapes.append(f'<path class="arrow {kind}" d="{path}" marker-end="url(#{kind.split()[0]}-head)"/>')

    def circle(self, x: float, y: float, radius: float, kind: str) -> None:
        """Add a circle."""
        self._shapes.append(f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>')

    def svg(self) -> str:
        """Return the whole picture as an SVG document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" aria-labelledby="title description">'
        )
        return "\n".join(
            [
                head,
                f'<title id="title">{escape(self._title, quote=False)}</title>',
                f'<desc id="description">{escape(self._description, quote=False)}</desc>',
                f"<style>\n{_style()}\n</style>",
                "<defs>",
                *(_head(name) for name in ("line", "accent", "good", "bad")),
                "</defs>",
                f'<rect class="paper" x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="10"/>',
                *self._shapes,
                "</svg>",
                "",
            ]
        )


def _head(name: str) -> str:
    return (
        f'<marker id="{name}-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path class="{name}-head" d="M0,0.5 L10,5 L0,9.5 z"/></marker>'
    )


def _style() -> str:
    light = _rules(_LIGHT)
    dark = _rules(_DARK)
    shared = [
        f"text {{ font: 13px {_FONT}; }}",
        "text.title { font-size: 15px; font-weight: 600; }",
        "text.name { font-weight: 600; }",
        "text.small { font-size: 11.5px; }",
        f"text.code {{ font: 12px {_MONO}; }}",
        "polyline, path.arrow { fill: none; stroke-width: 1.4; }",
        "polyline.dashed, path.dashed { stroke-dasharray: 5 4; }",
        "polyline.faint { stroke-width: 1; stroke-dasharray: 2 4; }",
    ]
    return "\n".join([*shared, *light, "@media (prefers-color-scheme: dark) {", *dark, "}"])


def _rules(colors: dict[str, str]) -> list[str]:
    rules = [
        f".paper {{ fill: {colors['paper']}; stroke: {colors['frame']}; }}",
        f".box {{ fill: {colors['box']}; stroke: {colors['edge']}; }}",
        f".mark {{ fill: {colors['paper']}; stroke: none; }}",
        f"text {{ fill: {colors['ink']}; }}",
        f"text.soft, text.small {{ fill: {colors['soft']}; }}",
        f".line {{ stroke: {colors['line']}; }} .line-head {{ fill: {colors['line']}; }}",
    ]
    for name, tint in (("accent", "tint"), ("good", "goodtint"), ("bad", "badtint")):
        color = colors[name]
        rules.append(f"polyline.{name}, path.{name} {{ stroke: {color}; }} .{name}-head {{ fill: {color}; }}")
        rules.append(f"rect.{name}, circle.{name} {{ fill: {colors[tint]}; stroke: {color}; }}")
        rules.append(f"text.{name} {{ fill: {color}; }}")
    return rules
