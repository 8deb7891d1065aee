#!/bin/sh
# A soft time limit of Celery that strikes while asyncio runs a callback is lost: the event loop logs SoftTimeLimitExceeded
# as an exception of that callback, and the task goes on and succeeds, however long it takes. The limit is raised once.
# - The same limit within a coroutine of the task is raised, and fails the task.
# A task that uses asyncio.run() is in callbacks whenever data arrives, so a part of its limits is lost by chance.
set -eu
folder=$(mktemp -d)
worker=
trap 'test -z "$worker" || kill "$worker" || true; wait; rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q celery==5.7.0
mkdir "$folder/queue" "$folder/results"
cat >"$folder/limited.py" <<'END'
import asyncio
import time
from pathlib import Path

from celery import Celery

here = Path(__file__).parent
app = Celery("limited", broker="filesystem://", backend=f"file://{here}/results")
app.conf.broker_transport_options = {"data_folder_in": str(here / "queue"), "data_folder_out": str(here / "queue")}


def compute():
    end = time.monotonic() + 2
    while time.monotonic() < end:
        pass


async def in_a_callback():
    asyncio.get_running_loop().call_soon(compute)
    await asyncio.sleep(2.5)
    return "success"


async def in_a_coroutine():
    compute()
    return "success"


@app.task(soft_time_limit=1)
def work(name):
    return asyncio.run(globals()[name]())
END
cat >"$folder/ask.py" <<'END'
import sys
from importlib.metadata import version

from limited import work

print("versions: celery", version("celery"), "billiard", version("billiard"))
print("shows: how a task that computes for 2 s ends with a soft time limit of 1 s")
good = True
for name, expected in (("in_a_callback", "success"), ("in_a_coroutine", "SoftTimeLimitExceeded")):
    try:
        seen = work.delay(name).get(timeout=60)
    except Exception as why:
        seen = type(why).__name__
    good &= seen == expected
    print(f"{name}: expected {expected}, seen {seen}:", "same" if seen == expected else "CHANGED")
sys.exit(not good)
END
cd "$folder"
venv/bin/celery -A limited worker --pool=prefork --concurrency=1 --loglevel=error >log 2>&1 &
worker=$!
venv/bin/python ask.py || { cat log; exit 1; }
