"""The settings of the emulator, and whether each default is a fact or a guess.

FACT (documented): Mailjet's own guides or reference say so. FACT (observed): a recorded answer, or a running
program, shows it. GUESS: it was never recorded; tests should try other values. The numbers are sections of
``mjbulk/mailjet/FACTS.md``, which has the evidence: FACTS 2.10 is its section 2.10.
"""

import math
from collections.abc import Callable, Collection
from typing import Any, Literal

import attrs

from mjbulk.public import public
from mjbulk.testing._jobs import EmulatedJob


def _half_a_second_and_a_little_per_row(job: EmulatedJob) -> float:
    return 0.5 + job.total * 1e-5


Timestamps = Literal["naive", "z", "unix", "empty"]
"""ISO without a zone, ISO with Z, Unix seconds, or nothing."""
_SHARES = {"queue_seconds": 0.3, "prepare_seconds": 0.1, "import_seconds": 0.6}
"""The parts of a job's time."""


@public
@attrs.frozen(kw_only=True)
class Knobs:
    """The settings of the emulator; durations are float seconds of the event loop's clock."""

    # The stages of a job.
    queue_seconds: float | Callable[[EmulatedJob], float] = 0.3
    """How long a job is Allocated (a csvimport: Upload); a number, or a function of the job. GUESS: a program
    waits for one to two minutes for jobs of 100 rows (FACTS 2.10)."""
    prepare_seconds: float = 0.1
    """Seconds that it is in Prepare. GUESS (FACTS 2.10)."""
    import_seconds: float | Callable[[EmulatedJob], float] = _half_a_second_and_a_little_per_row
    """How long it is Importing; a number, or a function of the job. GUESS (FACTS 2.10)."""
    progress: Callable[[EmulatedJob, float], float] | None = None
    """A function of the job and the share of its import time that has passed: it gives the share of its rows that are
    done. None: both shares are the same. GUESS (FACTS 2.4)."""
    running_jobs: int | None = None
    """How many jobs of one account run at once; the others wait in the queue. GUESS: no limit (FACTS 2.10)."""
    running_word: str = "Importing"
    """The status of a job that is Importing. FACT (documented, FACTS 2.3); typings also say "In Progress"."""
    aborted_word: str = "Abort"
    """The status of a job that was cancelled. FACT (documented, FACTS 2.3); "Aborted" was observed too."""
    not_found_window: float = 0.0
    """How long after its creation a job is not found (404). GUESS: not at all (FACTS 2.9)."""
    count_lag: float = 0.0
    """How long after its end a completed job shows half of its Count. GUESS: not at all (FACTS 2.4)."""
    error_file_delay: float = 0.0
    """How long after the end of its job an error file is not found (404). GUESS: not at all (FACTS 3.3)."""
    retention: float | None = None
    """How long after its end a job and its error file can be read. GUESS: for ever (FACTS 2.9)."""
    first_job_id: int = 1_070_309_283
    """The ID of the first job; the next ones count up. FACT (observed): job IDs are beyond 10^9 (FACTS 1.7)."""
    first_data_id: int = 98_765_433
    """The ID of the first upload. FACT (observed): eight digits; a guide shows one beyond 2^53 (FACTS 4.1)."""
    keep_rows: bool = True
    """Whether a job still has its rows after its end (`EmulatedJob.rows`). False saves memory in benchmarks; an upload
    can then be imported only once."""

    # Limits.
    max_body: int | None = None
    """The largest body in bytes. GUESS: no limit; 413 was observed above about 15 MB elsewhere (FACTS 1.9)."""
    max_body_answer: Literal["reset", "413"] = "reset"
    """What happens to a larger body. GUESS: for 50,000 contacts in one call the connection was reset (FACTS 1.9)."""
    max_rows: int | None = None
    """The most contacts of one call; for more the connection is reset. GUESS: 10,000 worked, 50,000 did not
    (FACTS 1.9)."""
    rate_limit: int | None = None
    """Requests per second and key; more are answered with 429. FACT (FACTS 9.9): there is a limit. GUESS: its value."""
    retry_after: int | None = None
    """Seconds in the Retry-After header of a 429. FACT (observed): there is no such header (FACTS 9.9)."""
    contact_limit: int | None = None
    """Contacts of one account; a call that would exceed it is answered with 400. FACT (observed): 1,500 on free
    accounts (FACTS 8.8)."""
    property_limit: int = 200
    """Properties of one account, e-mail included. FACT (documented, FACTS 4.6)."""

    # Accounts.
    credentials: Collection[tuple[str, str]] | None = None
    """The (key, secret) pairs that are accepted; None accepts any pair."""
    one_account: bool = False
    """Whether all API keys share one account."""

    # One contact.
    refused_members: Collection[str] = ("LastActivityAt", "UnsubscribedAt")
    """Members of a contact that a PUT may not send back. FACT (recorded): CreatedAt, DeliveredCount, Email and ID may
    be; FACT (observed): UnsubscribedAt may not (FACTS 8.4). GUESS: LastActivityAt may not, and all others may."""

    # Jobs of managemanycontacts.
    timestamps: Timestamps = "naive"
    """The form of JobStart and JobEnd. FACT (documented): ISO without a zone; no recording of it exists (FACTS 2.7)."""
    echo_lists: bool = True
    """Whether a job shows its ContactsLists. FACT (documented, FACTS 2.2)."""
    count_includes_rejected: bool = True
    """Whether Count includes the rejected rows. GUESS: the guide says "contacts already processed" (FACTS 2.4)."""
    json_error_shape: Literal["list", "object", "data", "lines", "text", "copy"] = "list"
    """The content of the JSON error file. GUESS: a real one was never published (FACTS 3.2). ``list``:
    ``[{"Email", "Error"}]``; ``object``: the same under ``Errors``; ``data``: under ``Data`` with Count and Total;
    ``lines``: an object per line; ``text``: lines of text that name the address; ``copy``: the submitted contacts with
    an ``error`` key."""
    error_file_form: Literal["relative", "absolute", "root", "foreign"] = "relative"
    """The form of ErrorFile. FACT (observed, FACTS 2.6): relative to ``/v3/``. ``foreign`` names another host."""
    job_type: str = "Contact list import json"
    """The JobType of such a job in batchjob. GUESS (FACTS 7.3)."""
    batchjob_filters: bool = True
    """Whether batchjob has filters. FACT (documented, FACTS 7.2): it has. If not, they are ignored."""
    refusal: str = "Object properties invalid"
    """The ErrorMessage of a call that is refused as a whole. GUESS: it was observed on similar calls (FACTS 1.8)."""
    undeclared_property: Literal["error_job", "error_row", "create", "ignore"] = "error_job"
    """What an undeclared property causes. FACT (observed) for a list of properties: the job ends in Error "property
    not defined". GUESS: none of its rows is applied (FACTS 1.4, 2.5)."""
    property_case_matters: bool = False
    """Whether ``Age`` and ``age`` are two properties. GUESS: they are one, as keys of the API are (FACTS 1.10)."""
    duplicate_winner: Literal["last", "first"] = "last"
    """Which row of one person in one call is applied. GUESS (FACTS 1.5)."""
    list_errors: Literal["info", "message"] = "info"
    """The key that holds the details of a 400 about ContactsLists. FACT (observed): ErrorInfo; a guide says
    ErrorMessage (FACTS 1.8)."""

    # Jobs of csvimport.
    csv_count: Literal["detected", "processed"] = "detected"
    """What Count of a csvimport means while it runs. Two of Mailjet's pages contradict each other (FACTS 5.4)."""
    csv_timestamps: Timestamps = "z"
    """The form of the times of a csvimport. FACT (documented): RFC 3339; its example has no zone (FACTS 2.7)."""
    strict_imports: bool = True
    """Whether a member that a csvimport does not have is refused, as ErrThreshold with two h. FACT (observed) for other
    objects (FACTS 9.3). GUESS for this one: a sample of Mailjet's Python client sends that word."""
    csv_empty_cell: Literal["keep", "clear"] = "keep"
    """What an empty cell does to its property. GUESS: nothing (FACTS 4.4)."""
    err_treshold: Literal["count", "percent"] = "count"
    """What ErrTreshold is. FACT (documented): a number of errors; an older text says a percentage (FACTS 5.8)."""

    # The wire.
    gzip_bodies: bool = False
    """Whether a body with Content-Encoding: gzip is read. GUESS: it is not (FACTS 9.12)."""
    requests_per_connection: int | None = None
    """How many answers a connection gives before it is closed. GUESS: no limit (FACTS 9.12)."""
    numbers_as_strings: bool = False
    """Whether numbers and booleans in Data are strings, as the guides show. FACT (observed, FACTS 9.2): no."""

    # Lies, to see which program believes them. All are off by default.
    hide_errors: bool = False
    """Rejected rows are announced nowhere: no ErrorFile, no Errcount, no error file."""
    wrong_errcount: int = 0
    """A number that is added to Errcount."""
    cut_error_file: float | None = None
    """The share of an error file's bytes that is served; nothing shows that the rest is missing."""
    half_count_on_error: bool = False
    """A job in Error shows half of its rows in Count, though none was applied."""
    abort_after: int | None = None
    """A job stops by itself after this many rows; these are applied."""
    abort_error: str = ""
    """The Error text of such a job, whose status is then Error. Without a text its status is `aborted_word`."""

    def changed(self, *, job_seconds: float | None = None, rate: int | None = None, **changes: Any) -> "Knobs":
        """Give other settings: ``job_seconds`` from the POST of a job to its end, ``rate`` for `rate_limit`, or any
        field.

        Raises ValueError for a number that cannot be, TypeError for a name that is not known.
        """
        if rate is not None and rate < 1:
            raise ValueError("a rate is at least one request a second")
        if job_seconds is not None and not 0 <= job_seconds < math.inf:
            raise ValueError("a job takes a number of seconds, 0 or more")
        given: dict[str, Any] = {} if rate is None else {"rate_limit": rate}
        if job_seconds is not None:
            given |= {name: job_seconds * share for name, share in _SHARES.items()}
        return attrs.evolve(self, **{**given, **changes})
