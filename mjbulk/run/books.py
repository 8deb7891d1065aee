"""What is posted to the books of a run beside the outcomes of its chunks: the stored outcomes of a run that has ended,
and rows that were read and are left without an outcome.
"""

from mjbulk.journal.history import SettledRows, UnsettledRows
from mjbulk.journal.records import rejection_of
from mjbulk.models import Counts, Unsettled
from mjbulk.outcomes.ledger import Ledger
from mjbulk.outcomes.row_set import RowSet
from mjbulk.run.run_log import RunLog


async def post_stored(ledger: Ledger, log: RunLog, counts: Counts) -> None:
    """Post what a journal knows of a run that has ended."""
    ledger.post_accepted(counts.accepted, counts.superseded)
    ledger.unknown += counts.unknown
    ledger.jobs.extend(log.history.jobs())
    unsettled, known = UnsettledRows(log.history), SettledRows(log.history)
    async for record in log.rejections():
        unsettled.note(record)
        known.note(record)
        ledger.post_rejections([rejection_of(record)])
    ledger.unsettled.extend(unsettled)
    for rows, superseded in known:
        ledger.note_accepted(rows, superseded)
    ledger.accepted_rows.remove(known.rejected)


def post_rest(ledger: Ledger, seen: RowSet, sent: RowSet | None, left: int, cause: str) -> None:
    """Post the ``left`` rows that were ``seen`` and have no outcome.

    ``sent`` are the rows that an earlier process may have sent, None if all of them are. Chunks that were not found
    again before the run stopped have such rows. They are unknown, and the others were not sent.
    """
    rest, unknown = ledger.without_outcome(seen), RowSet()
    unknown.add(row for row in rest if sent is None or row in sent)
    rest.remove(unknown)
    number = left if sent is None else len(unknown)
    ledger.post_unsettled(Unsettled(rows=tuple(unknown.ranges()), cause=cause), unknown=number)
    ledger.post_unsettled(Unsettled(rows=tuple(rest.ranges()), cause=cause), not_sent=left - number)
