"""The page of Alipay's codes says what the tables say."""

from pathlib import Path

from tests.plugins.alipay.codes_doc import codes_page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "alipay-codes.md"


def test_the_page_shows_the_tables() -> None:
    """The checked-in page is the one that the tables give."""
    assert codes_page() == PAGE.read_text(encoding="utf-8")
