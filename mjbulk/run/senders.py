"""How a body gets into Mailjet, on each way: one request, or an upload and its import."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from attrs import field, frozen

from mjbulk.mailjet.account import AccountCalls
from mjbulk.mailjet.attempts import Patience
from mjbulk.mailjet.replies import decode_data_id, decode_job_id
from mjbulk.mailjet.requests import Content, contacts_request, csvimport_request, upload_request
from mjbulk.mailjet.transport import Doubt, Transport
from mjbulk.models import ImportOptions, JobRef
from mjbulk.run.engine import Engine
from mjbulk.terms import EXCLUSIONS, Action, Resend, RunSpec, harmless_to_retry

EXCLUDES = b'"IsExcludedFromCampaigns":'
"""What an encoded row has that changes the exclusion list."""

CSV_CARRIER = "POST contactslist/CSVData"
"""The call that carries the rows on the CSV way."""


async def _ignore(*_: object) -> None:
    """Do nothing."""


@frozen(kw_only=True)
class Passage:
    """What goes along with one body: what is known of it, and who is told what becomes of it."""

    doubt: Doubt = field(factory=Doubt)
    """Tells afterwards whether the body may have been applied."""
    patience: Patience | None = None
    """For the call that carries the rows."""
    data_id: int | None = None
    """What was uploaded before, on the CSV way."""
    uploaded: Callable[[int], Awaitable[object]] = _ignore
    """It is called with a DataID before that is used."""


class Sender(Protocol):
    """Submits bodies to Mailjet."""

    carrier: str
    """The call that carries the rows: what it refuses may be the fault of one of them."""
    effective: str
    """The call that has the effect: whether it was applied may be in doubt."""

    def harmless(self, body: Content) -> bool:
        """Say whether entries may be retried if it is not known whether they were applied."""

    async def submit(self, body: Content, passage: Passage) -> JobRef:
        """Submit entries of a chunk. Raises what the transport raises."""

    async def find(self, data_id: int | None) -> JobRef | None:
        """Look for the job of entries whose answer was lost, where there is a way to."""


class JsonSender:
    """contact/managemanycontacts: one POST a chunk."""

    carrier = effective = "POST contact/managemanycontacts"

    def __init__(self, transport: Transport, spec: RunSpec, lists: Sequence[tuple[int, Action]] | None) -> None:
        """Send nothing yet. ``lists`` are the run's, with their IDs."""
        self._transport = transport
        self._resend = spec.resend
        self._actions = [action for _, action in lists or ()]

    def harmless(self, body: Content) -> bool:
        """Say whether all actions converge."""
        return harmless_to_retry(self._actions, excludes=EXCLUDES in body[:], resend=self._resend)

    async def submit(self, body: Content, passage: Passage) -> JobRef:
        """POST the entries."""
        job_id = await self._transport.send(
            contacts_request(body),
            decode_job_id,
            harmless=self.harmless(body),
            doubt=passage.doubt,
            patience=passage.patience,
        )
        return JobRef("contact", job_id)

    async def find(self, data_id: int | None) -> JobRef | None:  # noqa: ARG002  # of the protocol
        """Give None: nothing tells which job took some contacts."""
        return None


class CsvSender:
    """CSVData and csvimport: the text is uploaded, and then imported by its DataID."""

    carrier, effective = CSV_CARRIER, "POST csvimport"

    def __init__(
        self, engine: Engine, list_id: int, method: str, options: ImportOptions | None, resend: Resend
    ) -> None:
        """Send nothing yet. The exclusion list's methods upload under a list, and import without. ``options`` say how
        dates are read.
        """
        self._transport = engine.transport
        self._account = engine.account
        self._lag = engine.settings.read_timeout
        self._resend = resend
        self._list_id = list_id
        self._method = method
        self._options = options

    def harmless(self, body: Content) -> bool:  # noqa: ARG002  # of the protocol
        """Say whether the method converges."""
        actions = [] if self._method in EXCLUSIONS else [Action(self._method)]
        return harmless_to_retry(actions, excludes=self._method in EXCLUSIONS, resend=self._resend)

    async def submit(self, body: Content, passage: Passage) -> JobRef:
        """Upload the records, and import them. An upload has no effect before it is imported: a retry is harmless."""
        data_id = passage.data_id
        if data_id is None:
            upload = upload_request(self._list_id, body)
            data_id = await self._transport.send(upload, decode_data_id, harmless=True, patience=passage.patience)
            await passage.uploaded(data_id)
        list_id = None if self._method in EXCLUSIONS else self._list_id
        request = csvimport_request(data_id, list_id=list_id, method=self._method, options=self._options)
        job_id = await self._transport.send(request, decode_job_id, harmless=False, doubt=passage.doubt)
        return JobRef("csvimport", job_id)

    async def find(self, data_id: int | None) -> JobRef | None:
        """Look for the import of what was uploaded, when a request that was under way must have been applied."""
        return await find_import(self._account, data_id, self._lag)


async def find_import(account: AccountCalls, data_id: int | None, lag: float) -> JobRef | None:
    """Look for the csvimport of a DataID, after the ``lag`` within which what is applied is applied."""
    if data_id is None:
        return None
    await asyncio.sleep(lag)
    job_id = await account.import_of(data_id)
    return None if job_id is None else JobRef("csvimport", job_id)
