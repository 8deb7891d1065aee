"""From rows to the CSV records of an upload."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from mjbulk.chunks.as_csv import DATETIME_FORMAT, CsvEncoder
from mjbulk.config import Settings
from mjbulk.resources import Property
from mjbulk.rows.block import Block
from mjbulk.rows.layout import ColumnRules, Layout, layout_of
from mjbulk.rows.values import ColumnFault, RowFault

KINDS = ("str", "int", "float", "bool", "datetime")
KNOWN = {kind: Property(id=number, name=kind, datatype=kind) for number, kind in enumerate(KINDS)}
VALUES = ColumnRules(properties=KNOWN, via_csv=True)
TEXTS = ColumnRules(properties=KNOWN, via_csv=True, text=True)


def layout(names: Sequence[str], rules: ColumnRules) -> Layout:
    return layout_of(tuple(names), rules)


def encoder_of(first: Layout, *, keeps: bool = True, **said: Any) -> CsvEncoder:
    return CsvEncoder(Settings(**said), first, empty_cell_keeps=keeps)


def encode(
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    rules: ColumnRules = VALUES,
    *,
    raws: Sequence[str] | None = None,
    encoder: CsvEncoder | None = None,
    keeps: bool = True,
) -> tuple[list[str], list[str], dict[int, RowFault]]:
    """Addresses, records and faults of rows."""
    own, faults = layout(names, rules), dict[int, RowFault]()
    encoder = encoder or encoder_of(own, keeps=keeps)
    addresses, records = encoder.encode(Block.of(tuple(names), rows, raws), own, faults)
    return list(addresses), [record.decode() for record in records], faults


def test_values_are_written_as_cells() -> None:
    """Each kind of value has its own text; nothing is an empty cell, and a cell is quoted where it has to be."""
    when = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
    rows = [
        ("ann@x.org", 'a "b", c', 7, 1.5, True, when),
        ("bob@x.org", None, None, None, False, 10**8),
        ("eve@x.org", "", -3, 2.0, None, "0900-01-02T00:00:00Z"),
    ]
    addresses, records, faults = encode(("email", *KINDS), rows)
    assert addresses == ["ann@x.org", "bob@x.org", "eve@x.org"]
    assert records == [
        'ann@x.org,"a ""b"", c",7,1.5,true,2026/11/24 12:30:00\n',
        "bob@x.org,,,,false,1973/03/03 09:46:40\n",
        "eve@x.org,,-3,2.0,,0900/01/02 00:00:00\n",
    ]
    assert faults == {}


def test_dates_are_read_by_a_format_that_is_said() -> None:
    """With a date among the columns, options say how to read it and name the fields: the body has no header then."""
    dated = encoder_of(layout(("datetime", "email"), VALUES))
    assert dated.options is not None
    assert (dated.options.datetime_format, dated.options.timezone_offset) == (DATETIME_FORMAT, 0)
    assert dated.options.field_names == ["datetime", "email"]
    assert (dated.frame.head, dated.meaning) == (b"", b"datetime,email\n")
    plain = encoder_of(layout(("int", "email"), VALUES))
    assert (plain.options, plain.frame.head, plain.meaning) == (None, b"int,email\n", b"int,email\n")


def test_records_of_a_file_are_passed_on_as_they_stand() -> None:
    """What is sent whole is not written again; only an address with blanks around it is."""
    rows = [("ann@x.org", "7"), (" bob@x.org ", "08"), ("eve@x.org", "")]
    raws = ['"ann@x.org","7"\n', " bob@x.org ,08\n", "eve@x.org,\n"]
    addresses, records, faults = encode(("email", "int"), rows, TEXTS, raws=raws)
    assert addresses == ["ann@x.org", "bob@x.org", "eve@x.org"]
    assert records == ['"ann@x.org","7"\n', "bob@x.org,08\n", "eve@x.org,\n"]
    assert faults == {}
    assert encode(("email", "int"), rows[:1], TEXTS, raws=raws[:1])[1] == raws[:1]


def test_records_are_written_from_their_cells_where_columns_are_picked() -> None:
    """A file of which columns are left out, or renamed, is written again."""
    rules = ColumnRules(properties=KNOWN, via_csv=True, text=True, columns={"Mail": "email", "Alter": "int"})
    rows = [("x", "ann@x.org", "7")]
    assert encode(("note", "Mail", "Alter"), rows, rules, raws=["x,ann@x.org,7\n"])[1] == ["ann@x.org,7\n"]


def test_texts_are_checked_and_kept() -> None:
    """A text of a file stays as it is written if it fits its column, and is a fault of its row if not."""
    rows = [
        ("ann@x.org", "07", "2026-11-24T00:00:00Z", "X x"),
        ("bob@x.org", "old", "", ""),
        ("eve@x.org", "", "soon", ""),
    ]
    _, records, faults = encode(("email", "int", "datetime", "str"), rows, TEXTS)
    assert records[0] == "ann@x.org,07,2026/11/24 00:00:00,X x\n"
    assert {index: fault.field for index, fault in faults.items()} == {1: "int", 2: "datetime"}


def test_the_columns_are_those_of_the_first_row() -> None:
    """A later row may lack columns, and has empty cells there; one that has others refuses the run."""
    encoder = encoder_of(layout(("int", "email", "str"), VALUES))
    assert encode(("str", "email"), [("x", "ann@x.org")], encoder=encoder)[1] == [",ann@x.org,x\n"]
    assert encode(("str", "email"), [("y", "bob@x.org")], encoder=encoder)[1] == [",bob@x.org,y\n"]
    with pytest.raises(ColumnFault) as caught:
        encode(("email", "bool"), [("ann@x.org", True)], encoder=encoder)
    assert (caught.value.field, "first row" in caught.value.message) == ("bool", True)


def test_an_empty_cell_is_a_fault_where_it_would_erase() -> None:
    """Where Mailjet erases a property whose cell is empty, a row with such a cell is refused."""
    rows = [("ann@x.org", 7, "x"), ("bob@x.org", None, "y"), ("eve@x.org", 1, "")]
    faults = encode(("email", "int", "str"), rows, keeps=False)[2]
    assert {index: fault.field for index, fault in faults.items()} == {1: "int", 2: "str"}
    assert encode(("email", "int", "str"), rows)[2] == {}


def test_what_csv_cannot_carry_is_a_fault() -> None:
    """A NUL, and a text that is no valid Unicode, cost their own row alone."""
    rows = [("ann@x.org", "a\0b"), ("bob@x.org", "\ud800"), ("eve@x.org", "x")]
    _, records, faults = encode(("email", "str"), rows)
    assert records[2] == "eve@x.org,x\n"
    assert {index: fault.field for index, fault in faults.items()} == {0: "str", 1: None}


def test_rows_without_an_address_are_faults() -> None:
    """A bad address is a fault, and so is a missing one."""
    encoder = encoder_of(layout(("email", "int"), VALUES))
    assert sorted(encode(("email", "int"), [("nobody", 1), ("ann@x.org", 2)], encoder=encoder)[2]) == [0]
    assert sorted(encode(("int",), [(1,), (2,)], encoder=encoder)[2]) == [0, 1]
    assert sorted(encode(("int",), [(1,), (2,)])[2]) == [0, 1]


def test_two_records_of_a_person_are_merged_cell_by_cell() -> None:
    """A cell of the later one wins unless it is empty."""
    encoder = encoder_of(layout(("email", "int", "str"), VALUES))
    assert encoder.merge(b"a@x.org,1,x\n", b"A@x.org,,y\n") == b"A@x.org,1,y\n"
    assert encoder.merge(b"a@x.org,1,x\n", b'"A@x.org",2,y\n') == b'"A@x.org",2,y\n'


def test_bytes_alone_bound_a_chunk_unless_rows_are_said() -> None:
    """Without chunk_rows a chunk has as many rows as fit."""
    first = layout(("email",), VALUES)
    assert encoder_of(first).limits.rows == float("inf")
    said = encoder_of(first, chunk_rows=7, chunk_bytes=5000).limits
    assert (said.rows, said.bytes) == (7, 5000)
