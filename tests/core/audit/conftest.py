"""A journal on a real file."""

from tests.core.journal.conftest import journal, path

__all__ = ["journal", "path"]
