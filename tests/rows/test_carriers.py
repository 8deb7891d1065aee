"""Rows as people really have them: each case says what arrives at Mailjet, or with which words it is refused.

What needs a library that ``test`` does not install is marked ``extra``.
"""

import csv
import io
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import attrs
import psycopg
import pytest
import sqlalchemy as sa
from carried import ADD, EXTRA, A, B, arrives, refusal, rejection, with_properties
from django_ready import django_ready
from postgres import Postgres
from psycopg.rows import class_row, dict_row, namedtuple_row
from sqlalchemy import orm
from support import World, balanced, extra

import mjbulk


@pytest.fixture
def there(world: World) -> World:
    """A world whose account has a property of each type."""
    return with_properties(world)


_KEPT: list[Any] = []


def kept(thing: Any) -> Any:
    """Keep what has to live as long as its rows, to the end of the test."""
    _KEPT.append(thing)
    return thing


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    yield
    while _KEPT:
        thing = _KEPT.pop()
        (thing.close if hasattr(thing, "close") else thing.dispose)()


# Objects of Python itself


class OfTyping(NamedTuple):
    email: str
    whole: int
    text: str | None = None


@dataclass
class OfDataclass:
    email: str
    whole: int
    text: str | None = None


@attrs.frozen
class OfAttrs:
    email: str
    whole: int
    text: str | None = None


class Frozen(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


TABLE = f"create table people (email, whole, text); insert into people values ('{A}', 7, 'x'), ('{B}', 8, null);"


def sqlite_rows() -> Any:
    """A table of people, in a connection of its own."""
    connection = kept(sqlite3.connect(":memory:", check_same_thread=False))
    connection.executescript(TABLE)
    return connection


def sqlite_records() -> Any:
    connection = sqlite_rows()
    connection.row_factory = sqlite3.Row
    return connection.execute("select * from people").fetchall()


def factory_of_dicts() -> Any:
    connection = sqlite_rows()
    connection.row_factory = lambda cursor, row: dict(zip([name for name, *_ in cursor.description], row, strict=True))
    return connection.execute("select * from people")


class Deaf:
    """A cursor that is no iterable, as PEP 249 allows."""

    def __init__(self) -> None:
        self.cursor = sqlite_rows().execute("select * from people")
        self.description = self.cursor.description
        self.fetchmany = self.cursor.fetchmany


class OfRecords:
    """A cursor of records that are no tuples and do not tell their names, as pyodbc has them."""

    description = (("email",), ("whole",), ("text",))

    def __iter__(self) -> Iterator[Any]:
        return iter([Record((A, 7, "x")), Record((B, 8, None))])

    def fetchmany(self, _: int) -> Any: ...


class Record:
    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)


async def of_async(rows: Sequence[Any]) -> AsyncIterator[Any]:
    for row in rows:
        yield row


def both(kind: Callable[..., Any]) -> list[Any]:
    return [kind(email=A, whole=7, text="x"), kind(email=B, whole=8, text=None)]


OF_PYTHON: dict[str, Callable[[], Any]] = {
    "dicts": lambda: both(dict),
    "mappings": lambda: both(Frozen),
    "data classes": lambda: both(OfDataclass),
    "objects of attrs": lambda: both(OfAttrs),
    "named tuples": lambda: both(OfTyping),
    "a generator of data classes": lambda: iter(both(OfDataclass)),
    "an async generator of named tuples": lambda: of_async(both(OfTyping)),
    "objects of several classes": lambda: [OfDataclass(A, 7, "x"), OfAttrs(B, 8)],
    "a thread's data classes": lambda: mjbulk.in_thread(both(OfDataclass)),
    "contacts": lambda: [
        mjbulk.Contact(A, properties={"whole": 7, "text": "x"}), mjbulk.Contact(B, properties={"whole": 8})
    ],
    "Mailjet's own objects": lambda: [
        {"Email": A, "Properties": {"whole": 7, "text": "x"}}, {"Email": B, "Properties": {"whole": 8}}
    ],
    "csv.DictReader": lambda: csv.DictReader(io.StringIO(f"email,whole,text\n{A},7,x\n{B},8\n")),
    "a cursor of sqlite3": lambda: sqlite_rows().execute("select * from people"),
    "a thread's cursor of sqlite3": lambda: mjbulk.in_thread(sqlite_rows().execute("select * from people")),
    "records of sqlite3": sqlite_records,
    "a cursor with a row factory": factory_of_dicts,
    "a cursor that is no iterable": Deaf,
    "a cursor of records": OfRecords,
}  # fmt: skip
SAME = {A: {"whole": 7, "text": "x"}, B: {"whole": 8}}


