"""What the rest of mjbulk asks of a journal, and the one that keeps nothing."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from mjbulk.errors import JournalRefused
from mjbulk.journal.history import History
from mjbulk.journal.info import RunInfo
from mjbulk.journal.records import Record, RejectionRecord, RunRecord

CLOSING = 30.0
"""Seconds that a journal may take to write its last records: a server may have stopped without a word."""


class Journal(Protocol):
    """Keeps records. Every call is durable when it has returned; all raise JournalError where that cannot be."""

    async def open_run(self, asked: RunRecord) -> History:
        """Begin a run, or find it as it stands; nobody else can open it until it is released.

        Raises JournalRefused where it is open elsewhere, or was begun on other terms.
        """

    async def release(self, run: RunRecord) -> None:
        """Let others open a run."""

    def later(self, *records: Record) -> None:
        """Have records written with what is put next, before it."""

    async def put(self, *records: Record) -> None:
        """Write records, each in place of the one with its key."""

    async def forget_refused(self, run: int, after: int) -> None:
        """Forget the rows after this one that were refused here."""

    async def find(self, run_id: str, partition: str, account: str) -> History | None:
        """Give a run as it stands, without opening it."""

    def rejections(self, run: int, chunk: int | None = None) -> AsyncIterator[RejectionRecord]:
        """Give the rejections of one chunk, or of the whole run, some at a time."""

    async def runs(self, account: str, run_id: str | None = None) -> Sequence[RunInfo]:
        """Give the runs of an account, the oldest first; or the partitions of one."""

    async def purge(self, run: RunRecord) -> None:
        """Forget a run. Raises JournalRefused where it is open."""

    async def notes(self, account: str) -> Mapping[str, str]:
        """Give what was learned of an account."""

    async def aclose(self) -> None:
        """Write what waits, and let go of everything."""


class _Nothing(AsyncIterator[Any]):
    async def __anext__(self) -> Any:
        raise StopAsyncIteration


class NoJournal:
    """Keeps nothing: a run ends with its process."""

    async def open_run(self, asked: RunRecord) -> History:
        """Begin a run."""
        return History(run=asked)

    async def release(self, *_: Any) -> None:
        """Nobody else could open it."""

    def later(self, *_: Any) -> None:
        """Write nothing."""

    async def put(self, *_: Any) -> None:
        """Write nothing."""

    async def forget_refused(self, *_: Any) -> None:
        """Know of none."""

    async def find(self, *_: Any) -> History | None:
        """Raise JournalRefused: whoever asks for a run wants one that was kept."""
        raise JournalRefused("this client has no journal: say journal= to keep runs")

    def rejections(self, *_: Any) -> AsyncIterator[RejectionRecord]:
        """Know nothing."""
        return _Nothing()

    async def runs(self, *_: Any) -> Sequence[RunInfo]:
        """Know nothing."""
        return ()

    async def purge(self, *_: Any) -> None:
        """Forget nothing."""

    async def notes(self, *_: Any) -> Mapping[str, str]:
        """Know nothing."""
        return {}

    async def aclose(self) -> None:
        """Let go of nothing."""
