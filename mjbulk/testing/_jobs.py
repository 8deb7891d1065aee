"""Background jobs: what was submitted, and what truly became of it."""

from collections.abc import Callable
from typing import Any, Literal

import attrs
import orjson

from mjbulk.public import public
from mjbulk.testing._rules import fold_keys

ROW_KEYS = ("Email", "Name", "IsExcludedFromCampaigns", "Properties")
_ROW_KEY_SET = frozenset(ROW_KEYS)
Outcome = Literal["pending", "applied", "rejected", "superseded", "skipped"]


@attrs.frozen
class EmulatedError:
    """Why a row was rejected; ``field`` may be empty."""

    message: str
    field: str = ""


@public
@attrs.define(eq=False, kw_only=True)
class EmulatedJob:
    """What was submitted, and what truly happened to it, even if the answers say something else."""

    id: int
    """The number of the job, in the account."""
    kind: Literal["contact", "contactslist", "csvimport"]
    """Which call has submitted it."""
    key: str
    """The API key of its account."""
    actions: list[tuple[int, str]]
    """List ID and action, for each list; empty for an exclusion by CSV."""
    total: int
    """Rows submitted; for a csvimport an estimate until it has ended."""
    posted: float
    """Time of the POST on the loop's clock, as are `started`, `imports` and `ends`."""
    body: bytes | None = attrs.field(repr=False)
    """What was submitted; None once the job has ended."""
    started: float = 0.0
    """When it begins to be prepared."""
    imports: float = 0.0
    """When it begins to import."""
    ends: float = 0.0
    """When it ends."""
    share: Callable[["EmulatedJob", float], float] | None = attrs.field(default=None, repr=False)
    """`Knobs.progress` at the time when the job was scheduled."""
    status: str = ""
    """The final status: Completed, Error or `Knobs.aborted_word`; empty until the job has ended."""
    outcomes: list[Outcome] = attrs.field(factory=list, repr=False)
    """One for each row, in order: applied, rejected, superseded (a later row of the person won), skipped."""
    errors: dict[int, EmulatedError] = attrs.field(factory=dict, repr=False)
    """Why rows were rejected, by their index."""
    error: str = ""
    """The error of the job as a whole."""
    error_file: bytes | None = attrs.field(default=None, repr=False)
    """The error file as it is served; None if there is none."""
    stop_after: int | None = None
    """How many rows were done when a request cancelled it."""
    method: str = ""
    """The Method of a csvimport."""
    data_id: int = 0
    """The ID of the uploaded data of a csvimport."""
    list_id: int = 0
    """The list of a csvimport, or of the call of a list."""
    err_treshold: int = 0
    """The ErrTreshold of a csvimport: how many errors end it."""
    import_options: str = ""
    """The ImportOptions of a csvimport, as they were sent."""

    @property
    def ended(self) -> bool:
        """Whether it has had its effects and shows its final status."""
        return bool(self.status)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The contacts that were submitted, keys in Mailjet's case; empty for a csvimport, and if `Knobs.keep_rows` is
        off.
        """
        if self.body is None or self.kind == "csvimport":
            return []
        rows = fold_keys(orjson.loads(self.body), ("Contacts",))["Contacts"]
        return [fold_keys(row, ROW_KEYS) if _is_strange(row) else row for row in rows]

    @property
    def applied(self) -> int:
        """How many rows were applied."""
        return self.outcomes.count("applied")

    @property
    def done(self) -> int:
        """How many rows were processed, whatever their outcome."""
        return len(self.outcomes) - self.outcomes.count("skipped")

    def cancel(self, now: float) -> None:
        """End the job now; rows that are done stay done."""
        self.stop_after, self.ends = self.progress(now), now

    def progress(self, now: float) -> int:
        """Give how many rows are done by now."""
        if now <= self.imports:
            return 0
        worked = (now - self.imports) / max(self.ends - self.imports, 1e-9)
        done = worked if self.share is None else self.share(self, min(worked, 1.0))
        return min(self.total, int(self.total * done))


def _is_strange(row: Any) -> bool:
    """Tell whether a row has keys that are not in Mailjet's case."""
    return isinstance(row, dict) and not row.keys() <= _ROW_KEY_SET
