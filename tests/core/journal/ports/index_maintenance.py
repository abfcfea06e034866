"""What every store promises about comparing its index with the log, and rebuilding it."""

from abc import abstractmethod
from pathlib import Path

from refundry.journal import Journal, Selection
from refundry.refund import Status
from tests.core.journal.ports.case import PortCase, differences, saved
from tests.core.journal.samples import new, submitted, then


class IndexMaintenanceCase(PortCase):
    """What every store promises about comparing its index with the log, and rebuilding it."""

    @abstractmethod
    def change_status(self, place: Path, refund_id: str, status: Status) -> None:
        """Change the status in the index row of a refund, bypassing the journal."""

    @abstractmethod
    def remove_row(self, place: Path, refund_id: str) -> None:
        """Remove the index row of a refund, bypassing the journal."""

    async def test_rebuilding_a_correct_index_changes_nothing(self, journal: Journal) -> None:
        """A rebuilt index has the same rows, and agrees with the log."""
        refunds = await saved(journal, *(new(f"r-{n}") for n in range(6)))
        await saved(journal, then(refunds[0], submitted()))
        rows = await journal.select(Selection())

        assert [] == await differences(journal)
        assert 6 == await journal.rebuild_index()
        assert rows == await journal.select(Selection())
        assert [] == await differences(journal)

    async def test_a_wrong_row_is_found_and_rebuilt(self, journal: Journal, tmp_path: Path) -> None:
        """A row that disagrees with the log is a difference in each field that does; rebuilding corrects it."""
        changed, _ = await saved(journal, new("a"), new("b"))
        rows = await journal.select(Selection())
        self.change_status(tmp_path, changed.id, Status.FAILED)

        assert [(changed.id, "status")] == [(each.refund_id, each.field) for each in await differences(journal)]
        assert 2 == await journal.rebuild_index()
        assert rows == await journal.select(Selection())

    async def test_a_missing_row_is_found_and_rebuilt(self, journal: Journal, tmp_path: Path) -> None:
        """A refund of the log that has no row is a difference; rebuilding lists the refund again."""
        removed, _ = await saved(journal, new("a"), new("b"))
        self.remove_row(tmp_path, removed.id)

        assert {removed.id} == {each.refund_id for each in await differences(journal)}
        assert 2 == await journal.rebuild_index()
        assert ["a", "b"] == [row.refund_request_id for row in await journal.select(Selection())]
