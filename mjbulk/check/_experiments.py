"""The experiments, in their order. Each leaves what it saw in the evidence; one that fails does not stop the others."""

import csv
import io
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import orjson

from mjbulk._transport import Patience
from mjbulk._wire import (
    abort_request,
    contact_request,
    contacts_frame,
    contacts_request,
    csvimport_request,
    decode_data_id,
    upload_request,
)
from mjbulk.check._evidence import Sizes, Trail
from mjbulk.check._lab import Lab
from mjbulk.errors import ApiError, Error, NoAnswer
from mjbulk.models import Action

SIZES = tuple(2**power for power in range(16, 25))
"""64 KiB to 16 MiB."""
_TWICE = Patience(attempts=2, seconds=300.0)


async def experiments(lab: Lab, *, probe_sizes: bool) -> None:
    """Make all experiments. Raises where there cannot be any."""
    lab.tell("making a list and two contact properties")
    await lab.prepare()
    for name, (about, experiment) in _EXPERIMENTS.items():
        if name == "sizes" and not probe_sizes:
            continue
        lab.tell(about)
        try:
            await experiment(lab)
        except Error as error:
            lab.evidence.problems[name] = str(error)


async def _json(lab: Lab) -> None:
    """Contacts as JSON: the canary with a property, and rows that must be refused."""
    bad = _bad(lab, "json")
    rows = [{"Email": email, "Properties": {lab.property("kept"): lab.mark}} for email in (lab.canary, *bad)]
    await lab.watch(await _post_json(lab, "json", rows, bad=len(bad)))
    await _look_for(lab, bad)


async def _csv(lab: Lab) -> None:
    """A csvimport with an empty cell for the canary's property; another cell tells when the line was applied."""
    before = await lab.values(lab.property("kept"))
    bad = _bad(lab, "csv")
    names = ("email", lab.property("kept"), lab.property("seen"))
    lines = [(lab.canary, "", lab.mark), *((email, "", lab.mark) for email in bad)]
    trail = await _post_csv(lab, "csv", [names, *lines], bad=len(bad))
    await lab.watch(trail)
    await _look_for(lab, bad)
    if before and trail.end:
        after = await lab.values(lab.property("seen"))
        lab.evidence.kept = None if after is None else after.get(lab.property("kept")) == lab.mark


async def _undeclared(lab: Lab) -> None:
    """A property that does not exist."""
    rows = [{"Email": lab.canary, "Properties": {lab.property("new"): lab.mark}}]
    await lab.watch(await _post_json(lab, "undeclared", rows))
    lab.evidence.created = lab.property("new") in await lab.engine.account.known_properties()


async def _abort(lab: Lab) -> None:
    """A csvimport that is aborted at once, to see how that is called."""
    trail = await _post_csv(lab, "abort", [("email",), (lab.canary,)])
    with suppress(ApiError):  # it may have ended, or not be found yet
        await lab.send(abort_request(trail.ref.id), bytes, harmless=True)
    await lab.watch(trail, linger=False)


async def _sizes(lab: Lab) -> None:
    """Uploads of growing size, which nobody will import."""
    taken = 0
    for size in SIZES:
        lab.evidence.sizes = Sizes(taken)
        how = await _upload(lab, size)
        if how:
            lab.evidence.sizes = Sizes(taken, size, how)
            return
        taken = size
    lab.evidence.sizes = Sizes(taken)


_EXPERIMENTS: dict[str, tuple[str, Callable[[Lab], Awaitable[None]]]] = {
    "json": ("importing a contact as JSON, with rows that have to be refused", _json),
    "csv": ("importing it as CSV, with rows that have to be refused", _csv),
    "undeclared": ("sending a property that does not exist", _undeclared),
    "abort": ("aborting a csvimport", _abort),
    "sizes": ("uploading bodies of growing size", _sizes),
}


def _bad(lab: Lab, way: str) -> list[str]:
    """Give addresses that can be none: nothing stands between two dots of their domain."""
    return [f"mjbulk-{lab.mark}-{way}-{which}@example..org" for which in ("a", "b")]


async def _post_json(lab: Lab, name: str, rows: Sequence[Mapping[str, object]], *, bad: int = 0) -> Trail:
    frame = contacts_frame([(lab.list_id, Action.ADDNOFORCE)])
    request = contacts_request(frame.body([orjson.dumps(row) for row in rows]))
    return await lab.post(name, "contact", request, [str(row["Email"]) for row in rows], bad=bad)


async def _post_csv(lab: Lab, name: str, lines: Sequence[Sequence[str]], *, bad: int = 0) -> Trail:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    upload = upload_request(lab.list_id, text.getvalue().encode())
    data_id = await lab.send(upload, decode_data_id, harmless=True)
    request = csvimport_request(data_id, method=Action.ADDNOFORCE.value, list_id=lab.list_id)
    return await lab.post(name, "csvimport", request, [line[0] for line in lines[1:]], bad=bad)


async def _look_for(lab: Lab, addresses: Sequence[str]) -> None:
    """See whether rows that had to be refused became contacts."""
    for email in addresses:
        try:
            await lab.send(contact_request(email), bytes)
        except ApiError as refusal:
            if refusal.status not in (400, 404):
                raise
            lab.evidence.taken = lab.evidence.taken or False
        else:
            lab.evidence.taken = True


async def _upload(lab: Lab, size: int) -> str:
    """Upload so many bytes, and say what went wrong. Raises what has nothing to do with their number."""
    head = b"email\n" + secrets.token_hex(8).encode()
    request = upload_request(lab.list_id, head.ljust(size, b"x"))
    try:
        await lab.send(request, decode_data_id, harmless=True, patience=_TWICE)
    except ApiError as refusal:
        if refusal.status != 413:
            raise
        return "it is answered 413"
    except NoAnswer:
        return "the connection is reset, or no answer comes"
    return ""
