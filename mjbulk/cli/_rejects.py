"""Rejected rows: where they are written, and how many there are of which code."""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import check_target
from mjbulk.cli._output import OUTPUT, tell
from mjbulk.errors import UsageError

if TYPE_CHECKING:
    from mjbulk.models import Rejections

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


def tell_unwritten(rejects: str, why: OSError) -> None:
    """Tell that the rejected rows could not be written."""
    tell(f"the rejected rows could not be written to {rejects}: {why.strerror}")


def write_rejects(rejections: "Rejections", rejects: str) -> bool:
    """Write rejections that have no report, and tell if that is impossible."""
    from mjbulk.outcomes.rejection_files import write_rejections  # noqa: PLC0415  # help must not wait for the engine

    try:
        write_rejections(rejections, rejects)
    except OSError as why:
        tell_unwritten(rejects, why)
        return False
    return True


def by_code(rejections: "Rejections") -> dict[str, int]:
    """Count rejections by their codes, the most frequent first."""
    return dict(Counter(rejection.code for rejection in rejections).most_common())
