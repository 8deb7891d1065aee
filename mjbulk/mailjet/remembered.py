"""An answer of Mailjet that many want: the question is asked once for all of them, and its answer is remembered.

A question is asked in a task of its own, so a caller that is cancelled ends its own wait alone. Callers that want an
answer while a question is under way wait for that one. A failure is raised in all of them, and is not remembered.

What is missing in an answer that is remembered may be there by now, so the question is asked again. What is still
missing then is remembered as missing, for as long as an answer is.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Generic, TypeVar

from attrs import frozen

from mjbulk.errors import Error
from mjbulk.tasks import Running, ended, keep

_T = TypeVar("_T")
_PAUSE = 1.0
"""Seconds to wait after a question that has not found what was missing, before the next such question: a source may
have new names without end."""
_MOST_MISSING = 10_000
"""Names that are remembered as missing."""


@frozen
class _Answer(Generic[_T]):
    number: int
    """The number of its question."""
    asked: float
    """When its question was asked, by the loop's clock."""
    value: _T


class Remembered(Generic[_T]):
    """The answer to one question. Mutable state: the newest answer, the question under way, what is missing, and
    whether it was closed.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, _T]], seconds: float) -> None:
        """Ask nothing yet. An answer is remembered for ``seconds``."""
        self._ask = ask
        self._seconds = seconds
        self._answer: _Answer[_T] | None = None
        self._question: Running[_Answer[_T] | Exception] | None = None
        self._number = 0  # of the newest question
        self._forgotten = 0  # answers to questions up to this number do not count
        self._missing: dict[str, float] = {}  # until when
        self._paused_until = 0.0
        self._closed = False

    @property
    def mark(self) -> int:
        """Give a mark: an answer is new to a caller that has taken it if its question was asked after that."""
        return self._number

    @property
    def kept(self) -> _T | None:
        """What is remembered; None where nothing is."""
        answer = self._kept()
        return None if answer is None else answer.value

    async def get(self, missing: Callable[[_T], Collection[str]] = lambda _: (), *, since: int | None = None) -> _T:
        """Give an answer. ``missing`` gives the names that a caller does not find in it.

        If some are missing, the question is asked again, unless it was asked after the mark ``since``, which is this
        call by default. Raises what asking raises, and Error if the client is closed meanwhile.
        """
        since = self._number if since is None else since
        answer = self._kept() or await self._asked(max(self._forgotten, self._number - self._under_way))
        while (names := missing(answer.value)) and answer.number <= since and self._worth_asking(names):
            answer = await self._asked(answer.number if self._under_way else since)
            self._paused_until = self._now() + _PAUSE if missing(answer.value) else 0.0
        if names and answer.number > since:
            self._note_missing(names, answer.asked + self._seconds)
        return answer.value

    def forget(self) -> None:
        """Forget everything: something contradicts it."""
        self._forgotten = self._number
        self._answer = None
        self._missing.clear()
        self._paused_until = 0.0

    async def aclose(self) -> None:
        """End the question under way."""
        self._closed = True
        if self._question is not None:
            self._question.cancel()
            await ended([self._question])

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # Asking

    @property
    def _under_way(self) -> bool:
        return self._question is not None and not self._question.done()

    def _kept(self) -> _Answer[_T] | None:
        answer = self._answer
        return answer if answer is not None and self._now() < answer.asked + self._seconds else None

    async def _asked(self, after: int) -> _Answer[_T]:
        """Wait for the answer to a question with a number above ``after``."""
        while self._question is not None and self._under_way and self._number <= after:
            await asyncio.wait([self._question])
        if self._question is None or not self._under_way:
            self._number += 1
            self._question = keep(self._put(self._number), name="mjbulk account")
        question = self._question
        await asyncio.wait([question])
        if question.cancelled():
            raise Error("the client was closed" if self._closed else "it was cancelled")
        answer = question.result()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _put(self, number: int) -> _Answer[_T] | Exception:
        """Ask the question, and remember its answer. Gives a failure: callers raise it, and this task does not."""
        asked = self._now()
        try:
            answer = _Answer(number, asked, await self._ask())
        except Exception as failure:  # noqa: BLE001  # whatever it is, it goes to the callers
            return failure
        if number > self._forgotten:
            self._answer = answer
        return answer

    # What is missing

    def _worth_asking(self, names: Collection[str]) -> bool:
        now = self._now()
        return now >= self._paused_until and any(self._missing.get(name, 0.0) <= now for name in names)

    def _note_missing(self, names: Collection[str], until: float) -> None:
        if len(self._missing) >= _MOST_MISSING:
            self._missing.clear()
        self._missing.update(dict.fromkeys(names, until))
