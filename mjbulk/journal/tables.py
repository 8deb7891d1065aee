"""The tables of a journal, and how records are written to them and read.

The names here are those on disk. They never change, because users have journals with them. Classes and fields of
records may get other names: the ``key`` of a column is the name of its field, and is the name of the column by default.

A column that a later version needs is added here with `_added`. Its field has a default, which is also the value in
rows that were written before. A journal that lacks the column gets it when it is opened. Check sums leave out values
that are the default. A column is never removed, and its meaning never changes. If that is not enough, journals get
another format, whose tables have other names and stand beside the earlier ones (`mjbulk.journal.formats`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

import attrs
from attrs import field, frozen
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    false,
    func,
    select,
    tuple_,
)

from mjbulk.journal.history import History, facts_of
from mjbulk.journal.info import SUMS, PartSums, RunFacts
from mjbulk.journal.records import (
    ChunkRecord,
    CommandRecord,
    EndedChunk,
    NoteRecord,
    PartRecord,
    Record,
    RejectionRecord,
    RunRecord,
    check_sum,
    damaged,
)

PREFIX = "mjbulk_"
"""How the names of all tables begin."""
FORMAT_TABLE = "mjbulk_format"
"""The table that says which formats the tables of a database have: this one, an earlier one, or both."""
_T = TypeVar("_T")
Insert = Callable[[Table], Any]
"""The insert of a database, which can replace a record with the same key."""


def _key(name: str, kind: type[BigInteger | Text]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _added(name: str, kind: type[BigInteger | Boolean | Text], default: str) -> Column[Any]:
    """Give a column that a database may lack. ``default`` is the default of its field, as a text."""
    return Column(name, kind, server_default=false() if kind is Boolean else default)


def _sum() -> Column[str]:
    return Column("sum", Text, nullable=False)


_AT_ONCE = 500
"""How many rows one statement names at most."""
METADATA = MetaData()
_SMALL: dict[str, Any] = {"sqlite_with_rowid": False}
"""For tables with few rows: each takes one page of a file, and none for an index."""
FORMATS = Table(FORMAT_TABLE, METADATA, _key("version", BigInteger), **_SMALL)
_RUNS = Table(
    "mjbulk_2_runs",
    METADATA,
    _key("run", BigInteger),
    Column("run_id", Text),
    Column("partition", Text),
    Column("account", Text),
    Column("spec", Text),
    Column("source", Text),
    Column("targets", Text),
    Column("created", Text),
    Column("whole", Boolean),
    Column("rows", BigInteger),
    Column("closed", Boolean),
    Column("requests", BigInteger),
    Column("milliseconds", BigInteger),
    _sum(),
    _added("cause", Text, ""),
    _added("reading", Text, ""),
    _added("fence", BigInteger, "0"),
    _added("kind", Text, ""),
    _added("accepted", BigInteger, "0"),
    _added("rejected", BigInteger, "0"),
    _added("superseded", BigInteger, "0"),
    _added("unknown", BigInteger, "0"),
)
_CHUNKS = Table(
    "mjbulk_2_chunks",
    METADATA,
    _key("run", BigInteger),
    _key("number", BigInteger),
    Column("first", BigInteger),
    Column("last", BigInteger),
    Column("rows", BigInteger),
    Column("entries", BigInteger),
    Column("digest", Text),
    _sum(),
    _added("shape", Text, ""),
)
_PARTS = Table(
    "mjbulk_2_parts",
    METADATA,
    _key("run", BigInteger),
    _key("chunk", BigInteger),
    _key("first", BigInteger),
    _key("end", BigInteger),
    Column("rows", BigInteger),
    Column("state", Text),
    Column("attempts", BigInteger),
    Column("data_id", BigInteger),
    Column("job", Text),
    Column("overtaken", Boolean),
    Column("accepted", BigInteger),
    Column("rejected", BigInteger),
    Column("superseded", BigInteger),
    Column("unknown", BigInteger),
    Column("cause", Text),
    _sum(),
)
_REJECTIONS = Table(
    "mjbulk_2_rejections",
    METADATA,
    _key("run", BigInteger),
    _key("chunk", BigInteger),
    _key("first", BigInteger),
    _key("number", BigInteger),
    Column("row", BigInteger),
    Column("candidates", Text),
    Column("field", Text),
    Column("message", Text),
    Column("match", Text),
    Column("origin", Text),
    _sum(),
    _added("code", Text, ""),
)
_COMMANDS = Table(
    "mjbulk_2_commands",
    METADATA,
    _key("run", BigInteger),
    _key("number", BigInteger),
    Column("command", Text),
    Column("created", Text),
    _sum(),
    **_SMALL,
)
_NOTES = Table(
    "mjbulk_2_notes", METADATA, _key("account", Text), _key("name", Text), Column("text", Text), _sum(), **_SMALL
)

TABLES: Mapping[type[Any], Table] = {
    RunRecord: _RUNS,
    ChunkRecord: _CHUNKS,
    PartRecord: _PARTS,
    RejectionRecord: _REJECTIONS,
    CommandRecord: _COMMANDS,
    NoteRecord: _NOTES,
}
"""The table of each kind of record."""
_OF_RUNS = (RunRecord, ChunkRecord, PartRecord, RejectionRecord, CommandRecord)
_KEYS = {cls: attrgetter(*(c.key for c in table.primary_key.columns)) for cls, table in TABLES.items()}
"""A function for each kind of record that gives the key of one."""
_DEFAULTS = {
    cls: {str(c.name): attrs.fields_dict(cls)[c.key].default for c in table.columns if c.name != "sum"}
    for cls, table in TABLES.items()
}
"""The default of the field of each column; `attrs.NOTHING` if it has none."""
_VALUES = {cls: attrgetter(*defaults) for cls, defaults in _DEFAULTS.items()}
"""A function for each kind of record that gives the values of one in the order of the columns.

