"""Connections on which what has arrived is read before a time limit counts.

A process can be stopped and go on later: a laptop sleeps, a container is frozen, somebody debugs. Its clock goes on
meanwhile, and so does the network. When it goes on, `select` is interrupted, and so reports nothing (PEP 475); all
limits are over, although answers lie in the sockets. asyncio lets the limits count first.

So a limit that is over lets the event loop look at its sockets once more, and counts only if nothing has come.
"""

import asyncio
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from mjbulk.mailjet.lookups import resolver


class _ReadsFirst(ResponseHandler):
    """Takes a silence for real if the sockets have been looked at after its end."""

    def _on_read_timeout(self) -> None:
        """Hear that nothing was read for as long as may be.

        The first callback that is called soon runs before what this turn of the loop finds in the sockets, the second
        one after it.
        """
        limit, loop = self._read_timeout_handle, asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._end_silence, limit)

    def _end_silence(self, limit: asyncio.TimerHandle | None) -> None:
        if self._read_timeout_handle is limit:  # whatever is read begins another one
            super()._on_read_timeout()


class Connector(aiohttp.TCPConnector):
    """Makes such connections, any number of them. A name lookup that is silent holds nobody's loop."""

    def __init__(self, **how: Any) -> None:
        """Open none yet."""
        super().__init__(limit=0, resolver=resolver(), **how)
        self._factory: Any = partial(_ReadsFirst, loop=asyncio.get_running_loop())
