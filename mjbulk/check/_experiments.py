"""The experiments. Each adds what it has seen to the evidence; one that fails does not stop the others."""

import asyncio
import csv
import io
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import orjson

from mjbulk.check._evidence import Probe, Trail
from mjbulk.check._lab import Lab
from mjbulk.chunks.frame import contacts_frame
from mjbulk.errors import ApiError, Error, NoAnswer
from mjbulk.mailjet.attempts import Patience
from mjbulk.mailjet.replies import decode_batchjob, decode_data_id, decode_job_id
from mjbulk.mailjet.requests import (
    Request,
    abort_request,
    batchjob_request,
    contact_request,
    contacts_request,
    csvimport_request,
    error_file_request,
    job_request,
    subscribe_request,
    upload_request,
)
from mjbulk.terms import Action

SIZES = tuple(2**power for power in range(16, 25))
"""64 KiB to 16 MiB."""
ROWS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
TRESHOLD = 50
"""An ErrTreshold that ten bad lines never reach if it is a number of errors, and exceed if it is a percentage."""
_NO_LIST = 2**53
_FULL = "exceeds maximum allowed"
"""A part of the error text that was observed for an account with the maximum number of contacts."""
_TWICE = Patience(attempts=2, seconds=300.0)


async def experiments(lab: Lab, *, probe_sizes: bool) -> None:
    """Run all experiments, concurrently if they do not depend on each other. Raises Error if the preparation fails."""
    lab.tell("making a list and contact properties")
    await lab.prepare()
    async with asyncio.TaskGroup() as group:
        for turn in _SIDE_BY_SIDE:
            group.create_task(_in_turn(lab, turn))
    await _in_turn(lab, (*(("sizes", "rows") if probe_sizes else ()), "later"))


async def _in_turn(lab: Lab, names: Sequence[str]) -> None:
    for name in names:
        about, experiment = _EXPERIMENTS[name]
        lab.tell(about)
        try:
            await experiment(lab)
        except Error as error:
            full = isinstance(error, ApiError) and _FULL in error.text
            lab.evidence.problems[name] = f"{error}{': the account has no room for more contacts' if full else ''}"


# Jobs


async def _json(lab: Lab) -> None:
    """Import the canary with a property, and rows that must be refused."""
    bad = _bad(lab, "json")
    rows = [{"Email": email, "Properties": {lab.property("kept"): lab.mark}} for email in (lab.canary, *bad)]
    await lab.watch(await _post_json(lab, "json", rows, bad=len(bad)))
    await _look_for(lab, bad)


async def _csv(lab: Lab) -> None:
    """Import an empty cell for the canary's property, and another cell that shows when the line was applied."""
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


async def _lists(lab: Lab) -> None:
    """Remove the canary from a list that cannot exist."""
    try:
        await lab.send(subscribe_request(lab.canary, [(_NO_LIST, Action.REMOVE)]), bytes, harmless=True)
    except ApiError as refusal:
        if not refusal.lists:
            raise
        lab.evidence.list_errors = "ErrorMessage" if refusal.text.startswith("{") else "ErrorInfo"


async def _undeclared(lab: Lab) -> None:
    """Import a property that does not exist, and a row that must be refused."""
    bad = _bad(lab, "undeclared")[:1]
    rows: list[Mapping[str, object]] = [{"Email": lab.canary, "Properties": {lab.property("new"): lab.mark}}]
    rows += [{"Email": email} for email in bad]
    await lab.watch(await _post_json(lab, "undeclared", rows, bad=len(bad)))
    known = [one.name.casefold() async for one in lab.engine.account.properties()]
    lab.evidence.created = lab.property("new").casefold() in known


async def _twice(lab: Lab) -> None:
    """Import the canary in two rows of one job."""
    name = lab.property("twice")
    rows = [{"Email": lab.canary, "Properties": {name: which}} for which in ("first", "last")]
    trail = await _post_json(lab, "twice", rows)
    await lab.watch(trail)
    if trail.end and (values := await lab.values(name)):
        lab.evidence.winner = str(values[name])


async def _case(lab: Lab) -> None:
    """Import a property whose name is written in capitals."""
    name = lab.property("case")
    trail = await _post_json(lab, "case", [{"Email": lab.canary, "Properties": {name.upper(): lab.mark}}])
    await lab.watch(trail)
    if trail.end:
        refused = trail.failed or bool(trail.named)
        lab.evidence.case_matters = refused or await lab.values(name) is None


async def _treshold(lab: Lab) -> None:
    """Run a csvimport that has only bad lines, with an ErrTreshold."""
    lines = [(f"mjbulk-{lab.mark}-{number}@example..org",) for number in range(10)]
    await lab.watch(await _post_csv(lab, "treshold", [("email",), *lines], bad=len(lines), treshold=TRESHOLD))


