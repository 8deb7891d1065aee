"""What is kept in Redis for API keys: the pace of each as one value, and the processes that share it.

No exception of the Redis library leaves this module, because their texts may quote an address with a password.
"""

import asyncio
import errno
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from mjbulk.errors import UsageError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_SWAP = """
local held, time = redis.call('GET', KEYS[1]) or '', redis.call('TIME')
if ARGV[2] == '' or held ~= ARGV[1] then return {0, held, time[1], time[2]} end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return {1, held, time[1], time[2]}
"""
_ENROL = """
local now = redis.call('TIME')[1]
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
"""
_PREFIX = "mjbulk:pace:1:"
"""Prefix of the names in Redis, with the version of the format of their values."""
_TTL = 24 * 3600
"""Seconds for which Redis keeps the pace of a key that is not used."""
_MEMORY = 600
"""Seconds for which a process counts that was not seen again."""
_LEAVING = 1.0
"""Seconds that the farewell of a process may take."""


class RedisAway(Exception):  # a signal to the quota; its text is a sentence about Redis
    """Redis does not answer."""


class RedisRefuses(RedisAway):
    """The same, for a reason that does not pass by itself: a certificate, a password."""


class RedisUnusable(Exception):  # as above
    """Redis answers, and the pace cannot be kept there."""


class RedisStore:
    """Redis at one address. Mutable state: its connections."""

    def __init__(self, url: str, patience: float = 3.0) -> None:
        """Open no connection yet. Redis is away if it neither takes a connection nor answers for ``patience`` seconds.

        Raises UsageError for what is no address of Redis.
        """
        self._redis = _client(url, patience)
        self._swap = self._redis.register_script(_SWAP)
        self._enrol = self._redis.register_script(_ENROL)
        how = self._redis.connection_pool.connection_kwargs
        self._has_tls = url.startswith("rediss:")
        self.where = str(how["path"]) if "path" in how else f"{how.get('host', 'localhost')}:{how.get('port', 6379)}"
        """The file of its socket, or its host and port."""

    async def swap_if_same(self, key: str, known: bytes, new: bytes) -> tuple[bool, bytes, float]:
        """Write ``new`` as the pace of a key, unless it is empty or the value is no longer ``known``.

        Gives whether it was written, the value before, and the time of Redis in seconds. If the answer is lost, it may
        have been written.
        """
        name = _PREFIX + key
        with self._failing(name):
            found = await cast("Awaitable[list[Any]]", self._swap([name], [known, new, _TTL]))
        swapped, held, seconds, microseconds = found
        return bool(swapped), held, int(seconds) + int(microseconds) / 1e6

    @staticmethod
    def foreign(key: str) -> RedisUnusable:
        """Make the signal that the pace of a key is something else."""
        return RedisUnusable(_FOREIGN.format(_PREFIX + key))

    async def processes(self, key: str, process: str) -> int:
        """Count the processes that share a key, this one among them, which is noted there. If nothing can be written,
        those are counted that were noted before, and this one.
        """
        from redis import exceptions as known  # noqa: PLC0415  # the constructor has imported redis

        name = self._processes_of(key)
        with self._failing(name):
            try:
                return int(await cast("Awaitable[Any]", self._enrol([name], [process, _MEMORY])))
            except known.ResponseError:
                noted = await cast("Awaitable[Any]", self._redis.zscore(name, process)) is not None
                return int(await cast("Awaitable[Any]", self._redis.zcard(name))) + (not noted)

    async def leave(self, keys: Sequence[str], process: str) -> None:
        """Say that a process does not share these keys any more, if Redis listens."""
        with suppress(Exception):
            async with asyncio.timeout(_LEAVING):
                for key in keys:
                    await cast("Awaitable[Any]", self._redis.zrem(self._processes_of(key), process))

    async def aclose(self) -> None:
        """Close the connections. A later call opens new ones."""
        await self._redis.aclose()

    @staticmethod
    def _processes_of(key: str) -> str:
        return f"{_PREFIX}{key}:processes"

    @contextmanager
    def _failing(self, name: str) -> Iterator[None]:
        """Raise what is known of a failure: RedisAway, RedisRefuses or RedisUnusable."""
        from redis import exceptions as known  # noqa: PLC0415  # as above

        try:
            yield
        except (known.RedisError, OSError, EOFError) as why:
            while type(why) is known.ConnectionError and isinstance(why.__cause__, known.RedisError):
                why = why.__cause__  # a connection wraps what went wrong when it was made
            raise self._signal(why, name) from None

    def _signal(self, why: Exception, name: str) -> RedisAway | RedisUnusable:
        """Say what a failure means for the value of this name."""
        from redis import exceptions as known  # noqa: PLC0415  # as above

        match why:
            case known.AuthenticationError() | known.AuthorizationError():
                missing = "authenticat" in str(why).casefold()
                return RedisRefuses("it wants a password" if missing else "it does not take this user and password")
            case known.InvalidResponse():
                return RedisRefuses("it does not speak as Redis does")
            case known.BusyLoadingError():
                return RedisAway("it is starting")
            case known.TimeoutError():
                hint = "; a Redis without TLS is silent if asked for it (rediss://)" if self._has_tls else ""
                return RedisAway(f"it does not answer{hint}")
            case known.ConnectionError() | OSError() | EOFError():
                return self._lost(why)
        return RedisUnusable(_refusal(f"{type(why).__name__}: {why}", name))

    def _lost(self, why: Exception) -> RedisAway:
        """Say why there is no connection."""
        cause = why if isinstance(why, OSError) else why.__cause__ or why.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RedisRefuses(f"its certificate is not trusted ({cause.verify_message.rstrip('.')})")
        if isinstance(cause, ssl.SSLError):
            return RedisRefuses(f"TLS with it fails ({cause.reason})")
        if isinstance(cause, socket.gaierror):
            return RedisAway(f"its name is not found ({cause.strerror})")
        if "max number of clients" in str(why):
            return RedisAway("it has too many clients")
        number = _errno_of(cause)
        if number == errno.ECONNREFUSED:
            return RedisAway("nothing listens there")
        if number is None or number in (errno.ECONNRESET, errno.EPIPE):
            hint = "" if self._has_tls else "; a Redis with TLS does so (rediss://)"
            return RedisAway(f"it closes connections{hint}")
        return RedisAway(os.strerror(number))


