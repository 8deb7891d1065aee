"""A body in flight: how much of it has moved, as far as the system tells.

What a connection has taken may still wait in this machine: in the connection's buffer and in the kernel's, which can
hold megabytes. On a slow link that is most of a body, and what is asked here is whether it gets less.
"""

import asyncio
import logging
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from math import inf

from mjbulk.mailjet.window import Window

if sys.platform == "linux":
    from fcntl import ioctl

_SIOCOUTQ, _SIOCOUTQNSD = 0x5411, 0x894B
"""Linux's numbers of two questions: how many bytes of a socket are not confirmed, and how many have not left."""
_LOOK = 1.0
"""Seconds between two looks at a body."""
_log = logging.getLogger("mjbulk.requests")


class UploadWatch:
    """Looks at one body. Mutable state: how much the connection has taken, and the next look."""

    def __init__(
        self, window: Window, size: int, connection: asyncio.Transport, silence: float, moved: Callable[[], object]
    ) -> None:
        """Look from now on: the first of ``size`` bytes is about to leave.

        ``moved`` is called after each look that finds that bytes have moved: several times in ``silence`` seconds.
        """
        self.handed = 0
        """Bytes that the connection has taken."""
        self._window = window
        self._connection = connection
        self._socket: socket.socket = connection.get_extra_info("socket")
        self._every = min(_LOOK, silence / 4)
        self._moved = moved
        self._loop = asyncio.get_running_loop()
        self._body = window.begin(size, self._loop.time())
        self._next: asyncio.TimerHandle | None = self._loop.call_later(self._every, self.look)

    def look(self) -> None:
        """See what has moved. What is through is looked at no more."""
        if self._next is None:
            return
        self._next.cancel()
        limited = self._window.bytes < inf
        if self._window.move(self._body, self.handed - self._unsent(), self._loop.time()):
            self._moved()
        if self._window.bytes < inf and not limited:
            _log.warning("uploads crawl, at %.0f KiB/s in all: fewer and smaller ones", self._window.rate / 1024)
        if self._body.moved < self._body.size:
            self._next = self._loop.call_later(self._every, self.look)
        else:
            self._end()

    def end(self, *, answered: bool) -> None:
        """Look no more. A body that was ``answered`` is through, if the connection has taken all of it."""
        if self._next is None:
            return
        if answered:
            self._window.move(self._body, self.handed, self._loop.time())
        self._next.cancel()
        self._end()

    def _end(self) -> None:
        self._next = None
        self._window.end(self._body, self._loop.time())

    def cut(self) -> bool:
        """Close the connection so that nothing that it was given leaves any more. Say whether some of that had not.

        The socket is closed in the loop's next turn. Until then bytes could still leave, if the link awoke just now:
        who asks has seen silence for as long as `read_timeout`, or a reset, after which nothing leaves.
        """
        left = self._connection.get_write_buffer_size() + _asked(self._socket, _SIOCOUTQNSD)
        with suppress(OSError, ValueError):  # it is closed already; uvloop says so by a ValueError
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(AttributeError):  # asyncio's has forgotten its loop, if it was closed and has then left all bytes
            self._connection.abort()
        return left > 0

    def _unsent(self) -> int:
        """Count the bytes of which the other side has not said that they have come."""
        return self._connection.get_write_buffer_size() + _asked(self._socket, _SIOCOUTQ)


def _asked(sock: socket.socket, question: int) -> int:
    """Ask the kernel for a number of bytes; 0 where it does not tell."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError):  # it is closed already
            return int(struct.unpack("i", ioctl(sock.fileno(), question, bytes(4)))[0])
    return 0
