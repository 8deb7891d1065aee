"""Several worker processes on one journal and one folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sites import GOOD

from mjbulk.testing import Knobs, serve_in_thread

pytestmark = [pytest.mark.real_time, pytest.mark.long]

PROGRAM = Path(__file__).parents[1] / "programs" / "p15_backend.py"
MANY = b"email\n" + b"".join(b"p%d@example.org\n" % at for at in range(3000))
OURS = {"X-Tenant": "a", "X-Mjbulk": "1", "Content-Type": "text/csv"}


class Workers:
    """The program of a backend, with some worker processes."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]") -> None:
        self.url = url
        self.process = process

    def ask(self, path: str, data: bytes | None = None, method: str | None = None) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", data, OURS, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read() or b"null")

    def until(self, run_id: str, good: Callable[[Any], bool], seconds: float = 40) -> Any:
        """Ask for a run until it is as it has to be; a worker that is killed does not answer."""
        end = time.monotonic() + seconds
        run: Any = None
        while time.monotonic() < end:
            try:
                run = self.ask(f"/{run_id}")
            except (OSError, urllib.error.HTTPError):
                run = None
            if run is not None and good(run):
                return run
            time.sleep(0.05)
        pytest.fail(f"it is not so: {run}")

    def pids(self) -> list[int]:
        """Give the processes that serve."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in children.split() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def workers(folder: Path, api_url: str, number: int) -> Iterator[Workers]:
    """Serve, and end by SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    path = os.pathsep.join([str(PROGRAM.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "MJ_API_URL": api_url, "MJBULK_POLL_MIN": "0.05"}
    command = [sys.executable, "-m", "uvicorn", "p15_backend:app", "--port", str(port), "--workers", str(number)]
    with subprocess.Popen([*command, "--log-level", "warning"], cwd=folder, env=env) as process:
        them = Workers(f"http://127.0.0.1:{port}/imports", process)
        try:
            end = time.monotonic() + 60
            while True:
                try:
                    them.ask("/")
                    break
                except OSError:
                    assert time.monotonic() < end, "it has not started"
                    time.sleep(0.1)
            yield them
            process.terminate()
            process.wait(20)
        finally:
            process.kill()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found under /proc")
def test_workers_are_killed(tmp_path: Path) -> None:
    """Their runs go on in others without a request, and nothing is sent twice."""
    with serve_in_thread(Knobs(queue_seconds=0.1, import_seconds=4.0)) as server:
        with workers(tmp_path, server.url, 3) as them:
            run_ids = [them.ask("/", MANY)["run_id"] for _ in range(3)]
            for run_id in run_ids:
                them.until(run_id, lambda run: run["jobs"].get("Importing") == 3)
            for pid in them.pids()[:2]:
                os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            for run_id in run_ids:
                run = them.until(run_id, lambda run: run["state"] == "settled")
                assert (run["accepted"], run["complete"]) == (3000, True)
            assert time.monotonic() - killed < 60  # on a busy machine too
        assert server.emulator.count("POST contact/managemanycontacts") == 9


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found under /proc")
def test_all_are_killed_in_the_middle_and_started_again(tmp_path: Path) -> None:
    """What was under way goes on; what an upload left is no run."""
    with serve_in_thread(Knobs(queue_seconds=0.1, import_seconds=3.0)) as server:
        with workers(tmp_path, server.url, 1) as them:
            run_id = them.ask("/", MANY)["run_id"]
            them.until(run_id, lambda run: run["jobs"].get("Importing") == 3)
            them.process.kill()
            them.process.wait()
        with workers(tmp_path, server.url, 1) as them:
            run = them.until(run_id, lambda run: run["state"] == "settled")
            assert (run["accepted"], run["complete"]) == (3000, True)
            assert [one["run_id"] for one in them.ask("/")["runs"]] == [run_id]
            assert them.ask(f"/{run_id}", method="DELETE") is None
            assert them.ask("/", GOOD)["run_id"]
        assert server.emulator.count("POST contact/managemanycontacts") == 4
