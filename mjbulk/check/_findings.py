"""The findings: one record for each question, and the assumptions that follow. They hold no personal data."""

import os
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import attrs
from attrs import frozen

from mjbulk.config import Assumptions

ASSUMED = Assumptions()
"""The assumptions that hold as long as nothing is observed."""
_EITHER = ("count_includes_rejected", "csv_count_includes_rejected")
"""Fields whose default None allows both values: to see one of the two contradicts nothing."""


class Conclusion(Enum):
    """What an observation means for an assumption."""

    HOLDS = "holds"
    DIFFERS = "differs"
    OPEN = "could not be settled"


@frozen(kw_only=True)
class Observation:
    """What was asked, and what was seen."""

    asked: str
    seen: str
    """A text without addresses, keys, values and IDs."""
    means: str = ""
    """What follows from it."""
    settles: str | None = None
    """The field of `Assumptions` that it is about, or None."""
    conclusion: Conclusion | None = None
    """What it means for that field; None if it is about no field."""
    value: Any = None
    """What the field has to be, unless the conclusion is OPEN."""

    def __str__(self) -> str:
        means = f" - {self.means}" if self.means else ""
        return f"{self.asked}: {self.seen}{means}"


def settled(field: str, value: Any, *, asked: str, seen: str, means: str = "") -> Observation:
    """Make an observation that says what a field has to be."""
    holds = value == getattr(ASSUMED, field) or field in _EITHER
    conclusion = Conclusion.HOLDS if holds else Conclusion.DIFFERS
    return Observation(asked=asked, seen=seen, means=means, settles=field, conclusion=conclusion, value=value)


def unsettled(field: str, *, asked: str, seen: str, means: str = "") -> Observation:
    """Make an observation that does not show what a field has to be."""
    return Observation(asked=asked, seen=seen, means=means, settles=field, conclusion=Conclusion.OPEN)


@frozen(kw_only=True)
class Findings:
    """What `check_account` found. ``str()`` gives a page for people, `write` a file for `Assumptions.load`.

    A check sees a few jobs of one account. It can show that something happens, and never that it does not happen. So
    its findings make an import more careful than the defaults do, and never less careful.
    """

    observations: Sequence[Observation]
    left: Sequence[str] = ()
    """What could not be removed from the account. Remove it by hand."""

    @property
    def assumptions(self) -> Assumptions:
        """What to assume of this account; a field keeps its default if the check could not settle it."""
        known = (o for o in self.observations if o.settles and o.conclusion is not Conclusion.OPEN)
        return attrs.evolve(ASSUMED, **{str(o.settles): o.value for o in known})

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file that `Assumptions.load` reads."""
        self.assumptions.write(path)

    def text(self) -> str:
        """Give lines for people: each assumption, other observations, and what is left in the account."""
        return "\n".join(self._lines())

    __str__ = text

    def _lines(self) -> Iterator[str]:
        yield "What is assumed:"
        for conclusion in Conclusion:
            for one in self.observations:
                if one.conclusion is conclusion:
                    yield f"  {conclusion.value}: {one.settles} = {_value(one)} ({one})"
        yield "What else was seen:"
        for one in self.observations:
            if one.conclusion is None:
                yield f"  {one}"
        yield "What is left in the account, on no list unless one is named here:"
        for sentence in (
            *self.left,
            "the contact of the check, for which this API has no DELETE",
        ):
            yield f"  {sentence}"


def _value(one: Observation) -> str:
    value = getattr(ASSUMED, str(one.settles)) if one.conclusion is Conclusion.OPEN else one.value
    if isinstance(value, tuple):
        return ", ".join(map(word, value))
    return {None: "not known", True: "true", False: "false"}.get(value, str(value))


_WORD = re.compile(r"[A-Za-z][A-Za-z_ -]{0,30}\Z")


def word(text: str) -> str:
    """Give a text from Mailjet only if it can be nothing but a few words; otherwise say what it is."""
    return text if _WORD.match(text) else "(another text)" if text else "(empty)"
