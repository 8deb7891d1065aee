"""What was found: one record for each question, and what follows for the assumptions. Nobody's data is in it."""

import os
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import attrs
from attrs import frozen

from mjbulk.config import Assumptions

ASSUMED = Assumptions()
"""What is assumed where nothing was observed."""
_EITHER = ("count_includes_rejected", "csv_count_includes_rejected")
"""Fields whose None admits either reading: to see one of them contradicts nothing."""


class Verdict(Enum):
    """What an observation means for an assumption."""

    HOLDS = "holds"
    DIFFERS = "differs"
    OPEN = "could not be settled"


@frozen(kw_only=True)
class Observation:
    """What was asked, and what was seen."""

    asked: str
    seen: str
    """Without addresses, keys, values and IDs."""
    means: str = ""
    """What follows from it."""
    settles: str | None = None
    """The field of `Assumptions` that it is about, or None."""
    verdict: Verdict | None = None
    """What it means for that field; None where there is none."""
    value: Any = None
    """What the field then has to be, unless the verdict is OPEN."""

    def __str__(self) -> str:
        means = f" - {self.means}" if self.means else ""
        return f"{self.asked}: {self.seen}{means}"


def settled(field: str, value: Any, *, asked: str, seen: str, means: str = "") -> Observation:
    """Make an observation that says what a field has to be."""
    holds = value == getattr(ASSUMED, field) or field in _EITHER
    verdict = Verdict.HOLDS if holds else Verdict.DIFFERS
    return Observation(asked=asked, seen=seen, means=means, settles=field, verdict=verdict, value=value)


def unsettled(field: str, *, asked: str, seen: str, means: str = "") -> Observation:
    """Make an observation after which a field is as unknown as before."""
    return Observation(asked=asked, seen=seen, means=means, settles=field, verdict=Verdict.OPEN)


@frozen(kw_only=True)
class Findings:
    """What `check_account` found. ``str()`` of it is a page for people, `write` a file for `Assumptions.load`.

    A check sees a few jobs of one account. It shows what can happen, never what cannot: so what it settles makes an
    import more careful than the defaults, and never less.
    """

    observations: Sequence[Observation]
    left: Sequence[str] = ()
    """What could not be removed from the account, and has to be by hand."""

    @property
    def assumptions(self) -> Assumptions:
        """What to assume of this account: the defaults where nothing could be settled."""
        known = (o for o in self.observations if o.settles and o.verdict is not Verdict.OPEN)
        return attrs.evolve(ASSUMED, **{str(o.settles): o.value for o in known})

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file that `Assumptions.load` reads."""
        self.assumptions.write(path)

    def text(self) -> str:
        """Give lines for people: each assumption, what else was seen, and what is left in the account."""
        return "\n".join(self._lines())

    __str__ = text

    def _lines(self) -> Iterator[str]:
        yield "What is assumed:"
        for verdict in Verdict:
            for one in self.observations:
                if one.verdict is verdict:
                    yield f"  {verdict.value}: {one.settles} = {_shown(one)} ({one})"
        yield "What else was seen:"
        for one in self.observations:
            if one.verdict is None:
                yield f"  {one}"
        yield "What is left in the account, on no list unless one is named here:"
        for sentence in (
            *self.left,
            "the contact of the check, for which this API has no DELETE",
        ):
            yield f"  {sentence}"


def _shown(one: Observation) -> str:
    value = getattr(ASSUMED, str(one.settles)) if one.verdict is Verdict.OPEN else one.value
    if isinstance(value, tuple):
        return ", ".join(map(word, value))
    return {None: "not known", True: "true", False: "false"}.get(value, str(value))


_WORD = re.compile(r"[A-Za-z][A-Za-z_ -]{0,30}\Z")


def word(text: str) -> str:
    """Give a word of Mailjet's, or of anybody's, only where it can be nothing but a word."""
    return text if _WORD.match(text) else "(another text)" if text else "(empty)"
