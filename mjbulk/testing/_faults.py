"""Faults of the wire, as data: one record says what happens to one request, one script says to which."""

from collections.abc import Callable, Mapping
from typing import Literal

import attrs

_BAD_GATEWAY = b"<html>\r\n<head><title>%d</title></head>\r\n<body><center><h1>%d</h1></center></body>\r\n</html>\r\n"


@attrs.frozen(kw_only=True)
class Fault:
    """What happens to a request, stage by stage: read, wait, apply, wait, answer, end.

    As it stands it does nothing; the class methods below name the common ones.
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
    """A status in place of the true one."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    """Headers that are added to, or stand in place of, the true ones."""
    body: bytes | None = None
    """A body in place of the true one."""
    edit: Callable[[bytes], bytes] | None = None
    """Makes another body out of the true one."""
    raw: bytes | None = None
    """Bytes in place of the whole answer, status line included."""
    chunked: bool = False
    """Whether the body is sent in chunks, without a Content-Length."""
    cut: int | None = None
    """How many bytes of the body are sent; the headers promise all of it."""
    trickle: float = 0.0
    """Seconds between any two bytes of the body."""
    end: Literal["keep", "close", "reset", "stall"] = "keep"
    """What becomes of the connection: kept for the next request, closed, reset, or silent until the client leaves."""

    @property
    def breaks_wire(self) -> bool:
        """Whether the answer is something that an honest HTTP server would not send."""
        return self.end != "keep" or self.chunked or self.raw is not None or self.cut is not None or self.trickle > 0

    @classmethod
    def drop_unread(cls, *, reset: bool = True) -> "Fault":
        """The connection ends when the head of the request has come."""
        return cls(read=False, apply=False, raw=b"", end="reset" if reset else "close")

    @classmethod
    def drop_before(cls, *, reset: bool = False) -> "Fault":
        """The request is read; it has no effect and no answer."""
        return cls(apply=False, raw=b"", end="reset" if reset else "close")

    @classmethod
    def drop_after(cls, *, reset: bool = False) -> "Fault":
        """The request has its effect; its answer is lost."""
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
        """Another answer, without the effect unless ``apply`` says otherwise; by default the HTML of a proxy."""
        page = _BAD_GATEWAY % (status, status) if body is None else body
        raw = page.encode() if isinstance(page, str) else page
        return cls(apply=apply, status=status, body=raw, headers={"Content-Type": "text/html", **(headers or {})})

    @classmethod
    def truncated(cls, at: int, *, chunked: bool = False, reset: bool = False) -> "Fault":
        """The effect, then only the first ``at`` bytes of the answer's body, whose headers promised all."""
        return cls(cut=at, chunked=chunked, end="reset" if reset else "close")

    @classmethod
    def garbage(cls, body: bytes = b"<html><body>Please log in</body></html>", *, apply: bool = True) -> "Fault":
        """The right status with a body that means nothing."""
        return cls(apply=apply, status=200, body=body, headers={"Content-Type": "text/html"})

    @classmethod
    def edited(cls, edit: Callable[[bytes], bytes]) -> "Fault":
        """The effect, and the true answer after ``edit``: a wrong or missing JobID, other words."""
        return cls(edit=edit)

    @classmethod
    def redirect(cls, to: str, status: int = 302) -> "Fault":
        """A redirect, without the effect."""
        return cls(apply=False, status=status, body=b"", headers={"Location": to})

    @classmethod
    def delay(cls, *, before: float = 0.0, after: float = 0.0) -> "Fault":
        """An answer that is right, and late."""
        return cls(delay_before=before, delay_after=after)

    @classmethod
    def stall(cls, *, apply: bool = True, at: int | None = None) -> "Fault":
        """Silence for ever: instead of an answer, or (``at``) after so many bytes of its body."""
        return cls(apply=apply, raw=b"" if at is None else None, cut=at, end="stall")


@attrs.define
class _Entry:
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
    """Which of the coming requests meet which fault; earlier entries first."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(self, call: str, fault: Fault, *, times: int | None = 1, after: int = 0) -> None:
        """Lets ``fault`` happen to the next ``times`` requests of ``call`` (None: to all), when ``after`` went well."""
        self._entries.append(_Entry(" ".join(call.casefold().split()), fault, times, after))

    def take(self, method: str, route: str) -> Fault | None:
        """The fault of this request, which is then used up."""
        names = (route, f"{method.casefold()} {route}", "*")
        found = next((f for e in self._entries if e.call in names and (f := e.take())), None)
        self._entries = [e for e in self._entries if e.times is None or e.times > 0]
        return found