@pytest.mark.parametrize("kind", OF_PYTHON)
async def test_rows_of_python(there: World, kind: str) -> None:
    """Whatever has named fields is a row."""
    assert await arrives(there, OF_PYTHON[kind]()) == SAME


# Objects of libraries


def of_pydantic() -> Any:
    pydantic = extra("pydantic")

    class Person(pydantic.BaseModel):  # type: ignore[misc, name-defined]  # it is not always installed
        email: str = pydantic.Field(alias="mail")
        whole: int
        text: str | None = None
        secret: str = pydantic.Field("not for others", exclude=True)

    return [Person(mail=A, whole=7, text="x"), Person(mail=B, whole=8)]


def of_pydantic_dataclass() -> Any:
    pydantic = extra("pydantic")
    return both(pydantic.dataclasses.dataclass(OfDataclass))


def of_pydantic_computed() -> Any:
    pydantic = extra("pydantic")

    class Person(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        model_config = pydantic.ConfigDict(extra="allow")
        email: str

        @pydantic.computed_field  # type: ignore[prop-decorator, untyped-decorator]
        @property
        def whole(self) -> int:
            return 7 if self.email == A else 8

    return [Person(email=A, text="x"), Person(email=B)]


def of_msgspec() -> Any:
    msgspec = extra("msgspec")
    person = msgspec.defstruct("Person", [("email", str), ("whole", int), ("text", Any, msgspec.UNSET)])
    return [person(A, 7, "x"), person(B, 8)]


def sql() -> Any:
    """A mapped class of SQLAlchemy, and an engine whose database has two of it."""
    base = orm.declarative_base()

    class Person(base):  # type: ignore[misc, valid-type]
        __tablename__ = "people"
        email = sa.Column(sa.String, primary_key=True)
        whole = sa.Column(sa.Integer)
        text = sa.Column(sa.String)
        photo = orm.deferred(sa.Column(sa.LargeBinary))
        cars = orm.relationship("Car")

    class Car(base):  # type: ignore[misc, valid-type]
        __tablename__ = "cars"
        number = sa.Column(sa.String, primary_key=True)
        owner: Any = sa.Column(sa.ForeignKey("people.email"))

    engine = kept(sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False}))
    base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        session.add_all([Person(email=A, whole=7, text="x", photo=b"x"), Person(email=B, whole=8)])
        session.commit()
    return engine, Person


def sql_rows(kind: str) -> Any:
    """What SQLAlchemy gives of a query, in several ways."""
    engine, person = sql()
    session = kept(orm.Session(engine))
    columns = sa.select(person.email, person.whole, person.text)
    ways: dict[str, Callable[[], Any]] = {
        "rows": lambda: session.execute(columns).all(),
        "a result": lambda: session.execute(columns),
        "a result of a connection": lambda: kept(engine.connect()).execute(columns),
        "a thread's result": lambda: mjbulk.in_thread(kept(engine.connect()).execute(columns)),
        "mappings": lambda: session.execute(columns).mappings(),
        "rows of objects": lambda: session.execute(sa.select(person)),
        "scalars": lambda: session.scalars(sa.select(person)),
        "partitions": lambda: (row for some in session.execute(columns).partitions(1) for row in some),
        "objects": lambda: session.query(person).all(),
        "a legacy query": lambda: session.query(person),
        "objects after a commit": lambda: [session.scalars(sa.select(person)).all(), session.commit()][0],
        "objects of some columns": lambda: session.scalars(
            sa.select(person).options(orm.load_only(person.whole, person.text))
        ),
    }
    return ways[kind]()


