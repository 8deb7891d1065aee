"""The quota of API keys in Redis: one pace for many processes and machines.

Redis holds the pace of a key as one value. A step is a compare-and-swap: read the value and the time, apply the step
here, write the result unless another process has written meanwhile, else start over. The code that paces, stops and
learns is therefore the same as within one process (`mjbulk.mailjet.pace`). Redis adds what one process lacks: a value
that all processes see, and one clock. A rate limiter from a library was the alternative: it would still need the
learning and the shared stop beside it, in a second script with a second theory.

When a process is killed, the one start that it had reserved is lost. When Redis loses its memory, rates and pauses are
lost too, and are learned from 429s again.
"""

import asyncio
import json
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import astuple

from mjbulk.errors import Error, UsageError
from mjbulk.mailjet.pace import Pace
from mjbulk.mailjet.quota import Step
from mjbulk.public import public
from mjbulk.validators import POSITIVE, fits

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
"""Prefix of the names in Redis, with the version of the format of their values."""
_TTL = 24 * 3600
"""Seconds for which Redis keeps the pace of a key that is not used."""
_PATIENCE = 30.0
"""Seconds to wait for a Redis that does not answer."""
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.5
"""Seconds between two attempts, the first time and at most."""


@public
class RedisQuota:
    """One quota for many processes and machines: ``Client(quota=RedisQuota("redis://...", max_rate=20))``.

    ``url`` is ``redis://host:port/db``, ``rediss://...`` or ``unix:///path``. ``max_rate`` is the limit in requests a
    second for one API key, over all processes together. If it is too high, a 429 to one process stops and slows them
    all. Redis holds fingerprints of API keys and never a key itself. Raises UsageError.
    """

    def __init__(self, url: str, *, max_rate: float) -> None:
        """Open no connection yet."""
        if not fits(POSITIVE, max_rate):
            raise UsageError("max_rate is a number above 0")
        self.max_rate = float(max_rate)
        self._redis = _client(url)
        self._script = self._redis.register_script(_SWAP)

    def __repr__(self) -> str:
        return f"<RedisQuota {self.max_rate:g} a second>"

    async def change(self, key: str, step: Step[_T]) -> _T:
        """Apply a step to the pace of a key; see `Quota.change`.

        Waits up to half a minute for a Redis that does not answer, then raises Error; raises Error at once if Redis
        refuses the client.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._try(_PREFIX + key, step)
        except TimeoutError:
            raise Error(f"the quota in Redis has not answered for {_PATIENCE:.0f} s") from None

    async def aclose(self) -> None:
        """Close the connections. A later call of `change` opens new ones."""
        await self._redis.aclose()

    async def _try(self, name: str, step: Step[_T]) -> _T:
        """Try until it works. If an answer is lost, the step may be applied twice, which costs one start."""
        from redis import exceptions as known  # noqa: PLC0415  # the constructor has imported redis

        wait = _FIRST_WAIT
        while True:
            try:
                return await self._change(name, step)
            except (known.ConnectionError, known.TimeoutError) as why:
                for one in (why, why.__cause__):  # its cause alone shows that it is a refusal
                    if isinstance(one, known.AuthenticationError | known.AuthorizationError):
                        raise _unusable(one) from None
            except known.RedisError as why:
                raise _unusable(why) from None
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _change(self, name: str, step: Step[_T]) -> _T:
        _, held, now = await self._swap_if_same(name, b"", b"")
        while True:
            before = Pace(*json.loads(held)) if held else Pace()
            after, result = step(before, now)
            if after == before:
                return result
            swapped, held, now = await self._swap_if_same(name, held, json.dumps(astuple(after)).encode())
            if swapped:
                return result

    async def _swap_if_same(self, name: str, known: bytes, new: bytes) -> tuple[bool, bytes, float]:
        """Write ``new``, unless it is empty or the value is no longer ``known``.

        Gives whether it was written, the value before, and the time of Redis in seconds.
        """
        found = await cast("Awaitable[list[Any]]", self._script([name], [known, new, _TTL]))
        swapped, held, seconds, microseconds = found
        return bool(swapped), held, int(seconds) + int(microseconds) / 1e6


def _unusable(why: Exception) -> Error:
    """Make the error, without the text of the cause: it may quote an address with a password."""
    return Error(f"the quota in Redis cannot be used: {type(why).__name__}")


def _client(url: str) -> "Redis":
    """Make a client that does not retry: `RedisQuota` does. Raises UsageError."""
    try:
        from redis.asyncio import Redis  # noqa: PLC0415  # an extra, which may not be installed
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError as missing:
        raise UsageError(f"RedisQuota needs {missing.name}: pip install 'mjbulk[redis]'") from None
    try:
        return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=5.0, socket_connect_timeout=5.0)
    except ValueError:
        raise UsageError("the address of Redis is redis://..., rediss://... or unix://...") from None
