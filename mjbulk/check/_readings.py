"""What the evidence means: one function for each question, and the table of them all."""

import math
from collections.abc import Callable, Iterable

from mjbulk.check._evidence import Evidence, Trail
from mjbulk.check._findings import ASSUMED, Observation, settled, unsettled, word
from mjbulk.check._shapes import address_shape, csv_file_shape, json_file_shape, number_shape, time_shape

_WAYS = {
    "json": "a JSON job",
    "csv": "a csvimport",
    "undeclared": "a JSON job of an unknown property",
    "abort": "an aborted csvimport",
}
_JOBS = tuple(_WAYS)
_IMPORTS = ("json", "csv")


# Words and waits


def _terminal_words(evidence: Evidence) -> Observation:
    asked = "words that end a job"
    seen = _ends(evidence, _JOBS)
    if not seen:
        return unsettled("terminal_statuses", asked=asked, seen="no job was seen to end")
    shown = ", ".join(f"{word(status)} ({_WAYS[name]})" for name, status in seen.items())
    folded = (status.strip().casefold() for status in seen.values())
    new = [status for status in dict.fromkeys(folded) if status not in ASSUMED.terminal_statuses]
    return settled("terminal_statuses", (*ASSUMED.terminal_statuses, *new), asked=asked, seen=shown)


def _ends(evidence: Evidence, names: Iterable[str]) -> dict[str, str]:
    return {name: trail.end.reply.status for name, trail in evidence.ended(*names) if trail.end}


def _running_words(evidence: Evidence) -> Observation:
    trails = [trail for name in _JOBS if (trail := evidence.trails.get(name))]
    words = dict.fromkeys(word(look.reply.status) for trail in trails for look in trail.running)
    seen = ", ".join(words) or "no job was seen running"
    return Observation(asked="words of a job that has not ended", seen=seen, means="any other word means the same")


def _abort_word(evidence: Evidence) -> Observation:
    status = _ends(evidence, ["abort"]).get("abort")
    asked = "the status of an aborted csvimport"
    if status is None:
        return Observation(asked=asked, seen=evidence.why("abort"))
    early = "" if status.strip().casefold() != "completed" else " (it ended before it could be aborted)"
    return Observation(asked=asked, seen=f"{word(status)}{early}")


def _wait(field: str, asked: str, waits: dict[str, float], missing: str) -> Observation:
    """Settle a wait: what was seen may not be the longest, so twice as much is assumed where it was too little."""
    if not waits:
        return unsettled(field, asked=asked, seen=missing)
    seen = ", ".join(f"{_seconds(wait)} ({_WAYS[name]})" for name, wait in waits.items())
    assumed, longest = getattr(ASSUMED, field), max(waits.values())
    value = assumed if longest <= assumed else float(math.ceil(2 * longest))
    return settled(field, value, asked=asked, seen=seen)


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 1 else "less than 1 s"


def _new_job(evidence: Evidence) -> Observation:
    found = {name: trail for name in _JOBS if (trail := evidence.trails.get(name)) and trail.looks}
    waits = {name: trail.looks[0].at if trail.missed else 0.0 for name, trail in found.items()}
    return _wait("new_job_seconds", "how long a new job answers 404", waits, "no job was found")


def _counts_lag(evidence: Evidence) -> Observation:
    waits = {name: trail.counts_lag for name, trail in evidence.ended(*_IMPORTS)}
    return _wait("counts_lag_seconds", "how long Count changes after the end", waits, "no job was seen to end")


def _file_lag(evidence: Evidence) -> Observation:
    waits = {name: lag for name, trail in evidence.ended(*_IMPORTS) if (lag := trail.file_lag) is not None}
    asked = "how long after the end an error file is missing"
    return _wait("error_file_seconds", asked, waits, "no error file was there as long as it was looked for")


# Counts


def _json_count(evidence: Evidence) -> Observation:
    return _count(evidence, "json", "count_includes_rejected")


def _csv_count(evidence: Evidence) -> Observation:
    return _count(evidence, "csv", "csv_count_includes_rejected")


