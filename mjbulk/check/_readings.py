"""What the evidence means: one function for each question, and a table of these functions."""

import math
from collections.abc import Callable, Iterable

from mjbulk.check._evidence import Evidence, Probe, Trail
from mjbulk.check._findings import ASSUMED, Observation, settled, unsettled, word
from mjbulk.check._shapes import address_shape, csv_file_shape, json_file_shape, number_shape, time_shape

_JOBS = {
    "json": "a JSON job",
    "csv": "a csvimport",
    "undeclared": "a JSON job of an unknown property",
    "twice": "a JSON job of one person twice",
    "case": "a JSON job of a name in capitals",
    "treshold": "a csvimport of bad lines",
    "abort": "an aborted csvimport",
}
_IMPORTS = ("json", "csv")
Reading = Callable[[Evidence], Observation]


def _of(name: str, asked: str, see: Callable[[Evidence, Trail], str], *, means: str = "") -> Reading:
    """Make a reading of one job that has ended; if it has not, the observation says why."""

    def read(evidence: Evidence) -> Observation:
        trail = evidence.ended(name)
        if trail is None:
            return Observation(asked=asked, seen=evidence.why(name))
        return Observation(asked=asked, seen=see(evidence, trail), means=means)

    return read


# Words and waits


def _terminal_words(evidence: Evidence) -> Observation:
    asked = "words that end a job"
    seen = _ends(evidence, _JOBS)
    if not seen:
        return unsettled("terminal_statuses", asked=asked, seen="no job was seen to end")
    folded = [status.strip().casefold() for status in seen.values()]
    shown = {status: [_JOBS[name] for name in seen if seen[name] == status] for status in seen.values()}
    new = [status for status in dict.fromkeys(folded) if status not in ASSUMED.terminal_statuses]
    text = ", ".join(f"{word(status)} ({', '.join(jobs)})" for status, jobs in shown.items())
    return settled("terminal_statuses", (*ASSUMED.terminal_statuses, *new), asked=asked, seen=text)


def _ends(evidence: Evidence, names: Iterable[str]) -> dict[str, str]:
    return {name: trail.end.reply.status for name, trail in evidence.all_ended(names).items() if trail.end}


def _running_words(evidence: Evidence) -> Observation:
    words = dict.fromkeys(word(poll.reply.status) for trail in evidence.trails.values() for poll in trail.running)
    seen = ", ".join(sorted(words)) or "no job was seen running"
    return Observation(asked="words of a job that has not ended", seen=seen, means="any other word means the same")


def _abort_word(_: Evidence, trail: Trail) -> str:
    return f"{word(trail.last.status)}{'' if trail.failed else ' (it ended before it could be aborted)'}"


def _durations(evidence: Evidence) -> Observation:
    ended = evidence.all_ended(_IMPORTS).items()
    seen = ", ".join(f"{_seconds(trail.end.at)} ({_JOBS[name]})" for name, trail in ended if trail.end)
    return Observation(asked="how long a job takes", seen=seen or "no job was seen to end")


def _wait(field: str, asked: str, waits: dict[str, float], missing: str) -> Observation:
    """Settle a wait. If a longer one was seen than assumed, assume twice what was seen: others may take even longer."""
    if not waits:
        return unsettled(field, asked=asked, seen=missing)
    assumed, longest = getattr(ASSUMED, field), max(waits, key=lambda name: waits[name])
    value = assumed if waits[longest] <= assumed else float(math.ceil(2 * waits[longest]))
    return settled(field, value, asked=asked, seen=f"{_seconds(waits[longest])} ({_JOBS[longest]})")


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 1 else "less than 1 s"


def _new_job(evidence: Evidence) -> Observation:
    found = {name: trail for name, trail in evidence.trails.items() if trail.polls}
    waits = {name: trail.polls[0].at if trail.missed else 0.0 for name, trail in found.items()}
    return _wait("new_job_seconds", "how long a new job answers 404", waits, "no job was found")


def _counts_lag(evidence: Evidence) -> Observation:
    waits = {name: trail.counts_lag for name, trail in evidence.all_ended(_IMPORTS).items()}
    return _wait("counts_lag_seconds", "how long Count changes after the end", waits, "no job was seen to end")


def _file_lag(evidence: Evidence) -> Observation:
    ended = evidence.all_ended(_IMPORTS).items()
    waits = {name: lag for name, trail in ended if (lag := trail.file_lag) is not None}
    asked = "how long after the end an error file is missing"
    return _wait("error_file_seconds", asked, waits, "no error file was there as long as it was looked for")