def _errno_of(cause: BaseException | None) -> int | None:
    """Give the number of an error of the system. asyncio joins several errors in one text without a number."""
    if not isinstance(cause, OSError):
        return None
    found = re.search(r"\[Errno (\d+)\]", str(cause))
    return cause.errno or (int(found[1]) if found else None)


_FOREIGN = "the value of {} is not from mjbulk: delete it, or use another database (redis://host:port/1)"
_REFUSALS: Sequence[tuple[str, str]] = (
    ("read only", "it is a read-only replica"),
    ("maxmemory", "its memory is full, and it may drop nothing (maxmemory with noeviction)"),
    ("WRONGTYPE", _FOREIGN),
    ("permission", "this user may not run the scripts (EVALSHA, SCRIPT LOAD) or use the names mjbulk:*"),
    ("DB index", "it has no database of this number"),
    ("MISCONF", "it takes no writes, because it cannot save its data on disk"),
    ("RDB snapshots", "it takes no writes, because it cannot save its data on disk"),
    ("MovedError", "it is a cluster, which RedisQuota cannot use"),
)
"""What stands in a refusal, and what it means."""


def _refusal(text: str, name: str) -> str:
    """Say what a refusal of Redis means. Its own text is not given: it may quote anything."""
    for part, sentence in _REFUSALS:
        if part in text:
            return sentence.format(name)
    return "it refuses the scripts of the quota"


def _client(url: str, patience: float) -> "Redis":
    """Make a client that does not retry: the quota does. Raises UsageError."""
    try:
        from redis.asyncio import Redis  # noqa: PLC0415  # an extra, which may not be installed
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ImportError as missing:
        raise UsageError(f"RedisQuota needs {missing.name}: pip install 'mjbulk[redis]'") from None
    try:
        redis = Redis.from_url(
            url, retry=Retry(NoBackoff(), 0), socket_timeout=patience, socket_connect_timeout=patience
        )
    except ValueError:
        raise UsageError("the address of Redis is redis://..., rediss://... or unix://...") from None
    try:
        cast("Any", redis.connection_pool).make_connection()  # it connects when it is used
    except TypeError:
        raise UsageError("the address of Redis has a word after ? that redis-py does not know") from None
    return redis