SQL = [
    "rows", "a result", "a result of a connection", "a thread's result", "mappings", "rows of objects", "scalars",
    "partitions", "objects", "a legacy query", "objects after a commit", "objects of some columns",
]  # fmt: skip


@pytest.mark.parametrize("kind", SQL)
async def test_rows_of_sqlalchemy(there: World, kind: str) -> None:
    """Rows, results and mapped objects alike; what is loaded later is left out."""
    assert await arrives(there, sql_rows(kind)) == SAME


async def test_objects_of_sqlalchemy_without_a_session(there: World) -> None:
    """One that was unloaded by a commit and has no session any more costs its own row, with the reason's name."""
    engine, person = sql()
    with orm.Session(engine) as session:
        gone, *_ = session.query(person).all()
        session.commit()
    fresh = person(email=B, whole=8)
    row, field, message = await rejection(there, [fresh, gone])
    assert (row, field) == (2, None)
    assert message == "the fields of this Person cannot be read (DetachedInstanceError)"


def sqlmodel_rows(*, table: bool) -> Any:
    sqlmodel = extra("sqlmodel")

    class Person(sqlmodel.SQLModel, table=table):  # type: ignore[misc, name-defined, call-arg]
        email: str = sqlmodel.Field(primary_key=True)
        whole: int
        text: str | None = None

    people = both(Person)
    if table:
        engine = kept(sqlmodel.create_engine("sqlite://", poolclass=sa.StaticPool))
        Person.metadata.create_all(engine)
        session = kept(sqlmodel.Session(engine))
        session.add_all(people)
        session.commit()  # what SQLModel itself would dump is empty now
    return people


_DJANGO: dict[str, Any] = {}


def of_django(kind: str) -> Any:
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # the table is made and read here
    django_ready()
    db, models = extra("django.db"), extra("django.db.models")
    if _DJANGO.get("person") is None:

        class Person(models.Model):  # type: ignore[misc, name-defined]
            email = models.CharField(primary_key=True, max_length=99)
            whole = models.IntegerField()
            text = models.CharField(max_length=9, null=True)  # it is a null that is looked at
            photo = models.BinaryField(null=True)

            class Meta:
                app_label = "people"

        with db.connection.schema_editor() as editor:
            editor.create_model(Person)
        Person.objects.bulk_create([Person(email=A, whole=7, text="x"), Person(email=B, whole=8)])
        _DJANGO["person"] = Person
    people = _DJANGO["person"].objects.order_by("email")
    ways: dict[str, Callable[[], Any]] = {
        "objects": lambda: list(people.defer("photo")),
        "a query": lambda: people.defer("photo"),
        "only": lambda: list(people.only("email", "whole", "text")),
        "values": lambda: list(people.values("email", "whole", "text")),
        "named tuples": lambda: list(people.values_list("email", "whole", "text", named=True)),
    }
    return ways[kind]()


def of_peewee(kind: str) -> Any:
    peewee = extra("peewee")
    database = kept(peewee.SqliteDatabase(":memory:"))

    class Person(peewee.Model):  # type: ignore[misc, name-defined]
        email = peewee.CharField(primary_key=True)
        whole = peewee.IntegerField()
        text = peewee.CharField(null=True)

        class Meta:
            pass

    database.bind([Person])
    database.create_tables([Person])
    Person.insert_many(both(dict)).execute()
    query = Person.select()
    ways: dict[str, Any] = {"objects": query, "dicts": query.dicts(), "named tuples": query.namedtuples()}
    return ways[kind]


def of_duckdb(kind: str) -> Any:
    duckdb = extra("duckdb")
    connection = kept(duckdb.connect())
    query = f"select * from (values ('{A}', 7, 'x'), ('{B}', 8, null)) people(email, whole, text)"
    ways: dict[str, Callable[[], Any]] = {
        "a connection": lambda: connection.execute(query),
        "a relation": lambda: connection.sql(query),
        "a reader": lambda: connection.sql(query).to_arrow_reader(),
        "a table": lambda: connection.sql(query).to_arrow_table(),
    }
    return ways[kind]()


