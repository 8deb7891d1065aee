"""Redis as the quota sees it, in the time of the loop: what comes of it does not depend on the machine."""

import asyncio
from collections.abc import Sequence
from random import Random

from attrs import define, field

from mjbulk.mailjet.quota import Gate
from mjbulk.mailjet.redis_quota import RedisQuota
from mjbulk.mailjet.redis_store import RedisStore


@define
class Memory:
    """What one Redis holds."""

    values: dict[str, bytes] = field(factory=dict)
    processes: dict[str, set[str]] = field(factory=dict)
    fails: Exception | None = None
    """What each call raises."""
    read_only: Exception | None = None
    """What each call raises that would write."""
    silent: bool = False
    clock: float = 1e9
    """Seconds that its clock is ahead of the loop's."""


class FakeStore(RedisStore):
    """A connection to a memory. An answer takes a moment, so that processes get into each other's way."""

    def __init__(self, memory: Memory, seed: int) -> None:
        super().__init__("redis://:secret@cache:6379/0")
        self._memory = memory
        self._chance = Random(seed)

    async def swap_if_same(self, key: str, known: bytes, new: bytes) -> tuple[bool, bytes, float]:
        await self._travel()
        held, same = self._memory.values.get(key, b""), False
        if new and held == known:
            if self._memory.read_only is not None:
                raise self._memory.read_only
            self._memory.values[key], same = new, True
        return same, held, self._memory.clock + asyncio.get_running_loop().time()

    async def processes(self, key: str, process: str) -> int:
        await self._travel()
        known = self._memory.processes.setdefault(key, set())
        if self._memory.read_only is not None:
            return len(known | {process})
        known.add(process)
        return len(known)

    async def leave(self, keys: Sequence[str], process: str) -> None:
        for key in keys:
            self._memory.processes.get(key, set()).discard(process)

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""

    async def _travel(self) -> None:
        if self._memory.silent:
            await asyncio.Event().wait()
        for _ in range(self._chance.randrange(1, 4)):
            await asyncio.sleep(0)
        if self._memory.fails is not None:
            raise self._memory.fails


def quota_of(memory: Memory, seed: int = 1, *, max_rate: float = 1000.0) -> RedisQuota:
    quota = RedisQuota("redis://:secret@cache:6379/0", max_rate=max_rate)
    quota._store = FakeStore(memory, seed)
    return quota


def gates(memory: Memory, count: int = 1, *, max_rate: float = 1000.0) -> list[Gate]:
    """Gates of one key, as processes have them that share a Redis."""
    quotas = (quota_of(memory, number, max_rate=max_rate) for number in range(count))
    return [Gate(one, "key", concurrency=8, chance=Random(number)) for number, one in enumerate(quotas)]
