"""Rejected rows: where they are written, and how many there are of which code."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from attrs import evolve, frozen
from cyclopts import Parameter

from mjbulk.cli._ends import check_target
from mjbulk.cli._output import OUTPUT, tell
from mjbulk.cli._words import as_options
from mjbulk.errors import UsageError

if TYPE_CHECKING:
    from mjbulk.models import Rejection, Rejections
    from mjbulk.outcomes.report import Report

Rejects = Annotated[
    str | None,
    Parameter(group=OUTPUT, help="Write rejected rows, with reasons, to a file *.csv, *.jsonl or *.json."),
]


def check_rejects(rejects: str | None, file: str = "") -> None:
    """Check, before anything is sent, that rejections can be written. Raises UsageError if they cannot."""
    if rejects is None:
        return
    target = Path(rejects)
    if target.suffix.casefold() not in (".csv", ".jsonl", ".json"):
        raise UsageError("--rejects writes a file *.csv, *.jsonl or *.json")
    check_target("--rejects", target)
    with suppress(OSError):
        if target.samefile(file):
            raise UsageError("--rejects names the file that is imported")


def keep(rejects: str) -> bool:
    """Keep a file that is there, and tell so, where the rejections that would replace it come from a journal."""
    if not Path(rejects).is_file():
        return False
    tell(f"{rejects} is left as it is: a journal keeps no addresses and rows; name another file")
    return True


def write_rejects(rejections: "Rejections", rejects: str, report: "Report | None" = None) -> bool:
    """Write rejections, which may be of a report, in the words of the command line; tell if that is impossible."""
    from mjbulk.outcomes.rejection_files import write_rejections  # noqa: PLC0415  # help must not wait for the engine

    try:
        write_rejections(_InWords(rejections), rejects, None if report is None else in_words(report.as_dict()))
    except OSError as why:
        tell(f"the rejected rows could not be written to {rejects}: {why.strerror}")
        return False
    return True


def in_words(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is known of a run, a chunk or a plan, with its sentences in the words of the command line."""
    return {name: _reworded(name, value) for name, value in figures.items()}


_SENTENCES = frozenset({"cause", "halted", "message"})


def _reworded(name: str, value: Any) -> Any:
    if name in _SENTENCES and isinstance(value, str):
        return as_options(value)
    return [in_words(one) for one in value] if name in ("unsettled", "findings") else value


@frozen
class _InWords:
    """Rejections, with the reasons that mjbulk has for them in the words of the command line."""

    _all: "Rejections"

    def __iter__(self) -> "Iterator[Rejection]":
        for one in self._all:
            yield evolve(one, message=as_options(one.message)) if one.origin == "mjbulk" else one

    def __len__(self) -> int:
        return len(self._all)

    def page(self, *, after: int = 0, limit: int = 100) -> "Sequence[Rejection]":
        return list(islice(self, after, after + limit))


def by_code(rejections: "Rejections") -> dict[str, int]:
    """Count rejections by their codes, the most frequent first."""
    return dict(Counter(rejection.code for rejection in rejections).most_common())
