"""How many retries an API key may make.

A retry costs tokens, and a success gives tokens back. So when everything fails, retries do not double the load. Without
tokens a retry waits: then the whole key makes one retry in 25 s, to notice when Mailjet is back.
"""

import asyncio
from contextlib import suppress
from math import inf

_NEARLY = 1e-6
"""Share of a token. A smaller shortage is a rounding error and not worth a wait."""


class RetryBudget:
    """The tokens that pay for retries. Mutable state: the tokens, and when they were counted last.

    The figures are those of botocore's standard mode: a retry costs 5 of 500 tokens, after a time-out 10. A retry that
    succeeds gives its tokens back, a first attempt that succeeds gives 1. So an outage gets at most 100 retries at
    once, and then one in 25 s, which neither stops the requests that wait nor misses the end of the outage.
    """

    most = 500.0
    """Tokens at the beginning, and the most that there ever are."""
    refill = 0.2
    """Tokens a second that time alone gives back."""

    def __init__(self) -> None:
        """Begin with all tokens."""
        self._tokens = self.most
        self._counted = -inf
        self._turn = asyncio.Lock()
        self._refunded = asyncio.Event()

    async def pay(self, price: float) -> None:
        """Wait until there are ``price`` tokens, and take them. Callers are served in the order of their calls."""
        async with self._turn:
            while (missing := price - self._count()) > _NEARLY:
                self._refunded.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(missing / self.refill):
                        await self._refunded.wait()
            self._tokens -= price

    def refund(self, tokens: float) -> None:
        """Give tokens back, up to `most`."""
        self._tokens = min(self._count() + tokens, self.most)
        self._refunded.set()

    def _count(self) -> float:
        """Add what time has given back since the last count, and give the tokens."""
        now = asyncio.get_running_loop().time()
        if self._counted > -inf:
            self._tokens = min(self._tokens + self.refill * (now - self._counted), self.most)
        self._counted = now
        return self._tokens
