"""The quota of API keys in Redis: one pace for many processes and machines.

Redis holds the pace of a key as one value. A step is a compare-and-swap: read the value and the time, apply the step
here, write the result unless another process has written meanwhile, else start over. The code that paces, stops and
learns is therefore the same as within one process (`mjbulk.mailjet.pace`). Redis adds what one process lacks: a value
that all processes see, and one clock. A rate limiter from a library was the alternative: it would still need the
learning and the shared stop beside it, in a second script with a second theory.

**How far apart.** A request may reach the server later than its start says: a busy processor or the network kept it.
A process has one such request at a time, because its next start waits until that one has left. So with n processes,
starts are ``1 / (rate - n)`` seconds apart: ``rate - n`` that are on time and n that are late are no more than ``rate``
in any second of the server's clock. At least 3 and at most 10 of 100 starts are left out so. What a journal adds, each
`Gate` knows.

**Whose clock.** Times are those of Redis. Its clock may be set back, or another Redis takes over whose clock is behind:
all starts would wait until it has caught up. A process sees that by the clock of its loop, and corrects the pace.

When a process is killed, the one start that it had reserved is lost. When Redis loses its memory, rates and pauses are
lost too, and are learned from 429s again.

**When Redis fails.** Where it was never reached, requests fail after a few seconds: its address is wrong, or it is not
running yet. Later, requests wait for it as they wait for Mailjet, without end, and lessons of 429s are kept for it.
Where it answers and cannot be used (a read-only replica, a full memory, a value of somebody else), each process goes on
alone at its share: with n processes, its starts are n times as far apart as those of all together. Each process notes
in Redis that it shares a key, so n is known. What counts is the last number that could be read.
"""

import asyncio
import json
import logging
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast
from uuid import uuid4

from attrs import astuple, define, field

from mjbulk.discreet import discreet
from mjbulk.errors import Error, UsageError
from mjbulk.mailjet.pace import Pace
from mjbulk.mailjet.quota import Step
from mjbulk.mailjet.redis_store import RedisAway, RedisRefuses, RedisStore, RedisUnusable
from mjbulk.public import public
from mjbulk.tasks import Home
from mjbulk.validators import POSITIVE, fits

_T = TypeVar("_T")
_LEAST_LEFT_OUT, _MOST_LEFT_OUT = 0.03, 0.1
"""Share of the starts that are left out for requests that are late."""
_FIRST = 4.0
"""Seconds to wait for a Redis that was never reached."""
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.5
"""Seconds between two attempts, the first time and at most."""
_NAMED = 5.0
"""Seconds after which a warning says that requests wait for Redis."""
_FIRST_LOOK, _LONGEST_LOOK = 1.0, 10.0
"""Seconds between two attempts to use a Redis that could not be used, the first time and at most."""
_SET_BACK = 1.0
"""Seconds by which the clock of Redis goes back, at least, where it was set back."""
_FIRST_COUNT, _LONGEST_COUNT = 1.0, 30.0
"""Seconds between two counts of the processes that share a key, the first time and at most."""
_log = logging.getLogger("mjbulk.requests")


@define(eq=False)
class _SharedKey:
    """What is known of one API key. Mutable: all of it."""

    pace: Pace = field(factory=Pace)
    """Its pace when it was last seen in Redis, or its own if that cannot be used."""
    ahead: float | None = None
    """Seconds that the clock of Redis is ahead of the loop's, at least; None if it was never seen."""
    lessons: list[Step[None]] = field(factory=list)
    """Steps that wait for Redis, and for which nobody waits."""
    processes: int = 1
    """How many share the key, when they were counted last."""
    count_at: float = 0.0
    """When they are counted next."""
    count_wait: float = _FIRST_COUNT
    alone_because: str | None = None
    """Why Redis could not be used, if it could not."""
    alone_until: float = 0.0
    """When it is tried again."""
    alone_wait: float = _FIRST_LOOK


