"""The books: which row an error means, and whether what Mailjet counted agrees with what was sent.

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
from mjbulk.outcomes.error_file import EMPTY, MISSING, Entry, ErrorFile
from mjbulk.rows.addresses import key_of


@frozen
class Matched:
    """An error and the entries of the chunk that it may mean."""

    error: Entry
    places: Sequence[int]
    match: Match


@define
class Settlement:
    """What became of the entries of one job."""

    rejected: dict[int, Matched] = field(factory=dict)
    """Entries that are refused for certain."""
    loose: list[Matched] = field(factory=list)
    """Errors of which nobody can say which entry they mean."""
    cause: str | None = None
    """Why all entries that are not rejected are unknown; None where they are accepted."""
    note: str | None = None
    """What does not agree although the entries are accepted."""
    final: bool = True
    """False where another look may show figures that agree: counts lag."""


def announces_errors(job: JobReply) -> bool:
    """Whether a job says that it has an error file."""
    return bool(job.error_file or job.error or (job.errcount or 0) > 0)


def told(job: JobReply, file: ErrorFile | None) -> ErrorFile | None:
    """Give the error file of a job, or None where there is nothing in it and nothing announced it."""
    nothing = file is None or (not file.entries and file.problem in (MISSING.problem, EMPTY.problem))
    return None if nothing and not announces_errors(job) else file


def settle(
    job: JobReply,
    file: ErrorFile | None,
    addresses: Sequence[str],
    *,
    sent: int,
    on_mismatch: Literal["unknown", "accept"] = "unknown",
    includes_rejected: bool | None = None,
) -> Settlement:
    """Settle the entries of a job that has ended.

    ``file`` is its error file, None where none was announced; ``addresses`` are those of the ``sent`` entries, and are
    looked at only where the file names errors.
    """
    file = told(job, file)
    books = Settlement()
    entries = file.entries if file else ()
    for matched in match_errors(entries, addresses):
        if len(matched.places) == 1:
            books.rejected.setdefault(matched.places[0], matched)
        else:
            books.loose.append(matched)
    completed = job.status.strip().casefold() == "completed"
    if not completed:
        books.cause = f"its job ended as {job.status.strip()!r}"
        books.final = file is None or file.problem is None
    elif problem := _problem_of_errors(books, job, file):
        books.cause, books.final = problem, False
    elif problem := disagreement(job, sent=sent, rejected=len(books.rejected), includes_rejected=includes_rejected):
        if on_mismatch == "accept":
            books.note = problem
        else:
            books.cause = problem
        books.final = False
    elif (job.count or 0) > sent:
        books.note = f"Mailjet counted {job.count} contacts, {sent} were sent"
    return books


def _problem_of_errors(books: Settlement, job: JobReply, file: ErrorFile | None) -> str | None:
    if file is None and announces_errors(job):
        return "its error file was not read"
    if file is not None and file.problem:
        return file.problem
    if books.loose:
        return f"{len(books.loose)} of its errors match no single row"
    named = len(file.entries) if file else 0
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


def match_errors(entries: Sequence[Entry], addresses: Sequence[str]) -> Iterator[Matched]:
    """Find for each error the entries of the chunk that it means.

    ``exact``: the address of the error is the address of one entry. ``by_key``: an address that the error mentions
    elsewhere is. ``ambiguous``: several are. ``unmatched``: none is, or the error names somebody who is not in the
    chunk.
    """
    if not entries:
        return
    places = {key_of(address): place for place, address in enumerate(addresses)}
    for error in entries:
        yield _match(error, places)


def _match(error: Entry, places: Mapping[str, int]) -> Matched:
    if error.email is not None and error.sure:
        place = places.get(key_of(error.email))
        return Matched(error, (), "unmatched") if place is None else Matched(error, (place,), "exact")
    mentioned = {places[key] for cell in error.cells if (key := key_of(cell)) in places}
    if len(mentioned) == 1:
        return Matched(error, tuple(mentioned), "by_key")
    return Matched(error, tuple(sorted(mentioned)), "ambiguous" if mentioned else "unmatched")
