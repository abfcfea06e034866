"""Write every generated page and picture of the documentation again: `python -m tests.pages`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs.diagrams.__main__ import main as draw_pictures
from tests.core.api_doc import api_page
from tests.core.cli_doc import cli_page
from tests.core.contract_doc import contract_page
from tests.core.transitions_doc import transitions_page
from tests.plugins.alipay.codes_doc import codes_page as alipay_codes
from tests.plugins.alphapay.codes_doc import codes_page as alphapay_codes
from tests.plugins.antom.codes_doc import codes_page as antom_codes

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"
PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "alipay-codes.md": alipay_codes,
    "alphapay-codes.md": alphapay_codes,
    "antom-codes.md": antom_codes,
    "api.md": api_page,
    "cli.md": cli_page,
    "contract.md": contract_page,
    "transitions.md": transitions_page,
}


def main() -> None:
    """Write the pages and the pictures."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    draw_pictures()


if __name__ == "__main__":
    main()
