"""How a CSV file is written, beyond its commas and quotes: what stands before its header and behind its rows, its line
ends, its escapes and its nulls. What comes out is CSV as `csv_text` reads it.
"""

import re
from collections.abc import Sequence

from attrs import evolve, frozen

from mjbulk.errors import UsageError
from mjbulk.rows.csv_text import MAX_RECORD, Records, encode_record, is_strict

_LINE_END = re.compile("\r\n|\n|\r")
_SEP = re.compile('"?sep=([^"\r\n])"?', re.IGNORECASE)
_MISREAD_BOM = "ï»¿"
_END_MARKS = "\0\x1a"
"""NULs and Ctrl-Z, with which some systems fill up or end a file."""
_FIRST_HIDDEN, _HIDEABLE = 0xD800, 0x800
_COPY_END, _HIDDEN_END = "\\.", chr(_FIRST_HIDDEN + ord("."))
"""The line that ends rows of PostgreSQL's COPY, as it is and with a hidden escape."""
_MARKS = (*_END_MARKS, "\\", _HIDDEN_END)


@frozen(kw_only=True)
class CsvForm:
    """How a CSV file is written."""

    delimiter: str = ","
    header_row: int = 1
    """The line of the file in which the names of its columns stand."""
    null: str | None = None
    """The text of a cell that is a null; an empty cell always is one."""
    escape: str | None = None
    """The character before one that is meant as itself, and before letters for other characters (MySQL's ``\\N``)."""

    def check(self) -> None:
        """Raise UsageError for what cannot be."""
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise UsageError("delimiter= is one character, and no quote or line end")
        if type(self.header_row) is not int or self.header_row < 1:
            raise UsageError("header_row= is the number of a line, from 1 on")
        if self.escape is not None and (len(self.escape) != 1 or self.escape in f'"\r\n{self.delimiter}'):
            raise UsageError("escape= is one character, and no quote, line end or delimiter")
        if self.null is not None and not isinstance(self.null, str):
            raise UsageError("null= is the text of a cell")


class CsvCleaner:
    """Makes plain CSV of text that comes in pieces. Mutable state: what of it has to wait for the next piece."""

    def __init__(self, form: CsvForm) -> None:
        """Begin with nothing."""
        self.delimiter = form.delimiter
        """The one that the file names, once its first line has come."""
        self.begun = False
        """Whether the line with the names of the columns is reached."""
        self.skipped = 0
        """Lines that stand before it."""
        self._skip = form.header_row - 1
        self._first = True
        self._head = ""
        self._has_cr = False
        self._held = ""
        self._escapes = None if form.escape is None else Escapes(form.escape)
        self._null = form.null
        if form.null is not None and self._escapes is not None:
            self._null = Escapes(form.escape or "").hide(form.null, last=True)

    def clean(self, text: str, *, last: bool) -> str:
        """Take in a piece of text, and give what is clean now. ``last`` says that no more will come.

        Raises UsageError if it begins with a byte order mark that was read as letters.
        """
        if not self.begun:
            text = self._begin(self._head + text, last=last)
            if not self.begun:
                return ""
        if self._has_cr:
            text = text.replace("\r", "\n")
        text = self._without_end_marks(text, last=last)
        return text if self._escapes is None else self._escapes.hide(text, last=last)

    def _begin(self, text: str, *, last: bool) -> str:
        """Take off what stands before the names of the columns, as far as it has come."""
        while not self.begun:
            end = _LINE_END.search(text)
            known = end is not None and (end.end() < len(text) or end[0] != "\r" or last)  # a \n may follow
            if not known and not last and len(text) <= MAX_RECORD:
                break
            after = end.end() if end is not None and known else len(text)
            if self._first:
                self._has_cr = end is not None and end[0] == "\r"
                self._first = False
                text, after = self._without_bom(text, after)
                if (sep := _SEP.fullmatch(text[:after].strip("\r\n"))) is not None:
                    self.delimiter, text = sep[1], text[after:]
                    self.skipped += 1
                    self._skip = max(self._skip - 1, 0)
                    continue
            if self._skip:
                self._skip -= 1
                self.skipped += 1
                text = text[after:]
                self.begun = last and not text
            else:
                self.begun = True
        self._head = "" if self.begun else text
        return text

    @staticmethod
    def _without_bom(text: str, after: int) -> tuple[str, int]:
        if text.startswith(_MISREAD_BOM):
            raise UsageError("it begins with the byte order mark of UTF-8: say encoding='utf-8'")
        return (text[1:], after - 1) if text.startswith("\ufeff") else (text, after)

    def _without_end_marks(self, text: str, *, last: bool) -> str:
        """Hold back end marks until it is known whether something follows."""
        text = self._held + text
        kept = text.rstrip(_END_MARKS)
        if len(text) - len(kept) > MAX_RECORD and not last:
            kept = text
        self._held = text[len(kept) :]
        return kept

    def finish(self, records: Records) -> Records:
        """Give records without end marks, with nulls as empty cells and without escapes. Their raw texts are such that
        each reader of CSV reads them alike.
        """
        text = "".join(records.raws)  # to look for a character in it at once costs less than row by row
        changed: set[int] = set()
        if self._escapes is not None:
            records = evolve(records, lines=())
        rows, raws = records.rows, records.raws
        if self._null is not None or self._escapes is not None:
            rows = list(rows)
            changed = self._changed_cells(rows)
        if self.delimiter == "," and '"' in text:  # else all records are written from their cells
            odd = [at for at, raw in enumerate(raws) if '"' in raw and not is_strict(raw)]
            changed.update(set(odd) - records.faults.keys())
        if changed:
            raws = [encode_record(rows[at]).decode() if at in changed else raw for at, raw in enumerate(raws)]
            records = Records(raws, records.lines, rows, faults=records.faults)
        if any(mark in text for mark in _MARKS):
            ends = [at for at, row in enumerate(rows) if len(row) == 1 and _is_end(row[0])]
            return _without(records, ends) if ends else records
        return records

    def _changed_cells(self, rows: list[Sequence[str]]) -> set[int]:
        """Put nulls and escaped characters into rows, and give the indexes of those that have some."""
        changed: set[int] = set()
        if self._null is not None:
            null = self._null
            changed = {at for at, row in enumerate(rows) if null in row}
            for at in changed:
                rows[at] = ["" if cell == null else cell for cell in rows[at]]
        if self._escapes is not None:
            hidden = [at for at, row in enumerate(rows) if row != [_HIDDEN_END] and _HIDDEN.search("".join(row))]
            for at in hidden:
                rows[at] = list(map(show, rows[at]))
            changed |= set(hidden)
        return changed