def _retained(evidence: Evidence) -> Observation:
    asked = "a job and its error file, some time after its end"
    if evidence.retained is None:
        return Observation(asked=asked, seen=evidence.why("later" if evidence.ended("json") else "json"))
    seconds, there = evidence.retained
    return Observation(asked=asked, seen=f"after {_seconds(seconds)} they are {'there' if there else 'gone'}")


# Counts


def _count(name: str, field: str) -> Reading:
    asked = f"whether Count of {_JOBS[name]} has the rejected rows in it"

    def read(evidence: Evidence) -> Observation:
        trail = evidence.ended(name)
        if trail is None:
            return unsettled(field, asked=asked, seen=evidence.why(name))
        count, sent, good = trail.last.count, len(trail.rows), len(trail.rows) - trail.bad
        seen = f"Count is {'missing' if count is None else count}, of {sent} rows {trail.bad} had to be refused"
        if evidence.taken is not False or count not in (sent, good):
            return unsettled(field, asked=asked, seen=seen)
        return settled(field, count == sent, asked=asked, seen=seen)

    return read


def _csv_running_count(evidence: Evidence) -> Observation:
    asked = "Count of a csvimport that runs"
    trail = evidence.trails.get("csv")
    replies = [poll.reply for poll in trail.running] if trail else []
    if not trail or not replies:
        return Observation(asked=asked, seen="it was not seen running")
    ahead = any((reply.count or 0) >= len(trail.rows) > (reply.current or 0) for reply in replies)
    return Observation(asked=asked, seen="the rows of the file" if ahead else "the rows that are done")


def _csv_figures(_: Evidence, trail: Trail) -> str:
    last, rows = trail.last, len(trail.rows)
    current = _compare(last.current, {rows: "all rows", rows - trail.bad: "the rows that were taken"})
    errors = _compare(last.errcount, {trail.bad: "the rows that were refused"})
    return f"Current is {current}, Errcount is {errors}"


def _compare(figure: int | None, known: dict[int, str]) -> str:
    return "missing" if figure is None else known.get(figure, "another number")


def _treshold(_: Evidence, trail: Trail) -> str:
    return "a percentage: the import stops" if trail.failed else "a number of errors: the import goes on"


# Errors


def _refused(evidence: Evidence) -> Observation:
    asked = "rows that have to be refused"
    ended = evidence.all_ended(_IMPORTS)
    if not ended or evidence.taken is None:
        return Observation(asked=asked, seen="; ".join(evidence.why(name) for name in _IMPORTS))
    became = "some of them became contacts" if evidence.taken else "none of them became a contact"
    unnamed = any(trail.named != set(trail.rows[-trail.bad :]) for trail in ended.values())
    means = "a row that is refused may stand in no error file" if unnamed and not evidence.taken else ""
    parts = [_named(name, trail) for name, trail in ended.items()]
    return Observation(asked=asked, seen="; ".join([became, *parts]), means=means)


def _named(name: str, trail: Trail) -> str:
    bad = trail.rows[-trail.bad :]
    others = len(trail.named.difference(bad))
    more = f", and {others} that had not to be" if others else ""
    return f"the error file of {_JOBS[name]} names {len(trail.named.intersection(bad))} of {len(bad)}{more}"


def _announced(evidence: Evidence) -> Observation:
    field, asked = "errors_are_announced", "whether a job tells of its error file"
    ended = evidence.all_ended(_IMPORTS).items()
    files = {name: trail.announced for name, trail in ended if trail.file is not None}
    if not files:
        return unsettled(field, asked=asked, seen="no error file was seen")
    seen = ", ".join(f"{_JOBS[name]} {'does' if announced else 'does not'}" for name, announced in files.items())
    if all(files.values()):
        return unsettled(field, asked=asked, seen=seen, means="which does not show that every job does")
    return settled(field, False, asked=asked, seen=seen)


def _list_errors(evidence: Evidence) -> Observation:
    seen = evidence.list_errors or evidence.why("lists")
    return Observation(asked="what is wrong with a list stands under", seen=seen)


# Forms


def _times(name: str) -> Reading:
    def read(evidence: Evidence) -> Observation:
        polls = trail.polls if (trail := evidence.trails.get(name)) else []
        shapes = {time_shape(poll.row.get(key)) for poll in polls for key in ("jobstart", "jobend")}
        return Observation(asked=f"JobStart and JobEnd of {_JOBS[name]}", seen=", ".join(sorted(shapes)) or "not seen")

    return read


def _echo(_: Evidence, trail: Trail) -> str:
    return "stand in it" if any("contactslists" in poll.row for poll in trail.polls) else "do not stand in it"


def _job_type(evidence: Evidence) -> Observation:
    seen = word(evidence.job_type) if evidence.job_type else evidence.why("later")
    return Observation(asked="the JobType of a JSON job", seen=seen)


