"""Every exception: its sentence, what it keeps to itself, and its way through a pickle."""

import importlib
import json
import pickle
import pkgutil

import pytest
from attrs import evolve

import mjbulk
from mjbulk import errors
from mjbulk.errors import (
    ApiError,
    CredentialsRefused,
    Error,
    ImportHalted,
    ImportTimeout,
    JobFailed,
    JournalError,
    JournalRefused,
    NoAnswer,
    OutcomeError,
    OutcomeNotSent,
    OutcomeRejected,
    OutcomeUnknown,
    RowsRejected,
    SourceError,
    UsageError,
)
from mjbulk.models import Job, JobRef, Rejection
from mjbulk.outcome import Outcome
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.outcomes.report import Report
from mjbulk.terms import RunSpec

ADDRESS = "somebody@example.org"
SECRET = "0123456789abcdef"
TEXT = f"MJ08 Property email is invalid: {ADDRESS} {SECRET}"
JOB = Job(ref=JobRef("contactslist", 113, 42), status="Error", error=TEXT)
REPORT = Report(
    rows=5,
    accepted=2,
    rejected=1,
    not_sent=2,
    spec=RunSpec(lists=None),
    run_id="r1",
    rejections=RejectionStore([Rejection(row=3, email=ADDRESS, message=TEXT, data={"email": ADDRESS})]),
)
REJECTION = Rejection(row=3, email=ADDRESS, field="age", code="mailjet.MJ08", message=TEXT, data={"email": ADDRESS})
ERRORS: list[tuple[Error, str]] = [
    (Error("a sentence"), "a sentence"),
    (Error(), ""),
    (UsageError("via= is one of json, csv"), "via= is one of json, csv; nothing was sent"),
    (SourceError("it raised OSError"), "the source failed: it raised OSError"),
    (SourceError("it raised OSError", row=7), "the source failed at row 7: it raised OSError"),
    (SourceError("no number", row=7, column="age"), "the source failed at row 7, column 'age': no number"),
    (
        ApiError(400, call="POST csvimport", code="MJ08", text=TEXT),
        "Mailjet answered 400 (MJ08: a value is invalid) to POST csvimport",
    ),
    (ApiError(400, call="PUT contact", code="MJ77"), "Mailjet answered 400 (MJ77) to PUT contact"),
    (ApiError(404, call="PUT contact"), "Mailjet answered 404 (it does not exist) to PUT contact"),
    (
        ApiError(413, call="POST csvimport", text=TEXT, advice="it is too large"),
        "Mailjet answered 413 to POST csvimport; it is too large",
    ),
    (
        CredentialsRefused(401, call="GET contactslist", text=TEXT, advice="the key is wrong"),
        "Mailjet answered 401 to GET contactslist; the key is wrong",
    ),
    (
        NoAnswer("POST csvimport", why="status 502", attempts=1, sent=True),
        "no usable answer to POST csvimport after 1 attempt (status 502); it may have been applied",
    ),
    (
        NoAnswer("POST csvimport", why="no connection", attempts=10, sent=False),
        "no usable answer to POST csvimport after 10 attempts (no connection); nothing of it was applied",
    ),
    (JobFailed(JOB), "job contactslist:42/113 ended as 'Error'; what it says stands in .job.error"),
    (
        ImportHalted(REPORT, "r1"),
        "import r1 stopped before its end (5 rows: 2 accepted, 1 rejected, 2 not sent)",
    ),
    (
        ImportTimeout(REPORT, "r1", why="its timeout of 5 s ran out"),
        "import r1 stopped before its end (5 rows: 2 accepted, 1 rejected, 2 not sent): its timeout of 5 s ran out",
    ),
    (RowsRejected(REPORT, allowed=0), "1 row was rejected, 0 are allowed"),
    (OutcomeError(Outcome(row=7, state="unknown", cause="it was lost")), "row 7 is unknown: it was lost"),
    (OutcomeUnknown(Outcome(row=7, state="unknown", cause="it was lost")), "row 7 is unknown: it was lost"),
    (OutcomeNotSent(Outcome(row=7, state="not_sent", cause="it ended")), "row 7 is not sent: it ended"),
    (
        OutcomeRejected(Outcome(row=3, state="rejected", rejection=REJECTION)),
        "row 3 was rejected by mailjet (mailjet.MJ08, field 'age')",
    ),
    (
        OutcomeRejected(Outcome(row=3, state="rejected", rejection=evolve(REJECTION, field=None, origin="mjbulk"))),
        "row 3 was rejected by mjbulk (mailjet.MJ08)",
    ),
    (JournalError("it is locked"), "it is locked"),
    (JournalRefused("the journal is damaged"), "the journal is damaged; nothing was sent"),
]
each = pytest.mark.parametrize(("error", "sentence"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])


@each
def test_the_sentence(error: Error, sentence: str) -> None:
    """str() is a sentence made of the fields, and the repr is the type around it."""
    assert str(error) == sentence
    assert repr(error) == f"{type(error).__name__}({sentence!r})"