def _is_end(cell: str) -> bool:
    return cell in (_COPY_END, _HIDDEN_END) or (cell != "" and not cell.strip(_END_MARKS))


def _without(records: Records, left_out: Sequence[int]) -> Records:
    kept = [at for at in range(len(records)) if at not in set(left_out)]
    faults = {new: records.faults[old] for new, old in enumerate(kept) if old in records.faults}
    rows = records.rows
    lines = [records.lines[at] for at in kept] if records.lines else ()
    return Records([records.raws[at] for at in kept], lines, [rows[at] for at in kept], faults=faults)


# Escapes

_HIDDEN = re.compile("[\ud800-\udfff]")
_MEANINGS = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
"""What MySQL and PostgreSQL mean by an escaped letter."""


class Escapes:
    """Hides escaped characters from a reader of CSV, each in one code point that no decoded text has (a surrogate).

    Mutable state: an escape at the end of a piece.
    """

    def __init__(self, escape: str) -> None:
        """Take the character that escapes."""
        self._escape = escape
        self._pairs = re.compile(f"{re.escape(escape)}(.)", re.DOTALL)
        self._rest = ""

    def hide(self, text: str, *, last: bool) -> str:
        """Hide what is escaped in a piece of text; ``last`` says that no more will come."""
        text = self._rest + text
        open_ends = (len(text) - len(text.rstrip(self._escape))) % 2 and not last
        self._rest = self._escape if open_ends else ""
        return self._pairs.sub(_hide, text[: len(text) - len(self._rest)])


def _hide(pair: re.Match[str]) -> str:
    code = ord(pair[1])
    return chr(_FIRST_HIDDEN + code) if code < _HIDEABLE else pair[1]


def show(cell: str) -> str:
    """Give a cell with the characters that were hidden in it."""
    return _HIDDEN.sub(_shown, cell)


def _shown(hidden: re.Match[str]) -> str:
    letter = chr(ord(hidden[0]) - _FIRST_HIDDEN)
    return _MEANINGS.get(letter, letter)
