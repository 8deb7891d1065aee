"""How one HTTP exchange can end: with a whole answer, or without one."""

from collections.abc import Mapping

from attrs import field, frozen

from mjbulk.mailjet.verdict import Failure, Phase


@frozen
class Response:
    """A whole answer. Its body is empty if it went into a sink."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class SinkFailed(Exception):  # carries the OSError of a local file, which is not a failure of the network
    """The answer could not be written to the sink."""

    def __init__(self, why: OSError) -> None:
        """Take the error that writing raised."""
        super().__init__()
        self.why = why


class ExchangeFailed(Exception):  # a signal to the transport: it holds nothing of the exception it was made from
    """An exchange ended without a whole answer."""

    def __init__(self, failure: Failure, why: str, phase: Phase = Phase.WHOLE) -> None:
        """Take the kind of failure, a sentence about it without headers, bodies or addresses, and how much had left."""
        super().__init__()
        self.failure = failure
        self.why = why
        self.phase = phase
