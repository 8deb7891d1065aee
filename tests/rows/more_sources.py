"""Sources of libraries that are large or slow to install: the longer part of the table.

::

    pip install -e '.[test-sources]'
    python -m pytest tests/rows/more_sources.py

What is not installed is skipped (MariaDB on Debian: ``apt-get install mariadb-server``).
"""

import importlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
import pytest
from carriers import ADD, ARRIVES, CSV, ROWS, Case, cases, check, close_files, opened, written
from support import World

import mjbulk

csv: Any = mjbulk.csv_source
TABLE = pa.Table.from_pylist(ROWS)


def needs(library: str) -> Any:
    """Give a library, or skip the test."""
    return pytest.importorskip(library, reason=f"{library} is missing: pip install -e '.[test-sources]'")


@pytest.fixture(autouse=True)
def _files_are_closed() -> Iterator[None]:
    yield
    close_files()


def dask(folder: Path) -> Any:
    needs("dask.dataframe")
    frame = importlib.import_module("pandas").DataFrame(ROWS)
    return importlib.import_module("dask.dataframe").from_pandas(frame, npartitions=2)


def in_memory() -> Any:
    files = needs("fsspec").filesystem("memory")
    files.pipe("/people.csv", CSV)
    return files


def datafusion() -> Any:
    return needs("datafusion").SessionContext().from_arrow(TABLE)


def s3() -> Any:
    """Give a client of S3, at a server in this process."""
    moto, boto3 = needs("moto"), needs("boto3")
    opened(moto.mock_aws())
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("s3", **keys)
    client.create_bucket(Bucket="people")
    client.put_object(Bucket="people", Key="people.csv", Body=CSV)
    return client.get_object(Bucket="people", Key="people.csv")["Body"]


@pytest.fixture(scope="module")
def _mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A MariaDB server with a socket in a folder of its own, and no port. Its table has the rows."""
    install, server = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
    if not install or not server:
        pytest.skip("MariaDB is not installed (on Debian: apt-get install mariadb-server)")
    folder, user = tmp_path_factory.mktemp("mariadb"), "mysql" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
        for above in list(folder.parents)[:3]:
            above.chmod(0o755)
    where = [
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--tmpdir={folder}",
        *([f"--user={user}"] if user else []),
    ]
    how = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run([install, *where, *how], check=True, capture_output=True)
    socket = _SOCKET["unix_socket"] = str(folder / "socket")
    with subprocess.Popen(
        [server, *where, f"--socket={socket}", "--skip-networking"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            while not Path(socket).exists():
                assert process.poll() is None
                time.sleep(0.05)
            _fill()
            yield
        finally:
            process.terminate()


_SOCKET: dict[str, Any] = {"user": "root"}


def maria(**how: Any) -> Any:
    """Connect to the server."""
    connection = needs("pymysql").connect(**_SOCKET, **how)
    opened(connection)
    return connection


def _fill() -> None:
    with maria(autocommit=True).cursor() as cursor:
        cursor.execute("CREATE DATABASE people")
        cursor.execute("CREATE TABLE people.people (email TEXT, city TEXT, age INT)")
        cursor.executemany("INSERT INTO people.people VALUES (%s, %s, %s)", [tuple(row.values()) for row in ROWS])


def by_cursor(kind: str) -> Any:
    """Give a cursor of PyMySQL with a query under way."""
    cursor = maria(cursorclass=getattr(needs("pymysql").cursors, kind)).cursor()
    cursor.execute("SELECT * FROM people.people")
    return cursor


def by_sqlalchemy() -> Any:
    sqlalchemy = needs("sqlalchemy")
    engine = sqlalchemy.create_engine("mysql+pymysql://", creator=maria)
    return opened(engine.connect()).execute(sqlalchemy.text("SELECT * FROM people.people"))


MARIADB: Mapping[str, Any] = {
    "PyMySQL: a cursor": lambda folder: by_cursor("Cursor"),
    "PyMySQL: a cursor of dicts": lambda folder: by_cursor("DictCursor"),
    "PyMySQL: a cursor that streams": lambda folder: by_cursor("SSCursor"),
    "PyMySQL: all dicts": lambda folder: by_cursor("DictCursor").fetchall(),
    "SQLAlchemy on MariaDB: a result": lambda folder: by_sqlalchemy(),
}


@pytest.mark.usefixtures("_mariadb")
@cases(MARIADB)
async def test_queries_of_mariadb(world: World, case: Case, tmp_path: Path) -> None:
    """They give the same as all others."""
    await check(world, case, tmp_path)


SOURCES: Mapping[str, Any] = {
    "Dask: computed": lambda folder: dask(folder).compute(),
    "Dask: partition by partition": lambda folder: (part.compute() for part in dask(folder).partitions),
    "fsspec: a file": lambda folder: csv(opened(in_memory().open("/people.csv"))),
    "fsspec: a packed file": lambda folder: csv(opened(needs("fsspec").open(str(written(folder, "a.csv")), "rb"))),
    "ibis: a table": lambda folder: needs("ibis").memtable(TABLE),
    "DataFusion: a frame": lambda folder: datafusion(),
    "DataFusion: its stream": lambda folder: (batch.to_pyarrow() for batch in datafusion().execute_stream()),
    "S3: a body": lambda folder: csv(s3()),
    "S3: its chunks": lambda folder: csv(s3().iter_chunks(7)),
}


@cases(SOURCES)
async def test_more_sources(world: World, case: Case, tmp_path: Path) -> None:
    """They give the same as all others."""
    await check(world, case, tmp_path)


async def test_a_frame_of_dask_is_refused_until_it_is_computed(world: World, tmp_path: Path) -> None:
    """Iterating it gives the names of its columns."""
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError, match=r"dask's DataFrame is no source of rows.*give \.compute\(\)"):
            await client.import_contacts(dask(tmp_path), lists=ADD)


@pytest.mark.parametrize("make", [lambda: needs("ibis").memtable(TABLE), datafusion])
async def test_queries_are_named_by_a_plan(world: World, make: Any) -> None:
    """Each reading may give other rows."""
    async with world.client() as client:
        plan = await client.plan_import(make(), lists=ADD)
    assert plan.rows == len(ARRIVES)
    assert [finding.code for finding in plan.findings] == ["source.query"]
