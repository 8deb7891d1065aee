#!/bin/sh
# Dask's profile of a worker leaves out the module selectors, and counts its samples for the function that has called it.
# - An event loop in a task that does nothing but wait is seen in asyncio's _run_once all the time, as if it computed.
# - The same wait without a loop, in select() itself, is seen in the task's own function.
# Who reads the profile of a task that runs asyncio has to take _run_once for waiting: no frame says so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q distributed==2026.8.0
cat >"$folder/waits.py" <<'END'
import asyncio
import selectors
import sys
import time
from collections import Counter
from importlib.metadata import version

from distributed import Client


def in_a_loop():
    asyncio.run(asyncio.sleep(2))


def in_select():
    selectors.DefaultSelector().select(2)


def innermost(tree, found):
    """Count in which functions a thread was seen."""
    inner = list(tree["children"].values())
    if alone := tree["count"] - sum(one["count"] for one in inner):
        found[tree["description"]["name"]] += alone
    for one in inner:
        innermost(one, found)
    return found


if __name__ == "__main__":
    print("versions: distributed", version("distributed"))
    print("shows: in which function a thread is seen most while it waits for 2 s")
    good = True
    with Client(n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        for work, expected in ((in_a_loop, "_run_once"), (in_select, "in_select")):
            began = time.time()
            client.submit(work).result()
            time.sleep(2)  # a profile is handed over once a second
            found = innermost(client.profile(start=began), Counter())
            name, share = found.most_common(1)[0][0], found.most_common(1)[0][1] / found.total()
            good &= name == expected and share > 0.9 and "select" not in found
            print(f"{work.__name__}: {share:.0%} in {name}:", "same" if name == expected else "CHANGED")
    sys.exit(not good)
END
"$folder/venv/bin/python" "$folder/waits.py" 2>"$folder/errors" || { cat "$folder/errors"; exit 1; }