@public
class RedisQuota:
    """One quota for many processes and machines: ``Client(quota=RedisQuota("redis://...", max_rate=20))``.

    ``url`` is ``redis://host:port/db``, ``rediss://...`` or ``unix:///path``. ``max_rate`` is the limit in requests a
    second for one API key, over all processes together; 0.9 to 0.97 of it is used, so that no second of Mailjet's clock
    holds more. If it is too high, a 429 to one process stops and slows them all. Redis holds fingerprints of API keys
    and never a key itself. It belongs to one event loop, until the client that uses it is closed there. Raises
    UsageError.

    While Redis is away, requests wait for it; one that was never reached is an Error within 5 s. If it cannot be used,
    a warning (logger ``mjbulk.requests``) says why, and this process goes on alone, at ``max_rate`` divided by the
    number of processes that was known last.
    """

    @discreet
    def __init__(self, url: str, *, max_rate: float) -> None:
        """Open no connection yet."""
        if not fits(POSITIVE, max_rate):
            raise UsageError("max_rate is a number above 0")
        self.max_rate = float(max_rate)
        self._store = RedisStore(url)
        self._process = uuid4().hex
        self._keys: dict[str, _SharedKey] = {}
        self._reached = False
        self._away_since: float | None = None
        self._named = False
        self._home = Home("this quota")
        self._warned: set[str] = set()  # of why keys are alone

    def __repr__(self) -> str:
        return f"<RedisQuota {getattr(self, 'max_rate', 0.0):g} a second>"

    async def change(self, key: str, step: Step[_T]) -> _T:
        """Apply a step to the pace of a key; see `Quota.change`. Waits while Redis does not answer.

        Raises Error if Redis was never reached, and UsageError while it is open in another event loop.
        """
        self._home.check()
        known = self._keys.setdefault(key, _SharedKey())
        if _now() >= known.alone_until:
            try:
                return await (self._wait(key, known, step) if self._reached else self._begin(key, known, step))
            except RedisUnusable as why:
                self._go_alone(known, why)
        return self._step_alone(known, step)

    async def aclose(self) -> None:
        """Close the connections. A later call of `change` opens new ones, also in another event loop. Those of another
        loop stay open.
        """
        if not self._home.leave():
            return
        if self._reached and self._away_since is None:
            await self._store.leave(list(self._keys), self._process)
        for known in self._keys.values():
            known.count_at = 0.0
        await self._store.aclose()

    # While Redis answers

    async def _in_redis(self, key: str, known: _SharedKey, step: Step[_T]) -> _T:
        """Apply a step in Redis, after the lessons that wait for it. Raises RedisAway and RedisUnusable."""
        await self._count(key, known)
        lessons = tuple(known.lessons)
        proof = known.alone_because is not None
        after, result = await self._swap(key, known, partial(_with_lessons, lessons, step), write=proof)
        del known.lessons[: len(lessons)]
        known.pace = after
        self._answers(known)
        return result

    async def _swap(self, key: str, known: _SharedKey, step: Step[_T], *, write: bool) -> tuple[Pace, _T]:
        """Apply a step; with ``write`` write also what has not changed, to prove that it can be written. If an answer
        is lost, the step may be applied twice, which costs one start.
        """
        asked = _now()
        _, held, now = await self._store.swap_if_same(key, b"", b"")
        back = 0.0 if known.ahead is None else known.ahead - (now - asked)
        while True:
            found = self._pace_of(key, held)
            before = found.set_back(back, now) if back > _SET_BACK else found
            after, result = step(before, now)
            after = after.spread(before, now, self._apart(known.processes))
            swapped = after == found and not write
            if not swapped:
                swapped, held, now = await self._store.swap_if_same(key, held, json.dumps(astuple(after)).encode())
            if swapped:
                known.ahead = now - _now()
                return after, result

    def _apart(self, processes: int) -> float:
        """Say how much further apart the starts of processes are than those of a single one that is never late."""
        return 1 / (1 - min(max(processes / self.max_rate, _LEAST_LEFT_OUT), _MOST_LEFT_OUT))

    def _pace_of(self, key: str, held: bytes) -> Pace:
        """Read a pace. Raises RedisUnusable if it is something else."""
        if not held:
            return Pace()
        try:
            return Pace.of(json.loads(held))
        except ValueError:
            raise self._store.foreign(key) from None

    async def _count(self, key: str, known: _SharedKey) -> None:
        """Count the processes that share a key, now and then. Raises RedisAway."""
        now = _now()
        if now < known.count_at and known.alone_because is None:
            return
        with suppress(RedisUnusable):  # the number that was known last counts
            known.processes = await self._store.processes(key, self._process)
        known.count_at, known.count_wait = now + known.count_wait, min(2 * known.count_wait, _LONGEST_COUNT)

    # While it is away

    async def _begin(self, key: str, known: _SharedKey, step: Step[_T]) -> _T:
        """Apply a step for the first time. Raises Error if Redis is not there, or not as its address says."""
        why, wait = "it does not answer", _FIRST_WAIT
        try:
            async with asyncio.timeout(_FIRST):
                while True:
                    try:
                        return await self._in_redis(key, known, step)
                    except RedisRefuses as refusal:
                        raise self._unreachable(str(refusal)) from None
                    except RedisAway as away:
                        why = str(away)
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, _LONGEST_WAIT)
        except TimeoutError:
            raise self._unreachable(why) from None

    async def _wait(self, key: str, known: _SharedKey, step: Step[_T]) -> _T:
        """Apply a step as soon as Redis answers. Nobody waits for the result of a lesson: it is kept."""
        wait = _FIRST_WAIT
        while True:
            try:
                if self._away_since is None or not _is_lesson(step, known.pace):
                    return await self._in_redis(key, known, step)
            except RedisRefuses as refusal:
                raise RedisUnusable(str(refusal)) from None
            except RedisAway as away:
                self._is_away(away)
            if _is_lesson(step, known.pace):
                known.lessons.append(cast("Step[None]", step))
                return cast("_T", None)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _is_away(self, why: RedisAway) -> None:
        now = _now()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since >= _NAMED and not self._named:
            self._named = True
            _log.warning("%s is away (%s): requests wait for it", self._name, why)

    def _answers(self, known: _SharedKey) -> None:
        if self._named or known.alone_because in self._warned:
            _log.info("%s is used again", self._name)
        self._warned.discard(known.alone_because or "")
        known.alone_because, known.alone_wait = None, _FIRST_LOOK
        self._reached, self._away_since, self._named = True, None, False

    # While it cannot be used

    def _go_alone(self, known: _SharedKey, why: RedisUnusable) -> None:
        """Have this process go on alone with a key for a while."""
        self._reached = True
        known.alone_because, known.alone_until = str(why), _now() + known.alone_wait
        known.alone_wait = min(2 * known.alone_wait, _LONGEST_LOOK)
        if str(why) not in self._warned:
            self._warned.add(str(why))
            _log.warning(
                "%s cannot be used: %s; this process sends at most %g requests a second on its own (%g, shared by %d)",
                self._name,
                why,
                self.max_rate / known.processes,
                self.max_rate,
                known.processes,
            )

    def _step_alone(self, known: _SharedKey, step: Step[_T]) -> _T:
        before, now = known.pace, _now() + (known.ahead or 0.0)
        after, result = step(before, now)
        known.pace = after.spread(before, now, known.processes)
        return result

    # Words

    @property
    def _name(self) -> str:
        return f"the quota in Redis at {self._store.where}"

    def _unreachable(self, why: str) -> Error:
        return Error(f"{self._name} cannot be used: {why}")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _with_lessons(lessons: tuple[Step[None], ...], step: Step[_T], pace: Pace, now: float) -> tuple[Pace, _T]:
    for lesson in lessons:
        pace, _ = lesson(pace, now)
    return step(pace, now)


def _is_lesson(step: Step[Any], pace: Pace) -> bool:
    """Say whether a step has no result, so that its caller has nothing to wait for."""
    return step(pace, 0.0)[1] is None