async def _abort(lab: Lab) -> None:
    """Abort a csvimport at once, to see the status that this gives."""
    trail = await _post_csv(lab, "abort", [("email",), (lab.canary,)])
    with suppress(ApiError):  # it may have ended, or not be found yet
        await lab.send(abort_request(trail.ref.id), bytes, harmless=True)
    await lab.watch(trail, linger=False)


async def _later(lab: Lab) -> None:
    """Read the first job once more: whether it and its error file still exist, and its JobType in batchjob."""
    trail = lab.evidence.trails.get("json")
    if trail is None or trail.end is None:
        return
    calls = [job_request(trail.ref), *([error_file_request(trail.ref)] if trail.file is not None else [])]
    lab.evidence.retained = lab.since(trail), all([await _is_there(lab, call) for call in calls])
    lab.evidence.job_type = str((await lab.send(batchjob_request(trail.ref.id), decode_batchjob)).get("JobType", ""))


# Limits


async def _sizes(lab: Lab) -> None:
    """Upload larger and larger bodies, which are never imported."""

    def request(size: int) -> Request:
        head = b"email\n" + secrets.token_hex(8).encode()
        return upload_request(lab.list_id, head.ljust(size, b"x"))

    lab.evidence.sizes = await _largest(lab, SIZES, request, decode_data_id)


async def _rows(lab: Lab) -> None:
    """Send more and more rows with one bad address, onto no list."""
    row = orjson.dumps({"Email": "mjbulk@example..org"})
    frame = contacts_frame(None)
    lab.evidence.most_rows = await _largest(
        lab, ROWS, lambda rows: contacts_request(frame.body([row] * rows)), decode_job_id
    )


async def _largest(
    lab: Lab, sizes: Sequence[int], request: Callable[[int], Request], decode: Callable[[bytes], int]
) -> Probe:
    """Send requests of these sizes until one is refused for its size. Raises ApiError if it is refused for anything
    else.
    """
    taken = 0
    for size in sizes:
        try:
            await lab.send(request(size), decode, harmless=True, patience=_TWICE)
        except ApiError as refusal:
            if refusal.status != 413:
                raise
            return Probe(taken, size, "it is answered 413")
        except NoAnswer:
            return Probe(taken, size, "the connection is reset, or no answer comes")
        taken = size
    return Probe(taken)


_EXPERIMENTS: dict[str, tuple[str, Callable[[Lab], Awaitable[None]]]] = {
    "json": ("importing a contact as JSON, with rows that have to be refused", _json),
    "csv": ("importing it as CSV, with rows that have to be refused", _csv),
    "lists": ("taking it from a list that is not there", _lists),
    "undeclared": ("sending a property that does not exist", _undeclared),
    "twice": ("sending the contact twice in one job", _twice),
    "case": ("sending the name of a property in capitals", _case),
    "treshold": ("importing bad lines with an ErrTreshold", _treshold),
    "abort": ("aborting a csvimport", _abort),
    "sizes": ("uploading bodies of growing size", _sizes),
    "rows": ("sending more and more rows that have to be refused", _rows),
    "later": ("looking at the first job once more", _later),
}
_SIDE_BY_SIDE = (("json", "csv", "lists"), ("undeclared",), ("twice",), ("case",), ("treshold",), ("abort",))


def _bad(lab: Lab, way: str) -> list[str]:
    """Give addresses that must be refused: they have two dots in a row in their domain."""
    return [f"mjbulk-{lab.mark}-{way}-{which}@example..org" for which in ("a", "b")]


async def _post_json(lab: Lab, name: str, rows: Sequence[Mapping[str, object]], *, bad: int = 0) -> Trail:
    frame = contacts_frame([(lab.list_id, Action.ADDNOFORCE)])
    request = contacts_request(frame.body([orjson.dumps(row) for row in rows]))
    return await lab.post(name, "contact", request, [str(row["Email"]) for row in rows], bad=bad)


async def _post_csv(
    lab: Lab, name: str, lines: Sequence[Sequence[str]], *, bad: int = 0, treshold: int | None = None
) -> Trail:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    upload = upload_request(lab.list_id, text.getvalue().encode())
    data_id = await lab.send(upload, decode_data_id, harmless=True)
    request = csvimport_request(data_id, method=Action.ADDNOFORCE.value, list_id=lab.list_id, error_threshold=treshold)
    return await lab.post(name, "csvimport", request, [line[0] for line in lines[1:]], bad=bad)


async def _look_for(lab: Lab, addresses: Sequence[str]) -> None:
    """Find out whether rows that had to be refused became contacts."""
    for email in addresses:
        there = await _is_there(lab, contact_request(email))
        lab.evidence.taken = bool(lab.evidence.taken) or there


async def _is_there(lab: Lab, request: Request) -> bool:
    try:
        await lab.send(request, bytes)
    except ApiError as refusal:
        if refusal.status not in (400, 404):
            raise
        return False
    return True
