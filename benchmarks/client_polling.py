"""The figures of `benchmarks.polling` again, with a real client and the emulator, under a virtual clock."""

import asyncio
from statistics import fmean

from benchmarks.jobs import ModelJob, mix
from mjbulk import Client, Credentials, Settings
from mjbulk.testing import EmulatedJob, Emulator, Knobs, VirtualClockLoop

_ROWS = [{"email": f"c{number}@example.com"} for number in range(500)]
_APART = 30.0
"""Seconds between two posts, so that a later job can profit from the durations of earlier ones."""


def knobs(jobs: list[ModelJob]) -> Knobs:
    """Make the emulator's jobs take the times of the modelled ones, in the order in which they are posted."""
    first = Knobs().first_job_id

    def model(job: EmulatedJob) -> ModelJob:
        return jobs[job.id - first]

    return Knobs(
        queue_seconds=lambda job: model(job).queue,
        prepare_seconds=0.0,
        import_seconds=lambda job: model(job).work,
        progress=lambda job, worked: model(job).share(worked),
        first_job_id=first,
    )


async def _watch(number: int, seed: int, most: float | None) -> tuple[float, float]:
    jobs = list(mix(number, seed))
    loop = asyncio.get_running_loop()
    async with Emulator(knobs(jobs)) as emulator:
        settings = Settings(api_url=emulator.url, poll_max=most)

        async def one(client: Client, index: int) -> float:
            await asyncio.sleep(index * _APART)
            watcher = await client.submit_contacts(_ROWS, lists={1: "addnoforce"})
            posted = loop.time()
            await watcher.wait()
            took = jobs[index].ends
            return (loop.time() - posted - took) / took

        async with Client(Credentials("public", "private"), settings) as client:
            late = await asyncio.gather(*(one(client, index) for index in range(number)))
        return emulator.count("GET contact/managemanycontacts") / number, fmean(late)


def through_client(number: int, seed: int, most: float | None = None) -> tuple[float, float]:
    """Post jobs one after the other, watch them all, and give the polls per job and the mean lateness."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(_watch(number, seed, most))
