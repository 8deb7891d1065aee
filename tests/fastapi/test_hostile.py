"""What a hostile tenant may send: it harms nobody, and sees, blocks and guesses no runs of others."""

import asyncio
import gzip
import tracemalloc
from pathlib import Path

import pytest
from sites import CSV, GOOD, SLOW, site

from mjbulk.fastapi.receiving import plain_name

pytestmark = pytest.mark.real_time

PATHS = [
    "..",
    "../../imports.db",
    "..%2F..%2Fimports.db",
    "%2e%2e",
    ".new-x",
    "a%00b",
    "a" * 65,
    "a b",
    "é",
    "'%20or%201=1",
    "terms.json",
]


@pytest.mark.parametrize("path", PATHS)
async def test_names_of_runs_are_no_paths(tmp_path: Path, path: str) -> None:
    """Whatever is no name of a run of the tenant is unknown."""
    async with site(tmp_path) as it:
        run_id = (await it.upload()).json["run_id"]
        await it.until(run_id)
        for method, under in (("GET", ""), ("GET", "/rejections"), ("POST", "/stop"), ("DELETE", "")):
            answer = await it.ask(method, f"/imports/{path}{under}")
            assert answer.status in (404, 405, 422), answer.body
            assert b"imports.db" not in answer.body.replace(path.encode(), b"")
        assert (await it.get(f"/imports/{run_id}"))["accepted"] == 2


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd.csv", "passwd.csv"),
        ("C:\\people.csv", "people.csv"),
        ("a\r\nSet-Cookie: x.csv", "aSet-Cookie: x.csv"),
        ("\u202egpj.csv", "gpj.csv"),
        ("x" * 1000, "x" * 200),
        ("..", ".."),
        ("/", None),
        ("", None),
    ],
)
def test_names_of_files(given: str, shown: str | None) -> None:
    """They are shown, and are no paths."""
    assert plain_name(given) == shown


async def test_a_name_of_a_tenant_is_no_path(tmp_path: Path) -> None:
    """The application's names may have any characters."""
    async with site(tmp_path, tenant=lambda: "../../../etc") as it:
        run_id = (await it.upload()).json["run_id"]
        assert (await it.until(run_id))["accepted"] == 2
        assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"uploads", "imports"}
        assert not (tmp_path.parent / "etc").exists()


async def test_bombs(tmp_path: Path) -> None:
    """A file that unpacks to more than is taken is refused, without being in memory or on disk as a whole."""
    bomb = gzip.compress(b"email\n" + bytes(64 * 2**20), 9)
    assert len(bomb) < 100_000
    async with site(tmp_path, max_upload=8 * 2**20) as it:
        tracemalloc.start()
        answer = await it.upload(bomb)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (answer.status, answer.problem["code"]) == (413, "upload.size")
        assert (most < 20 * 2**20, it.left()) == (True, [])


async def test_many_columns(tmp_path: Path) -> None:
    """The answer to a file with ten thousand columns is short."""
    names = ",".join(f"column {at}" for at in range(10_000))
    async with site(tmp_path) as it:
        answer = await it.upload(f"email,{names}\nann@example.org{',1' * 10_000}\n".encode())
        assert (answer.status, answer.problem["code"]) == (422, "column.unknown")
        assert len(answer.body) < 2000


async def test_large_headers(tmp_path: Path) -> None:
    """They are refused, and the next request is answered."""
    async with site(tmp_path) as it:
        answer = await it.ask("GET", "/imports/", headers={"X-Large": "x" * 200_000})
        assert answer.status in (400, 431)
        part = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="'
            + b"x" * 100_000
            + b'"\r\n\r\nemail\r\n--b--\r\n'
        )
        answer = await it.upload(part, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert (answer.status, answer.problem["code"]) == (422, "upload.form")
        assert (await it.upload(headers={**CSV, "Idempotency-Key": "k" * 300})).status == 422
        assert (await it.get("/imports/"))["runs"] == []


async def test_cells_that_are_markup_or_formulas(tmp_path: Path) -> None:
    """Answers are JSON that no browser takes for a page; in the CSV of rejected rows no cell is a formula."""
    body = b'email,name\n"=cmd|\' /C calc\'!A0",<script>alert(1)</script>\n"@SUM(1)",\n' + GOOD[6:].replace(
        b"\n", b",\n"
    )
    async with site(tmp_path) as it:
        run_id = (await it.upload(body)).json["run_id"]
        assert (await it.until(run_id))["rejected"] == 2
        page = await it.ask("GET", f"/imports/{run_id}/rejections")
        assert page.headers["Content-Type"] == "application/json"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Cache-Control"] == "no-store"
        csv = (await it.ask("GET", f"/imports/{run_id}/rejections.csv")).body.decode()
        assert "\n1,'=cmd" in csv or "1,\"'=cmd" in csv
        assert "'@SUM(1)" in csv
        assert "\n=" not in csv
        assert ",=" not in csv
        markup = await it.upload(b"email,<img src=x>\nann@example.org,1\n")
        assert (markup.status, markup.headers["Content-Type"]) == (422, "application/json")


async def test_a_busy_tenant_blocks_no_other(tmp_path: Path) -> None:
    """Uploads of one that never end are no obstacle for another."""

    async def endless() -> object:
        while True:
            yield b"email\n"
            await asyncio.sleep(0.05)

    async with site(tmp_path, {**SLOW, "import_seconds": 0.05}) as it:
        busy = [asyncio.ensure_future(it.upload(endless())) for _ in range(30)]
        while len(it.left()) < 30:
            await asyncio.sleep(0.01)
        run_id = (await it.upload(who="b")).json["run_id"]
        assert (await it.until(run_id, who="b"))["accepted"] == 2
        for one in busy:
            one.cancel()
        await asyncio.wait(busy)


async def test_no_key_and_no_address_is_in_an_error(tmp_path: Path) -> None:
    """Whatever is refused, the answer tells nobody's address and no key."""
    async with site(tmp_path) as it:
        for body in (
            b"ann@example.org\nbob@example.org\n",
            b"email,ann@example.org\nx,1\n",
            b"mail\nann@example.org\n",
        ):
            answer = await it.upload(body)
            assert answer.status == 422
            assert b"example.org" not in answer.body
            assert b"key-of" not in answer.body


async def test_the_page_allows_nothing_from_elsewhere(tmp_path: Path) -> None:
    """Its policy forbids inline scripts, other origins and frames."""
    async with site(tmp_path) as it:
        answer = await it.ask("GET", "/imports/ui", headers={})
        policy = answer.headers["Content-Security-Policy"]
        assert (answer.status, "default-src 'none'" in policy, "unsafe" in policy) == (200, True, False)
        assert "frame-ancestors 'none'" in policy