The key of each column is still its name.
"""


@frozen
class Layout:
    """The tables of one format, and how its check sums are made."""

    tables: Mapping[type[Any], Table]
    sum_of: Callable[[type[Any], Mapping[str, Any]], str]
    """Gives the check sum of a record. Its values come by their names on disk, in the order of the columns."""
    renamed: Mapping[str, str] = field(factory=dict)
    """The names of fields by the names of their columns, if the two differ."""

    def decode(self, cls: type[_T], row: Sequence[Any]) -> _T:
        """Make a record of a row. Raises JournalRefused if its check sum is wrong."""
        values = dict(zip(_names(self.tables[cls]), row, strict=True))
        found = values.pop("sum")
        if any(isinstance(value, bytes) for value in row) or self.sum_of(cls, values) != found:
            raise damaged("a record is not what was written")
        for name, of in self.renamed.items():
            if name in values:
                values[of] = values.pop(name)
        return cls(**values)


@cache
def _names(table: Table) -> Sequence[str]:
    return [str(column.name) for column in table.columns]


def _sum_of(cls: type[Any], values: Mapping[str, Any]) -> str:
    return check_sum({name: values[name] for name, default in _DEFAULTS[cls].items() if values[name] != default})


LAYOUT = Layout(TABLES, _sum_of)
"""The tables of the format that is written."""


def write(connection: Connection, insert: Insert, records: Sequence[Record]) -> None:
    """Write records, and then delete those of chunks that have ended. A record replaces the one with the same key; of
    several with one key the last is written.
    """
    by_kind: dict[type[Any], dict[Any, Record]] = {}
    for record in records:
        if not isinstance(record, EndedChunk):
            by_kind.setdefault(type(record), {})[_KEYS[type(record)](record)] = record
    for cls, latest in by_kind.items():
        # In the order of their keys, so that two processes never wait for each other.
        values = [_values(latest[key]) for key in sorted(latest)]
        connection.execute(_upsert(insert, cls), values)  # type: ignore[arg-type]  # classes can be hashed
    if over := [{"of": record.run, "chunk": record.number} for record in records if isinstance(record, EndedChunk)]:
        for statement in _DELETE_CHUNK:
            connection.execute(statement, over)


_DELETE_CHUNK = [
    delete(table).where(table.c.run == bindparam("of"), number == bindparam("chunk"))
    for table, number in ((_REJECTIONS, _REJECTIONS.c.chunk), (_PARTS, _PARTS.c.chunk), (_CHUNKS, _CHUNKS.c.number))
]


def _values(record: Record) -> dict[str, Any]:
    cls = type(record)
    values = dict(zip(_DEFAULTS[cls], _VALUES[cls](record), strict=True))
    values["sum"] = _sum_of(cls, values)
    return values


@cache
def _upsert(insert: Insert, cls: type[Any]) -> Any:
    table = TABLES[cls]
    statement = insert(table)
    new = {column.key: statement.excluded[column.key] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=new)


def add_run(connection: Connection, insert: Insert, run: RunRecord) -> bool:
    """Write the record of a run, unless there is one. Tell whether it was written."""
    statement = insert(_RUNS).on_conflict_do_nothing().execution_options(preserve_rowcount=True)
    return connection.execute(statement, _values(run)).rowcount == 1


def read_fences(
    connection: Connection, runs: Collection[int], session: ColumnElement[Any]
) -> tuple[dict[int, int], set[Any]]:
    """Read which process has each run, and keep others from taking or writing these until the transaction ends.

    Gives also the sessions in which they were read.
    """
    found = connection.execute(_fences(session), {"runs": list(runs)}).all()
    sessions = {where for *_, where in found} or {connection.execute(select(session)).scalar_one()}
    return {run: fence for run, fence, _ in found}, sessions


@cache
def _fences(session: ColumnElement[Any]) -> Any:
    wanted = select(_RUNS.c.run, _RUNS.c.fence, session).where(_RUNS.c.run.in_(bindparam("runs", expanding=True)))
    return wanted.order_by(_RUNS.c.run).with_for_update()


def delete_run(connection: Connection, layout: Layout, run: int) -> None:
    """Forget a run."""
    for cls in _OF_RUNS:
        if cls in layout.tables:
            connection.execute(delete(layout.tables[cls]).filter_by(run=run))


def delete_refused(connection: Connection, run: int, after: int, rows: Sequence[int]) -> None:
    """Forget the rejections of rows that mjbulk refused: of these rows, and of all rows after one."""
    refused = delete(_REJECTIONS).filter_by(run=run, chunk=0)
    connection.execute(refused.where(_REJECTIONS.c.row > after))
    for start in range(0, len(rows), _AT_ONCE):
        connection.execute(refused.where(_REJECTIONS.c.row.in_(rows[start : start + _AT_ONCE])))


def _in_order(table: Table) -> Any:
    return select(table).order_by(*table.primary_key.columns)


def read(connection: Connection, layout: Layout, cls: type[_T], **which: Any) -> list[_T]:
    """Read records in the order of their keys."""
    rows = connection.execute(_in_order(layout.tables[cls]).filter_by(**which))
    return [layout.decode(cls, row) for row in rows]


def read_facts(connection: Connection, layout: Layout, which: Mapping[str, Any]) -> list[tuple[RunRecord, RunFacts]]:
    """Read runs, each with its records added up. The database adds them up."""
    runs = read(connection, layout, RunRecord, **which)
    mine = select(layout.tables[RunRecord].c.run).filter_by(**which)

    def sums(cls: type[Any], by: Sequence[Any], *what: Any, **only: Any) -> Sequence[Any]:
        table = layout.tables[cls]
        wanted = select(table.c.run, *by, *what).where(table.c.run.in_(mine)).filter_by(**only)
        return connection.execute(wanted.group_by(table.c.run, *(one.name for one in by))).all()

    cut = {run: int(rows) for run, rows in sums(ChunkRecord, [], func.sum(layout.tables[ChunkRecord].c.rows))}
    refused = {run: int(rows) for run, rows in sums(RejectionRecord, [], func.count(), chunk=0)}
    parts: dict[int, list[PartSums]] = {}
    for row in sums(PartRecord, *_part_sums(layout.tables[PartRecord])):
        of_run: dict[str, Any] = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name
        of_run |= {name: int(of_run[name]) for name in SUMS}
        parts.setdefault(of_run.pop("run"), []).append(PartSums(**of_run))
    return [(run, facts_of(run, cut.get(run.run, 0), refused.get(run.run, 0), parts.get(run.run, ()))) for run in runs]


def _part_sums(table: Table) -> tuple[Sequence[Any], *tuple[Any, ...]]:
    """Give the columns in which parts are alike, and then their sums, by the names of `PartSums`."""
    columns = table.c
    uploaded, explained = columns.data_id.is_not(None).label("uploaded"), (columns.cause != "").label("explained")
    alike = [columns.state, uploaded, columns.overtaken, explained]
    return alike, *(func.sum(columns[name]).label(name) for name in SUMS)


def read_page(
    connection: Connection, layout: Layout, which: Mapping[str, Any], after: tuple[int, int, int] | None, most: int
) -> list[RejectionRecord]:
    """Read at most ``most`` rejections: those that come after a chunk, a part and a number."""
    table = layout.tables[RejectionRecord]
    wanted = _in_order(table).filter_by(**which).limit(most)
    if after is not None:
        wanted = wanted.where(tuple_(table.c.chunk, table.c.first, table.c.number) > after)
    return [layout.decode(RejectionRecord, row) for row in connection.execute(wanted)]


def read_history(connection: Connection, layout: Layout, run: int) -> History | None:
    """Read what is known about a run; None if it is not there."""
    runs = read(connection, layout, RunRecord, run=run)
    if not runs:
        return None
    chunks, parts = read(connection, layout, ChunkRecord, run=run), read(connection, layout, PartRecord, run=run)
    wanted = select(func.count()).select_from(layout.tables[RejectionRecord]).filter_by(run=run, chunk=0)
    return History.of(runs[0], chunks, parts, connection.execute(wanted).scalar_one())
