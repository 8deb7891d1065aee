"""The settings of the emulator, and whether each default is a fact or a guess.

FACT (documented): Mailjet's own guides or reference say so. FACT (observed): a recorded answer, or a running
program, shows it. GUESS: it was never recorded; tests should try other values.
"""

from collections.abc import Callable, Collection
from typing import Literal

import attrs

from mjbulk.public import public
from mjbulk.testing._jobs import EmulatedJob


def _half_a_second_and_a_little_per_row(job: EmulatedJob) -> float:
    return 0.5 + job.total * 1e-5


@public
@attrs.frozen(kw_only=True)
class Knobs:
    """The settings of the emulator; durations are float seconds of the event loop's clock."""

    # The stages of a job.
    queue_seconds: float | Callable[[EmulatedJob], float] = 0.3
    """How long a job is Allocated (a csvimport: Upload); a number, or a function of the job. GUESS: real jobs of 100
    rows took one to two minutes."""
    prepare_seconds: float = 0.1
    """How long it is in Prepare. GUESS."""
    import_seconds: float | Callable[[EmulatedJob], float] = _half_a_second_and_a_little_per_row
    """How long it is Importing; a number, or a function of the job. GUESS."""
    progress: Callable[[EmulatedJob, float], float] | None = None
    """A function of the job and the share of its import time that has passed: it gives the share of its rows that are
    done. None: both shares are the same. GUESS."""
    running_jobs: int | None = None
    """How many jobs of one account run at once; the others wait in the queue. GUESS: no limit."""
    running_word: str = "Importing"
    """The status of a job that is Importing. FACT (documented); typings of Mailjet also say "In Progress"."""
    aborted_word: str = "Abort"
    """The status of a job that was cancelled. FACT (documented); "Aborted" was observed on csvimport."""
    not_found_window: float = 0.0
    """How long after its creation a job is not found (404). GUESS: not at all."""
    count_lag: float = 0.0
    """How long after its end a completed job shows half of its Count. GUESS: not at all."""
    error_file_delay: float = 0.0
    """How long after the end of its job an error file is not found (404). GUESS: not at all."""
    retention: float | None = None
    """How long after its end a job and its error file can be read. GUESS: for ever."""
    first_job_id: int = 1_070_309_283
    """The ID of the first job; the next ones count up. FACT (observed): job IDs are beyond 10^9."""
    first_data_id: int = 98_765_433
    """The ID of the first upload. FACT (observed): eight digits; a guide shows one beyond 2^53."""
    keep_rows: bool = True
    """Whether a job still has its rows after its end (`EmulatedJob.rows`). False saves memory in benchmarks; an upload
    can then be imported only once."""

    # Limits.
    max_body: int | None = None
    """The largest body in bytes. GUESS: no limit; 413 was observed above about 15 MB elsewhere."""
    max_body_answer: Literal["reset", "413"] = "reset"
    """What happens to a larger body. GUESS: for 50,000 contacts in one call the connection was reset."""
    max_rows: int | None = None
    """The most contacts of one call; for more the connection is reset. GUESS: 10,000 worked, 50,000 did not."""
    rate_limit: int | None = None
    """Requests per second and key; more are answered with 429. FACT (documented): a limit exists. GUESS: its value."""
    retry_after: int | None = None
    """Seconds in the Retry-After header of a 429. FACT (observed): there is no such header."""
    contact_limit: int | None = None
    """Contacts of one account; a call that would exceed it is answered with 400. FACT (observed): 1,500 on free
    accounts."""
    property_limit: int = 200
    """Properties of one account, e-mail included. FACT (documented)."""

    # Accounts.
    credentials: Collection[tuple[str, str]] | None = None
    """The (key, secret) pairs that are accepted; None accepts any pair."""
    one_account: bool = False
    """Whether all API keys share one account."""

    # Jobs of managemanycontacts.
    timestamps: Literal["naive", "z", "unix", "empty"] = "naive"
    """The form of JobStart and JobEnd. FACT (documented): ISO without a zone; no recording of it exists."""
    echo_lists: bool = True
    """Whether a job shows its ContactsLists. FACT (documented) in the newest guide only."""
    count_includes_rejected: bool = True
    """Whether Count includes the rejected rows. GUESS: the guide says "contacts already processed"."""
    json_error_shape: Literal["list", "object", "data", "lines", "text", "copy"] = "list"
    """The content of the JSON error file. GUESS: a real one was never published. ``list``: ``[{"Email", "Error"}]``;
    ``object``: the same under ``Errors``; ``data``: under ``Data`` with Count and Total; ``lines``: an object per line;
    ``text``: lines of text that name the address; ``copy``: the submitted contacts with an ``error`` key."""
    error_file_form: Literal["relative", "absolute", "root", "foreign"] = "relative"
    """The form of ErrorFile. FACT (observed): relative to ``/v3/``. ``foreign`` names another host."""
    job_type: str = "Contact list import json"
    """The JobType of such a job in batchjob. GUESS."""
    batchjob_filters: bool = True
    """Whether batchjob has filters. FACT (documented): it has. If not, they are ignored, as unknown parameters are."""
    refusal: str = "Object properties invalid"
    """The ErrorMessage of a call that is refused as a whole. GUESS: it was observed on similar calls."""
    undeclared_property: Literal["error_job", "error_row", "create", "ignore"] = "error_job"
    """What an undeclared property causes. FACT (observed) for a list of properties: the job ends in Error "property
    not defined". GUESS: none of its rows is applied."""
    property_case_matters: bool = False
    """Whether ``Age`` and ``age`` are two properties. GUESS: they are one; keys of the API are matched without case."""
    duplicate_winner: Literal["last", "first"] = "last"
    """Which row of one person in one call is applied. GUESS."""
    list_errors: Literal["info", "message"] = "info"
    """The key that holds the details of a 400 about ContactsLists. FACT (observed): ErrorInfo; a guide says
    ErrorMessage."""

    # Jobs of csvimport.
    csv_count: Literal["detected", "processed"] = "detected"
    """What Count of a csvimport means while it runs. Two of Mailjet's pages contradict each other."""
    csv_empty_cell: Literal["keep", "clear"] = "keep"
    """What an empty cell does to its property. GUESS: nothing."""
    err_treshold: Literal["count", "percent"] = "count"
    """What ErrTreshold is. FACT (documented): a number of errors; an older text says a percentage."""

    # The wire.
    gzip_bodies: bool = False
    """Whether a body with Content-Encoding: gzip is read. GUESS: it is not."""
    requests_per_connection: int | None = None
    """How many answers a connection gives before it is closed. GUESS: no limit."""
    numbers_as_strings: bool = False
    """Whether numbers and booleans in Data are strings, as the guides show. FACT (observed): they are not."""

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
