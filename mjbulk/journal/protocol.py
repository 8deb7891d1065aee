"""What mjbulk needs of a journal, and the journal that keeps nothing."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from mjbulk.errors import JournalRefused
from mjbulk.journal.history import History
from mjbulk.journal.info import RunInfo
from mjbulk.journal.records import Record, RejectionRecord, RunRecord

CLOSING = 30.0
"""Seconds that a journal may take to write its last records. Its server may no longer answer."""


UNDER_WAY = "run.under_way"
"""The kind of the JournalRefused that says that somebody has a run open."""
UNKNOWN = "run.unknown"
"""The kind of the UsageError that says that a run is not in the journal."""


class Journal(Protocol):
    """Keeps records. What a call has written is durable when the call returns.

    All calls raise JournalError if the journal cannot be used.
    """

    async def open_run(self, asked: RunRecord) -> History:
        """Give what is known about a run; if there is none, the run that the caller wants. Nobody else can open it
        until it is released. A call that is cancelled releases it at once. Nothing is written: the caller that begins a
        run puts its record.

        Raises JournalRefused if somebody else has it open, if it was begun on other terms, or if the version that began
        it must end it.
        """

    async def release(self, run: RunRecord, *, forget: bool = False) -> None:
        """Let others open a run. Records of it that wait for the next `put` are dropped. Forget all of the run before,
        if that is wanted.
        """

    def later(self, *records: Record) -> None:
        """Keep records in memory until the next `put`, which writes them before its own."""

    async def put(self, *records: Record, run: int | None = None) -> None:
        """Write records, those of a ``run`` that wait among them. A record replaces the one with the same key.

        Raises JournalError, too, if another process has taken the run: then nothing of the run is written any more.
        """

    async def forget_refused(self, run: int, after: int, rows: Sequence[int] = ()) -> None:
        """Forget the rejections of rows that mjbulk refused: of these rows, and of all rows after one."""

    async def find(self, run_id: str, partition: str, account: str) -> History | None:
        """Give what is known about a run, without opening it."""

    def rejections(self, run: int, chunk: int | None = None) -> AsyncIterator[RejectionRecord]:
        """Give the rejections of a chunk, or of the whole run. Few of them are in memory at once."""

    async def runs(self, account: str, run_id: str | None = None) -> Sequence[RunInfo]:
        """Give the runs of an account, or the partitions of one run. The oldest comes first."""

    async def purge(self, run: RunRecord) -> None:
        """Forget a run, and its records that wait to be written. Raises JournalRefused if somebody has it open."""

    async def notes(self, account: str) -> Mapping[str, str]:
        """Give the texts about an account by their names."""

    async def aclose(self, within: float = CLOSING) -> None:
        """Write the records that wait, and close. It takes ``within`` seconds at most."""


class _Nothing(AsyncIterator[Any]):
    async def __anext__(self) -> Any:
        raise StopAsyncIteration


class NoJournal:
    """A journal that keeps nothing: no run can go on after its process has ended."""

    async def open_run(self, asked: RunRecord) -> History:
        """Begin a run."""
        return History(run=asked, begun=False)

    async def release(self, *_: Any, **__: Any) -> None:
        """Do nothing: nobody else could open it."""

    def later(self, *_: Any) -> None:
        """Write nothing."""

    async def put(self, *_: Any, **__: Any) -> None:
        """Write nothing."""

    async def forget_refused(self, *_: Any) -> None:
        """Forget nothing."""

    async def find(self, *_: Any) -> History | None:
        """Raise JournalRefused: no run was kept."""
        raise JournalRefused("this client has no journal: say journal= to keep runs")

    def rejections(self, *_: Any) -> AsyncIterator[RejectionRecord]:
        """Give nothing."""
        return _Nothing()

    async def runs(self, *_: Any) -> Sequence[RunInfo]:
        """Give nothing."""
        return ()

    async def purge(self, *_: Any) -> None:
        """Forget nothing."""

    async def notes(self, *_: Any) -> Mapping[str, str]:
        """Give nothing."""
        return {}

    async def aclose(self, within: float = CLOSING) -> None:  # of the protocol
        """Close nothing."""
