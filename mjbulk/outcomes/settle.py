"""What became of the entries of a job: which row an error means, and whether Mailjet's counts agree with what was sent.

A row is accepted when its job completed, its error file was read to the end where one was announced, every error in it
matched a row, and the counts agree. Anything less is ``unknown``: an error that matches no row may mean any of them.

What Count means is not known: contacts processed, or contacts imported. Both readings agree where nothing was rejected;
where something was, either is taken. More than was sent is no loss; fewer is.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from attrs import define, field, frozen

from mjbulk.mailjet.replies import JobReply
from mjbulk.models import Match
from mjbulk.outcomes.error_file import EMPTY, MISSING, ErrorFile, RowError
from mjbulk.rows.addresses import key_of


@frozen
class MatchedError:
    """An error and the entries of the chunk that it may mean."""

    error: RowError
    indexes: Sequence[int]
    match: Match


@define
class JobOutcome:
    """What became of the entries of one job."""

    rejected: dict[int, MatchedError] = field(factory=dict)
    """Entries that are refused for certain."""
    unassigned: list[MatchedError] = field(factory=list)
    """Errors of which nobody can say which entry they mean."""
    cause: str | None = None
    """Why all entries that are not rejected are unknown; None where they are accepted."""
    mismatch: str | None = None
    """What does not agree although the entries are accepted."""
    final: bool = True
    """False where another look may show figures that agree: counts lag."""


def announces_errors(job: JobReply) -> bool:
    """Whether a job says that it has an error file."""
    return bool(job.error_file or job.error or (job.errcount or 0) > 0)


def relevant_file(job: JobReply, file: ErrorFile | None) -> ErrorFile | None:
    """Give the error file of a job, or None where there is nothing in it and nothing announced it."""
    nothing = file is None or (not file.errors and file.problem in (MISSING.problem, EMPTY.problem))
    return None if nothing and not announces_errors(job) else file


def settle(
    job: JobReply,
    file: ErrorFile | None,
    addresses: Sequence[str],
    *,
    sent: int,
    on_mismatch: Literal["unknown", "accept"] = "unknown",
    includes_rejected: bool | None = None,
) -> JobOutcome:
    """Settle the entries of a job that has ended.

    ``file`` is its error file, None where none was announced; ``addresses`` are those of the ``sent`` entries, and are
    looked at only where the file names errors.
    """
    file = relevant_file(job, file)
    outcome = JobOutcome()
    errors = file.errors if file else ()
    for matched in match_errors(errors, addresses):
        if len(matched.indexes) == 1:
            outcome.rejected.setdefault(matched.indexes[0], matched)
        else:
            outcome.unassigned.append(matched)
    completed = job.status.strip().casefold() == "completed"
    if not completed:
        outcome.cause = f"its job ended as {job.status.strip()!r}"
        outcome.final = file is None or file.problem is None
    elif problem := _problem_of_errors(outcome, job, file):
        outcome.cause, outcome.final = problem, False
    elif problem := disagreement(job, sent=sent, rejected=len(outcome.rejected), includes_rejected=includes_rejected):
        if on_mismatch == "accept":
            outcome.mismatch = problem
        else:
            outcome.cause = problem
        outcome.final = False
    elif (job.count or 0) > sent:
        outcome.mismatch = f"Mailjet counted {job.count} contacts, {sent} were sent"
    return outcome


def _problem_of_errors(outcome: JobOutcome, job: JobReply, file: ErrorFile | None) -> str | None:
    if file is None and announces_errors(job):
        return "its error file was not read"
    if file is not None and file.problem:
        return file.problem
    if outcome.unassigned:
        return f"{len(outcome.unassigned)} of its errors match no single row"
    named = len(file.errors) if file else 0
    if job.errcount is not None and job.errcount != named:
        return f"Errcount is {job.errcount}, and its error file names {named} rows"
    return None


def disagreement(job: JobReply, *, sent: int, rejected: int, includes_rejected: bool | None = None) -> str | None:
    """Say where the counts of a completed job do not agree with what was sent; None where they do."""
    if job.count is None:
        return "it tells no Count"
    for name, figure in (("Count", job.count), ("Current", job.current)):
        told = figure is not None and (name == "Count" or figure > 0)
        if told and figure is not None and figure < sent and (includes_rejected or figure != sent - rejected):
            return f"{name} is {figure}, {sent} contacts were sent and {rejected} of them rejected"
    return None


def match_errors(errors: Sequence[RowError], addresses: Sequence[str]) -> Iterator[MatchedError]:
    """Find for each error the entries of the chunk that it means.

    ``exact``: the address of the error is the address of one entry. ``by_key``: an address that the error mentions
    elsewhere is. ``ambiguous``: several are. ``unmatched``: none is, or the error names somebody who is not in the
    chunk.
    """
    if not errors:
        return
    index_of = {key_of(address): index for index, address in enumerate(addresses)}
    for error in errors:
        yield _match(error, index_of)


def _match(error: RowError, index_of: Mapping[str, int]) -> MatchedError:
    if error.email is not None and error.sure:
        index = index_of.get(key_of(error.email))
        return MatchedError(error, (), "unmatched") if index is None else MatchedError(error, (index,), "exact")
    mentioned = {index_of[key] for cell in error.cells if (key := key_of(cell)) in index_of}
    if len(mentioned) == 1:
        return MatchedError(error, tuple(mentioned), "by_key")
    return MatchedError(error, tuple(sorted(mentioned)), "ambiguous" if mentioned else "unmatched")
