"""A million rows in Parquet parts, imported by two processes of Dask that share a quota in Redis and a journal.

``python tests/dask_million.py --kill --journal postgresql`` imports them twice, the second time while workers are
killed: one in the middle, and the one that runs its partition again. It fails unless the books are closed and are those
of the run that nobody disturbed, each row was sent once except the chunks that were under way at a kill, and no second
of the server's clock held more requests than the quota.

The emulator is a process of its own. In front of it stands a small relay, also a process of its own, that notes when
each request arrives: the emulator itself is busy with rows for tens of milliseconds at a time.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it brings no types
from attrs import field, frozen
from crash_world import state_of
from postgres import programs, serving
from pyarrow import parquet
from servers import Server, begin, obey
from support import most_within

from benchmarks import redis_server
from mjbulk.testing import Emulator, Knobs

CHUNK, CONCURRENCY = 1000, 8
"""The defaults of `mjbulk.Settings`."""


# The server


async def emulate(line: Connection, refused: Sequence[str]) -> None:
    """Be Mailjet, with jobs of a second."""
    async with Emulator(Knobs(queue_seconds=0.5, prepare_seconds=0.0, import_seconds=0.5)) as emulator:
        for who in refused:
            emulator.reject(who, "Invalid email")

        def truth(key: str) -> dict[str, Any]:
            people = emulator.account(key).people.values()
            bodies: dict[tuple[str, ...], list[float]] = {}
            for job in emulator.jobs.values():
                if job.key == key:
                    bodies.setdefault(tuple(row["Email"] for row in job.rows), []).append(job.posted)
            entries = Counter(who for body, times in bodies.items() for who in body * len(times))
            return {
                "jobs": sum(map(len, bodies.values())),
                "entries": entries.total(),
                "people": len(entries),
                "sent twice": sorted(times[0] for times in bodies.values() if len(times) > 1),
                "state": state_of((one.email, one.properties, one.seen().lists) for one in people),
            }

        orders: dict[str, Callable[..., Any]] = {
            "posts": lambda: emulator.count("POST contact/managemanycontacts"),
            "now": lambda: emulator.now,
            "truth": truth,
        }
        await obey(line, emulator.url, orders)


@frozen
class Relay:
    """Passes bytes on, a thread for each direction of a connection, and notes when requests arrived. The kernel tells
    when that was, so it does not matter when this process has its turn. Mutable: these times.
    """

    to: tuple[str, int]
    arrived: list[float] = field(factory=list)

    def serve(self, listening: socket.socket) -> None:
        """Take connections."""
        while True:
            client, _ = listening.accept()
            client.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
            Thread(target=self.pass_on, args=(client, socket.create_connection(self.to)), daemon=True).start()

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Serve a connection. What a client sends after an answer is its next request."""
        answered = Event()
        answered.set()
        Thread(target=_answers, args=(server, client, answered), daemon=True).start()
        with suppress(OSError):
            while True:
                data, said, *_ = client.recvmsg(64 if answered.is_set() else 1 << 18, 64)
                if not data:
                    break
                if answered.is_set():
                    self.arrived.append(_time_of(said))
                    answered.clear()
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def times(self) -> list[float]:
        """Give the times that were noted since they were given last."""
        times = sorted(self.arrived)
        self.arrived.clear()
        return times


_TIMESTAMPS = 35
"""SO_TIMESTAMPNS of Linux, which Python does not name."""


def _time_of(said: Sequence[tuple[int, int, bytes]]) -> float:
    for level, kind, value in said:
        if (level, kind) == (socket.SOL_SOCKET, _TIMESTAMPS):
            seconds, nanoseconds = struct.unpack("ll", value)
            return float(seconds + nanoseconds / 1e9)
    return time.time()


def _answers(server: socket.socket, client: socket.socket, answered: Event) -> None:
    with suppress(OSError):
        while data := server.recv(1 << 16):
            answered.set()
            client.sendall(data)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


async def relay(line: Connection, to: str) -> None:
    """Stand in front of a server."""
    host, _, port = to.removeprefix("http://").partition(":")
    front, listening = Relay((host, int(port))), socket.create_server(("127.0.0.1", 0))
    Thread(target=front.serve, args=(listening,), daemon=True).start()
    await obey(line, f"http://127.0.0.1:{listening.getsockname()[1]}", {"times": front.times})


# The rows


def people(part: int, rows: int) -> list[str]:
    """Give the addresses of a part: some are none, some come twice."""
    return ["nobody" if n % 1000 == 7 else f"p{part}-{n - 1 if n % 5000 == 11 else n}@example.org" for n in range(rows)]


def refused(part: int) -> str:
    """Name one of a part whom the server rejects."""
    return f"p{part}-3@example.org"


