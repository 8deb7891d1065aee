"""Several worker processes on one journal and one folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from sites import GOOD

from mjbulk.testing import Emulator, Knobs, serve_in_thread

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found under /proc"),
]

PROGRAM = Path(__file__).parents[1] / "programs" / "p15_backend.py"
OURS = {"X-Tenant": "a", "X-Mjbulk": "1", "Content-Type": "text/csv"}
CHUNKS, ROWS_OF_A_CHUNK, MOST_JOBS = 4, 100, 2
"""A run has more chunks than jobs at once: when its worker is killed, some of it is not sent yet."""
SLOW = Knobs(queue_seconds=0.1, import_seconds=8.0)
QUICK = Knobs(queue_seconds=0.1, import_seconds=0.2)


def people(tag: str) -> bytes:
    rows = (f"{tag}{at}@example.org\n" for at in range(CHUNKS * ROWS_OF_A_CHUNK))
    return f"email\n{''.join(rows)}".encode()


def until(good: Callable[[], bool], seconds: float) -> float:
    """Wait until something is so. Gives the seconds that it took."""
    began = time.monotonic()
    while not good():
        assert time.monotonic() - began < seconds, "it is not so"
        time.sleep(0.05)
    return time.monotonic() - began


def sent_once(emulator: Emulator, runs: int) -> bool:
    """Say whether each row of the runs was sent, and none of them twice."""
    sent = Counter(row["Email"] for job in emulator.jobs.values() for row in job.rows)
    return len(sent) == runs * CHUNKS * ROWS_OF_A_CHUNK and set(sent.values()) == {1}


@frozen
class Workers:
    """The program of a backend, with some worker processes. All but `ask` looks at it from outside."""

    url: str
    folder: Path
    process: "subprocess.Popen[bytes]"

    def ask(self, path: str, data: bytes | None = None, method: str | None = None) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", data, OURS, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")

    def pids(self) -> list[int]:
        """Give the processes that serve, one of its own where there are no others."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        found = [int(pid) for pid in children.split() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return found or [self.process.pid]

    def held(self) -> Mapping[int, set[str]]:
        """Give the runs that each process holds in the journal, by their lock files; processes without any are left
        out.
        """
        found = {pid: set(self._locks(pid)) for pid in self.pids()}
        return {pid: locks for pid, locks in found.items() if locks}

    def _locks(self, pid: int) -> Iterator[str]:
        with suppress(OSError):  # it has ended
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):  # it was closed
                    name = file.readlink().name
                    if name.startswith("imports.db-") and name.endswith(".lock"):
                        yield name

    def runs(self) -> list[dict[str, Any]]:
        """Read the snapshots of all runs."""
        return [json.loads(file.read_bytes()) for file in self.folder.glob("uploads/*/*/run.json")]

    def written_at(self) -> int:
        """Give when the oldest of the snapshots was written, in nanoseconds."""
        return min(file.stat().st_mtime_ns for file in self.folder.glob("uploads/*/*/run.json"))

    def are_busy(self, runs: int) -> bool:
        """Say whether each worker that has one of the runs has as many jobs as it may."""
        held = self.held()
        jobs = sum((run["jobs"] or {}).get("Importing", 0) for run in self.runs())
        return sum(map(len, held.values())) == runs and jobs == MOST_JOBS * len(held)

    def are_complete(self) -> bool:
        rows = CHUNKS * ROWS_OF_A_CHUNK
        return all((run["state"], run["complete"], run["accepted"]) == ("settled", True, rows) for run in self.runs())


def _listens(log: bytes, number: int) -> bool:
    """Say whether all workers are ready; one alone is ready before it listens."""
    return log.count(b"startup complete") == number and b"running on" in log


@contextmanager
def workers(folder: Path, api_url: str, number: int) -> Iterator[Workers]:
    """Serve, and end by SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = os.pathsep.join([str(PROGRAM.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    limits = {"MJBULK_CHUNK_ROWS": str(ROWS_OF_A_CHUNK), "MJBULK_MAX_JOBS": str(MOST_JOBS), "MJBULK_POLL_MIN": "0.05"}
    env = {**os.environ, "PYTHONPATH": path, "MJ_API_URL": api_url, **limits}
    command = [sys.executable, "-m", "uvicorn", "p15_backend:app", "--port", str(port), "--workers", str(number)]
    log = folder / "server.log"
    with log.open("wb") as out, subprocess.Popen([*command, "--no-access-log"], cwd=folder, env=env, stderr=out) as it:
        them = Workers(f"http://127.0.0.1:{port}/imports", folder, it)
        try:
            until(lambda: _listens(log.read_bytes(), number), 90)
            yield them
            it.terminate()
            it.send_signal(signal.SIGCONT)
            it.wait(30)
        finally:
            print(log.read_text(encoding="utf-8"))  # noqa: T201  # it is shown where the test fails
            if it.poll() is None:
                for pid in {*them.pids(), it.pid}:
                    os.kill(pid, signal.SIGKILL)


def test_a_worker_is_killed(tmp_path: Path) -> None:
    """Its runs go on in others within half a minute, without a request. They are complete, and no row is sent twice."""
    with serve_in_thread(SLOW) as server, workers(tmp_path, server.url, 4) as them:
        for tag in "abcd":
            them.ask("/", people(tag))
        until(lambda: them.are_busy(4), 30)
        held = them.held()
        killed = max(held, key=lambda pid: len(held[pid]))
        them.process.send_signal(signal.SIGSTOP)  # it starts no other worker in its place
        os.kill(killed, signal.SIGKILL)
        at = time.time_ns()
        server.emulator.knobs = QUICK

        def go_on() -> bool:
            now = them.held()
            taken = held[killed] <= set().union(*now.values()) or them.are_complete()
            return killed not in now and taken and them.written_at() > at

        print(f"its runs went on after {until(go_on, 30):.1f} s")  # noqa: T201
        until(them.are_complete, 60)
        assert sent_once(server.emulator, 4)


def test_all_are_killed_in_the_middle_and_started_again(tmp_path: Path) -> None:
    """What was under way goes on; what an upload left is no run."""
    with serve_in_thread(SLOW) as server:
        with workers(tmp_path, server.url, 1) as them:
            run_id = them.ask("/", people("a"))["run_id"]
            until(lambda: them.are_busy(1), 30)
            them.process.kill()
            them.process.wait()
        server.emulator.knobs = QUICK
        with workers(tmp_path, server.url, 1) as them:
            until(them.are_complete, 60)
            assert sent_once(server.emulator, 1)
            assert [one["run_id"] for one in them.ask("/")["runs"]] == [run_id]
            assert them.ask(f"/{run_id}", method="DELETE") is None
            assert them.ask("/", GOOD)["run_id"]
