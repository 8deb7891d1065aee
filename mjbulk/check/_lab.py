"""What experiments work with: a list and properties of their own, jobs and their polls, and the removal of all this."""

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self, TypeVar

from attrs import define, field
from yarl import URL

from mjbulk.check._evidence import Evidence, Poll, Trail
from mjbulk.client import Client
from mjbulk.errors import ApiError, Error
from mjbulk.mailjet.attempts import Patience
from mjbulk.mailjet.replies import (
    JobReply,
    decode_batchjob,
    decode_contact_data,
    decode_job,
    decode_job_id,
    decode_lists,
    decode_properties,
)
from mjbulk.mailjet.requests import (
    Request,
    abort_request,
    contact_data_request,
    create_list_request,
    create_property_request,
    delete_list_request,
    delete_property_request,
    error_file_request,
    job_request,
    page_request,
)
from mjbulk.mailjet.transport import MAX_ERROR_FILE
from mjbulk.models import JobRef
from mjbulk.run.engine import Engine

_T = TypeVar("_T")
_PATIENCE = Patience(attempts=8, seconds=60.0)
_TIDYING = 60.0
"""Seconds for the removal."""
_OF_LIMITS = re.compile(r"retry-after|rate-?limit|quota|throttl")


@define(kw_only=True, eq=False)
class Lab:
    """One check. Mutable state: the evidence, and the ID of its list."""

    engine: Engine = field(repr=False)
    canary: str = field(repr=False)
    mark: str
    """A random word in the name of everything that the check creates."""
    patience: float
    linger: float
    tell: Callable[[str], object]
    evidence: Evidence = field(repr=False)
    list_id: int = 0

    @classmethod
    def start(
        cls,
        client: Client,
        canary: str | None,
        *,
        patience: float,
        linger: float,
        tell: Callable[[str], object] | None,
    ) -> Self:
        """Prepare a check, without a request."""
        engine = client._ready()  # noqa: SLF001  # the client gives its users no raw answers
        mark = secrets.token_hex(4)
        return cls(
            engine=engine,
            canary=canary or f"mjbulk-canary-{mark}@example.org",
            mark=mark,
            patience=patience,
            linger=linger,
            tell=tell or (lambda _: None),
            evidence=Evidence(origin=str(URL(engine.settings.api_url).origin())),
        )

    @property
    def list_name(self) -> str:
        """The name of the list of this check."""
        return f"mjbulk check {self.mark}"

    def property(self, use: str) -> str:
        """Give the name of a property; the check creates all of them except ``new``."""
        return f"mjbulkcheck{self.mark}{use}"

    async def send(
        self,
        request: Request,
        decode: Callable[[bytes], _T],
        *,
        harmless: bool | None = None,
        patience: Patience = _PATIENCE,
        max_reply: float = MAX_ERROR_FILE,
    ) -> _T:
        """Send a request, and note the headers of its answers."""
        return await self.engine.transport.send(
            request, decode, harmless=harmless, patience=patience, max_reply=max_reply, on_answer=self._note_headers
        )

    def _note_headers(self, status: int, headers: Mapping[str, str]) -> None:
        self.evidence.answers += 1
        self.evidence.throttled += status == 429
        self.evidence.headers |= {name.lower() for name in headers if _OF_LIMITS.search(name.lower())}

    async def prepare(self) -> None:
        """Create the list and the properties."""
        self.list_id = (await self.send(create_list_request(self.list_name), decode_lists))[0].id
        for use in ("kept", "seen", "twice", "case"):
            await self.send(create_property_request(self.property(use), "str", "static"), decode_properties)

    async def post(self, name: str, kind: Any, request: Request, rows: list[str], *, bad: int = 0) -> Trail:
        """Post a job."""
        job_id, row = await self.send(request, _posted, harmless=False)
        ref = JobRef(kind, job_id)
        now = asyncio.get_running_loop().time()
        return self.evidence.trails.setdefault(name, Trail(ref=ref, rows=rows, bad=bad, posted=row, began=now))

    def since(self, trail: Trail) -> float:
        """Give the seconds since the end of a job was seen, or since its POST if it has not ended."""
        began = trail.began + (trail.end.at if trail.end else 0.0)
        return asyncio.get_running_loop().time() - began

    async def watch(self, trail: Trail, *, linger: bool = True) -> None:
        """Poll a job until its end (at most ``patience`` seconds), and then until it has shown everything (at most
        ``linger`` seconds).
        """
        with suppress(TimeoutError):  # the evidence until then is kept
            async with asyncio.timeout(self.patience):
                while trail.end is None:
                    await self._poll(trail)
                    await asyncio.sleep(0 if trail.end else seconds_to_next_poll(self.since(trail)))
        if trail.end is None or not linger:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self.linger):
                await self._ask_file(trail)
                while not trail.complete:
                    await asyncio.sleep(seconds_to_next_poll(self.since(trail)))
                    await self._poll(trail)
                    await self._ask_file(trail)

    async def _poll(self, trail: Trail) -> None:
        try:
            row, reply = await self.send(job_request(trail.ref), _job_row)
        except ApiError as refusal:
            if refusal.status != 404 or trail.polls:
                raise
            trail.missed += 1
            return
        trail.polls.append(Poll(at=asyncio.get_running_loop().time() - trail.began, row=row, reply=reply))

    async def _ask_file(self, trail: Trail) -> None:
        if trail.file is not None:
            return
        try:
            trail.file = await self.send(error_file_request(trail.ref), bytes)
            trail.file_at = asyncio.get_running_loop().time() - trail.began
        except ApiError as refusal:
            if refusal.status != 404:
                raise

    async def values(self, until: str) -> Mapping[str, Any] | None:
        """Wait until the canary has a value for the property ``until``, and give all its values; None if that takes too
        long.
        """
        began = asyncio.get_running_loop().time()
        while (waited := asyncio.get_running_loop().time() - began) < self.linger:
            try:
                values = await self.send(contact_data_request(self.canary), decode_contact_data)
            except ApiError as refusal:
                if refusal.status != 404:
                    raise
                values = {}
            if values.get(until):
                return values
            await asyncio.sleep(seconds_to_next_poll(waited))
        return None

    # The end

    async def tidy(self) -> list[str]:
        """Stop jobs that still run, remove what the check has created, and name what could not be removed."""
        left = []
        open_jobs = [trail.ref for trail in self.evidence.trails.values() if trail.end is None]
        steps: dict[str, Callable[[], Any]] = {
            f"the list {self.list_name!r}": self._remove_list,
            f"contact properties that begin with {self.property('')!r}": self._remove_properties,
        }
        if open_jobs:
            steps = {
                "jobs that had not ended: they may still change the contact": lambda: self._stop(open_jobs)
            } | steps
        deadline = asyncio.get_running_loop().time() + _TIDYING
        for what, remove in steps.items():
            try:
                async with asyncio.timeout_at(deadline):
                    gone = await remove()
            except (Error, TimeoutError):
                gone = False
            left += [] if gone else [what]
        return left

    async def _stop(self, refs: list[JobRef]) -> bool:
        """Abort imports, which would create a removed property again. Other jobs cannot be stopped."""
        for ref in refs:
            if ref.kind == "csvimport":
                await self.send(abort_request(ref.id), bytes, harmless=True)
        return all(ref.kind == "csvimport" for ref in refs)

    async def _remove_list(self) -> bool:
        """Remove the list. It is found by its name, because the answer with its ID may have been lost."""
        for one in await self.send(page_request("contactslist", 0, Name=self.list_name), decode_lists):
            if one.name == self.list_name and not one.deleted:
                await self._remove(delete_list_request(one.id))
        return True

    async def _remove_properties(self) -> bool:
        prefix = self.property("").casefold()
        for one in [one async for one in self.engine.account.properties()]:
            if one.name.casefold().startswith(prefix):
                await self._remove(delete_property_request(one.id))
        return True

    async def _remove(self, request: Request) -> None:
        try:
            await self.send(request, bytes, harmless=True)
        except ApiError as refusal:
            if refusal.status != 404:  # an earlier request removed it, and its answer was lost
                raise


def seconds_to_next_poll(elapsed: float) -> float:
    """Give the seconds until the next poll: few at first, because some jobs take only seconds."""
    return min(max(0.25, elapsed / 10), 5.0)


def _posted(body: bytes) -> tuple[int, Mapping[str, Any]]:
    return decode_job_id(body), _folded(decode_batchjob(body))


def _job_row(body: bytes) -> tuple[Mapping[str, Any], JobReply]:
    return _folded(decode_batchjob(body)), decode_job(body)


def _folded(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key.casefold(): value for key, value in row.items()}
