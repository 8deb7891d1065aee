"""The life of runs: events, stop, resume, delete, the end of the application, and its next process."""

import asyncio
import json
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sites import CSV, GOOD, QUICK, SLOW, Site, backend, keys, served, site, tenant
from starlette.middleware.base import BaseHTTPMiddleware

import mjbulk
from mjbulk.fastapi import Imports
from mjbulk.fastapi import keeper as keeper_module
from mjbulk.fastapi import others as others_module
from mjbulk.testing import Emulator, Knobs

pytestmark = pytest.mark.real_time

MANY = b"email\n" + b"".join(b"p%d@example.org\n" % at for at in range(3000))


async def started(it: Site, body: bytes = GOOD, **headers: str) -> str:
    answer = await it.upload(body, headers={**CSV, **headers})
    assert answer.status == 202, answer.body
    run_id: str = answer.json["run_id"]
    return run_id


async def sent(it: Site, posts: int = 1) -> None:
    """Wait until chunks have left."""
    async with asyncio.timeout(60):
        while it.posts() < posts:
            await asyncio.sleep(0.01)


async def test_events(tmp_path: Path) -> None:
    """Whole snapshots, and the last one twice: as the end."""
    async with site(tmp_path, {**QUICK, "import_seconds": 0.7}) as it:
        run_id = await started(it)
        answer = await it.ask("GET", f"/imports/{run_id}/events")
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        events = [
            dict(line.split(": ", 1) for line in one.splitlines()) for one in answer.body.decode().split("\n\n")[:-1]
        ]
        assert [one["event"] for one in events[-2:]] == ["run", "end"]
        assert len(events) >= 3
        snapshots = [json.loads(one["data"]) for one in events]
        assert snapshots[-1] == await it.get(f"/imports/{run_id}")
        assert {one["run_id"] for one in snapshots} == {run_id}
        assert [one["rows"] for one in snapshots] == [2] * len(snapshots)


async def test_stop_resume_delete(tmp_path: Path) -> None:
    """A stopped run waits until it is asked to go on; one under way is not deleted."""
    async with site(tmp_path, {**QUICK, "import_seconds": 2.0}) as it:
        run_id = await started(it)
        await sent(it)
        busy = await it.ask("DELETE", f"/imports/{run_id}")
        assert (busy.status, busy.problem["code"]) == (409, "run.under_way")
        assert (await it.ask("POST", f"/imports/{run_id}/stop")).status == 202
        run = await it.until(run_id)
        assert (run["state"], run["complete"], run["cause"]) == ("resumable", False, "it was stopped")
        assert (await it.ask("POST", f"/imports/{run_id}/resume")).status == 202
        run = await it.until(run_id)
        assert (run["state"], run["accepted"], run["cause"]) == ("settled", 2, None)
        assert it.posts() == 1
        assert (await it.ask("POST", f"/imports/{run_id}/stop")).json["state"] == "settled"
        assert (await it.ask("DELETE", f"/imports/{run_id}")).status == 204
        assert (await it.ask("GET", f"/imports/{run_id}")).status == 404
        assert it.left() == []


async def test_the_application_ends_in_the_middle(tmp_path: Path) -> None:
    """It ends in time; the next process goes on without a request, and sends nothing twice."""
    async with Emulator(Knobs(**{**QUICK, "import_seconds": 3.0})) as emulator:
        async with backend(tmp_path, emulator) as it:
            run_id = await started(it, MANY)
            listening = asyncio.ensure_future(it.ask("GET", f"/imports/{run_id}/events"))
            await sent(it, 3)
            began = asyncio.get_running_loop().time()
            it.server.should_exit = True
            assert (await listening).body.count(b"event: run") >= 1
        assert asyncio.get_running_loop().time() - began < 3.0 + 2.0
        assert (tmp_path / "uploads").exists()
        async with backend(tmp_path, emulator) as it:
            run = await it.until(run_id)
            assert (run["state"], run["accepted"]) == ("settled", 3000)
            assert it.posts() == 3


