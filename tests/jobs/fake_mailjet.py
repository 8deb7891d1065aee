"""Jobs that are functions of the time, and a fake of the transport that asks for them."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from mjbulk.config import Assumptions
from mjbulk.errors import ApiError
from mjbulk.events import Emit
from mjbulk.jobs.forecast import Bounds
from mjbulk.jobs.scheduler import Scheduler
from mjbulk.mailjet.replies import JobReply
from mjbulk.mailjet.requests import Request
from mjbulk.models import JobRef

Answer = Callable[[float], JobReply | bytes | Exception]
DONE = JobReply(status="Completed", count=10)
NOT_FOUND = ApiError(404, call="GET job")


class FakeMailjet:
    """Stands where the transport does: each job is a function of the seconds since its first look or its posting."""

    def __init__(self, seconds: float = 0.05) -> None:
        """``seconds`` is how long an answer takes."""
        self.seconds = seconds
        self.jobs: dict[int, Answer] = {}
        self.files: dict[int, Answer] = {}
        self.file_requests = 0
        self.calls: list[tuple[float, int]] = []
        self.under_way = 0
        self.most = 0

    async def send(self, request: Request, decode: object, **_: object) -> Any:
        number = int(re.findall(r"\d+", request.path.removeprefix("/v3/"))[0])
        is_job = request.path.startswith("/v3/REST")
        now = asyncio.get_running_loop().time()
        if is_job:
            self.calls.append((now, number))
        self.file_requests += not is_job
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        job = (self.jobs if is_job else self.files).get(number)
        answer = job(now) if job else NOT_FOUND
        if isinstance(answer, Exception):
            raise answer
        return answer

    def scheduler(
        self, at_once: int = 8, most: float = 300.0, emit: Emit = lambda _: None, **assumed: Any
    ) -> Scheduler:
        assumptions = Assumptions(**{"errors_are_announced": True, **assumed})
        transport: Any = self
        return Scheduler(transport, Bounds(least=1.0, most=most), assumptions, at_once, emit)

    def times(self, number: int) -> list[float]:
        return [when for when, which in self.calls if which == number]


def ref(number: int) -> JobRef:
    return JobRef("contact", number)


def until(seconds: float) -> Answer:
    """A job that shows nothing before it has ended."""
    return lambda now: DONE if now >= seconds else JobReply(status="Importing", count=0)
