"""What is said of a database that cannot be used: what is wrong, and nothing that may be secret."""

import sqlite3
import traceback

import psycopg
import pytest
from journals import RUN, opened
from postgres import Postgres
from sqlalchemy.exc import DataError, DBAPIError, InternalError, OperationalError

import mjbulk
from mjbulk.journal.backends import Patience
from mjbulk.journal.failures import POOLER, error_of, session_was_lost, writing_failed
from mjbulk.journal.sql import SqlJournal

SECRET = "hunter2"
SHORT = Patience(locked=0.2)


def failed(state: str) -> DBAPIError:
    """An error of PostgreSQL as SQLAlchemy raises it; its own sentence quotes a secret."""
    return OperationalError(f"select '{SECRET}'", {}, psycopg.errors.lookup(state)(f"bad value '{SECRET}'"))


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("28P01", "the server refuses the user or the password"),
        ("3D000", "the server has no such database"),
        ("53300", "the server has reached its limit of connections"),
        ("25006", "the server is read-only: name the one that can be written to"),
        ("42501", "this user may not make, read or write its tables"),
        ("53100", "the server's disk is full"),
        ("55P03", "another session has locked its tables for too long"),
        ("57014", "the server took too long for a statement"),
        ("57P01", "the server has ended the session"),
        ("22012", "OperationalError"),
    ],
)
def test_the_code_of_a_server_says_what_is_wrong(state: str, why: str) -> None:
    """In a sentence, or by the name of the error; with the code."""
    said = str(error_of(failed(state)))
    assert said.startswith(f"the journal cannot be used: {why}")
    assert f"SQLSTATE {state}" in said
    assert SECRET not in said


@pytest.mark.parametrize("state", ["42P05", "26000"])
def test_statements_that_were_prepared_elsewhere_tell_of_a_pooler(state: str) -> None:
    """It gives each transaction another session."""
    assert str(error_of(failed(state))) == POOLER


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("FATAL:  sorry, too many clients already", "the server has reached its limit of connections"),
        ("FATAL:  remaining connection slots are reserved for x", "the server has reached its limit of connections"),
        ("FATAL:  the database system is starting up", "the server lets nobody in at present"),
        ("SSL error: certificate verify failed", r"no safe connection to the server can be made \(TLS\)"),
        ("fe_sendauth: no password supplied", "the server refuses the user or the password"),
        ("connection timeout expired", "its server does not answer"),
        ("FATAL:  no such user: x", "the server has no such user"),
        ("server closed the connection unexpectedly", "the server has ended the session"),
        ("received 2 results from command 'BEGIN'", "the server has ended the session"),
        ("received invalid response to SSL negotiation: J", "what listens at its address is no PostgreSQL$"),
        ("expected authentication request from server, but received J", "what listens .* is no PostgreSQL$"),
        ('invalid connection option "x"', "its URL has an option that the driver refuses$"),
        ("bad value for connect_timeout: 'x'", "its URL has an option that the driver refuses$"),
        ('connection is bad: invalid sslmode value: "x"', "its URL has an option that the driver refuses$"),
        ('connection is bad: invalid port number: "70000"', "its URL has an option that the driver refuses$"),
        ("FATAL:  Passwort-Authentifizierung fehlgeschlagen", "OperationalError$"),
    ],
)
def test_words_of_a_server_that_lets_nobody_in(words: str, why: str) -> None:
    """The driver gives no code then."""
    failure = OperationalError(None, None, psycopg.OperationalError(f"connection to '{SECRET}' failed: {words}"))
    error = error_of(failure)
    assert str(error).startswith("the journal cannot be used: ")
    with pytest.raises(mjbulk.JournalError, match=why):
        raise error
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("transaction blocks not allowed in statement pooling mode", "its URL leads to a pooler in statement mode"),
        ("query_wait_timeout", "the pooler had no free session for too long"),
        ("no more connections allowed (max_client_conn)", "the server has reached its limit of connections"),
        ("unsupported startup parameter: x", "a pooler or the server refuses the session"),
    ],
)
def test_words_of_a_pooler(words: str, why: str) -> None:
    """All of them have one code."""
    failure = OperationalError(None, None, psycopg.errors.lookup("08P01")(f"'{SECRET}': {words}"))
    said = str(error_of(failure))
    assert said.startswith(f"the journal cannot be used: {why}")
    assert "SQLSTATE 08P01" in said
    assert SECRET not in said


@pytest.mark.parametrize("state", ["57P01", "57P02", "57P05", "25P03"])
def test_a_session_that_was_ended_by_the_server(state: str) -> None:
    """It is lost, whether the driver has noticed that or not."""
    assert session_was_lost(failed(state))


def test_a_session_whose_end_the_driver_has_not_read() -> None:
    """It stumbles over the server's last words at the next statement, and gives an error of its own, without a code."""
    words = "received 2 results from command 'BEGIN'"
    assert session_was_lost(InternalError("begin", {}, psycopg.InternalError(words)))
    assert session_was_lost(failed("22012")) is False
    assert session_was_lost(DataError("select", {}, psycopg.DataError("a text cannot have NUL"))) is False
    assert session_was_lost(OperationalError("select", {}, sqlite3.OperationalError("disk I/O error"))) is False


def test_errors_of_a_system_and_of_a_file() -> None:
    """The system's are told in its own words; a file that cannot be read as a database is damaged."""
    assert (
        str(error_of(OSError(28, "No space left on device"))) == "the journal cannot be used: No space left on device"
    )
    assert "TimeoutError" in str(error_of(TimeoutError()))
    assert "damaged (the file is malformed)" in str(error_of(UnicodeDecodeError("utf-8", b"x", 0, 1, "no")))
    assert "damaged" in str(error_of(sqlite3.DatabaseError("no")))


