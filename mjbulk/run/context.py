"""What all chunks of one run share."""

from collections import Counter
from collections.abc import Callable, Iterable

from attrs import Factory, define, field

from mjbulk.chunks.chunk import SizeLimit
from mjbulk.events import Scope
from mjbulk.outcomes.ledger import Ledger
from mjbulk.run.endurance import Endurance
from mjbulk.run.engine import Engine
from mjbulk.run.run_log import RunLog
from mjbulk.spill import SmallValues, Spill
from mjbulk.terms import RunSpec


@define(kw_only=True, eq=False)
class RunContext:
    """What all chunks of one run share. Mutable state: how jobs and the last requests ended, and whether it stops."""

    run_id: str
    spec: RunSpec
    engine: Engine
    ledger: Ledger
    log: RunLog
    notify: Callable[[], None]
    """Is told when something has changed that a snapshot of the run shows."""
    learned: SizeLimit
    """It learns from what went through."""
    spill: Spill
    held: SmallValues
    """The rows that are held, as they were given."""
    scope: Scope = Factory(lambda self: Scope(run_id=self.run_id), takes_self=True)
    """Of which the chunks are parts."""
    endurance: Endurance | None = None
    """Waits after a failure that is of no row; then the chunk goes on. None: the failure ends the run."""
    statuses: dict[str, int] = field(factory=dict)
    """How many jobs have ended in which status."""
    account_changed: Callable[[], object] = Factory(lambda self: self.engine.account.forget, takes_self=True)
    """Is told when lists or properties may not be what they were."""
    refused_in_a_row: int = 0
    """How many rows were refused alone since something was taken."""
    stopping: bool = False
    """Whether the run is being stopped: requests under way may end, and nothing more is begun."""

    def statuses_with(self, words: Iterable[str]) -> dict[str, int]:
        """Count jobs by their status: those that have ended, and those under way that have these."""
        return dict(Counter(self.statuses) + Counter(words))
