"""How many retries an API key may make.

A retry costs tokens, and what succeeds gives tokens back: when everything fails, the load does not double. Without
tokens a retry waits: one in 25 s is made for the whole key, to see whether Mailjet is there again.
"""

import asyncio
from contextlib import suppress
from math import inf

_NEARLY = 1e-6
"""Of a token: less is a rounding error, and too little to wait for."""


class RetryBudget:
    """Pays for what is sent again. Mutable state: the tokens, and when they were counted.

    The figures are those of botocore's standard mode: a retry costs 5 tokens of 500, after a time-out 10; its success
    gives them back, and the success of what was sent once gives 1. So an outage takes 100 retries at most, and then one
    in 25 s: not to halt whoever waits, and not to miss its end.
    """

    most = 500.0
    """Tokens to begin with."""
    refill = 0.2
    """Tokens a second that come by themselves."""

    def __init__(self) -> None:
        """Begin with all tokens."""
        self._tokens = self.most
        self._counted = -inf
        self._turn = asyncio.Lock()
        self._refunded = asyncio.Event()

    async def pay(self, price: float) -> None:
        """Wait until there are so many tokens, and take them. Who asked first is served first."""
        async with self._turn:
            while (missing := price - self._count()) > _NEARLY:
                self._refunded.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(missing / self.refill):
                        await self._refunded.wait()
            self._tokens -= price

    def refund(self, tokens: float) -> None:
        """Give tokens back."""
        self._tokens = min(self._count() + tokens, self.most)
        self._refunded.set()

    def _count(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._counted > -inf:
            self._tokens = min(self._tokens + self.refill * (now - self._counted), self.most)
        self._counted = now
        return self._tokens
