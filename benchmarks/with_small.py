"""mjbulk with an import of a few rows, and beside it the least that one takes: in turns, in one process.

The least is written by hand: the request with the rows, as long as the job lasts, the request for its state, and the
one for its error file. What is asked about the account is asked before the first round, and remembered.
"""

import argparse
import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Awaitable

import aiohttp
import orjson

from benchmarks.rows import contact_of, rows
from mjbulk import Client, Credentials, Settings

_ROWS = 10
_PATH = "/v3/REST/contact/managemanycontacts"
_ERRORS = "/v3/DATA/batchjob/{}/JSONError/application:json/LAST"
_LISTS = [{"ListID": 1, "Action": "addnoforce"}]


async def _by_mjbulk(client: Client) -> None:
    report = await client.import_contacts(rows(_ROWS), lists={1: "addnoforce"})
    assert report.accepted == _ROWS


async def _by_hand(session: aiohttp.ClientSession, job_lasts: float) -> None:
    body = orjson.dumps({"ContactsLists": _LISTS, "Contacts": [contact_of(row) for row in rows(_ROWS)]})
    async with session.post(_PATH, data=body) as posted:
        job_id = orjson.loads(await posted.read())["Data"][0]["JobID"]
    await asyncio.sleep(job_lasts)
    async with session.get(f"{_PATH}/{job_id}") as asked:
        assert orjson.loads(await asked.read())["Data"][0]["Status"] == "Completed"
    async with session.get(_ERRORS.format(job_id)) as asked:
        await asked.read()


async def _took(work: Awaitable[None]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _run(options: argparse.Namespace) -> dict[str, list[float]]:
    headers = {"Authorization": f"Basic {b64encode(b'public:private').decode()}", "Content-Type": "application/json"}
    took: dict[str, list[float]] = {"mjbulk": [], "by hand": []}
    async with (
        Client(Credentials("public", "private"), Settings(api_url=options.url)) as client,
        aiohttp.ClientSession(options.url, headers=headers) as session,
    ):
        for _ in range(options.rounds):
            took["mjbulk"].append(await _took(_by_mjbulk(client)))
            took["by hand"].append(await _took(_by_hand(session, options.job_lasts)))
    return took


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--job-lasts", type=float, required=True)
    print(json.dumps(asyncio.run(_run(parser.parse_args()))))
