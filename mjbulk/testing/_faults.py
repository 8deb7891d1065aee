"""Network faults as data: a `Fault` says what happens to one request, a `FaultScript` says to which requests."""

from collections.abc import Callable, Mapping
from typing import Literal

import attrs

from mjbulk.public import public

_BAD_GATEWAY = b"<html>\r\n<head><title>%d</title></head>\r\n<body><center><h1>%d</h1></center></body>\r\n</html>\r\n"


@public
@attrs.frozen(kw_only=True)
class Fault:
    """What happens to a request, stage by stage: read, wait, apply, wait, answer, end.

    A Fault with no arguments changes nothing; the class methods below make the common ones.
    """

    delay_before: float = 0.0
    """Seconds before the request has its effect."""
    delay_after: float = 0.0
    """Seconds between the effect and the answer."""
    read: bool = True
    """Whether the body of the request is read."""
    apply: bool = True
    """Whether the request has its effect."""
    status: int | None = None
    """A status instead of the true one."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers that are added to the true ones, or replace them."""
    body: bytes | None = None
    """A body instead of the true one."""
    edit: Callable[[bytes], bytes] | None = None
    """A function that makes another body from the true one."""
    raw: bytes | None = None
    """Bytes instead of the whole answer, status line included."""
    chunked: bool = False
    """Whether the body is sent in chunks, without a Content-Length."""
    cut: int | None = None
    """How many bytes of the body are sent; the headers promise the whole body."""
    trickle: float = 0.0
    """Seconds between any two bytes of the body."""
    end: Literal["keep", "close", "reset", "stall"] = "keep"
    """What happens to the connection: kept for the next request, closed, reset, or silent until the client ends it."""

    @property
    def breaks_wire(self) -> bool:
        """Whether a correct HTTP server would never send this answer."""
        return self.end != "keep" or self.chunked or self.raw is not None or self.cut is not None or self.trickle > 0

    @classmethod
    def drop_unread(cls, *, reset: bool = True) -> "Fault":
        """End the connection as soon as the head of the request has arrived."""
        return cls(read=False, apply=False, raw=b"", end="reset" if reset else "close")

    @classmethod
    def drop_before(cls, *, reset: bool = False) -> "Fault":
        """Read the request, then end the connection: no effect, no answer."""
        return cls(apply=False, raw=b"", end="reset" if reset else "close")

    @classmethod
    def drop_after(cls, *, reset: bool = False) -> "Fault":
        """Let the request have its effect, and lose its answer."""
        return cls(raw=b"", end="reset" if reset else "close")

    @classmethod
    def answer(
        cls,
        status: int,
        body: bytes | str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        apply: bool = False,
    ) -> "Fault":
        """Send another answer, by default the HTML of a proxy. The request has no effect unless ``apply`` is true."""
        page = _BAD_GATEWAY % (status, status) if body is None else body
        raw = page.encode() if isinstance(page, str) else page
        return cls(apply=apply, status=status, body=raw, headers={"Content-Type": "text/html", **(headers or {})})

    @classmethod
    def truncated(cls, at: int, *, chunked: bool = False, reset: bool = False) -> "Fault":
        """Let the request have its effect, and send only the first ``at`` bytes of a body that the headers promise
        whole.
        """
        return cls(cut=at, chunked=chunked, end="reset" if reset else "close")

    @classmethod
    def garbage(cls, body: bytes = b"<html><body>Please log in</body></html>", *, apply: bool = True) -> "Fault":
        """Send status 200 with a body that means nothing."""
        return cls(apply=apply, status=200, body=body, headers={"Content-Type": "text/html"})

    @classmethod
    def edited(cls, edit: Callable[[bytes], bytes]) -> "Fault":
        """Let the request have its effect, and send the true answer as ``edit`` changes it: a wrong or missing JobID,
        other words.
        """
        return cls(edit=edit)

    @classmethod
    def redirect(cls, to: str, status: int = 302) -> "Fault":
        """Send a redirect; the request has no effect."""
        return cls(apply=False, status=status, body=b"", headers={"Location": to})

    @classmethod
    def delay(cls, *, before: float = 0.0, after: float = 0.0) -> "Fault":
        """Send the true answer, but late."""
        return cls(delay_before=before, delay_after=after)

    @classmethod
    def stall(cls, *, apply: bool = True, at: int | None = None) -> "Fault":
        """Send nothing and keep the connection open: no answer at all, or nothing after ``at`` bytes of its body."""
        return cls(apply=apply, raw=b"" if at is None else None, cut=at, end="stall")


@attrs.define
class _ScriptedFault:
    call: str
    fault: Fault
    times: int | None
    after: int

    def take(self) -> Fault | None:
        if self.after:
            self.after -= 1
            return None
        if self.times is not None:
            self.times -= 1
        return self.fault


class FaultScript:
    """Which of the coming requests get which fault. If several match, the one that was added first is used."""

    def __init__(self) -> None:
        self._entries: list[_ScriptedFault] = []

    def add(self, call: str, fault: Fault, *, times: int | None = 1, after: int = 0) -> None:
        """Skip ``after`` requests of ``call`` (a name in lower case), and let ``fault`` happen to the next ``times``
        (None: to all).
        """
        self._entries.append(_ScriptedFault(call, fault, times, after))

    def take(self, method: str, route: str) -> Fault | None:
        """Give the fault of this request, if it has one, and count it as used."""
        names = (route, f"{method.casefold()} {route}", "*")
        found = next((f for e in self._entries if e.call in names and (f := e.take())), None)
        self._entries = [e for e in self._entries if e.times is None or e.times > 0]
        return found
