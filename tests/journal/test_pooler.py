"""A pooler between a journal and its server: harmless if it gives each connection a session, else found and refused."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from journals import RUN, begin, cut, opened
from postgres import Postgres
from support import KEYS, World, balanced

import mjbulk

POOLER = "the journal's URL leads to a pooler in transaction mode"
ROWS = [{"email": f"p{n}@example.org"} for n in range(60)]


@pytest.mark.parametrize("size", [1, 5])
async def test_transaction_mode_is_refused(pooled: Postgres, size: int) -> None:
    """Before anything is sent, or a setting of its sessions is changed; however many sessions it has."""
    name = pooled.create_database()
    with pooled.pooled("transaction", size) as pooler:
        for _ in range(2):
            async with opened(pooler.url(name)) as journal:
                with pytest.raises(mjbulk.JournalRefused, match=f"{POOLER}.*; nothing was sent"):
                    await journal.open_run(RUN)
        assert pooler.sql("show statement_timeout", name).strip() == "0"


async def test_transaction_mode_is_found_while_others_use_the_pooler(pooled: Postgres) -> None:
    """They take sessions and give them back all the time."""
    name = pooled.create_database()
    with pooled.pooled("transaction", 3) as pooler, busy(pooler, name), busy(pooler, name):
        for _ in range(5):
            async with opened(pooler.url(name)) as journal:
                with pytest.raises(mjbulk.JournalError, match=POOLER):
                    await begin(journal)


@contextmanager
def busy(pooler: Postgres, database: str) -> Iterator[None]:
    """Have a process make one transaction after the other."""
    command = [sys.executable, "-c", BUSY, pooler.url(database, "postgresql")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"busy\n"
        try:
            yield
        finally:
            process.kill()


BUSY = """
import sys, psycopg
with psycopg.connect(sys.argv[1], prepare_threshold=None) as connection:
    print("busy", flush=True)
    while True:
        connection.execute("select 1")
        connection.commit()
"""


@pytest.mark.parametrize("size", [1, 5])
async def test_an_import_through_a_pooler_in_session_mode(world: World, pooled: Postgres, size: int) -> None:
    """Also if the pooler has one session only."""
    name = pooled.create_database()
    with pooled.pooled("session", size) as pooler:
        async with mjbulk.Client(KEYS, world.settings(chunk_rows=10), journal=pooler.url(name)) as client:
            assert balanced(await client.import_contacts(ROWS, lists={1: "addforce"}, run_id="r")).ok


async def test_sessions_that_are_not_reset(world: World, pooled: Postgres) -> None:
    """What one client has prepared is in the way of the next one: it is said which setting is missing."""
    name = pooled.create_database()
    with pooled.pooled("session", 2, "server_reset_query =") as pooler:
        async with mjbulk.Client(KEYS, world.settings(chunk_rows=10), journal=pooler.url(name)) as client:
            assert (await client.import_contacts(ROWS, lists={1: "addforce"}, run_id="r")).ok
        async with mjbulk.Client(KEYS, world.settings(chunk_rows=10), journal=pooler.url(name)) as client:
            with pytest.raises(mjbulk.ImportHalted, match="server_reset_query = DISCARD ALL"):
                await client.import_contacts(ROWS, lists={1: "addforce"}, run_id="s")


async def test_session_mode_is_as_no_pooler(pooled: Postgres) -> None:
    """The runs of a connection are locked, also if its session was ended, and are free when it is closed."""
    name = pooled.create_database()
    with pooled.pooled("session") as pooler:
        async with opened(pooler.url(name)) as journal, opened(pooled.url(name)) as other:
            await begin(journal)
            with pytest.raises(mjbulk.JournalRefused, match="another process"):
                await other.open_run(RUN)
            pooled.end_sessions(name)
            await journal.put(*cut(RUN, 1))
            with pytest.raises(mjbulk.JournalRefused, match="another process"):
                await other.open_run(RUN)
        async with opened(pooler.url(name)) as journal:
            assert (await journal.open_run(RUN)).last == 1
