"""What the routes answer, as pydantic models: OpenAPI shows them."""

from typing import Any, Literal

from pydantic import BaseModel, Field

State = Literal["queued", "running", "resumable", "needs_source", "settled"]


class RunView(BaseModel):
    """A run. Fields are null where another worker has it and does not tell."""

    run_id: str
    state: State
    complete: bool = Field(False, description="Its source was read to its end, and no row is unknown or unsent.")
    cause: str | None = Field(None, description="Why it stopped early.")
    rows: int = Field(0, description="Rows that were read.")
    accepted: int = 0
    rejected: int = 0
    superseded: int = Field(0, description="Rows in whose place a later row of the same person was accepted.")
    unknown: int = Field(0, description="Rows that were sent, and whose outcome is not known.")
    not_sent: int = 0
    held: int | None = Field(None, description="Rows that wait for a job with an earlier row of their person.")
    jobs: dict[str, int] | None = Field(None, description="How many jobs have which status, in Mailjet's words.")
    rate: float | None = Field(None, description="Rows a second.")
    eta: float | None = Field(None, description="Seconds that are left, as likely as not.")
    waiting_for: str | None = Field(None, description="Why nothing moves.")
    list: int | str | None = None
    action: str | None = None
    name: str | None = Field(None, description="The name of the file.")
    created: str = Field(description="RFC 3339.")
    seconds: float | None = None


class RunPage(BaseModel):
    """Runs, the newest first."""

    runs: list[RunView]
    next: str | None = Field(None, description="The value of ``before`` for the next page.")


class RejectionView(BaseModel):
    """A row that was refused, here (``mjbulk``) or by Mailjet."""

    row: int | None
    email: str | None
    field: str | None
    code: str
    message: str
    origin: str
    data: dict[str, Any] | None = Field(None, description="The row as it was given.")


class RejectionPage(BaseModel):
    """Rejected rows, in the order in which they became known."""

    total: int
    by_code: dict[str, int]
    rows: list[RejectionView]
    next: int | None = Field(None, description="The value of ``after`` for the next page.")


class FindingView(BaseModel):
    """Something that would surprise, though no row is refused for it."""

    code: str
    column: str | None
    count: int
    first_row: int | None
    message: str


class PlanView(BaseModel):
    """What an import would send, and what would go wrong. Nothing was sent, and nothing is kept."""

    rows: int
    chunks: int
    requests: int
    bytes: int
    rejected: int
    by_code: dict[str, int]
    rejections: list[RejectionView] = Field(description="The first ten.")
    superseded: int
    recurring: int
    new_properties: list[str]
    unknown_properties: list[str]
    forced: int = Field(description="People whom addforce would subscribe, whatever they chose.")
    findings: list[FindingView]


class ListOption(BaseModel):
    """A list that a tenant may name, with its usual action."""

    list: int | str
    action: str


class OptionsView(BaseModel):
    """What the application allows."""

    lists: list[ListOption] | None = Field(description="Null: any list of the account.")
    actions: list[str] = Field(description="Besides the usual one of a list. The first is the usual one of any list.")
    create_properties: bool = Field(description="Whether columns that are no property yet become one.")
    max_upload: int = Field(description="Bytes.")


class ProblemDetail(BaseModel):
    """What was refused."""

    code: str
    message: str
    column: str | None = None
    row: int | None = None


class ProblemView(BaseModel):
    """The form of every error."""

    detail: ProblemDetail
