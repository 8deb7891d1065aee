#!/bin/sh
# A small result of orjson.dumps occupies far more memory than its bytes: the buffer that it was written into is kept, and
# sys.getsizeof does not show it. With 3.11.3 that is 1 KiB a result, with 3.13.0 4 KiB: 60,000 results of 67 bytes that
# are held for later take 240 MiB in place of 8. A copy, `bytes(memoryview(result))`, has the size of its bytes.
# Measured as memory of the process, on Linux with glibc.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
status=0
for release in 3.11.3:1000:1200 3.13.0:4000:4300; do
    version=${release%%:*}
    "${PYTHON:-python3}" -m venv --clear "$folder/venv"
    "$folder/venv/bin/pip" install -q "orjson==$version"
    "$folder/venv/bin/python" - "$release" <<'END' || status=1
import gc
import os
import sys

import orjson

least, most = map(int, sys.argv[1].split(":")[1:])
print("version: orjson", orjson.__version__)
print("shows: memory of the process for each of 60,000 results that are kept")
contact = {"Email": "a@example.org", "Name": "A", "Properties": {"x": 1, "y": "abc"}}
COUNT = 60_000


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def bytes_each(make):
    gc.collect()
    before = memory()
    kept = [make() for _ in range(COUNT)]
    return (memory() - before) / COUNT, len(kept[0]), sys.getsizeof(kept[0])


changed = False
for name, make, low, high in (
    ("copies of results", lambda: bytes(memoryview(orjson.dumps(contact))), 90, 200),
    ("results", lambda: orjson.dumps(contact), least, most),
):
    seen, length, size = bytes_each(make)
    same = low <= seen <= high
    changed |= not same
    print(
        f"{name} of {length} bytes, {size} by getsizeof: expected {low} to {high} bytes each, seen {seen:.0f}:",
        "same" if same else "CHANGED",
    )
sys.exit(changed)
END
done
exit $status