def _numbers(evidence: Evidence) -> Observation:
    rows = [row for trail in evidence.trails.values() for row in (trail.posted, *(poll.row for poll in trail.polls))]
    names = ("jobid", "id", "count", "current", "errcount")
    shapes = {number_shape(row[name]) for row in rows for name in names if name in row}
    return Observation(asked="numbers in answers are written as", seen=", ".join(sorted(shapes)) or "not seen")


# Properties


def _undeclared(evidence: Evidence) -> Observation:
    asked = "a property that does not exist, in JSON"
    if evidence.created:
        return Observation(asked=asked, seen="it is created", means="a misspelt column would make a property")
    return _of("undeclared", asked, _without_property)(evidence)


def _without_property(_: Evidence, trail: Trail) -> str:
    if trail.failed:
        return f"the whole job ends as {word(trail.last.status)}, and Count is {trail.last.count} of {len(trail.rows)}"
    return "its row is refused" if trail.rows[0] in trail.named else "it is ignored"


def _case(evidence: Evidence) -> Observation:
    seen = {None: evidence.why("case"), True: "is another name", False: "is the same name"}[evidence.case_matters]
    return Observation(asked="the name of a property in capitals", seen=seen)


def _twice(evidence: Evidence) -> Observation:
    seen = f"the {word(evidence.winner)} one is applied" if evidence.winner else evidence.why("twice")
    means = "mjbulk never sends two" if evidence.winner else ""
    return Observation(asked="of two rows of one person in one job", seen=seen, means=means)


def _empty_cell(evidence: Evidence) -> Observation:
    field, asked = "csv_empty_cell_keeps", "an empty cell of a csvimport"
    if evidence.kept is None:
        problem = evidence.problems.get("csv") or "the values of the contact were not seen in time"
        return unsettled(field, asked=asked, seen=problem)
    seen = "leaves the property alone" if evidence.kept else "clears the property"
    means = "" if evidence.kept else "rows with one are refused on the CSV way"
    return settled(field, evidence.kept, asked=asked, seen=seen, means=means)


# Limits


def _limits(evidence: Evidence) -> Observation:
    headers = ", ".join(sorted(word(name) for name in evidence.headers)) or "none"
    slowed = f"{evidence.throttled} of {evidence.answers} answers were 429" if evidence.throttled else "none was 429"
    return Observation(asked="headers of answers that speak of limits", seen=f"{headers}; {slowed}")


def _probe(name: str, field: str, asked: str, unit: str, probe: Callable[[Evidence], Probe | None]) -> Reading:
    def read(evidence: Evidence) -> Observation:
        found, problem = probe(evidence), evidence.problems.get(name)
        if found is None or not found.taken:
            seen = problem or (found.how if found else "it was not asked for")
            return unsettled(field, asked=asked, seen=seen)
        if found.refused is None:
            return settled(field, None, asked=asked, seen=f"{found.taken} {unit} go through")
        seen = f"{found.taken} {unit} go through; with {found.refused} {found.how}"
        return settled(field, found.taken, asked=asked, seen=seen, means="chunks stay below it")

    return read


READINGS: tuple[Reading, ...] = (
    _count("json", "count_includes_rejected"),
    _count("csv", "csv_count_includes_rejected"),
    _announced,
    _empty_cell,
    _terminal_words,
    _new_job,
    _counts_lag,
    _file_lag,
    _probe("sizes", "max_body_bytes", "the largest body", "bytes", lambda evidence: evidence.sizes),
    _probe("rows", "max_rows", "the most rows of a JSON request", "rows", lambda evidence: evidence.most_rows),
    _running_words,
    _of("abort", "the status of an aborted csvimport", _abort_word),
    _durations,
    _retained,
    _csv_running_count,
    _of("csv", "Current and Errcount of a csvimport that has ended", _csv_figures),
    _of("treshold", "ErrTreshold", _treshold),
    _refused,
    _of("json", "the error file of a JSON job", lambda _, trail: json_file_shape(trail.file)),
    _of("csv", "the error file of a csvimport", lambda _, trail: csv_file_shape(trail.file)),
    _of(
        "json",
        "ErrorFile of a JSON job",
        lambda evidence, trail: address_shape(trail.last.error_file, evidence.origin),
        means="mjbulk asks for the file by the ID of its job, whatever stands there",
    ),
    _list_errors,
    _times("json"),
    _times("csv"),
    _of("json", "the lists of a JSON job", _echo),
    _job_type,
    _numbers,
    _undeclared,
    _case,
    _twice,
    _limits,
)
"""All readings. Those about assumptions come first, in the order of the fields of `Assumptions`."""