def test_an_error_in_writing_does_not_say_that_nothing_was_sent() -> None:
    """It is not known."""
    refused = mjbulk.JournalRefused("it is damaged")
    for failure in (refused, ValueError(SECRET), mjbulk.JournalError("it is full")):
        error = writing_failed(failure)
        assert not isinstance(error, mjbulk.UsageError)
        assert SECRET not in str(error)


# Servers


@pytest.fixture
def locked_up(postgres: Postgres) -> Postgres:
    """The server, with some users who are not let in, or may do nothing."""
    if not postgres.sql("select 1 from pg_roles where rolname = 'app'"):
        postgres.sql(f"create role app login password '{SECRET}'")
        postgres.sql("create role few login connection limit 0")
        postgres.sql("create role poor login")
        rules = postgres.folder / "data" / "pg_hba.conf"
        rules.write_text(f"local all app scram-sha-256\nlocal all stranger reject\n{rules.read_text()}")
        postgres.sql("select pg_reload_conf()")
    return postgres


@pytest.mark.parametrize(
    ("user", "path", "why"),
    [
        ("app:hunter2-wrong", "{database}?host={folder}", "the server refuses the user or the password"),
        ("nobody:hunter2", "{database}?host={folder}", "the server has no such user, or does not let this one in"),
        ("stranger:hunter2", "{database}?host={folder}", "the server has no such user, or does not let this one in"),
        ("mjbulk:hunter2", "hunter2?host={folder}", "the server has no such database"),
        ("few:hunter2", "{database}?host={folder}", "the server has reached its limit of connections"),
        ("poor:hunter2", "{database}?host={folder}", "this user may not make, read or write its tables"),
        ("mjbulk:hunter2", "{database}?host=/hunter2", "no server listens at its address"),
        ("mjbulk:hunter2", "{database}?host=127.0.0.1&port=1", "no server listens at its address"),
        ("mjbulk:hunter2", "{database}?host=hunter2.invalid", "the name of its server is not known"),
        (
            "mjbulk:hunter2",
            "{database}?host={folder}&connect_timeout=hunter2",
            "its URL has an option that the driver refuses",
        ),
    ],
)
async def test_a_server_that_cannot_be_used(locked_up: Postgres, user: str, path: str, why: str) -> None:
    """It is said why, and no word of the URL."""
    where = path.format(database=locked_up.create_database(), folder=locked_up.folder)
    async with opened(f"postgresql://{user}@/{where}") as journal:
        with pytest.raises(mjbulk.JournalError, match=f"the journal cannot be used: {why}") as caught:
            await journal.open_run(RUN)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in repr(caught.value)


async def test_a_server_that_is_read_only(postgres: Postgres) -> None:
    """Runs in it can be looked at, and not be opened."""
    name = postgres.create_database()
    for known in (False, True):
        postgres.sql(f"alter database {name} set default_transaction_read_only = on")
        async with opened(postgres.url(name)) as journal:
            with pytest.raises(mjbulk.JournalError, match="the server is read-only"):
                await journal.open_run(RUN)
            if known:
                assert [run.run_id for run in await journal.runs("a")] == ["r"]
        postgres.sql(f"alter database {name} reset default_transaction_read_only")
        async with opened(postgres.url(name)) as journal:
            await journal.open_run(RUN)
            await journal.put(RUN)


async def test_a_record_that_another_session_has_locked(postgres: Postgres) -> None:
    """It is waited for, but not forever."""
    name = postgres.create_database()
    async with opened(postgres.url(name)) as journal:
        await journal.open_run(RUN)
        await journal.put(RUN)
    with psycopg.connect(postgres.url(name, "postgresql")) as other:
        other.execute("select 1 from mjbulk_2_runs for update")
        async with opened(postgres.url(name), patience=SHORT) as journal:
            with pytest.raises(mjbulk.JournalError, match="another session has locked its tables"):
                await journal.open_run(RUN)


# URLs


@pytest.mark.parametrize(
    "where",
    [
        "postgresql+psycopg://app:hunter2",
        "postgresql://app:p@host:hunter2/d",
        "postgresql+psycopg2://u:hunter2@h/d",
        "postgresql+asyncpg://u:hunter2@h/d",
        "postgresql+psycopg_async://u:hunter2@h/d",
        "mysql://u:hunter2@h/d",
        "nothing://hunter2",
        "://hunter2",
    ],
)
async def test_what_can_be_no_journal(where: str) -> None:
    """It is refused in one sentence before anything is opened, and a password is not repeated."""
    with pytest.raises(mjbulk.UsageError, match=r"journal= is a path, or the URL .*; nothing was sent$") as caught:
        SqlJournal(where, lambda event: None)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "where", ["sqlite://imports.db", "sqlite://u:hunter2@h/j.db", "sqlite://h/j.db", "sqlite://:1/j.db"]
)
async def test_a_url_of_sqlite_with_a_host(where: str) -> None:
    """Its file is not there: it would be a journal in memory, or another file than it seems."""
    with pytest.raises(
        mjbulk.UsageError, match=r"three slashes, as in sqlite:///imports.db; nothing was sent$"
    ) as caught:
        SqlJournal(where, lambda event: None)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
async def test_names_of_postgresql(postgres: Postgres, scheme: str) -> None:
    """All of them mean the same driver."""
    async with opened(postgres.url(postgres.create_database(), scheme)) as journal:
        assert not (await journal.open_run(RUN)).begun
