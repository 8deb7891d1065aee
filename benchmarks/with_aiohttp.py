"""A loop written by hand with aiohttp and orjson: 8 tasks post chunks and poll jobs, without any check.

It is the least work that the JSON way can take.
"""

import argparse
import asyncio
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import aiohttp
import orjson

from benchmarks.measure import contend
from benchmarks.rows import chunks_of

_AT_ONCE = 8
_PATH = "/v3/REST/contact/managemanycontacts"
_LISTS = [{"ListID": 1, "Action": "addnoforce"}]


async def _send(session: aiohttp.ClientSession, chunks: Iterator[list[dict[str, Any]]]) -> int:
    sent = 0
    for chunk in chunks:
        body = orjson.dumps({"ContactsLists": _LISTS, "Contacts": chunk})
        async with session.post(_PATH, data=body) as posted:
            job_id = orjson.loads(await posted.read())["Data"][0]["JobID"]
        while True:
            async with session.get(f"{_PATH}/{job_id}") as asked:
                status = orjson.loads(await asked.read())["Data"][0]["Status"]
            if status == "Completed":
                break
            await asyncio.sleep(0.01)
        sent += len(chunk)
    return sent


async def _import(options: argparse.Namespace) -> int:
    chunks = chunks_of(options.rows)
    headers = {"Authorization": f"Basic {b64encode(b'public:private').decode()}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(options.url, headers=headers) as session:
        return sum(await asyncio.gather(*(_send(session, chunks) for _ in range(_AT_ONCE))))


if __name__ == "__main__":
    contend(lambda options: asyncio.run(_import(options)))