def of_pandas(kind: str) -> Any:
    pd = extra("pandas")
    frame = pd.DataFrame({"email": [A, B], "whole": [7, 8], "text": ["x", None]})
    ways: dict[str, Callable[[], Any]] = {
        "a frame": lambda: frame,
        "records": lambda: frame.to_dict("records"),
        "named tuples": lambda: frame.itertuples(index=False),
        "series": lambda: [row for _, row in frame.iterrows()],
        "nullable types": frame.convert_dtypes,
        "Arrow's types": lambda: frame.convert_dtypes(dtype_backend="pyarrow"),
        "categories": lambda: frame.astype({"text": "category"}),
    }
    return ways[kind]()


def of_polars(kind: str) -> Any:
    pl = extra("polars")
    frame = pl.DataFrame({"email": [A, B], "whole": [7, 8], "text": ["x", None]})
    ways: dict[str, Callable[[], Any]] = {
        "a frame": lambda: frame,
        "named rows": lambda: frame.iter_rows(named=True),
        "dicts": frame.to_dicts,
        "small types": lambda: frame.cast({"whole": pl.Int8, "text": pl.Categorical}),
    }
    return ways[kind]()


def of_bson() -> Any:
    bson = extra("bson")
    rows = [{"email": A, "whole": bson.int64.Int64(7), "text": "x"}, {"email": B, "whole": 8, "text": None}]
    return [bson.decode(bson.encode(row)) for row in rows]


WAYS: dict[Callable[[str], Any], Sequence[str]] = {
    of_django: ("objects", "only", "values", "named tuples"),
    of_peewee: ("objects", "dicts", "named tuples"),
    of_duckdb: ("a connection", "a relation", "a reader", "a table"),
    of_pandas: ("a frame", "records", "named tuples", "series", "nullable types", "Arrow's types", "categories"),
    of_polars: ("a frame", "named rows", "dicts", "small types"),
}
OF_LIBRARIES: dict[str, Callable[[], Any]] = {
    "pydantic": of_pydantic,
    "pydantic: data classes": of_pydantic_dataclass,
    "pydantic: computed and more fields": of_pydantic_computed,
    "msgspec": of_msgspec,
    "SQLModel": partial(sqlmodel_rows, table=False),
    "SQLModel: objects after a commit": partial(sqlmodel_rows, table=True),
    "bson": of_bson,
    **{f"{make.__name__[3:]}: {kind}": partial(make, kind) for make, kinds in WAYS.items() for kind in kinds},
}


@EXTRA
@pytest.mark.parametrize("kind", OF_LIBRARIES)
async def test_rows_of_libraries(there: World, kind: str) -> None:
    """Found by what their classes have: no library is imported for it."""
    assert await arrives(there, OF_LIBRARIES[kind]()) == SAME


@EXTRA
@pytest.mark.real_time
async def test_a_query_of_django(there: World) -> None:
    """It is read as it lets itself be read within an event loop."""
    assert await arrives(there, of_django("a query")) == SAME


# Databases that are servers, and their async drivers

PEOPLE = f"select * from (values ('{A}', 7, 'x'), ('{B}', 8, null)) people(email, whole, text) order by 1"


@pytest.mark.real_time
@pytest.mark.parametrize("kind", ["a cursor", "a cursor of the server", "dicts", "named tuples", "objects"])
async def test_rows_of_psycopg(there: World, postgres: Postgres, kind: str) -> None:
    """Whatever its rows are made into."""
    made: Any = {"dicts": dict_row, "named tuples": namedtuple_row, "objects": class_row(OfDataclass)}.get(kind)
    with psycopg.connect(of_libpq(postgres)) as connection:
        name = "people" if kind == "a cursor of the server" else ""
        with connection.cursor(name, row_factory=made) if made else connection.cursor(name) as cursor:
            assert await arrives(there, cursor.execute(PEOPLE)) == SAME


