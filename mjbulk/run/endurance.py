"""How an ingester endures failures that are of no row: wrong keys, a server that is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mjbulk.errors import ApiError, CredentialsRefused, Error, NoAnswer

_T = TypeVar("_T")
_log = logging.getLogger("mjbulk")
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
"""Seconds of the waits after failures: the first one, and the longest."""


class Endurance:
    """Takes steps until they succeed. After a failure one of them alone is tried again, and the others wait for it.

    Mutable state: how long the last wait was, and whose turn it is to try.
    """

    def __init__(self, away: Callable[[], object]) -> None:
        """Begin without a failure. ``away`` is called each time that the account could not be asked."""
        self.away = False
        """Whether Mailjet does not answer what is asked of the account, or refuses the keys."""
        self.trouble: str | None = None
        """What is waited for, in a sentence."""
        self._tell_away = away
        self._wait = 0.0
        self._turn: object = None
        self._changed = asyncio.Event()

    async def judging(self, step: Callable[[], Awaitable[_T]]) -> _T:
        """Take a step that asks the account, until it succeeds."""

        async def asking() -> _T:
            try:
                result = await step()
            except (CredentialsRefused, NoAnswer, ApiError):
                self.away = True
                self._tell_away()
                raise
            self.away = False
            return result

        return await self.patiently(asking)

    async def patiently(self, step: Callable[[], Awaitable[_T]], goes_on: Callable[[], bool] = lambda: True) -> _T:
        """Take a step until it succeeds. Raises its failure if nothing goes on."""
        me = object()
        try:
            while True:
                try:
                    result = await step()
                except (CredentialsRefused, NoAnswer, ApiError) as why:
                    if not goes_on():
                        raise
                    await self._endure(why, me)
                else:
                    self._over()
                    return result
        finally:
            if self._turn is me:
                self._pass_on()

    async def _endure(self, why: Error, me: object) -> None:
        """Wait after a failure. The first one is warned of; each wait is twice as long as the one before."""
        self.trouble = str(why)
        if not self._wait:
            _log.warning("rows wait: %s", why)
            self._wait = _FIRST_WAIT / 2
        while self._turn not in (None, me):
            await self._changed.wait()
            if not self._wait:
                return
        self._turn = me
        self._wait = min(2 * self._wait, _LONGEST_WAIT)
        await asyncio.sleep(self._wait)

    def _over(self) -> None:
        """Hear that something has succeeded: all of them are tried again."""
        if self._wait:
            self._wait, self.trouble = 0.0, None
            _log.info("rows go again")
            self._pass_on()

    def _pass_on(self) -> None:
        self._turn = None
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