async def test_keys_that_do_not_come_delay_no_other_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run goes on though the keys of the tenant before it never come."""
    monkeypatch.setattr(keeper_module, "_KEYS", 0.2)
    asked: list[str] = []

    async def some_keys(who: str) -> mjbulk.Credentials:
        asked.append(who)
        if who == asked[0]:
            await asyncio.Event().wait()
        return keys(who)

    async with Emulator(Knobs(**{**QUICK, "import_seconds": 3.0})) as emulator:
        async with backend(tmp_path, emulator) as it:
            runs = {who: (await it.upload(MANY, who=who)).json["run_id"] for who in ("a", "b")}
            await sent(it, 6)
        async with backend(tmp_path, emulator, credentials_of=some_keys) as it, asyncio.timeout(60):
            while len(set(asked)) < 2:
                await asyncio.sleep(0.01)
            run = await it.until(runs[asked[-1]], who=asked[-1])
            assert (run["state"], run["accepted"]) == ("settled", 3000)


async def test_a_stopped_run_stays_stopped(tmp_path: Path) -> None:
    """The next process lets it be, until it is asked to go on."""
    async with Emulator(Knobs(**{**QUICK, "import_seconds": 1.0})) as emulator:
        async with backend(tmp_path, emulator) as it:
            run_id = await started(it)
            await sent(it)
            await it.ask("POST", f"/imports/{run_id}/stop")
            await it.until(run_id)
        async with backend(tmp_path, emulator) as it:
            await asyncio.sleep(0.5)
            assert (await it.get(f"/imports/{run_id}"))["state"] == "resumable"
            await it.ask("POST", f"/imports/{run_id}/resume")
            assert (await it.until(run_id))["accepted"] == 2


async def test_an_upload_is_cut_when_the_application_ends(tmp_path: Path) -> None:
    """A slow one does not keep it from ending, and leaves nothing."""

    async def body() -> Any:
        while True:
            yield b"email\n"
            await asyncio.sleep(0.05)

    async with site(tmp_path) as it:
        uploading = asyncio.ensure_future(it.upload(body()))
        while not it.left():
            await asyncio.sleep(0.01)
        it.server.should_exit = True
        answer = await uploading
        assert (answer.status, answer.problem["code"]) == (503, "worker.ends")
        assert it.left() == []


async def test_two_workers(tmp_path: Path) -> None:
    """One has the run; the other tells how far it has come, and hands it what is asked. Rejected rows are in both."""
    async with (
        Emulator(Knobs(**SLOW)) as emulator,
        backend(tmp_path, emulator) as one,
        backend(tmp_path, emulator) as two,
    ):
        run_id = await started(one, GOOD + b"nobody\n")
        await sent(one)
        async with asyncio.timeout(60):
            while (run := await two.get(f"/imports/{run_id}"))["jobs"] != {"Importing": 1}:
                await asyncio.sleep(0.05)
        assert (run["state"], run["rows"], run["rejected"], run["held"]) == ("running", 3, 1, 0)
        assert (await two.get(f"/imports/{run_id}/rejections"))["rows"][0]["email"] == "nobody"
        assert (await two.ask("DELETE", f"/imports/{run_id}")).status == 409
        assert (await two.get(f"/imports/{run_id}"))["state"] == "running"
        assert (await two.ask("POST", f"/imports/{run_id}/stop")).status == 202
        assert (await two.until(run_id))["state"] == "resumable"
        emulator.knobs = Knobs(**QUICK)
        assert (await two.ask("POST", f"/imports/{run_id}/resume")).status == 202
        assert (await one.ask("POST", f"/imports/{run_id}/resume")).status == 202
        same = await two.upload(GOOD + b"nobody\n")
        assert same.json["run_id"] != run_id


async def test_a_run_that_nobody_has_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that lives takes the run of one that has died, when its snapshot has not changed for a while."""
    monkeypatch.setattr(others_module, "_STILL", 0.5)
    async with Emulator(Knobs(**QUICK)) as emulator:
        async with backend(tmp_path, emulator) as it:
            run_id = await started(it)
            await it.until(run_id)
        (snapshot,) = (tmp_path / "uploads").rglob("run.json")
        settled = json.loads(snapshot.read_bytes())
        async with backend(tmp_path, emulator) as it:
            await asyncio.sleep(0.1)  # its first look is over
            snapshot.write_text(json.dumps({**settled, "state": "running", "accepted": 0}))
            run = await it.until(run_id)
            assert (run["state"], run["accepted"]) == ("settled", 2)
            assert it.posts() == 1