@pytest.mark.real_time
@pytest.mark.parametrize("kind", ["a cursor", "a cursor of the server", "a stream"])
async def test_rows_of_psycopg_async(there: World, postgres: Postgres, kind: str) -> None:
    """Its async cursors know their names as well; a stream has tuples, which know none."""
    async with await psycopg.AsyncConnection.connect(of_libpq(postgres)) as connection:
        name = "people" if kind == "a cursor of the server" else ""
        if kind == "a stream":
            assert "values have no names" in await refusal(there, connection.cursor().stream(PEOPLE))
            assert await arrives(there, connection.cursor(row_factory=dict_row).stream(PEOPLE)) == SAME
            return
        async with connection.cursor(name) as cursor:
            await cursor.execute(PEOPLE)
            assert await arrives(there, cursor) == SAME


@EXTRA
@pytest.mark.real_time
@pytest.mark.parametrize("kind", ["records", "a cursor"])
async def test_rows_of_asyncpg(there: World, postgres: Postgres, kind: str) -> None:
    """Its records have keys()."""
    host, user, database = postgres.environment("postgres").values()
    connection = await extra("asyncpg").connect(host=host, user=user, database=database)
    try:
        async with connection.transaction():
            rows = await connection.fetch(PEOPLE) if kind == "records" else connection.cursor(PEOPLE)
            assert await arrives(there, rows) == SAME
    finally:
        await connection.close()


@EXTRA
@pytest.mark.real_time
@pytest.mark.parametrize("kind", ["a cursor", "records"])
async def test_rows_of_aiosqlite(there: World, kind: str) -> None:
    """The same through the threads of aiosqlite."""
    aiosqlite = extra("aiosqlite")
    async with aiosqlite.connect(":memory:") as connection:
        await connection.executescript(TABLE)
        if kind == "records":
            connection.row_factory = sqlite3.Row
        async with connection.execute("select * from people") as cursor:
            assert await arrives(there, cursor) == SAME


@EXTRA
@pytest.mark.real_time
@pytest.mark.parametrize("kind", ["a result", "scalars", "mappings"])
async def test_async_results_of_sqlalchemy(there: World, kind: str) -> None:
    """A streamed result is read while it comes in."""
    extra("greenlet"), extra("aiosqlite")
    aio = extra("sqlalchemy.ext.asyncio")
    _, person = sql()
    engine = aio.create_async_engine("sqlite+aiosqlite://", poolclass=sa.StaticPool)
    async with engine.begin() as connection:
        await connection.run_sync(person.metadata.create_all)
        await connection.execute(sa.insert(person), both(dict))
    async with aio.AsyncSession(engine) as session:
        columns = sa.select(person.email, person.whole, person.text)
        match kind:
            case "a result":
                rows = await session.stream(columns)
            case "scalars":
                rows = await session.stream_scalars(sa.select(person))
            case _:
                rows = (await session.stream(columns)).mappings()
        assert await arrives(there, rows) == SAME
    await engine.dispose()


def of_libpq(postgres: Postgres) -> str:
    """The address of the server."""
    return " ".join(f"{name[2:].lower()}={value}" for name, value in postgres.environment("postgres").items()).replace(
        "database=", "dbname="
    )


# What has no names, and what is no row


def bare() -> list[Any]:
    return [(A, 7, "x"), (B, 8, None)]


NAMELESS: dict[str, tuple[Callable[[], Any], str]] = {
    "tuples": (bare, "a row is a tuple, whose values have no names: give dict(zip(names, row))"),
    "lists": (lambda: [list(row) for row in bare()], "a row is a list, whose values have no names"),
    "fetchall()": (lambda: sqlite_rows().execute("select * from people").fetchall(), "such as the cursor"),
    "csv.reader": (lambda: csv.reader(io.StringIO(f"email\n{A}\n")), "in the place of csv.reader(), csv_source()"),
    "a thread's tuples": (lambda: mjbulk.in_thread(bare()), "a row is a tuple, whose values have no names"),
    "async tuples": (lambda: of_async(bare()), "a row is a tuple, whose values have no names"),
    "numbers": (lambda: [7, 8], "a row is of type int, which has no named fields: give dicts, or objects with fields"),
    "nothing": (lambda: [None], "a row is of type NoneType, which has no named fields"),
    "plain objects": (lambda: [object()], "a row is of type object, which has no named fields"),
    "bytes": (lambda: [b"email"], "the source gives bytes, as a file does"),
    "a class": (lambda: [OfDataclass], "a row is of type type, which has no named fields"),
}