@each
def test_a_pickle_keeps_everything(error: Error, sentence: str) -> None:
    """An error comes out of a pickle with its type, its fields and its sentence."""
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert again.__dict__ == error.__dict__
    assert (str(again), repr(again), again.args) == (sentence, repr(error), error.args)


@each
def test_args_rebuild_the_sentence(error: Error, sentence: str) -> None:
    """Task queues keep errors as JSON: the name of the class, and its args. So again and again."""
    for _ in range(2):
        again = type(error)(*json.loads(json.dumps(error.args)))
        assert (type(again), str(again), again.args) == (type(error), sentence, error.args)
        error = pickle.loads(pickle.dumps(again))


def test_every_error_is_rebuilt() -> None:
    """Also those that no user sees: whatever is an Error takes its args."""
    for kind in subclasses(Error):
        known = next(error for error, _ in reversed(ERRORS) if issubclass(kind, type(error)))
        assert type(known).__init__ is kind.__init__, f"{kind.__name__} is made in its own way: give an example of it"
        assert str(kind(*known.args)) == str(known)


def subclasses(kind: type[Error]) -> list[type[Error]]:
    for module in pkgutil.walk_packages(mjbulk.__path__, "mjbulk."):
        elsewhere = module.name.startswith(("mjbulk.airflow.", "mjbulk.testing"))  # with no errors of their own
        if not elsewhere and module.name != "mjbulk.airflow" and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return [kind, *(one for child in kind.__subclasses__() for one in subclasses(child))]


def test_what_a_rebuilt_error_knows() -> None:
    """What its sentence says, and nothing else."""
    refused = ApiError(*ApiError(400, call="POST csvimport", code="MJ08", text=TEXT).args)
    assert (refused.status, refused.call, refused.code, refused.text) == (400, "POST csvimport", "MJ08", "")
    assert JobFailed(*JobFailed(JOB).args).job == Job(ref=JOB.ref, status="Error")
    halted = ImportHalted(*ImportHalted(REPORT, "r1").args)
    assert (halted.report.summary(), len(halted.report.rejections)) == (REPORT.summary(), 0)
    assert RowsRejected(*RowsRejected(REPORT, allowed=3).args).report.run_id == "r1"


@each
def test_nothing_of_anybody_gets_out(error: Error, sentence: str) -> None:
    """No address, no key and no text of the server is in str(), repr() or args."""
    shown = f"{error!s} {error!r} {error.args!r}"
    assert ADDRESS not in shown
    assert SECRET not in shown
    assert "Property email" not in shown


def test_what_mailjet_wrote_stands_in_attributes() -> None:
    """The server's text is kept where a program can read it."""
    error = ApiError(400, call="POST csvimport", code="MJ08", text=TEXT)
    assert (error.status, error.call, error.code, error.text) == (400, "POST csvimport", "MJ08", TEXT)
    assert JobFailed(JOB).job.error == TEXT
    assert [r.message for r in RowsRejected(REPORT, allowed=3).report.rejections] == [TEXT]


def test_every_exception_is_exported_and_has_one_base() -> None:
    """Users can import every exception of the module, and all of them are an Error."""
    made = {type(error) for error, _ in ERRORS}
    assert made == {thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, Error)}
    assert {kind.__name__ for kind in made} <= set(mjbulk.__all__)


@pytest.mark.parametrize(
    ("kind", "base"),
    [(CredentialsRefused, ApiError), (CredentialsRefused, UsageError), (ImportTimeout, ImportHalted)],
)
def test_the_tree(kind: type[Error], base: type[Error]) -> None:
    """Catching the general error catches the special ones too."""
    assert issubclass(kind, base)


def test_a_run_that_has_read_no_row() -> None:
    """It says that nothing was sent, once, also after it was rebuilt from its args."""
    unsent = Report(spec=RunSpec(lists=None), run_id="r")
    halted = ImportHalted(unsent, "r", why="the source failed at row 1: this is not utf-8")
    assert str(halted).endswith("the source failed at row 1: this is not utf-8; nothing was sent")
    assert str(ImportHalted(*halted.args)) == str(halted)
    assert str(ImportHalted(unsent, "r", why="no such list; nothing was sent")).count("nothing was sent") == 1
    some = Report(spec=RunSpec(lists=None), run_id="r", rows=7, not_sent=7)
    assert "nothing was sent" not in str(ImportHalted(some, "r", why="Mailjet answered 403"))


def test_a_cause_is_not_lost() -> None:
    """ImportHalted keeps the report, the run's name and, as any exception, its cause."""
    cause = NoAnswer("POST csvimport", why="status 502", attempts=10, sent=True)
    halted = ImportHalted(REPORT, "r1", why=str(cause))
    halted.__cause__ = cause
    assert (halted.report, halted.run_id, halted.__cause__) == (REPORT, "r1", cause)
    assert str(cause) in str(halted)
