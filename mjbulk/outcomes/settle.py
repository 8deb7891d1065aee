"""What became of the entries of a job that has ended.

The theory. A job that is Completed may not have applied all of its entries (FACTS 2.8). Its error file names entries
that Mailjet refused: those are rejected, whatever else is known. The other entries are accepted only if nothing that is
seen of the job contradicts that. The first row of this table that applies decides about them:

===  ====================================================  ==================  ==========
row  what is seen                                          other entries are   look again
===  ====================================================  ==================  ==========
1    the job did not complete, its error file has a fault  unknown             yes
2    the job did not complete                              unknown             no
3    the error file has a fault, or was not read           unknown             yes
4    an error means no single entry                        unknown             yes
5    Errcount is not the number of errors in the file      unknown             yes
6    fewer entries were counted than were sent             as the caller says  yes
7    more entries were counted than were sent              accepted            no
8    none of these                                         accepted            no
===  ====================================================  ==================  ==========

"Look again": counts and files of a job may lag behind its end, so a later look may show what agrees (FACTS 2.4, 3.3).

It is not known whether Count includes rejected entries (FACTS 2.4, 5.4). If none was rejected, that makes no
difference. If some were, either number agrees, unless an assumption says which one it is (``includes_rejected``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from attrs import field, frozen

from mjbulk.mailjet.replies import JobReply
from mjbulk.models import Match
from mjbulk.outcomes.error_file import EMPTY, MISSING, ErrorFile, RowError
from mjbulk.rows.addresses import key_of


@frozen
class MatchedError:
    """An error, and the entries of the chunk that it may mean."""

    error: RowError
    indexes: Sequence[int]
    match: Match


@frozen(kw_only=True)
class JobOutcome:
    """What became of the entries of one job."""

    rejected: Mapping[int, MatchedError] = field(factory=dict)
    """Entries that an error names, by their indexes."""
    unassigned: Sequence[MatchedError] = ()
    """Errors that may mean several entries, or none."""
    cause: str | None = None
    """Why all entries that are not rejected are unknown; None where they are accepted."""
    mismatch: str | None = None
    """What does not agree although the entries are accepted."""
    final: bool = True
    """False where another look at the job may show other figures."""


def announces_errors(job: JobReply) -> bool:
    """Tell whether a job says that it has an error file (FACTS 2.5, 2.6, 5.4)."""
    return bool(job.error_file or job.error or (job.errcount or 0) > 0)


def relevant_file(job: JobReply, file: ErrorFile | None) -> ErrorFile | None:
    """Give the error file of a job; None if the file is missing or empty and the job announced no errors."""
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
    """Say what became of the ``sent`` entries of a job that has ended.

    ``file`` is its error file, None where none was fetched; ``addresses`` are those of the entries, and are read only
    where the file has errors.
    """
    file = relevant_file(job, file)
    matched = list(match_errors(file.errors if file else (), addresses))
    rejected = {error.indexes[0]: error for error in reversed(matched) if len(error.indexes) == 1}  # the first one wins
    unassigned = [error for error in matched if len(error.indexes) != 1]
    seen = _Seen(job, file, sent, len(rejected), len(unassigned), includes_rejected)
    for applies, others, look_again in _TABLE:
        if (why := applies(seen)) is not None:
            accepted = others == "accepted" or (others == "as the caller says" and on_mismatch == "accept")
            said = {"mismatch" if accepted else "cause": why}
            return JobOutcome(rejected=rejected, unassigned=unassigned, final=not look_again, **said)
    return JobOutcome(rejected=rejected, unassigned=unassigned)


@frozen
class _Seen:
    """What is known of a job and its error file."""

    job: JobReply
    file: ErrorFile | None
    sent: int
    rejected: int
    unassigned: int
    includes_rejected: bool | None


# The rows of the table: each gives what it found in a sentence, or None where it does not apply


def _failed_with_a_faulty_file(seen: _Seen) -> str | None:
    return _failed(seen) if seen.file is not None and seen.file.problem else None


def _failed(seen: _Seen) -> str | None:
    status = seen.job.status.strip()
    return None if status.casefold() == "completed" else f"its job ended as {status!r}"


def _faulty_file(seen: _Seen) -> str | None:
    if seen.file is None:
        return "its error file was not read" if announces_errors(seen.job) else None
    return seen.file.problem


def _unassigned_errors(seen: _Seen) -> str | None:
    return f"{seen.unassigned} of its errors match no single row" if seen.unassigned else None


def _other_errcount(seen: _Seen) -> str | None:
    counted, named = seen.job.errcount, len(seen.file.errors) if seen.file else 0
    return None if counted in (None, named) else f"Errcount is {counted}, and its error file names {named} rows"


def _fewer_counted(seen: _Seen) -> str | None:
    return disagreement(seen.job, sent=seen.sent, rejected=seen.rejected, includes_rejected=seen.includes_rejected)


def _more_counted(seen: _Seen) -> str | None:
    count = seen.job.count or 0
    return f"Mailjet counted {count} contacts, {seen.sent} were sent" if count > seen.sent else None


_TABLE: Sequence[tuple[Callable[[_Seen], str | None], Literal["unknown", "as the caller says", "accepted"], bool]] = (
    # A job that stopped may have applied any of its entries. A later look may show more of the errors in its file.
    (_failed_with_a_faulty_file, "unknown", True),
    # The file is whole or there is none: another look would show the same.
    (_failed, "unknown", False),
    # The part of the file that cannot be read may name any entry.
    (_faulty_file, "unknown", True),
    # Such an error may mean any entry.
    (_unassigned_errors, "unknown", True),
    # Mailjet counted more errors than the file has, or fewer: one of the two is wrong.
    (_other_errcount, "unknown", True),
    # Entries are missing from the count: Mailjet lost them, or its count lags. on_mismatch= decides.
    (_fewer_counted, "as the caller says", True),
    # No entry is missing. The surplus is reported.
    (_more_counted, "accepted", False),
)


def disagreement(job: JobReply, *, sent: int, rejected: int, includes_rejected: bool | None = None) -> str | None:
    """Say which count of a completed job is below what was sent; None where none is.

    A Current of 0 says nothing: Mailjet shows it where it has none.
    """
    if job.count is None:
        return "it tells no Count"
    readings = (sent,) if includes_rejected else (sent, sent - rejected)
    for name, figure in (("Count", job.count), ("Current", max(job.current or 0, 0) or sent)):
        if figure < sent and figure not in readings:
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
