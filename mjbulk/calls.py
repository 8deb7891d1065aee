"""The calls that make one request or start one job, as Mailjet's guides show them, with types.

`mjbulk.Client` inherits them all; imports, which take longer, are in its own module.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mjbulk.chunks.frame import contacts_frame, list_contacts_frame
from mjbulk.discreet import discreet
from mjbulk.errors import ApiError, UsageError
from mjbulk.jobs.watcher import JobWatcher, job_of
from mjbulk.mailjet.replies import decode_batchjob, decode_contact, decode_data_id, decode_job, decode_job_id
from mjbulk.mailjet.requests import (
    abort_request,
    batchjob_request,
    contact_request,
    csvimport_request,
    error_file_request,
    exclude_request,
    job_request,
    list_contacts_request,
    subscribe_request,
    upload_request,
)
from mjbulk.mailjet.response import SinkFailed
from mjbulk.models import ImportOptions, Job, JobRef, Row
from mjbulk.outcomes.rejection_files import whole_or_not_at_all
from mjbulk.resources import ContactInfo, ContactsList, Property, Subscription
from mjbulk.rows.addresses import check_address
from mjbulk.rows.contacts import encode
from mjbulk.rows.layout import ColumnRules, flatten, layout_of
from mjbulk.rows.objects import take_apart
from mjbulk.rows.values import RowFault
from mjbulk.run.engine import Engine
from mjbulk.run.senders import JsonSender, Passage
from mjbulk.terms import (
    Action,
    ActionLike,
    Datatype,
    ListActions,
    ListRef,
    RunSpec,
    action_of,
    check_method,
    harmless_to_retry,
    list_actions,
    list_ref,
)


class Calls(ABC):
    """Calls that make one request or start one job."""

    @abstractmethod
    def _ready(self) -> Engine:
        """Give the engine. Raises UsageError if the client is not open."""

    # One request, one job

    @discreet
    async def submit_contacts(self, contacts: Iterable[Row], *, lists: ListActions | None) -> JobWatcher:
        """POST contact/managemanycontacts once, and give the watcher of its job.

        Values are sent without conversion. Raises UsageError if a row cannot be sent, ApiError, NoAnswer (its ``sent``
        tells whether the request may have been applied). After a lost answer the request is retried only if applying it
        twice does no harm.
        """
        engine = self._ready()
        pairs = list_actions(lists)
        if pairs is not None and any(isinstance(ref, str) for ref, _ in pairs):
            pairs = tuple(await engine.account.resolve(pairs))
        resolved = [(int(ref), action) for ref, action in pairs or ()]
        rows = _encoded(contacts)
        sender = JsonSender(engine.transport, RunSpec(lists=pairs), resolved)
        ref = await sender.submit(contacts_frame(resolved).body(rows), Passage())
        return JobWatcher(ref, engine.scheduler, len(rows), new=True)

    @discreet
    async def submit_list_contacts(
        self, list_id: ListRef, contacts: Iterable[Row], *, action: ActionLike
    ) -> JobWatcher:
        """POST contactslist/{ID}/managemanycontacts once, and give the watcher of its job. See `submit_contacts`."""
        engine = self._ready()
        word = action_of(action)
        number = await self._list_id(list_id)
        rows = _encoded(contacts)
        excludes = any(b'"IsExcludedFromCampaigns":' in row for row in rows)
        job_id = await engine.transport.send(
            list_contacts_request(number, list_contacts_frame(word).body(rows)),
            decode_job_id,
            harmless=harmless_to_retry([word], excludes=excludes, resend="safe"),
        )
        return JobWatcher(JobRef("contactslist", job_id, number), engine.scheduler, len(rows), new=True)

    @discreet
    async def upload_csvdata(self, list_id: ListRef, data: bytes) -> int:
        """Upload CSV text (bytes of UTF-8, with a header) under a list, and give its DataID.

        It has no effect before `submit_csvimport` imports it, so it is retried. Raises UsageError if the list does not
        exist, ApiError if Mailjet refuses, NoAnswer.
        """
        request = upload_request(await self._list_id(list_id), data)
        return await self._ready().transport.send(request, decode_data_id, harmless=True)

    @discreet
    async def submit_csvimport(
        self,
        data_id: int,
        *,
        list_id: ListRef | None = None,
        method: ActionLike | Literal["excludemarketing", "includemarketing"],
        import_options: ImportOptions | None = None,
        error_threshold: int | None = None,
    ) -> JobWatcher:
        """POST csvimport for uploaded data, and give the watcher of its job.

        ``excludemarketing`` and ``includemarketing`` take no list. ``error_threshold`` is how many errors end the job
        (Mailjet's ErrTreshold, at most 32767). Raises NoAnswer with ``sent=True`` if the answer was lost: this call is
        never retried.
        """
        engine = self._ready()
        word = check_method(method, has_list=list_id is not None)
        if error_threshold is not None and not 0 <= error_threshold <= 32767:
            raise UsageError("error_threshold is a number of 0 to 32767")
        number = None if list_id is None else await self._list_id(list_id)
        request = csvimport_request(
            data_id, method=word, list_id=number, options=import_options, error_threshold=error_threshold
        )
        job_id = await engine.transport.send(request, decode_job_id, harmless=False)
        return JobWatcher(JobRef("csvimport", job_id), engine.scheduler, new=True)

    @discreet
    async def abort_csvimport(self, job: JobRef | int) -> Job:
        """Abort a csvimport, and give its state after that. Rows that it has imported stay.

        Raises ApiError if Mailjet refuses, for example because the job has ended.
        """
        ref = JobRef("csvimport", job) if isinstance(job, int) else _ref_of(job)
        if ref.kind != "csvimport":
            raise UsageError("only a csvimport can be aborted")
        send = self._ready().transport.send
        await send(abort_request(ref.id), bytes, harmless=True)
        return job_of(ref, await send(job_request(ref), decode_job), None)

    @discreet
    async def batchjob(self, job_id: int) -> Mapping[str, Any]:
        """Give a batchjob exactly as Mailjet shows it: its fields are not documented, its times are Unix seconds.

        Raises ApiError with status 404 if there is no such job, NoAnswer.
        """
        return await self._ready().transport.send(batchjob_request(job_id), decode_batchjob)

    @discreet
    async def save_error_file(self, job: JobRef | str, path: str | os.PathLike[str]) -> int:
        """Write the error file of a job exactly as Mailjet sends it, and give its size in bytes.

        It is streamed into a temporary file beside ``path`` that only its owner can read, and is renamed when it is
        complete. Raises ApiError with status 404 if the job has no error file, OSError if it cannot be written.
        """
        ref = _ref_of(job)
        send = self._ready().transport.send
        with whole_or_not_at_all(Path(path)) as file:
            try:
                await send(error_file_request(ref), bytes, max_reply=float("inf"), sink=file)
            except SinkFailed as failed:
                raise failed.why from None
            return file.tell()

    @discreet
    def watch(self, job: JobRef | str) -> JobWatcher:
        """Watch any job: a `JobRef`, or its text (``contactslist:42/113``). Raises UsageError for anything
        else.
        """
        ref = _ref_of(job)
        return JobWatcher(ref, self._ready().scheduler)

    async def _list_id(self, ref: ListRef) -> int:
        known = list_ref(ref)
        if isinstance(known, int):
            return known
        return (await self._ready().account.resolve([(known, Action.ADDNOFORCE)]))[0][0]

    # One contact

    @discreet
    async def set_excluded(self, contact: str | int, *, excluded: bool) -> ContactInfo:
        """Put a contact (address or ID) on the exclusion list, or take it off, and give the contact.

        Raises ApiError with status 404 if there is no such contact.
        """
        send = self._ready().transport.send
        who = _who(contact)
        changed = await send(exclude_request(who, excluded=excluded), decode_contact)
        found = changed or await send(contact_request(who), decode_contact)
        if found is None:
            raise ApiError(304, call="GET contact", advice="it shows no contact")
        return found

    @discreet
    async def subscriptions(self, contact: str | int) -> AsyncIterator[Subscription]:
        """Give the lists that a contact (address or ID) is on. Raises ApiError with status 404 if there is no such
        contact.
        """
        async for one in self._ready().account.subscriptions(_who(contact)):
            yield one

    @discreet
    async def update_subscriptions(self, contact: str | int, lists: ListActions) -> Sequence[Subscription]:
        """Do an action for each list, and give the subscriptions to these lists after that.

        Raises ApiError: 404 if there is no such contact; 400 if a list is wrong, and then ``error.lists`` has Mailjet's
        message about each list.
        """
        engine = self._ready()
        pairs = list_actions(lists) or ()
        if any(isinstance(ref, str) for ref, _ in pairs):
            pairs = tuple(await engine.account.resolve(pairs))
        actions = [(int(ref), action) for ref, action in pairs]
        harmless = harmless_to_retry([action for _, action in actions], excludes=False, resend="safe")
        await engine.transport.send(subscribe_request(_who(contact), actions), bytes, harmless=harmless)
        named = dict(actions)
        return [one async for one in self.subscriptions(contact) if one.list_id in named]

    # The account

    @discreet
    def lists(self) -> AsyncIterator[ContactsList]:
        """Give all lists of the account, from all pages. Raises ApiError, NoAnswer."""
        return self._ready().account.lists()

    @discreet
    async def create_list(self, name: str) -> ContactsList:
        """Create a list, and give it. Raises ApiError if Mailjet refuses the name, NoAnswer if it may exist now."""
        return await self._ready().account.create_list(name)

    @discreet
    def properties(self) -> AsyncIterator[Property]:
        """Give all contact properties of the account, from all pages. Raises ApiError, NoAnswer."""
        return self._ready().account.properties()

    @discreet
    async def create_property(
        self, name: str, datatype: Datatype, *, namespace: Literal["static", "historic"] = "static"
    ) -> Property:
        """Create a contact property, and give it. Its type cannot be changed later.

        Raises ApiError with the code MJ18 if there is one of this name (case does not matter), NoAnswer if it may exist
        now.
        """
        return await self._ready().account.create_property(name, datatype, namespace)


def _who(contact: str | int) -> str | int:
    """Check the ID or the address of a contact. Raises UsageError if it is neither."""
    if isinstance(contact, int) and not isinstance(contact, bool) and contact > 0:
        return contact
    try:
        return check_address(contact)
    except RowFault:
        raise UsageError("a contact is named by its address, or by its ID") from None


def _encoded(contacts: Iterable[Row]) -> list[bytes]:
    """Encode the rows of a single request. Raises UsageError if one of them cannot be sent, or if there are none."""
    rules = ColumnRules(properties=None)
    encoded = []
    for number, contact in enumerate(contacts, 1):
        try:
            row = take_apart(contact)
            layout = layout_of(row.names, rules)
            if layout.nested is not None:
                row = flatten(row, layout.nested)
                layout = layout_of(row.names, rules)
            encoded.append(encode(layout.contact(row.values)))
        except RowFault as fault:
            where = f", column {fault.field!r}" if fault.field else ""
            raise UsageError(f"row {number}{where}: {fault.message}") from None
    if not encoded:
        raise UsageError("there are no contacts")
    return encoded


def _ref_of(job: object) -> JobRef:
    """Give a reference, or that of a text. Raises UsageError for anything else."""
    return job if isinstance(job, JobRef) else JobRef.parse(job if isinstance(job, str) else "")
