"""Options about a file and about lists, and the sources and keywords that are made from them."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

from attrs import frozen
from cyclopts import Group, Parameter

from mjbulk.errors import UsageError
from mjbulk.likely import likely
from mjbulk.terms import ActionWord

if TYPE_CHECKING:
    from mjbulk.rows.sources import Source

_LISTS = Group("Lists", sort_key=10)
_SOURCE = Group("Source", sort_key=20)
ACTIONS = {
    "addnoforce": "adds; people who have unsubscribed stay unsubscribed",
    "addforce": "adds, and subscribes again people who have unsubscribed",
    "remove": "takes off the list; the contact itself stays",
    "unsub": "unsubscribes from the list; addnoforce leaves that so",
}
"""What each action does with a contact and a list."""
_ACTIONS_HELP = "What is done with the list, one for each --list or one for all.\n" + "\n".join(
    f"{word}: {what}." for word, what in ACTIONS.items()
)
_ACTIONS_SAID = "; ".join(f"{word} ({what})" for word, what in ACTIONS.items())
FILE_HELP = "A file *.csv, *.jsonl (both also *.gz), *.parquet or *.xlsx; - reads stdin."
_ENDINGS = "add --format csv, jsonl, parquet or excel"


@Parameter(name="*")
@frozen(kw_only=True)
class Lists:
    """The options ``--list`` and ``--action``."""

    refs: Annotated[
        tuple[str, ...], Parameter(name="--list", group=_LISTS, help="A list, by ID, address or name; repeat for more.")
    ] = ()
    actions: Annotated[
        tuple[ActionWord, ...],
        Parameter(name="--action", group=_LISTS, help=_ACTIONS_HELP),
    ] = ()

    def pairs(self) -> Mapping[str | int, ActionWord]:
        """Pair lists with actions. Raises UsageError if they cannot be paired."""
        refs, actions = self.refs, self.actions
        if not actions:
            raise UsageError(f"--list needs an --action: {_ACTIONS_SAID}")
        if not refs:
            raise UsageError("--action needs a --list: mjbulk lists shows those of the account")
        if len(actions) not in (1, len(refs)):
            raise UsageError(f"{len(refs)} --list and {len(actions)} --action: give one for each, or one for all")
        words = actions if len(actions) == len(refs) else [actions[0]] * len(refs)
        pairs: dict[str | int, ActionWord] = dict(zip(refs, words, strict=True))
        if len(pairs) != len(refs):
            raise UsageError("a list is named twice")
        return pairs


@Parameter(name="*")
@frozen(kw_only=True)
class Where(Lists):
    """The options ``--list``, ``--action`` and ``--no-list``: where contacts go."""

    no_list: Annotated[bool, Parameter(group=_LISTS, help="Put the contacts on no list.")] = False

    def lists(self) -> Mapping[str | int, ActionWord] | None:
        """Give ``lists=`` of an import. Raises UsageError if the options do not say where contacts go."""
        if self.no_list:
            if self.refs or self.actions:
                raise UsageError("--no-list goes without --list and --action")
            return None
        if not self.refs:
            said = f" (--action {' '.join(self.actions)} needs it)" if self.actions else ""
            raise UsageError(f"say where the contacts go: --list LIST --action ACTION, or --no-list{said}")
        return self.pairs()


@Parameter(name="*")
@frozen(kw_only=True)
class Form:
    """The options ``--format``, ``--delimiter``, ``--encoding`` and the like: how a file is read."""

    kind: Annotated[
        Literal["csv", "jsonl", "parquet", "excel"] | None,
        Parameter(name="--format", group=_SOURCE, help="What the file is, where its ending does not say."),
    ] = None
    delimiter: Annotated[
        str | None, Parameter(group=_SOURCE, help="What stands between two fields of CSV, as in ';'; tab for a tab.")
    ] = None
    encoding: Annotated[str | None, Parameter(group=_SOURCE, help="The encoding of CSV; UTF-8 if not said.")] = None
    header_row: Annotated[
        int | None, Parameter(group=_SOURCE, help="The line of CSV with the names of the columns; 1 if not said.")
    ] = None
    null: Annotated[str | None, Parameter(group=_SOURCE, help="The text of a cell of CSV that is a null.")] = None
    escape: Annotated[
        str | None, Parameter(group=_SOURCE, help="What stands before a character of CSV that means itself.")
    ] = None
    sheet: Annotated[
        str | None, Parameter(group=_SOURCE, help="The name of a sheet, or its number; 0 if not said.")
    ] = None

    def source(self, file: str) -> "Source":
        """Make a source of a path or ``-``. Raises UsageError if that is impossible."""
        from mjbulk.rows import sources  # noqa: PLC0415  # help must not wait for the engine

        if file.startswith("-") and file != "-":
            raise UsageError(f"unknown option {file} (a file of that name is ./{file})")
        kind = self.kind or ("csv" if file == "-" else sources.kind_of(Path(file)))
        check_file(file, "" if kind else f"; and its ending does not say what it is: {_ENDINGS}")
        if kind is None:
            raise _unknown_kind(Path(file))
        self._check(kind)
        rows: str | BinaryIO = _stdin() if file == "-" else file
        if kind == "csv":
            return sources.csv_source(rows, **self._of_csv())
        if kind == "jsonl":
            return sources.jsonl_source(rows)
        if kind == "json":
            return sources.rejections_source(file)
        if kind == "excel":
            return sources.excel_source(rows, sheet=_sheet(self.sheet or "0"))
        if file == "-" or Path(file).is_fifo():
            raise UsageError("a Parquet file cannot be read from a pipe: its end is read first")
        return sources.parquet_source(file)

    def _of_csv(self) -> dict[str, Any]:
        said = {name: getattr(self, name) for name in ("encoding", "delimiter", "header_row", "null", "escape")}
        if self.delimiter is not None:
            said["delimiter"] = _DELIMITERS.get(self.delimiter.casefold(), self.delimiter)
        return {name: value for name, value in said.items() if value is not None}

    def _check(self, kind: str) -> None:
        """Raise UsageError for options that are not for such a file."""
        if kind != "csv" and self._of_csv():
            raise UsageError("--delimiter, --encoding, --header-row, --null and --escape are for CSV")
        if kind != "excel" and self.sheet is not None:
            raise UsageError("--sheet is for spreadsheets")


_DELIMITERS = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
"""Words for delimiters that are hard to type in a shell."""


def check_file(file: str, more: str = "") -> None:
    """Look at a file before anything is asked of Mailjet. Raises UsageError, with ``more``, if it cannot be read."""
    path = Path(file)
    if file == "-" or "://" in file or "\n" in file:
        return
    try:
        if path.is_dir():
            raise UsageError(f"{file} is a folder: give a file in it")
        if path.exists():
            if not os.access(path, os.R_OK):
                raise UsageError(f"the file {file} cannot be opened: Permission denied")
            return
        siblings = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
    except (OSError, ValueError) as why:
        raise UsageError(f"the file cannot be opened: {getattr(why, 'strerror', None) or 'its name is none'}") from None
    stem = likely(path.stem, [Path(name).stem for name in siblings])
    there = next((name for name in siblings if Path(name).stem == stem), None)
    meant = "" if there is None else f" (did you mean {str(path.with_name(there))!r}?)"
    raise UsageError(f"the file {file} cannot be opened: No such file or directory{meant}{more}")


def _unknown_kind(path: Path) -> UsageError:
    """Say that the name of a file does not say what it is, and what it is by its first bytes."""
    from mjbulk.rows.packed import kind_of_bytes  # noqa: PLC0415  # help must not wait for the engine

    if path.suffix.casefold() == ".json":
        return UsageError(
            "a file *.json may be one JSON array: jq -c '.[]' FILE | mjbulk import - --format jsonl takes that; with "
            "one object a line --format jsonl reads it"
        )
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(16)
    what = kind_of_bytes(head)
    if what is not None:
        return UsageError(f"the file is {what}")
    return UsageError(f"the file's ending does not say what it is: {_ENDINGS}")


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise UsageError("there is no stdin to read from")
    return sys.stdin.buffer


def _sheet(said: str) -> str | int:
    return int(said) if said.isascii() and said.isdigit() else said


NOWHERE = Where()
NO_LISTS = Lists()
BY_ITS_NAME = Form()