def _count(evidence: Evidence, name: str, field: str) -> Observation:
    asked = f"whether Count of {_WAYS[name]} has the rejected rows in it"
    for _, trail in evidence.ended(name):
        count, sent, good = trail.last.count, len(trail.rows), len(trail.rows) - trail.bad
        seen = f"Count is {'missing' if count is None else count}, of {sent} rows {trail.bad} had to be refused"
        if evidence.taken is not False or count not in (sent, good):
            return unsettled(field, asked=asked, seen=seen)
        return settled(field, count == sent, asked=asked, seen=seen)
    return unsettled(field, asked=asked, seen=evidence.why(name))


def _csv_running_count(evidence: Evidence) -> Observation:
    asked = "Count of a csvimport that runs"
    trail = evidence.trails.get("csv")
    replies = [look.reply for look in trail.running] if trail else []
    if not trail or not replies:
        return Observation(asked=asked, seen="it was not seen running")
    ahead = any((reply.count or 0) >= len(trail.rows) > (reply.current or 0) for reply in replies)
    return Observation(asked=asked, seen="the rows of the file" if ahead else "the rows that are done")


def _csv_figures(evidence: Evidence) -> Observation:
    asked = "Current and Errcount of a csvimport that has ended"
    for _, trail in evidence.ended("csv"):
        last, rows = trail.last, len(trail.rows)
        current = _compare(last.current, {rows: "all rows", rows - trail.bad: "the rows that were taken"})
        errors = _compare(last.errcount, {trail.bad: "the rows that were refused"})
        return Observation(asked=asked, seen=f"Current is {current}, Errcount is {errors}")
    return Observation(asked=asked, seen=evidence.why("csv"))


def _compare(figure: int | None, known: dict[int, str]) -> str:
    return "missing" if figure is None else known.get(figure, "another number")


# Errors


def _refused(evidence: Evidence) -> Observation:
    asked = "rows that have to be refused"
    parts = [_named(name, trail) for name, trail in evidence.ended(*_IMPORTS)]
    if not parts or evidence.taken is None:
        return Observation(asked=asked, seen="; ".join(evidence.why(name) for name in _IMPORTS))
    became = "some of them became contacts" if evidence.taken else "none of them became a contact"
    unnamed = any(trail.named != set(trail.rows[-trail.bad :]) for _, trail in evidence.ended(*_IMPORTS))
    means = "a row that is refused may stand in no error file" if unnamed and not evidence.taken else ""
    return Observation(asked=asked, seen="; ".join([became, *parts]), means=means)


def _named(name: str, trail: Trail) -> str:
    bad = trail.rows[-trail.bad :]
    others = len(trail.named.difference(bad))
    more = f", and {others} that had not to be" if others else ""
    return f"the error file of {_WAYS[name]} names {len(trail.named.intersection(bad))} of {len(bad)}{more}"


def _announced(evidence: Evidence) -> Observation:
    field, asked = "errors_are_announced", "whether a job tells of its error file"
    files = {name: trail.announced for name, trail in evidence.ended(*_IMPORTS) if trail.file is not None}
    if not files:
        return unsettled(field, asked=asked, seen="no error file was seen")
    seen = ", ".join(f"{_WAYS[name]} {'does' if told else 'does not'}" for name, told in files.items())
    if all(files.values()):
        return unsettled(field, asked=asked, seen=seen, means="which does not show that every job does")
    return settled(field, False, asked=asked, seen=seen)


def _json_file(evidence: Evidence) -> Observation:
    asked = "the error file of a JSON job"
    for _, trail in evidence.ended("json"):
        return Observation(asked=asked, seen=json_file_shape(trail.file))
    return Observation(asked=asked, seen=evidence.why("json"))


def _csv_file(evidence: Evidence) -> Observation:
    asked = "the error file of a csvimport"
    for _, trail in evidence.ended("csv"):
        return Observation(asked=asked, seen=csv_file_shape(trail.file))
    return Observation(asked=asked, seen=evidence.why("csv"))