async def test_a_worker_that_looks_for_a_run_of_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds that the run is under way, and leaves all that is known of it as it is, also at the run's end."""
    monkeypatch.setattr(others_module, "_STILL", 0.0)
    monkeypatch.setattr(keeper_module, "_LOOK", 0.2)
    async with (
        Emulator(Knobs(**{**QUICK, "import_seconds": 1.5})) as emulator,
        backend(tmp_path, emulator) as one,
        backend(tmp_path, emulator) as two,
    ):
        run_ids = [await started(one, GOOD + b"nobody\n") for _ in range(3)]
        for run_id in run_ids:
            await one.until(run_id)
        await asyncio.sleep(0.3)
        for it in (one, two):
            for run_id in run_ids:
                run = await it.get(f"/imports/{run_id}")
                assert (run["state"], run["rows"], run["accepted"], run["rejected"]) == ("settled", 3, 2, 1)
                assert (await it.get(f"/imports/{run_id}/rejections"))["total"] == 1
        assert emulator.count("POST contact/managemanycontacts") == 3


async def test_what_was_kept_for_long_enough_goes(tmp_path: Path) -> None:
    """Runs that have ended go with all that is kept of them; those under way stay."""
    async with Emulator(Knobs(**QUICK)) as emulator:
        async with backend(tmp_path, emulator) as it:
            old, new = await started(it), await started(it)
            await it.until(old)
            await it.until(new)
        (snapshot,) = (tmp_path / "uploads").glob(f"*/{old}/run.json")
        os.utime(snapshot, (0, 0))
        async with backend(tmp_path, emulator, keep=3600.0) as it:
            async with asyncio.timeout(60):
                while [run["run_id"] for run in (await it.get("/imports/"))["runs"]] != [new]:
                    await asyncio.sleep(0.05)


async def test_pages_of_runs(tmp_path: Path) -> None:
    """The newest first, by state, a page at a time."""
    async with site(tmp_path) as it:
        made = [await started(it) for _ in range(5)]
        for run_id in made:
            await it.until(run_id)
        first = await it.get("/imports/?limit=2")
        second = await it.get(f"/imports/?limit=2&before={first['next']}")
        third = await it.get(f"/imports/?limit=2&before={second['next']}")
        found = [run["run_id"] for page in (first, second, third) for run in page["runs"]]
        assert (found, third["next"]) == (made[::-1], None)
        assert len((await it.get("/imports/?state=settled"))["runs"]) == 5
        assert (await it.get("/imports/?state=running"))["runs"] == []
        assert (await it.get("/imports?before=nothing"))["runs"] == []


async def test_behind_middleware_and_in_the_lifespan_of_the_application(tmp_path: Path) -> None:
    """It lives with others in one lifespan, and behind a middleware that wraps requests."""

    class Middleware(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    async with Emulator(Knobs(**QUICK)) as emulator, backend(tmp_path, emulator) as it:
        settings = mjbulk.Settings(api_url=emulator.url, poll_min=0.02)
        where: dict[str, Any] = {"journal": str(tmp_path / "other.db"), "upload_dir": str(tmp_path / "other")}
        imports = Imports(tenant=tenant, credentials_of=keys, lists={1: "addnoforce"}, settings=settings, **where)

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> Any:
            async with imports.lifespan(app):
                yield

        app = FastAPI(lifespan=lifespan)
        app.add_middleware(Middleware)
        app.include_router(imports.router, prefix="/x/imports")
        async with served(app) as (url, _):
            it.url = f"{url}/x"
            run_id = await started(it)
            assert (await it.until(run_id))["accepted"] == 2
            assert (await it.ask("GET", f"/imports/{run_id}/events")).body.endswith(b"\n\n")
