"""The tables of a journal: one for each kind of record, made of its fields; what is written to them, and read."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args

import attrs
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
from mjbulk.journal.info import SUMS, books
from mjbulk.journal.records import (
    FORMAT,
    RECORDS,
    ChunkRecord,
    History,
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
"""A database's own insert, which knows what to do about a key that is there."""

_METADATA = MetaData()
_FORMAT = Table(f"{PREFIX}format", _METADATA, Column("version", BigInteger, primary_key=True, autoincrement=False))


def _type_of(hint: Any) -> type[Text | BigInteger | Boolean]:
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return Boolean if bool in kinds else BigInteger if int in kinds else Text


def _table(cls: type[Any]) -> Table:
    columns: list[Column[Any]] = [
        Column(f.name, _type_of(f.type), primary_key=place < cls.KEYS, autoincrement=False)
        for place, f in enumerate(attrs.fields(cls))
    ]
    name = cls.__name__.removesuffix("Record").casefold()
    return Table(f"{PREFIX}{name}s", _METADATA, *columns, Column("sum", Text, nullable=False))


_TABLES = {cls: _table(cls) for cls in RECORDS}
_RUNS, _CHUNKS, _PARTS, _REJECTIONS = (_TABLES[cls] for cls in (RunRecord, ChunkRecord, PartRecord, RejectionRecord))


def _values(record: Record) -> dict[str, Any]:
    values = attrs.asdict(record, recurse=False)
    return {**values, "sum": check_sum(list(values.values()))}


def _read(cls: type[_T], row: Sequence[Any]) -> _T:
    """Make a record of a row. Raises JournalRefused where it is not what was written."""
    *values, found = row
    if any(isinstance(value, bytes) for value in values) or check_sum(values) != found:
        raise damaged("a record is not what was written")
    return cls(**dict(zip((f.name for f in attrs.fields(cls)), values, strict=True)))  # type: ignore[arg-type]  # attrs


def write(connection: Connection, insert: Insert, records: Sequence[Record]) -> None:
    """Write records, each in place of the one with its key; of several with one key the last."""
    by_kind: dict[type[Any], dict[Any, Record]] = {}
    for record in records:
        by_kind.setdefault(type(record), {})[attrs.astuple(record, recurse=False)[: record.KEYS]] = record
    for cls, latest in by_kind.items():
        values = [_values(record) for record in latest.values()]
        connection.execute(_upsert(insert, cls), values)  # type: ignore[arg-type]  # classes can be hashed


@cache
def _upsert(insert: Insert, cls: type[Any]) -> Any:
    names = [column.name for column in _TABLES[cls].columns]
    statement = insert(_TABLES[cls])
    new = {name: statement.excluded[name] for name in names[cls.KEYS :]}
    return statement.on_conflict_do_update(index_elements=names[: cls.KEYS], set_=new)


def delete_run(connection: Connection, run: int) -> None:
    """Forget a run."""
    for table in (_RUNS, _CHUNKS, _PARTS, _REJECTIONS):
        connection.execute(delete(table).filter_by(run=run))


def delete_refused(connection: Connection, run: int, after: int) -> None:
    """Forget the rows after this one that were refused here."""
    connection.execute(delete(_REJECTIONS).filter_by(run=run, chunk=0).where(_REJECTIONS.c.row > after))


def _in_order(table: Table) -> Any:
    return select(table).order_by(*table.primary_key.columns)


def read(connection: Connection, cls: type[_T], **which: Any) -> list[_T]:
    """Read records in the order of their keys."""
    return [_read(cls, row) for row in connection.execute(_in_order(_TABLES[cls]).filter_by(**which))]


def books_of(connection: Connection, which: Mapping[str, Any]) -> Callable[[int], Counts]:
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
    return lambda run: books(rows.get(run, 0), refused.get(run, 0), parts.get(run, ()))


def read_page(
    connection: Connection, which: Mapping[str, Any], after: tuple[int, int, int] | None, most: int
) -> list[RejectionRecord]:
    """Read some rejections: those after a chunk, a part and a number."""
    table = _REJECTIONS
    wanted = _in_order(table).filter_by(**which).limit(most)
    if after is not None:
        wanted = wanted.where(tuple_(table.c.chunk, table.c.first, table.c.number) > after)
    return [_read(RejectionRecord, row) for row in connection.execute(wanted)]


def read_history(connection: Connection, run: int) -> History | None:
    """Read what is known of a run."""
    runs = read(connection, RunRecord, run=run)
    if not runs:
        return None
    chunks, parts = read(connection, ChunkRecord, run=run), read(connection, PartRecord, run=run)
    wanted = select(func.count()).select_from(_REJECTIONS).filter_by(run=run, chunk=0)
    return History.of(runs[0], chunks, parts, connection.execute(wanted).scalar_one())


def check_format(connection: Connection) -> None:
    """Make the tables where there are none. Raises JournalRefused where they are those of another version."""
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
