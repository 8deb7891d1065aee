"""Rejected rows: where they are written, and how many there are of which code."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from attrs import evolve, frozen
from cyclopts import Parameter

from mjbulk.cli._ends import WITHOUT, check_target
from mjbulk.cli._output import OUTPUT, tell
from mjbulk.cli._words import as_options, sentence_of
from mjbulk.errors import Error, UsageError

if TYPE_CHECKING:
    from mjbulk.client import Client
    from mjbulk.models import Rejection, Rejections
    from mjbulk.outcomes.report import Report
    from mjbulk.rows.sources import Source

Rejects = Annotated[
    str | None,
    Parameter(group=OUTPUT, help="Write rejected rows, with reasons, to a file *.csv, *.jsonl or *.json."),
]


def check_rejects(rejects: str | None, file: str = "", run_id: str | None = None) -> None:
    """Check, before anything is sent, that rejections can be written. Raises UsageError if they cannot, and for a file
    that is there. A run of this name may go on, and replace its own: `check_own` tells.
    """
    if rejects is None:
        return
    target = Path(rejects)
    if target.suffix.casefold() not in (".csv", ".jsonl", ".json"):
        raise UsageError("--rejects writes a file *.csv, *.jsonl or *.json")
    check_target("--rejects", target)
    with suppress(OSError):
        if target.samefile(file):
            raise UsageError("--rejects names the file that is imported")
    if run_id is None or not _has_rejections(target):
        _check_free(target)


async def check_own(client: "Client", rejects: str | None, run_id: str | None) -> None:
    """Check that a file which is there is that of a run which goes on. Raises UsageError if the journal has no run."""
    if rejects is None or run_id is None or not is_there(Path(rejects)):
        return
    try:
        await client.get_run(run_id)
    except UsageError:
        _check_free(Path(rejects))


def is_there(target: Path) -> bool:
    """Tell whether a file has something that would be lost. A pipe or a device has not."""
    return target.is_file() and target.stat().st_size > 0


def _check_free(target: Path) -> None:
    if is_there(target):
        raise UsageError(f"--rejects names a file that is there: {target}; name another one, or remove it")


def _has_rejections(target: Path) -> bool:
    """Tell whether a file begins as one that --rejects writes."""
    from mjbulk.rows.rejects import REJECTION_COLUMNS  # noqa: PLC0415  # help must not wait for the engine

    begins = {".csv": ",".join(REJECTION_COLUMNS), ".jsonl": '{"row":', ".json": '{"run_id":'}
    begin = begins[target.suffix.casefold()].encode()
    with suppress(OSError), target.open("rb") as file:
        return file.read(len(begin)) == begin
    return False


async def with_rows(
    client: "Client", report: "Report", rejects: str | None, partition: str | None, source: "Source | None"
) -> "Report":
    """Give a report whose rejected rows can be written whole: a journal has none, so the source is read again."""
    if rejects is None or not (report.stored and report.rejected) or is_there(Path(rejects)):
        return report
    try:
        return await client.get_report(report.run_id, partition=partition, source=source, rows=True)
    except Error as why:
        tell(f"the rejected rows are written {WITHOUT}: {sentence_of(why, sends=False)}")
        return report


def keep(rejects: str) -> bool:
    """Keep a file that is there, and tell so, where nothing was imported that could replace it."""
    if not is_there(Path(rejects)):
        return False
    tell(f"{rejects} is left as it is: this run had ended before; name another file for its rejected rows")
    return True


def write_rejects(
    rejections: "Rejections", rejects: str, report: "Report | None" = None, *, text: bool = False
) -> bool:
    """Write rejections, which may be of a report, in the words of the command line; tell if that is impossible.
    ``text`` says that they are rows of a text file.
    """
    from mjbulk.outcomes.rejection_files import write_rejections  # noqa: PLC0415  # help must not wait for the engine

    head = None if report is None else in_words(report.as_dict())
    try:
        write_rejections(_InWords(rejections), rejects, head, text=text)
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