def _file_address(evidence: Evidence) -> Observation:
    asked = "ErrorFile of a JSON job"
    means = "mjbulk asks for the file by the ID of its job, whatever stands there"
    for _, trail in evidence.ended("json"):
        shape = address_shape(trail.last.error_file, evidence.origin)
        return Observation(asked=asked, seen=shape, means=means)
    return Observation(asked=asked, seen=evidence.why("json"))


# Forms


def _json_times(evidence: Evidence) -> Observation:
    return _times(evidence, "json")


def _csv_times(evidence: Evidence) -> Observation:
    return _times(evidence, "csv")


def _times(evidence: Evidence, name: str) -> Observation:
    looks = trail.looks if (trail := evidence.trails.get(name)) else []
    shapes = {time_shape(look.row.get(key)) for look in looks for key in ("jobstart", "jobend")}
    return Observation(asked=f"JobStart and JobEnd of {_WAYS[name]}", seen=", ".join(sorted(shapes)) or "not seen")


def _numbers(evidence: Evidence) -> Observation:
    trails = [trail for name in _JOBS if (trail := evidence.trails.get(name))]
    rows = [row for trail in trails for row in (trail.posted, *(look.row for look in trail.looks))]
    names = ("jobid", "id", "count", "current", "errcount")
    shapes = {number_shape(row[name]) for row in rows for name in names if name in row}
    return Observation(asked="numbers in answers are written as", seen=", ".join(sorted(shapes)) or "not seen")


# The rest


def _undeclared(evidence: Evidence) -> Observation:
    asked = "a property that does not exist, in JSON"
    if evidence.created:
        return Observation(asked=asked, seen="it is created", means="a misspelt column would make a property")
    for _, trail in evidence.ended("undeclared"):
        status = trail.last.status
        if status.strip().casefold() != "completed":
            return Observation(asked=asked, seen=f"the whole job ends as {word(status)}")
        return Observation(asked=asked, seen="its row is refused" if trail.named else "it is ignored")
    return Observation(asked=asked, seen=evidence.why("undeclared"))


def _empty_cell(evidence: Evidence) -> Observation:
    field, asked = "csv_empty_cell_keeps", "an empty cell of a csvimport"
    if evidence.kept is None:
        problem = evidence.problems.get("csv") or "the values of the contact were not seen in time"
        return unsettled(field, asked=asked, seen=problem)
    seen = "leaves the property alone" if evidence.kept else "clears the property"
    means = "" if evidence.kept else "rows with one are refused on the CSV way"
    return settled(field, evidence.kept, asked=asked, seen=seen, means=means)


def _limits(evidence: Evidence) -> Observation:
    headers = ", ".join(sorted(word(name) for name in evidence.headers)) or "none"
    seen = f"{headers}; {evidence.throttled} of {evidence.answers} answers were 429"
    return Observation(asked="headers that speak of limits", seen=seen)


def _body(evidence: Evidence) -> Observation:
    field, asked = "max_body_bytes", "the largest body"
    sizes, problem = evidence.sizes, evidence.problems.get("sizes")
    if sizes is None or problem or not sizes.taken:
        return unsettled(field, asked=asked, seen=problem or (sizes.how if sizes else "") or "it was not asked for")
    if sizes.refused is None:
        return settled(field, None, asked=asked, seen=f"{sizes.taken} bytes go through")
    seen = f"{sizes.taken} bytes go through; with {sizes.refused} {sizes.how}"
    return settled(field, sizes.taken, asked=asked, seen=seen, means="chunks stay below it")


READINGS: tuple[Callable[[Evidence], Observation], ...] = (
    _json_count,
    _csv_count,
    _announced,
    _empty_cell,
    _terminal_words,
    _new_job,
    _counts_lag,
    _file_lag,
    _body,
    _running_words,
    _abort_word,
    _csv_running_count,
    _csv_figures,
    _refused,
    _json_file,
    _csv_file,
    _file_address,
    _json_times,
    _csv_times,
    _numbers,
    _undeclared,
    _limits,
)
"""Each reads the evidence and gives one observation: first the assumptions, in the order of their fields."""
