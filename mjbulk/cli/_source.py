"""Options about a file and about lists, and the sources and keywords that are made from them."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

from attrs import frozen
from cyclopts import Group, Parameter

from mjbulk.errors import UsageError
from mjbulk.terms import ActionWord

if TYPE_CHECKING:
    from mjbulk.rows.sources import Source

_LISTS = Group("Lists", sort_key=10)
_SOURCE = Group("Source", sort_key=20)


@Parameter(name="*")
@frozen(kw_only=True)
class Lists:
    """The options ``--list`` and ``--action``."""

    refs: Annotated[
        tuple[str, ...], Parameter(name="--list", group=_LISTS, help="A list, by ID, address or name; repeat for more.")
    ] = ()
    actions: Annotated[
        tuple[ActionWord, ...],
        Parameter(
            name="--action", group=_LISTS, help="What is done with the list: one for each --list, or one for all."
        ),
    ] = ()

    def pairs(self) -> Mapping[str | int, ActionWord]:
        """Pair lists with actions. Raises UsageError if they cannot be paired."""
        refs, actions = self.refs, self.actions
        if not actions:
            raise UsageError("--list needs an --action: addnoforce, addforce, remove or unsub")
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
            raise UsageError("say where the contacts go: --list LIST --action ACTION, or --no-list")
        return self.pairs()


@Parameter(name="*")
@frozen(kw_only=True)
class Form:
    """The options ``--format``, ``--delimiter``, ``--encoding`` and the like: how a file is read."""

    kind: Annotated[
        Literal["csv", "jsonl", "parquet", "excel"] | None,
        Parameter(name="--format", group=_SOURCE, help="What the file is, where its ending does not say."),
    ] = None
    delimiter: Annotated[str | None, Parameter(group=_SOURCE, help="What stands between two fields of CSV.")] = None
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
        if kind is None:
            raise UsageError("the file's ending does not say what it is: add --format csv, jsonl, parquet or excel")
        self._check(kind)
        rows: str | BinaryIO = sys.stdin.buffer if file == "-" else file
        if kind == "csv":
            return sources.csv_source(rows, **self._of_csv())
        if kind == "jsonl":
            return sources.jsonl_source(rows)
        if kind == "excel":
            return sources.excel_source(rows, sheet=_sheet(self.sheet or "0"))
        if file == "-" or Path(file).is_fifo():
            raise UsageError("a Parquet file cannot be read from a pipe: its end is read first")
        return sources.parquet_source(file)

    def _of_csv(self) -> dict[str, Any]:
        said = {name: getattr(self, name) for name in ("encoding", "delimiter", "header_row", "null", "escape")}
        return {name: value for name, value in said.items() if value is not None}

    def _check(self, kind: str) -> None:
        """Raise UsageError for options that are not for such a file."""
        if kind != "csv" and self._of_csv():
            raise UsageError("--delimiter, --encoding, --header-row, --null and --escape are for CSV")
        if kind != "excel" and self.sheet is not None:
            raise UsageError("--sheet is for spreadsheets")


def _sheet(said: str) -> str | int:
    return int(said) if said.isascii() and said.isdigit() else said


NOWHERE = Where()
NO_LISTS = Lists()
BY_ITS_NAME = Form()