@pytest.mark.parametrize("kind", NAMELESS)
async def test_rows_without_names(there: World, kind: str) -> None:
    """The first one refuses the source, and the sentence says what helps."""
    make, words = NAMELESS[kind]
    assert words in await refusal(there, make())


@EXTRA
@pytest.mark.parametrize(
    "kind", ["iterrows()", "itertuples() without names", "iter_rows()", "a root model", "fetchall()"]
)
async def test_rows_of_libraries_without_names(there: World, kind: str) -> None:
    """The same."""
    match kind:
        case "iterrows()":
            rows, words = of_pandas("a frame").iterrows(), "a row is what iterrows() gives: give the frame itself"
        case "itertuples() without names":
            rows, words = (
                of_pandas("a frame").itertuples(name=None),
                "or what has the names, such as the cursor or the frame",
            )
        case "iter_rows()":
            rows, words = of_polars("a frame").iter_rows(), "values have no names"
        case "fetchall()":
            rows, words = of_duckdb("a connection").fetchall(), "values have no names"
        case _:
            model = extra("pydantic").RootModel[list[str]]
            rows, words = [model([A])], "which has no named fields"
    assert words in await refusal(there, rows)


async def test_a_row_without_names_behind_others(there: World) -> None:
    """It costs its own number."""
    row, field, message = await rejection(there, [*both(dict), (A, 7)])
    assert (row, field) == (3, None)
    assert message.startswith("a row is a tuple, whose values have no names")


async def test_single_calls_take_objects(there: World) -> None:
    """And refuse what has no names."""
    async with there.client() as client:
        await (await client.submit_contacts(both(OfDataclass), lists=ADD))
        with pytest.raises(mjbulk.UsageError, match="row 1: a row is a tuple, whose values have no names"):
            await client.submit_contacts(bare(), lists=ADD)
    assert dict(there.emulator.contacts[A].properties) == SAME[A]


async def test_columns_of_objects_are_picked_and_renamed(there: World) -> None:
    """As those of any row."""
    found = await arrives(there, both(OfDataclass), columns={"email": "email", "whole": "real"})
    assert found == {A: {"real": 7.0}, B: {"real": 8.0}}


@pytest.mark.parametrize("before", [0, 1_500])
async def test_a_row_that_is_longer_than_its_header(there: World, before: int) -> None:
    """csv.DictReader has the rest under None: that is the fault of the row, wherever it is."""
    lines = "".join(f"p{number}@example.org,{number}\n" for number in range(before))
    rows = csv.DictReader(io.StringIO(f"email,whole\n{lines}{A},7,8,9\n{B},8\n"))
    assert await rejection(there, rows) == (before + 1, None, "the row has 4 fields, the header has 2")


async def test_rows_that_are_all_longer_than_their_header(there: World) -> None:
    """Each is refused by its number."""
    async with there.client() as client:
        rows = csv.DictReader(io.StringIO(f"email,whole\n{A},7,8\n{B},8,9\n"))
        report = balanced(await client.import_contacts(rows, lists=ADD))
    assert [(one.row, one.message) for one in report.rejections] == [
        (1, "the row has 3 fields, the header has 2"),
        (2, "the row has 3 fields, the header has 2"),
    ]
    assert next(one.data for one in report.rejections) == {"email": A, "whole": "7", "field 3": "8"}


async def test_an_async_row_that_is_longer_than_its_header(there: World) -> None:
    """Among rows of other names, too."""
    rows = of_async([{"email": A, None: "more"}, {"email": B}])
    assert await rejection(there, rows) == (1, None, "the row has 2 fields, the header has 1")
