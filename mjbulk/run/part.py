"""The parts of a chunk, and the states that each of them walks through.

A chunk is one part, unless Mailjet refuses the whole for a row in it, or for its size: then it is halved, and each part
has a job of its own. A part is in one state, and only these steps exist:

========  ================================================  ==================================================
state     what it means                                     steps
========  ================================================  ==================================================
Unsent    no request with its entries was applied           InDoubt, Refused, halved
InDoubt   a request with its entries may have been applied  Unsent, Watched, Refused, Lost, halved
Watched   a job has taken it                                Settled
Refused   its one entry will never be taken                 Refused (its doubt is cleared), Settled
Lost      in doubt, and it must not be retried              none
Settled   each of its rows has an outcome                   none
========  ================================================  ==================================================

The journal knows the same states by its own words (`mjbulk.journal.records`). Refused and Lost are what this process
has decided about a part that is ``unsent`` or ``sending`` on disk: the next process decides again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import define, evolve, field, frozen

from mjbulk.journal.info import SUMS, PartState
from mjbulk.journal.records import PartRecord
from mjbulk.models import Counts, JobRef


@frozen
class Unsent:
    """No request with its entries was applied."""


@frozen
class InDoubt:
    """A request with its entries may have been applied."""

    own: bool
    """Whether it was a request of this part; else of a larger body that contained it."""


@frozen
class Watched:
    """A job has taken it."""

    job: JobRef
    resumed: bool = False
    """Whether another process created the job, at an unknown time."""


@frozen
class Refused:
    """Its one entry will never be taken."""

    why: str = field(repr=False)
    doubt: InDoubt | None
    """A request with this entry whose answer was lost, and that may have been applied all the same."""


@frozen
class Lost:
    """In doubt, and it must not be retried."""

    why: str


@frozen
class Settled:
    """Each of its rows has an outcome."""


State = Unsent | InDoubt | Watched | Refused | Lost | Settled
STEPS: Mapping[type[State], frozenset[type[State]]] = {
    Unsent: frozenset({InDoubt, Refused}),
    InDoubt: frozenset({InDoubt, Unsent, Watched, Refused, Lost}),
    Watched: frozenset({Settled}),
    Refused: frozenset({Refused, Settled}),
    Lost: frozenset(),
    Settled: frozenset(),
}
"""From each state the states that may follow. A part that is halved is gone."""
_WORDS: Mapping[type[State], PartState] = {
    Unsent: "unsent",
    InDoubt: "sending",
    Watched: "watched",
    Settled: "settled",
}
"""How the journal calls a state. Refused and Lost leave the word as it is."""


@define(eq=False)
class Part:
    """Entries of a chunk that go into one job. Mutable state: what is known of it, and its state."""

    record: PartRecord
    """What the journal knows."""
    state: State
    half_of: int = 0
    """Bytes of the body that was too large before it was halved; 0 where none was."""

    @classmethod
    def of(cls, record: PartRecord, via: Literal["json", "csv"]) -> "Part":
        """Go on with what the journal knows. On the CSV way nothing is applied before it was uploaded; but where an
        upload was given up, for its cause, later rows of its people may have gone.
        """
        state: State = Unsent()
        if record.state == "settled":
            state = Settled()
        elif record.job:
            state = Watched(JobRef.parse(record.job), resumed=True)
        elif record.state == "sending" and (via == "json" or record.data_id is not None or record.cause):
            state = InDoubt(own=record.attempts > 0)
        return cls(record, state)

    @property
    def entries(self) -> slice:
        """Its entries, by their positions in the chunk."""
        return self.record.indexes

    @property
    def size(self) -> int:
        """How many entries it has."""
        return self.record.end - self.record.first

    @property
    def job(self) -> JobRef | None:
        """The job that has taken it."""
        return JobRef.parse(self.record.job) if self.record.job else None

    @property
    def doubt(self) -> InDoubt | None:
        """What may have been applied of it."""
        if isinstance(self.state, InDoubt):
            return self.state
        return self.state.doubt if isinstance(self.state, Refused) else None

    @property
    def counts(self) -> Counts | None:
        """How its rows have ended if nothing more is done; None if another process can find out more about them."""
        record, rows = self.record, self.record.rows
        if isinstance(self.state, Settled):
            return Counts(**{name: getattr(record, name) for name in SUMS})
        if isinstance(self.state, Watched):
            return None
        if isinstance(self.state, Lost) or self.doubt is not None:
            found_later = record.data_id is not None and not isinstance(self.state, Lost)
            return None if found_later else Counts(rows=rows, unknown=rows)
        return Counts(rows=rows, not_sent=rows)

    def become(self, state: State, **known: Any) -> PartRecord:
        """Take a step, and give the record with what is ``known`` now; the caller writes it to the journal.

        A cause says why an earlier process gave the part up. It ends with the next step.
        """
        if type(state) not in STEPS[type(self.state)]:
            raise RuntimeError(f"a part goes from {type(self.state).__name__} to {type(state).__name__}")
        self.state = state
        word = _WORDS.get(type(state), self.record.state)
        self.record = evolve(self.record, **{"state": word, "cause": "", **known})
        return self.record

    def settled(self, **figures: Any) -> PartRecord:
        """Give the record with which it will be settled."""
        return evolve(self.record, state="settled", **figures)

    def halves(self, rows: int, *, too_large: int) -> tuple["Part", "Part"]:
        """Give the two parts that take its place; ``rows`` is how many rows the entries of the first half stand for.

        What it leaves in doubt, they do.
        """
        record = self.record
        middle = (record.first + record.end) // 2
        state = InDoubt(own=False) if self.doubt else Unsent()
        half = evolve(record, state=_WORDS[type(state)], attempts=0, data_id=None, cause="")
        return (
            Part(evolve(half, end=middle, rows=rows), state, too_large),
            Part(evolve(half, first=middle, rows=record.rows - rows), state, too_large),
        )


@define(eq=False)
class Parts:
    """The parts of one chunk, in the order of their entries. Mutable state: the list; no other class changes it."""

    _parts: list[Part]

    @classmethod
    def of(cls, records: Sequence[PartRecord], via: Literal["json", "csv"]) -> "Parts":
        """Go on with what the journal knows."""
        return cls([Part.of(record, via) for record in records])

    def __iter__(self) -> Iterator[Part]:
        return iter(list(self._parts))

    def without_job(self) -> list[Part]:
        """Give the parts that are to be sent, or to be found again."""
        return [part for part in self._parts if isinstance(part.state, Unsent | InDoubt)]

    def watched(self) -> list[Part]:
        """Give the parts whose jobs are to be watched."""
        return [part for part in self._parts if isinstance(part.state, Watched)]

    @property
    def anything_taken(self) -> bool:
        """Whether a job has taken any of them."""
        return any(part.record.job for part in self._parts)

    @property
    def entries(self) -> int:
        """How many entries they have together."""
        return sum(part.size for part in self._parts)

    def halve(self, part: Part, halves: Sequence[Part]) -> None:
        """Put two halves in the place of a part."""
        at = self._parts.index(part)
        self._parts[at : at + 1] = halves
