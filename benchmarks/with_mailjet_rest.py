"""mailjet-rest with 16 threads, which post chunks of 1,000 rows and poll each job until it has completed."""

import argparse
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mailjet_rest import Client
from requests.adapters import HTTPAdapter

from benchmarks.measure import contend
from benchmarks.rows import chunks_of

_THREADS = 16
_LISTS = [{"ListID": 1, "Action": "addnoforce"}]


def _send(client: Client, chunks: Iterator[list[dict[str, Any]]], lock: threading.Lock) -> int:
    sent = 0
    while True:
        with lock:
            chunk = next(chunks, None)
        if chunk is None:
            return sent
        posted = client.contact_managemanycontacts.create(data={"ContactsLists": _LISTS, "Contacts": chunk})
        job_id = posted.json()["Data"][0]["JobID"]
        while client.contact_managemanycontacts.get(id=job_id).json()["Data"][0]["Status"] != "Completed":
            time.sleep(0.01)
        sent += len(chunk)


def _import(options: argparse.Namespace) -> int:
    with Client(auth=("public", "private"), version="v3", api_url=options.url) as client:
        # Over https mailjet-rest keeps 100 connections. Over http it keeps the default of 10, and would drop 6 of 16.
        client.session.mount("http://", HTTPAdapter(pool_connections=100, pool_maxsize=100))
        chunks, lock = chunks_of(options.rows), threading.Lock()
        with ThreadPoolExecutor(_THREADS) as threads:
            work = [threads.submit(_send, client, chunks, lock) for _ in range(_THREADS)]
            return sum(done.result() for done in work)


if __name__ == "__main__":
    contend(_import)