def write_parts(folder: Path, parts: int, rows: int) -> list[Path]:
    """Write the parts."""
    paths = [folder / f"part-{part:02}.parquet" for part in range(parts)]
    for part, path in enumerate(paths):
        parquet.write_table(pa.table({"email": people(part, rows // parts)}), path)
    return paths


# The runs


@frozen(kw_only=True)
class Form:
    """Where runs take place."""

    paths: Sequence[Path]
    emulator: Server
    front: Server
    redis: str
    rate: float
    rejections: Path

    async def run(self, name: str, journal: str, *, kill: bool, workers: int = 2) -> dict[str, Any]:
        """Import all parts, and tell what came of it."""
        from dask.distributed import Client  # noqa: PLC0415  # after its processes' environment is known

        from mjbulk.dask import import_partitions  # noqa: PLC0415  # as above

        os.environ.update(MJ_API_URL=self.front.url, MJ_APIKEY_PUBLIC=name, MJ_APIKEY_PRIVATE="secret")
        self.front.tell("times")
        posts, began, kills = self.emulator.tell("posts"), time.monotonic(), []
        how = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
        async with Client(asynchronous=True, **how) as client:  # type: ignore[no-untyped-call]
            call = asyncio.ensure_future(  # as above
                import_partitions(
                    client,
                    self.paths,
                    run_id=name,
                    lists={1: "addnoforce"},
                    journal=journal,
                    quota=self.redis,
                    max_rate=self.rate,
                    rejections=str(self.rejections / name),
                )
            )
            if kill:
                kills = await self._kill_twice(client, posts + len(self.paths) // 2)
            report = await call
        times, truth = self.front.tell("times"), self.emulator.tell("truth", name)
        parts = {part.partition: (part.as_dict(), [*part.accepted_rows()]) for part in report.parts}
        for known, _ in parts.values():
            for one in ("run_id", "rejections_path"):
                del known[one]
        return {
            "books": (str(report).partition(": ")[2], parts, truth["state"]),
            "complete": report.complete,
            "kills": kills,
            "truth": truth,
            "seconds": round(time.monotonic() - began, 1),
            "requests": len(times),
            "most in 1 s": most_within(1.0, times),
        }

    async def _kill_twice(self, client: Any, posts: int) -> list[float]:
        """Kill a worker, and then the one that runs its partition again. Give when, by the emulator's clock."""
        kills: list[float] = []
        wanted: set[str] = set()
        while len(kills) < 2:
            await asyncio.sleep(0.05)
            if self.emulator.tell("posts") < posts:
                continue
            running = await client.run(_running, on_error="ignore")
            found = [worker for worker, (_, keys) in running.items() if (wanted & keys if wanted else keys)]
            if not found:
                continue
            if wanted:
                await self._more_posts(5)
            pid, wanted = running[found[0]]
            os.kill(pid, signal.SIGKILL)
            kills.append(self.emulator.tell("now"))
        return kills

    async def _more_posts(self, count: int) -> None:
        wanted = self.emulator.tell("posts") + count
        while self.emulator.tell("posts") < wanted:
            await asyncio.sleep(0.02)


def _running(dask_worker: Any) -> tuple[int, set[str]]:
    """Name the tasks that a worker runs just now."""
    return os.getpid(), {task.key for task in dask_worker.state.executing}


def check(calm: Mapping[str, Any], run: Mapping[str, Any], most: float) -> list[str]:
    """Say what of a run is not as it has to be."""
    truth, wrong = run["truth"], []
    if not run["complete"] or run["books"] != calm["books"]:
        wrong.append("the books are not those of a run that nobody disturbed")
    under_way = [when for when in truth["sent twice"] if any(kill - 5 < when < kill + 1 for kill in run["kills"])]
    if len(under_way) < len(truth["sent twice"]) or len(under_way) > CONCURRENCY * len(run["kills"]):
        wrong.append("chunks were sent twice that were not under way at a kill")
    if truth["people"] != calm["truth"]["people"]:
        wrong.append("other people were sent")
    if run["most in 1 s"] > most:
        wrong.append(f"a second held {run['most in 1 s']} requests")
    return wrong


@contextmanager
def journals(kind: str, folder: Path) -> Iterator[Callable[[str], str]]:
    """Give what names the journal of a run."""
    if kind == "sqlite":
        yield lambda name: str(folder / f"{name}.db")
        return
    found = programs()
    assert found is not None, "PostgreSQL is not installed"
    with serving(found) as server:
        yield lambda name: server.url(server.create_database())


def main(arguments: Sequence[str]) -> int:
    """Run it, print what was seen as JSON, and give 1 if that is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--late", type=int, default=0, help="requests above it that a busy machine may have in 1 s")
    parser.add_argument("--kill", action="store_true", help="import again, and kill two workers")
    parser.add_argument("--journal", choices=["postgresql", "sqlite"], default="postgresql")
    said = parser.parse_args(arguments)
    program = redis_server.program()
    assert program is not None, "Redis is not installed"
    bad = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mjbulk-dask-")))
        emulator = begin(emulate, [refused(part) for part in range(said.parts)])
        stack.callback(emulator.line.close)
        front = begin(relay, emulator.url)
        stack.callback(front.line.close)
        form = Form(
            paths=write_parts(folder, said.parts, said.rows),
            emulator=emulator,
            front=front,
            redis=stack.enter_context(redis_server.serving(program)).url,
            rate=said.rate,
            rejections=folder / "rejected",
        )
        name_of = stack.enter_context(journals(said.journal, folder))
        calm: dict[str, Any] = {}
        for name in ("calm", "killed") if said.kill else ("calm",):
            run = asyncio.run(form.run(name, name_of(name), kill=name == "killed"))
            calm = calm or run
            wrong = check(calm, run, said.rate + said.late)
            bad += bool(wrong)
            told = {"run": name, "report": run["books"][0], "wrong": wrong}
            told |= {key: value for key, value in run.items() if key != "books"}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
