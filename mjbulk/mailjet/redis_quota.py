"""The quota of API keys in Redis: one pace for many processes and machines.

The pace of a key is one value in Redis, and a step of it is a comparison: read value and time, take the step here, and
write its outcome unless another process was faster; then all over again. So what paces, stops and learns is the same
code as within a process (`mjbulk.mailjet.pace`), and Redis brings what a process has not: a place that all see, and one
clock. A limiter from a library was the other choice: one that paces would still need learning and a shared stop beside
it, in a second script and a second theory.

A process that is killed takes along the one start that it had reserved. A Redis that loses its memory has forgotten
rates and pauses: they are learned anew.
"""

import asyncio
import json
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import astuple

from mjbulk.errors import Error, UsageError
from mjbulk.mailjet.pace import Pace
from mjbulk.mailjet.quota import Step

if TYPE_CHECKING:
    from redis.asyncio import Redis

_T = TypeVar("_T")
_SWAP = """
local held, time = redis.call('GET', KEYS[1]) or '', redis.call('TIME')
if ARGV[2] == '' or held ~= ARGV[1] then return {0, held, time[1], time[2]} end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return {1, held, time[1], time[2]}
"""
_PREFIX = "mjbulk:pace:1:"
"""With the version of what stands behind it."""
_KEPT = 24 * 3600
"""Seconds for which the pace of a key is kept that nobody uses."""
_PATIENCE = 30.0
"""Seconds for which a Redis that does not answer is waited for."""
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.5
"""Seconds between two tries."""


class RedisQuota:
    """The same quota for many processes and machines: ``Client(quota=RedisQuota("redis://...", max_rate=20))``.

    ``url`` is ``redis://host:port/db``, ``rediss://...`` or ``unix:///path``; ``max_rate`` are requests a second of one
    API key, of all processes together. Where it is too high, a 429 to one of them stops and slows them all. No API key
    stands in Redis, only its fingerprint. Raises UsageError.
    """

    def __init__(self, url: str, *, max_rate: float) -> None:
        """Connect to nothing yet."""
        if isinstance(max_rate, bool) or not isinstance(max_rate, int | float) or not 0 < max_rate < float("inf"):
            raise UsageError("max_rate is a number above 0")
        self.max_rate = float(max_rate)
        self._redis = _client(url)
        self._swap = self._redis.register_script(_SWAP)

    def __repr__(self) -> str:
        return f"<RedisQuota {self.max_rate:g} a second>"

    async def change(self, key: str, step: Step[_T]) -> _T:
        """Apply a step to the pace of a key; see `Quota.change`.

        A Redis that is gone is waited for, half a minute. Raises Error then, and where it cannot be used.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._try(_PREFIX + key, step)
        except TimeoutError:
            raise Error(f"the quota in Redis has not answered for {_PATIENCE:.0f} s") from None

    async def aclose(self) -> None:
        """Let go of connections. What comes later opens them anew."""
        await self._redis.aclose()

    async def _try(self, name: str, step: Step[_T]) -> _T:
        """Try until it works; where an answer was lost the step may have been taken twice: that costs one start."""
        from redis import exceptions as known  # noqa: PLC0415  # it was there when this quota was made

        wait = _FIRST_WAIT
        while True:
            try:
                return await self._change(name, step)
            except (known.ConnectionError, known.TimeoutError) as why:
                for one in (why, why.__cause__):  # a refusal is told apart only by what is behind it
                    if isinstance(one, known.AuthenticationError | known.AuthorizationError):
                        raise _unusable(one) from None
            except known.RedisError as why:
                raise _unusable(why) from None
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _change(self, name: str, step: Step[_T]) -> _T:
        _, held, now = await self._look(name, b"", b"")
        while True:
            before = Pace(*json.loads(held)) if held else Pace()
            after, result = step(before, now)
            if after == before:
                return result
            swapped, held, now = await self._look(name, held, json.dumps(astuple(after)).encode())
            if swapped:
                return result

    async def _look(self, name: str, known: bytes, new: bytes) -> tuple[bool, bytes, float]:
        """Write a new value, if there is one and the known one still stands; give the one that stood, and the time."""
        found = await cast("Awaitable[list[Any]]", self._swap([name], [known, new, _KEPT]))
        swapped, held, seconds, microseconds = found
        return bool(swapped), held, int(seconds) + int(microseconds) / 1e6


def _unusable(why: Exception) -> Error:
    """Make the error; the text of the cause may quote an address with a password in it."""
    return Error(f"the quota in Redis cannot be used: {type(why).__name__}")


def _client(url: str) -> "Redis":
    """Make a client that tries once: who asks it tries again. Raises UsageError."""
    try:
        from redis.asyncio import Redis  # noqa: PLC0415  # it needs an extra that may not be installed
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError as missing:
        raise UsageError(f"RedisQuota needs {missing.name}: pip install 'mjbulk[redis]'") from None
    try:
        return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=5.0, socket_connect_timeout=5.0)
    except ValueError:
        raise UsageError("the address of Redis is redis://..., rediss://... or unix://...") from None
