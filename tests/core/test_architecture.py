"""The page and the picture of the architecture are those of the code."""

import pkgutil
import re
from pathlib import Path
from typing import Final

import refundry
from docs.diagrams.architecture import PACKAGES, layers

PAGE: Final = Path(__file__).parents[2] / "docs" / "architecture.md"
CORE: Final = Path(refundry.__file__).parent


def test_the_layers_have_every_package() -> None:
    """Layers, picture and page name exactly the packages and modules of the core, each once."""
    tree = sorted(module.name for module in pkgutil.iter_modules([str(CORE)]) if module.name != "__main__")
    text = PAGE.read_text(encoding="utf-8")

    assert tree == sorted(name for row in layers() for name in row)
    assert tree == sorted(PACKAGES)
    assert [name for row in layers() for name in row] == re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def test_everything_that_is_named_exists() -> None:
    """Every dotted name on the page is a package, a module or something in one."""
    named = sorted(set(re.findall(r"`(refundry(?:\.(?!toml)\w+)+)`", PAGE.read_text(encoding="utf-8"))))
    missing = []
    for name in named:
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.append(name)

    assert len(named) > 20
    assert [] == missing
