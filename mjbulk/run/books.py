"""What is posted to the books of a run beside the outcomes of its chunks: the stored outcomes of a run that has ended,
and rows that were read and are left without an outcome. And the report that is made of the books.
"""

from mjbulk.errors import Error
from mjbulk.journal.history import SettledRows, UnsettledRows
from mjbulk.journal.records import rejection_of
from mjbulk.models import Counts, Unsettled
from mjbulk.outcomes.ledger import Ledger
from mjbulk.outcomes.report import Report
from mjbulk.outcomes.row_set import RowSet
from mjbulk.run.run_log import RunLog
from mjbulk.terms import RunSpec


async def post_stored(ledger: Ledger, log: RunLog, counts: Counts) -> None:
    """Post what a journal knows of a run that has ended."""
    ledger.post_accepted(counts.accepted, counts.superseded)
    ledger.unknown += counts.unknown
    ledger.not_sent += counts.not_sent
    ledger.jobs.extend(log.history.jobs())
    unsettled, known = UnsettledRows(log.history), SettledRows(log.history)
    async for record in log.rejections():
        unsettled.note(record)
        known.note(record)
        ledger.post_rejections([rejection_of(record)])
    for why, sent in unsettled.with_doubt():
        ledger.note_unsettled(why, sent=sent)
    for rows, superseded in known:
        ledger.note_accepted(rows, superseded)
    ledger.accepted_rows.remove(known.rejected)
    ledger.superseded_rows.remove(known.rejected)


async def post_before(ledger: Ledger, log: RunLog, counts: Counts) -> int:
    """Post what a journal knows of the rows of a run that are in no chunk with a record, and give how many rows were
    read, as far as it knows.
    """
    run = log.history.run
    if log.gathers:
        ledger.post_accepted(run.accepted, run.superseded)
        ledger.rejected += run.rejected
        ledger.unknown += run.unknown
        ledger.not_sent += run.rows - run.accepted - run.superseded - run.rejected - run.unknown
        return counts.rows
    async for record in log.recall_rows():
        ledger.post_rejections([rejection_of(record)])
    rows = max(counts.rows, log.row_sets.read(log.history.facts.cut + log.history.refused))
    pending = log.row_sets.pending(rows)
    cause = run.cause or "it was not sent"
    ledger.post_unsettled(Unsettled(rows=pending, cause=cause), not_sent=sum(map(len, pending)))
    return rows


async def stored_report(log: RunLog, spec: RunSpec, folder: str | None) -> Report:
    """Give the report of a run that has ended, by its journal alone. Many rejections go to a file in ``folder``."""
    ledger, run, counts = Ledger(folder), log.history.run, log.history.counts()
    await post_stored(ledger, log, counts)
    return report_of(
        ledger,
        counts.rows,
        spec=spec,
        run_id=run.run_id,
        requests=run.requests,
        seconds=run.milliseconds / 1000,
        stored=True,
        halted=Error(run.cause) if run.cause else None,
    )


def report_of(
    ledger: Ledger,
    rows: int,
    *,
    spec: RunSpec,
    run_id: str,
    requests: int,
    seconds: float,
    stored: bool,
    halted: Error | None,
) -> Report:
    """Make a report of the books of a run, of which ``rows`` rows were read."""
    return Report(
        **ledger.counts(rows).as_dict(),
        spec=spec,
        run_id=run_id,
        jobs=tuple(ledger.jobs),
        requests=requests,
        seconds=seconds,
        stored=stored,
        halted=halted,
        rows_accepted=ledger.accepted_rows,
        rows_superseded=ledger.superseded_rows,
        rows_not_sent=ledger.not_sent_rows,
        rejections=ledger.rejections,
        unsettled=tuple(ledger.unsettled),
    )


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
