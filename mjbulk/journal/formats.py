"""The formats that journals have had, and what is done with tables of an earlier format.

One table of a database says which formats its other tables have. Tables of format 2 are made if they are missing, also
beside tables of format 1: the version that wrote those finds them unchanged, and can end its runs. This version only
reads them. A run of format 1 that has ended gives its report. One that has not ended is refused, and its run_id cannot
be used for another run.

=================  ===========================================  ====================================================
format             1                                            2
=================  ===========================================  ====================================================
names of tables    mjbulk_runs, ...                             mjbulk_2_runs, ...
number of a run    of its name and partition                    of its account, name and partition
check sum          of all values in the order of the columns    of names and values, without values that are default
=================  ===========================================  ====================================================
"""

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import evolve
from sqlalchemy import Connection, MetaData, Table, inspect, select, text
from sqlalchemy.schema import CreateColumn

from mjbulk.errors import JournalRefused
from mjbulk.journal.history import History
from mjbulk.journal.info import RunInfo
from mjbulk.journal.records import (
    FORMAT,
    ChunkRecord,
    NoteRecord,
    PartRecord,
    RejectionRecord,
    RunRecord,
    damaged,
    hash_of,
    number_of_name,
)
from mjbulk.journal.tables import FORMAT_TABLE, FORMATS, METADATA, Layout

_OLD = 1
_OLD_TABLES = {
    RunRecord: "mjbulk_runs",
    ChunkRecord: "mjbulk_chunks",
    PartRecord: "mjbulk_parts",
    RejectionRecord: "mjbulk_rejections",
    NoteRecord: "mjbulk_notes",
}
_GO_ON_ELSEWHERE = "was begun by an earlier version of mjbulk: end it with that version, or take a new run_id"


def check_format(connection: Connection) -> None:
    """Make the tables of this format if there are none, and add columns that they lack.

    Raises JournalRefused if tables are those of a later version, or are missing.
    """
    names = set(inspect(connection).get_table_names())
    ours = names & set(METADATA.tables)
    formats = set(connection.execute(select(FORMATS.c.version)).scalars()) if FORMATS.name in ours else set()
    if formats - {_OLD, FORMAT}:
        raise JournalRefused(
            f"the journal is of another version of mjbulk (format {max(formats)}, this one writes {FORMAT})"
        )
    wanted = {*(_OLD_TABLES.values() if _OLD in formats else ()), *(METADATA.tables if FORMAT in formats else ())}
    if wanted - names or (FORMAT not in formats and ours - {FORMAT_TABLE}) or (ours and not formats):
        raise damaged("tables are missing")
    if FORMAT in formats:
        _add_columns(connection)
    else:
        METADATA.create_all(connection)
        connection.execute(FORMATS.insert(), {"version": FORMAT})


def _add_columns(connection: Connection) -> None:
    """Add the columns that an earlier version did not have. Raises JournalRefused for a column of a later version."""
    for table in METADATA.tables.values():
        there = {column["name"] for column in inspect(connection).get_columns(table.name)}
        if there - {column.name for column in table.columns}:
            raise JournalRefused("the journal is of a later version of mjbulk: use that one, or take a new journal")
        for column in table.columns:
            if column.name in there:
                continue
            if column.server_default is None:
                raise damaged("columns are missing")
            words = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {words}"))


# Format 1


def old_layout(connection: Connection) -> Layout | None:
    """Give the tables of format 1; None if there are none."""
    if _OLD not in connection.execute(select(FORMATS.c.version)).scalars():
        return None
    here = MetaData()
    tables = {cls: Table(name, here, autoload_with=connection) for cls, name in _OLD_TABLES.items()}
    return Layout(tables, _old_sum_of, {"settled": "closed"})


def _old_sum_of(_: type[Any], values: Mapping[str, Any]) -> str:
    return hash_of(orjson.dumps(list(values.values())))


def old_number_of(run_id: str, partition: str) -> int:
    """Give the number of a run in format 1."""
    return number_of_name(f"{run_id}\0{partition}")


def ended(history: History) -> History:
    """Give a run of format 1 with all of its parts settled. Raises JournalRefused if it has not ended."""
    if history.facts.state(is_open=False) != "settled":
        raise JournalRefused(f"run {history.run.run_id!r} {_GO_ON_ELSEWHERE}")
    parts = {number: [_without_doubt(part) for part in parts] for number, parts in history.parts.items()}
    return evolve(history, parts=parts)


def _without_doubt(part: PartRecord) -> PartRecord:
    if part.state == "settled":
        return part
    cause = part.cause or "it was under way when the run ended"
    return evolve(part, state="settled", unknown=part.rows, cause=cause)


def old_info(info: RunInfo) -> RunInfo:
    """Give a run of format 1 for users. One that has not ended is never ``resumable``: no resume loop takes it up."""
    if info.state in ("running", "settled"):
        return info
    return evolve(info, state="needs_source", cause=f"it {_GO_ON_ELSEWHERE}")
