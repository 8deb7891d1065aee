"""The tables of a journal, and how records are written to them and read.

The names here are those on disk. They never change, because users have journals with them. Classes and fields of
records may get other names: the ``key`` of a column is the name of its field, and is the name of the column by default.
A check sum covers the values in the order of the columns.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    MetaData,
    Table,
    Text,
    delete,
    func,
    inspect,
    select,
    tuple_,
)

from mjbulk.errors import JournalRefused
from mjbulk.journal.history import History
from mjbulk.journal.info import SUMS, sum_counts
from mjbulk.journal.records import (
    FORMAT,
    ChunkRecord,
    NoteRecord,
    PartRecord,
    Record,
    RejectionRecord,
    RunRecord,
    check_sum,
    damaged,
)
from mjbulk.models import Counts

PREFIX = "mjbulk_"
"""How the names of all tables begin."""
_T = TypeVar("_T")
Insert = Callable[[Table], Any]
"""The insert of a database, which can replace a record with the same key."""


def _key(name: str, kind: type[BigInteger | Text]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _sum() -> Column[str]:
    return Column("sum", Text, nullable=False)


_METADATA = MetaData()
_FORMAT = Table("mjbulk_format", _METADATA, _key("version", BigInteger))
_RUNS = Table(
    "mjbulk_runs",
    _METADATA,
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
    Column("settled", Boolean),
    Column("requests", BigInteger),
    Column("milliseconds", BigInteger),
    _sum(),
)
_CHUNKS = Table(
    "mjbulk_chunks",
    _METADATA,
    _key("run", BigInteger),
    _key("number", BigInteger),
    Column("first", BigInteger),
    Column("last", BigInteger),
    Column("rows", BigInteger),
    Column("entries", BigInteger),
    Column("digest", Text),
    _sum(),
)
_PARTS = Table(
    "mjbulk_parts",
    _METADATA,
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
    "mjbulk_rejections",
    _METADATA,
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
)
_NOTES = Table("mjbulk_notes", _METADATA, _key("account", Text), _key("name", Text), Column("text", Text), _sum())

TABLES: Mapping[type[Any], Table] = {
    RunRecord: _RUNS,
    ChunkRecord: _CHUNKS,
    PartRecord: _PARTS,
    RejectionRecord: _REJECTIONS,
    NoteRecord: _NOTES,
}
"""The table of each kind of record."""


_FIELDS = {cls: [c.key for c in table.columns if c.name != "sum"] for cls, table in TABLES.items()}
"""The fields of each kind of record in the order of their columns."""
_KEYS = {cls: attrgetter(*(c.key for c in table.primary_key.columns)) for cls, table in TABLES.items()}
"""A function for each kind of record that gives the key of one."""


def _values(record: Record) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in _FIELDS[type(record)]}
    return {**values, "sum": check_sum(list(values.values()))}


def _record(cls: type[_T], row: Sequence[Any]) -> _T:
    """Make a record of a row. Raises JournalRefused if its check sum is wrong."""
    *values, found = row
    if any(isinstance(value, bytes) for value in values) or check_sum(values) != found:
        raise damaged("a record is not what was written")
    return cls(**dict(zip(_FIELDS[cls], values, strict=True)))


def write(connection: Connection, insert: Insert, records: Sequence[Record]) -> None:
    """Write records. A record replaces the one with the same key; of several with one key the last is written."""
    by_kind: dict[type[Any], dict[Any, Record]] = {}
    for record in records:
        by_kind.setdefault(type(record), {})[_KEYS[type(record)](record)] = record
    for cls, latest in by_kind.items():
        values = [_values(record) for record in latest.values()]
        connection.execute(_upsert(insert, cls), values)  # type: ignore[arg-type]  # classes can be hashed


@cache
def _upsert(insert: Insert, cls: type[Any]) -> Any:
    table = TABLES[cls]
    statement = insert(table)
    new = {column.key: statement.excluded[column.key] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=new)


def delete_run(connection: Connection, run: int) -> None:
    """Forget a run."""
    for table in (_RUNS, _CHUNKS, _PARTS, _REJECTIONS):
        connection.execute(delete(table).filter_by(run=run))


def delete_refused(connection: Connection, run: int, after: int) -> None:
    """Forget the rejections of rows after this one that mjbulk refused."""
    connection.execute(delete(_REJECTIONS).filter_by(run=run, chunk=0).where(_REJECTIONS.c.row > after))


def _in_order(table: Table) -> Any:
    return select(table).order_by(*table.primary_key.columns)


def read(connection: Connection, cls: type[_T], **which: Any) -> list[_T]:
    """Read records in the order of their keys."""
    return [_record(cls, row) for row in connection.execute(_in_order(TABLES[cls]).filter_by(**which))]


def counts_by_run(connection: Connection, which: Mapping[str, Any]) -> Callable[[int], Counts]:
    """Add up the books of runs, in the database; give the function that tells those of one."""
    mine = select(_RUNS.c.run).filter_by(**which)

    def sums(table: Table, by: Sequence[str], *what: Any, **only: Any) -> Sequence[Any]:
        keys = [table.c[name] for name in by]
        wanted = select(*keys, *what).where(table.c.run.in_(mine)).filter_by(**only).group_by(*keys)
        return connection.execute(wanted).all()

    rows = {run: int(total) for run, total in sums(_CHUNKS, ["run"], func.sum(_CHUNKS.c.rows))}
    refused = {run: int(total) for run, total in sums(_REJECTIONS, ["run"], func.count(), chunk=0)}
    parts: dict[int, list[Any]] = {}
    for run, state, *totals in sums(_PARTS, ["run", "state"], *(func.sum(_PARTS.c[name]) for name in SUMS)):
        parts.setdefault(run, []).append((state, *map(int, totals)))
    return lambda run: sum_counts(rows.get(run, 0), refused.get(run, 0), parts.get(run, ()))


def read_page(
    connection: Connection, which: Mapping[str, Any], after: tuple[int, int, int] | None, most: int
) -> list[RejectionRecord]:
    """Read at most ``most`` rejections: those that come after a chunk, a part and a number."""
    table = _REJECTIONS
    wanted = _in_order(table).filter_by(**which).limit(most)
    if after is not None:
        wanted = wanted.where(tuple_(table.c.chunk, table.c.first, table.c.number) > after)
    return [_record(RejectionRecord, row) for row in connection.execute(wanted)]


def read_history(connection: Connection, run: int) -> History | None:
    """Read what is known about a run; None if it is not there."""
    runs = read(connection, RunRecord, run=run)
    if not runs:
        return None
    chunks, parts = read(connection, ChunkRecord, run=run), read(connection, PartRecord, run=run)
    wanted = select(func.count()).select_from(_REJECTIONS).filter_by(run=run, chunk=0)
    return History.of(runs[0], chunks, parts, connection.execute(wanted).scalar_one())


def check_format(connection: Connection) -> None:
    """Make the tables if there are none. Raises JournalRefused if they are of another version."""
    names = set(inspect(connection).get_table_names())
    wanted = set(_METADATA.tables)
    if not names & wanted:
        _METADATA.create_all(connection)
        connection.execute(_FORMAT.insert(), {"version": FORMAT})
        return
    version = connection.execute(select(_FORMAT.c.version)).scalar() if _FORMAT.name in names else None
    if version is None or wanted - names:
        raise damaged("tables are missing")
    if version != FORMAT:
        raise JournalRefused(
            f"the journal is of another version of mjbulk (format {version}, this one writes {FORMAT})"
        )
