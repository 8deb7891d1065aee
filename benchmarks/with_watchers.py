"""mjbulk watching: one client watches many jobs at once, which it has not created.

Client and server run in one process and one event loop, under a virtual clock, so the peak of memory includes both.
"""

import argparse
import asyncio
import json
from array import array

import orjson

from benchmarks.jobs import ModelJob, mix
from mjbulk import Client, Credentials, Settings
from mjbulk.testing import VirtualClockLoop

_SEED = 1


class Answers(asyncio.Protocol):
    """A server that gives the state of jobs, and has no error files."""

    def __init__(self, jobs: list[ModelJob], polls: "array[float]") -> None:
        self._jobs = jobs
        self._polls = polls
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        path = data.split(b" ", 2)[1].decode()
        is_job = path.startswith("/v3/REST/contact/managemanycontacts/")
        body = self._job(int(path.rpartition("/")[2])) if is_job else b'{"StatusCode":404}'
        head = f"HTTP/1.1 {200 if is_job else 404} -\r\nContent-Type: application/json\r\n"
        assert self._transport is not None
        self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _job(self, number: int) -> bytes:
        now = asyncio.get_running_loop().time()
        self._polls.append(now)
        said = self._jobs[number - 1].reply(now)
        times = {"JobStart": said.job_start, "JobEnd": said.job_end}
        return orjson.dumps({"Data": [{"Status": said.status, "Count": said.count, **times}]})


async def _watch(number: int, max_rate: float) -> dict[str, float]:
    polls: array[float] = array("d")
    loop, jobs = asyncio.get_running_loop(), list(mix(number, _SEED))
    server = await loop.create_server(lambda: Answers(jobs, polls), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    others = 0
    async with Client(Credentials("public", "private"), Settings(api_url=url, max_rate=max_rate)) as client:
        watchers = [client.watch(f"contact:{job_id}") for job_id in range(1, number + 1)]
        waits = [asyncio.create_task(watcher.wait(), name="wait") for watcher in watchers]
        everyone = asyncio.gather(*waits)
        while not everyone.done():
            await asyncio.wait([everyone], timeout=600.0)
            others = max(others, sum(task.get_name() != "wait" for task in asyncio.all_tasks()) - 1)
        ended = sum(job.ok for job in await everyone)
    server.close()
    return {"ended": ended, "polls": len(polls), "most": _most_in_a_second(polls), "tasks": others}


def _most_in_a_second(times: "array[float]") -> int:
    first, most = 0, 0
    for last, when in enumerate(times):
        while times[first] < when - 1 + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--max-rate", type=float, default=50.0)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        print(json.dumps(runner.run(_watch(options.jobs, options.max_rate))))
