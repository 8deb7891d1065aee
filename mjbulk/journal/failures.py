"""What the errors of a database mean, in a sentence of ours for each.

The database's own sentences are not given: they quote values, and names that may be a part of a password. PostgreSQL
says by a code (SQLSTATE) what is wrong, but its driver loses the code if no session was opened. Then only the words of
the server and of the driver are there, in English as a rule.
"""

import re
import sqlite3
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, SQLAlchemyError

from mjbulk.errors import JournalError, JournalRefused
from mjbulk.journal.records import damaged

POOLER = (
    "the journal's URL leads to a pooler in transaction mode, or in session mode without server_reset_query = DISCARD "
    "ALL, where no process can hold a run: name the server itself, or a pooler in session mode that resets its sessions"
)
_PASSWORD = "the server refuses the user or the password"  # noqa: S105  # a sentence about one
_USER = "the server has no such user, or does not let this one in from here"
_DATABASE = "the server has no such database"
_FULL = "the server has reached its limit of connections"
_ENDED = "the server has ended the session"
_OF_A_POOLER = "08P01"
"""What a pooler says has this code, whatever it is."""
_SENTENCES: Mapping[str | None, str] = {
    _OF_A_POOLER: "a pooler or the server refuses the session",
    "25006": "the server is read-only: name the one that can be written to",
    "25P03": _ENDED,
    "28000": _USER,
    "28P01": _PASSWORD,
    "3D000": _DATABASE,
    "42501": "this user may not make, read or write its tables",
    "53100": "the server's disk is full",
    "53200": "the server is out of memory",
    "53300": _FULL,
    "55P03": "another session has locked its tables for too long",
    "57014": "the server took too long for a statement",
    "57P01": _ENDED,
    "57P02": _ENDED,
    "57P03": "the server lets nobody in at present",
    "57P05": _ENDED,
}
"""By SQLSTATE."""
_OF_THE_DRIVER = (OperationalError, InternalError)
_POOLED = ("42P05", "26000")
"""A prepared statement that is there already, or is not there: it was prepared in another session."""
_WITHOUT_A_CODE: Sequence[tuple[str, str]] = (
    ("password authentication failed|auth failed|no password supplied", _PASSWORD),
    ("pg_hba.conf|role .* does not exist|no such user", _USER),
    ("database .* does not exist|no such database", _DATABASE),
    ("too many (clients|connections)|connection slots are reserved|no more connections allowed", _FULL),
    ("starting up|shutting down|not (yet|currently) accepting connections|in recovery mode", _SENTENCES["57P03"]),
    ("statement pooling mode", "its URL leads to a pooler in statement mode: name the server itself"),
    ("query_wait_timeout", "the pooler had no free session for too long"),
    (
        "invalid response to SSL negotiation|expected authentication request",
        "what listens at its address is no PostgreSQL",
    ),
    ("certificate|SSL", "no safe connection to the server can be made (TLS)"),
    ("failed to resolve host|could not translate host name", "the name of its server is not known"),
    ("Connection refused|No such file or directory", "no server listens at its address"),
    (
        "invalid connection option|bad value for|invalid (.* )?(value|number)",
        "its URL has an option that the driver refuses",
    ),
    ("timeout expired|server is silent", "its server does not answer"),
    ("closed the connection|connection is (lost|closed)|session has ended|server conn crashed|2 results", _ENDED),
    ("(?i)connection timed out|no route to host|network is unreachable", "its server cannot be reached"),
)
"""By words of the server or of the driver."""
ERRORS = (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError, OSError)
"""What work with a database raises."""
_OF_THE_SYSTEM = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    )
)
"""The errors of SQLite that come from the system. All others mean that the file is damaged, or not a journal."""


def unusable(why: str) -> JournalError:
    """Give the error for a journal that cannot be used."""
    return JournalError(f"the journal cannot be used: {why}")


def error_of(failure: Exception) -> JournalError:
    """Give the error of mjbulk for one of `ERRORS`."""
    match failure:
        case SQLAlchemyError():
            return _error(failure)
        case sqlite3.Error():
            return _sqlite_error(failure)
        case OSError():
            return unusable(failure.strerror or type(failure).__name__)
    return damaged("the file is malformed")  # UnicodeDecodeError: in an error that quotes what it has read


def session_was_lost(failure: DBAPIError) -> bool:
    """Tell whether an error means that the session has ended.

    The driver notices that late, if the server's last words lie unread: the next statement fails in other ways then,
    and never with a code.
    """
    if failure.connection_invalidated:
        return True
    state = getattr(failure.orig, "sqlstate", "")  # errors of SQLite have none
    return _SENTENCES.get(state) == _ENDED if state else state is None and isinstance(failure, _OF_THE_DRIVER)


def writing_failed(failure: Exception) -> JournalError:
    """Give the error for records that could not be written. A JournalRefused would say that nothing was sent."""
    if isinstance(failure, JournalError) and not isinstance(failure, JournalRefused):
        return failure
    return unusable(failure.sentence if isinstance(failure, JournalError) else type(failure).__name__)


def _error(why: SQLAlchemyError) -> JournalError:
    original = why.orig if isinstance(why, DBAPIError) else None
    if isinstance(original, sqlite3.Error):
        return _sqlite_error(original)
    state = getattr(original, "sqlstate", None)
    if state in _POOLED:
        return JournalError(POOLER)
    words = None if state not in (None, _OF_A_POOLER) else _sentence_without_a_code(str(original))
    known = words or _SENTENCES.get(state)
    code = f"SQLSTATE {state}" if state else ""
    if known is None:
        return unusable(", ".join(filter(None, (type(why).__name__, code))))
    return unusable(f"{known} ({code})" if code else known)


def _sentence_without_a_code(words: str) -> str | None:
    return next((sentence for pattern, sentence in _WITHOUT_A_CODE if re.search(pattern, words)), None)


def _sqlite_error(why: sqlite3.Error) -> JournalError:
    """Give the error of SQLite, in its own sentence if that quotes nothing of the file."""
    code = getattr(why, "sqlite_errorcode", 0)
    if code & 0xFF in _OF_THE_SYSTEM and code != sqlite3.SQLITE_IOERR_SHORT_READ:
        return unusable(str(why))
    return damaged("the file is not a database" if code == sqlite3.SQLITE_NOTADB else "the file is malformed")
