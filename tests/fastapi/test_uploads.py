"""Uploads: what is taken, how it is judged, and what is left of it."""

import asyncio
import errno
import gzip
import io
import os
import stat
import zipfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sites import CSV, GOOD, OURS, QUICK, SLOW, Answer, Site, backend, keys, site

import mjbulk
from mjbulk.fastapi.rejected import write_rejections
from mjbulk.testing import Emulator, Fault, Knobs

pytestmark = pytest.mark.real_time

JSONL = b'{"email": "ann@example.org"}\n{"email": "bob@example.org"}\n'


def sheet() -> bytes:
    """A spreadsheet of one column, as it is zipped."""
    cells = "".join(
        f'<row r="{at}"><c r="A{at}" t="inlineStr"><is><t>{text}</t></is></c></row>'
        for at, text in enumerate(("email", "ann@example.org", "bob@example.org"), 1)
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rels = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    files = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{rels}"><Relationship Id="r1" Type="{office}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{rels}"><Relationship Id="r1" Type="{office}/worksheet" '
        'Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def form(body: bytes, name: str = "people.csv", **about: Any) -> aiohttp.FormData:
    data = aiohttp.FormData(quote_fields=False)
    data.add_field("note", "before the file")
    data.add_field("file", body, filename=name, **about)
    data.add_field("more", "behind it")
    return data


BODIES: dict[str, tuple[Any, dict[str, str]]] = {
    "CSV": (GOOD, CSV),
    "CSV of any type": (GOOD, {"Content-Type": "application/octet-stream"}),
    "gzip": (gzip.compress(GOOD), {"Content-Type": "application/gzip"}),
    "gzip of two members": (gzip.compress(GOOD[:9]) + gzip.compress(GOOD[9:]), CSV),
    "gzip as an encoding": (gzip.compress(GOOD), {**CSV, "Content-Encoding": "gzip"}),
    "JSON Lines": (JSONL, {"Content-Type": "application/x-ndjson"}),
    "JSON Lines, packed": (gzip.compress(JSONL), {"Content-Type": "application/x-ndjson"}),
    "JSON Lines of any type": (JSONL, {"Content-Type": "text/plain; charset=utf-8"}),
    "a spreadsheet of any type": (sheet(), {"Content-Type": "application/octet-stream"}),
}


async def import_of(it: Site, answer: Answer) -> dict[str, Any]:
    """Give the run of an upload, at its end."""
    assert answer.status == 202, answer.body
    assert answer.headers["Location"] == f"/imports/{answer.json['run_id']}"
    return await it.until(answer.json["run_id"])


@pytest.mark.parametrize("kind", BODIES)
async def test_bodies(tmp_path: Path, kind: str) -> None:
    """Whatever has rows in it arrives, and is kept unpacked, for its owner alone."""
    body, headers = BODIES[kind]
    async with site(tmp_path) as it:
        run = await import_of(it, await it.upload(body, headers=headers))
        assert (run["state"], run["rows"], run["accepted"], run["complete"]) == ("settled", 2, 2, True)
        assert it.emulator.contacts.keys() == {"ann@example.org", "bob@example.org"}
        files = [path for path in it.uploads.rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert not any(path.read_bytes().startswith(b"\x1f\x8b") for path in files)


FILES = {
    "people.csv": GOOD,
    "people.csv.gz": gzip.compress(GOOD, mtime=0),
    "people.jsonl": JSONL,
    "people.xlsx": sheet(),
}


@pytest.mark.parametrize("name", FILES)
async def test_forms(tmp_path: Path, name: str) -> None:
    """The file of a form arrives, and its name is shown without a path."""
    async with site(tmp_path) as it:
        run = await import_of(it, await it.upload(form(FILES[name], f"C:\\\\a\\\\../{name}"), headers={}))
        assert (run["accepted"], run["name"]) == (2, name)


async def test_terms_of_an_upload(tmp_path: Path) -> None:
    """The query says how the file is read."""
    body = "Mail;Prénom;x\nann@example.org;Zoë;1\n".encode("latin-1")
    query = "?delimiter=;&encoding=latin-1&columns=Mail=email,Prénom=first&list=1&action=addnoforce&via=csv"
    async with site(tmp_path) as it:
        it.emulator.account("key-of-a").create_property("first", "str")
        run = await import_of(it, await it.upload(body, query))
        assert (run["accepted"], run["list"], run["action"]) == (1, 1, "addnoforce")
        assert it.emulator.contacts["ann@example.org"].properties["first"] == "Zoë"


async def test_how_values_are_read(tmp_path: Path) -> None:
    """The query says of which types new properties are, how dates are written, and what empty cells do."""
    first = b"email,age,born\nann@example.org,7,02.01.2020\n"
    how = "date_format=%25d.%25m.%25Y&timezone=Europe/Paris&nulls=unassign"
    async with site(tmp_path, create_properties=True) as it:
        planned = await it.ask("POST", "/imports/plan", data=first, headers={**OURS, **CSV})
        (whole, dates) = [one["message"].partition(": ")[2] for one in planned.json["findings"]]
        assert whole == "types=age=int says otherwise"
        assert dates == "types=born=datetime with date_format=%d.%m.%Y says otherwise"
        assert (await import_of(it, await it.upload(first, f"?types=age=int,born=datetime&{how}")))["accepted"] == 1
        found = it.emulator.contacts["ann@example.org"].properties
        assert (found["age"], found["born"]) == (7, "2020-01-01T23:00:00Z")
        again = await it.upload(b"email,age,born\nann@example.org,,02.01.2020\n", f"?{how}")
        assert (await import_of(it, again))["accepted"] == 1
        assert "age" not in it.emulator.contacts["ann@example.org"].properties


BAD = b"email,nope\nann@example.org,1\n"
REFUSED: dict[str, tuple[Any, dict[str, str], str, int, dict[str, Any]]] = {
    "no column of addresses": (b"mail\nann@example.org\n", CSV, "", 422, {"code": "address.missing"}),
    "a column that is no property": (BAD, CSV, "", 422, {"code": "column.unknown", "column": "nope"}),
    "a column that is not there": (GOOD, CSV, "?columns=mail", 422, {"code": "column.missing", "column": "mail"}),
    "no rows": (b"", CSV, "", 422, {"code": "source"}),
    "no spreadsheet": (GOOD, {"Content-Type": "application/vnd.ms-excel"}, "", 422, {"code": "source"}),
    "another type": (b"<p>", {"Content-Type": "text/html"}, "", 415, {"code": "upload.type"}),
    "another encoding": (b"x", {**CSV, "Content-Encoding": "br"}, "", 415, {"code": "upload.encoding"}),
    "gzip, cut off": (gzip.compress(GOOD)[:-9], CSV, "", 422, {"code": "source.unreadable"}),
    "gzip, damaged": (gzip.compress(GOOD)[:12] + b"xxxxxxxxxxxx", CSV, "", 422, {"code": "source.unreadable"}),
    "no list": (GOOD, CSV, "?list=0", 422, {"code": "list"}),
    "another list": (GOOD, CSV, "?list=2", 403, {"code": "list.forbidden"}),
    "another action": (GOOD, CSV, "?action=addforce", 403, {"code": "action.forbidden"}),
    "no action": (GOOD, CSV, "?action=add", 422, {"code": "action"}),
    "no encoding": (GOOD, CSV, "?encoding=nope", 422, {"code": "source"}),
    "no type": (GOOD, CSV, "?types=age=number", 422, {"code": "source"}),
    "no pairs": (GOOD, CSV, "?types=age", 422, {"code": "request"}),
    "types where nothing is created": (GOOD, CSV, "?types=age=int", 422, {"code": "source"}),
    "no form of dates": (GOOD, CSV, "?date_format=x", 422, {"code": "source"}),
    "no nulls": (GOOD, CSV, "?nulls=drop", 422, {"code": "request"}),
    "no way": (GOOD, CSV, "?via=post", 422, {"code": "request"}),
    "too large": (b"email\n" + b"a" * 3000, CSV, "", 413, {"code": "upload.size"}),
    "too large, unpacked": (gzip.compress(b"email\n" + b"a" * 3000), CSV, "", 413, {"code": "upload.size"}),
    "no form": (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, "", 422, {"code": "upload.form"}),
    "a form without a boundary": (b"x", {"Content-Type": "multipart/form-data"}, "", 422, {"code": "upload.form"}),
    "a form without a file": (
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n',
        {"Content-Type": "multipart/form-data; boundary=b"},
        "",
        422,
        {"code": "upload.file"},
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_refused_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """Each refusal has a code and a sentence; nothing was sent, and nothing is kept."""
    body, headers, query, status, problem = REFUSED[kind]
    async with site(tmp_path, max_upload=2000) as it:
        answer = await it.upload(body, query, headers=headers)
        assert answer.status == status, answer.body
        assert {name: answer.problem[name] for name in problem} == problem
        assert len(answer.problem["message"]) > 10
        assert (it.left(), it.posts(), await it.get("/imports/")) == ([], 0, {"runs": [], "next": None})


async def test_a_file_that_cannot_be_read_to_its_end(tmp_path: Path) -> None:
    """The run that it began says at which row it ended, and every row that was read has its outcome."""
    async with site(tmp_path) as it:
        run = await import_of(it, await it.upload(GOOD + b"caf\xe9@example.org\n"))
        assert (run["complete"], run["rows"]) == (False, run["accepted"] + run["not_sent"])
        assert run["cause"].startswith("the source failed at row 3: ")


@pytest.mark.parametrize("as_form", [False, True])
async def test_an_upload_that_is_cut_leaves_nothing(tmp_path: Path, *, as_form: bool) -> None:
    """A client that leaves in the middle of its file has uploaded nothing."""
    went = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n' if as_form else b""
        yield head + GOOD * 50_000
        went.set()
        await asyncio.sleep(30)

    kind = "multipart/form-data; boundary=b" if as_form else "text/csv"
    async with site(tmp_path) as it:
        uploading = asyncio.ensure_future(it.upload(body(), headers={"Content-Type": kind}))
        await went.wait()
        while not any("upload" in name for name in it.left()):
            await asyncio.sleep(0.01)
        uploading.cancel()
        while it.left():
            await asyncio.sleep(0.01)
        assert (it.posts(), await it.get("/imports/")) == (0, {"runs": [], "next": None})


async def test_a_slow_upload_holds_up_nobody(tmp_path: Path) -> None:
    """It is taken piece by piece, while others are answered."""
    others = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal others
        for at in range(len(GOOD)):
            yield GOOD[at : at + 1]
            if at % 10 == 0:
                assert (await it.get("/imports/"))["runs"] == []
                others += 1

    async with site(tmp_path) as it:
        run = await import_of(it, await it.upload(body()))
        assert (run["accepted"], others) == (2, 4)


async def test_a_client_that_leaves_behind_its_upload(tmp_path: Path) -> None:
    """The run belongs to the application: it goes on."""
    async with site(tmp_path) as it:
        it.emulator.fault("GET contactmetadata", Fault(delay_before=0.3))
        uploading = asyncio.ensure_future(it.upload())
        while not any(name.endswith("terms.json") for name in it.left()):
            await asyncio.sleep(0.001)
        uploading.cancel()
        while not (runs := (await it.get("/imports/"))["runs"]):
            await asyncio.sleep(0.01)
        assert (await it.until(runs[0]["run_id"]))["accepted"] == 2


# Keys of idempotency


async def test_the_same_upload_again(tmp_path: Path) -> None:
    """The same bytes under the same key are the same run, under way and done; other bytes or terms are refused."""
    key = {**CSV, "Idempotency-Key": "2026-11-28/people.csv"}
    async with site(tmp_path, actions=("addnoforce", "remove")) as it:
        first, second = await asyncio.gather(it.upload(headers=key), it.upload(headers=key))
        assert first.headers["Location"] == second.headers["Location"]
        run = await import_of(it, first)
        third = await it.upload(headers=key)
        assert (third.status, third.json["run_id"], third.json["state"]) == (202, run["run_id"], "settled")
        for again in (
            await it.upload(GOOD + b"cid@example.org\n", headers=key),
            await it.upload(GOOD, "?action=remove", headers=key),
        ):
            assert (again.status, again.problem["code"]) == (409, "key.used")
        assert it.posts() == 1
        assert len((await it.get("/imports/"))["runs"]) == 1


async def test_a_key_is_free_again_after_a_refusal_and_after_deletion(tmp_path: Path) -> None:
    """What was refused, or deleted, holds no key."""
    key = {**CSV, "Idempotency-Key": "k"}
    async with site(tmp_path) as it:
        assert (await it.upload(b"nope\n1\n", headers=key)).status == 422
        run = await import_of(it, await it.upload(headers=key))
        assert (await it.ask("DELETE", f"/imports/{run['run_id']}")).status == 204
        assert it.left() == []
        again = await import_of(it, await it.upload(GOOD + b"cid@example.org\n", headers=key))
        assert (again["accepted"], again["run_id"]) == (3, run["run_id"])


async def test_wrong_keys_of_a_tenant(tmp_path: Path) -> None:
    """They refuse the upload, and are in no answer."""
    async with site(tmp_path) as it:
        it.emulator.fault("GET contactmetadata", Fault.answer(401, b""), times=None)
        answer = await it.upload()
        assert (answer.status, answer.problem["code"]) == (422, "credentials.refused")
        assert b"key-of" not in answer.body
        assert it.left() == []


async def test_mailjet_is_away(tmp_path: Path) -> None:
    """The upload is taken, says what it waits for, and goes on by itself."""
    async with site(tmp_path, settings={"give_up_after": 300.0}) as it:
        it.emulator.fault("*", Fault.answer(503, b""), times=None)
        uploading = asyncio.ensure_future(it.upload())
        await asyncio.sleep(1.5)
        assert not uploading.done()
        it.emulator._faults._entries.clear()
        assert (await import_of(it, await uploading))["accepted"] == 2


async def test_plans(tmp_path: Path) -> None:
    """A plan says what would go wrong, and keeps nothing."""
    async with site(tmp_path) as it:
        body = b"email,nope\nann@example.org,1\nnot an address,2\n"
        plan = (await it.ask("POST", "/imports/plan", data=body, headers={**OURS, **CSV})).json
        assert (plan["rows"], plan["rejected"], plan["unknown_properties"]) == (2, 1, ["nope"])
        assert [one["row"] for one in plan["rejections"]] == [2]
        refused = await it.ask("POST", "/imports/plan", data=b"mail\nx\n", headers={**OURS, **CSV})
        assert (refused.status, refused.problem["code"]) == (422, "address.missing")
        assert (it.left(), it.posts()) == ([], 0)


async def test_a_page_of_rejected_rows_while_the_run_goes_on(tmp_path: Path) -> None:
    """Rejected rows are there a second after they are known, with their addresses; by code, a page at a time."""
    body = b"email\n" + b"".join(b"nobody %d\n" % at for at in range(25)) + GOOD[6:]
    async with site(tmp_path, SLOW) as it:
        run_id = (await it.upload(body)).json["run_id"]
        while not (page := await it.get(f"/imports/{run_id}/rejections?limit=10"))["rows"]:
            await asyncio.sleep(0.05)
        assert (await it.get(f"/imports/{run_id}"))["state"] == "running"
        code = page["rows"][0]["code"]
        assert (page["total"], page["by_code"], page["rows"][0]["email"]) == (25, {code: 25}, "nobody 0")
        rows = page["rows"]
        while page["next"] is not None:
            page = await it.get(f"/imports/{run_id}/rejections?limit=10&code={code}&after={page['next']}")
            rows += page["rows"]
        assert [one["row"] for one in rows] == list(range(1, 26))
        assert (await it.get(f"/imports/{run_id}/rejections?code=other"))["rows"] == []
        csv = await it.ask("GET", f"/imports/{run_id}/rejections.csv")
        assert csv.headers["Content-Disposition"].startswith("attachment")
        assert csv.body.count(b"\n") == 26


async def test_a_page_counts_the_rows_that_it_gives(tmp_path: Path) -> None:
    """A row that is in the file, and not in the figures yet, is given when it is counted."""
    async with site(tmp_path) as it:
        run_id = (await import_of(it, await it.upload(b"email\nnobody 1\nnobody 2\n" + GOOD[6:])))["run_id"]
        page = await it.get(f"/imports/{run_id}/rejections?limit=2")
        (file,) = it.uploads.rglob("rejections.jsonl")
        with file.open("ab") as rows:
            rows.write(file.read_bytes().splitlines(keepends=True)[0])
        assert await it.get(f"/imports/{run_id}/rejections?limit=2") == page
        assert (page["total"], [row["row"] for row in page["rows"]], page["next"]) == (2, [1, 2], None)


async def test_rejected_rows_whose_file_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in it once when there is room again."""
    failed: list[int] = []

    def on_a_full_disk(path: Path, at: int, rejections: Sequence[mjbulk.Rejection]) -> int:
        end = write_rejections(path, at, rejections)
        if not failed:
            os.truncate(path, end - 5)
            failed.append(end)
            raise OSError(errno.ENOSPC, "no space left on device")
        return end

    monkeypatch.setattr("mjbulk.fastapi.live_run.write_rejections", on_a_full_disk)
    async with site(tmp_path, SLOW) as it:
        run_id = (await it.upload(b"email\nnobody 1\nnobody 2\n" + GOOD[6:])).json["run_id"]
        while not (page := await it.get(f"/imports/{run_id}/rejections"))["rows"]:
            await asyncio.sleep(0.05)
        assert (page["total"], [row["row"] for row in page["rows"]], len(failed)) == (2, [1, 2], 1)


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(GOOD) + bytes(512),
        gzip.compress(GOOD + b"".join(b"p%09d@example.org\n" % at for at in range(150_000))),
        b"".join(gzip.compress(GOOD[at : at + 1]) for at in range(len(GOOD))),
    ],
    ids=["filled up with zeros", "more than is unpacked at once", "a member for each byte"],
)
async def test_forms_of_gzip(tmp_path: Path, body: bytes) -> None:
    """They are unpacked to the last byte."""
    async with site(tmp_path) as it:
        answer = await it.upload(body)
        assert answer.status == 202, answer.body
        (file,) = it.uploads.rglob("upload.csv")
        assert file.read_bytes() == gzip.decompress(body)


async def test_a_file_of_one_byte(tmp_path: Path) -> None:
    """It is refused as what it is."""
    async with site(tmp_path) as it:
        answer = await it.upload(b"x")
        assert (answer.status, answer.problem["code"]) == (422, "address.missing")


async def test_a_tenant_whose_keys_are_gone(tmp_path: Path) -> None:
    """Its interrupted runs wait; those of others go on."""
    known = {"a", "b"}

    def some_keys(who: str) -> mjbulk.Credentials:
        if who not in known:
            raise KeyError(who)
        return keys(who)

    async with Emulator(Knobs(**{**QUICK, "import_seconds": 1.0})) as emulator:
        async with backend(tmp_path, emulator) as it:
            run_ids = {who: (await it.upload(who=who)).json["run_id"] for who in "ab"}
            while it.posts() < 2:
                await asyncio.sleep(0.01)
        known.remove("a")
        async with backend(tmp_path, emulator, credentials_of=some_keys) as it:
            assert (await it.until(run_ids["b"], who="b"))["accepted"] == 2
            assert (await it.get(f"/imports/{run_ids['a']}"))["state"] in ("queued", "running")
