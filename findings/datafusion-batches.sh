#!/bin/sh
# A RecordBatch of datafusion says by its attribute __arrow_c_array__ that any library can take it over, and pyarrow believes
# it. But calling it raises AttributeError, so pyarrow.record_batch fails with a cause that names neither library nor remedy.
# The remedy is the batch's own to_pyarrow(); a whole DataFrame passes by __arrow_c_stream__.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q datafusion==55.0.0 pyarrow==26.0.1
"$folder/venv/bin/python" - <<'END'
import sys
from importlib.metadata import version

import datafusion
import pyarrow as pa

print("versions:", *(f"{name} {version(name)}" for name in ("datafusion", "pyarrow")))
print("shows: which ways from datafusion to pyarrow work")
ROWS = [{"a": 1}]


def seen_of(give):
    try:
        return give()
    except Exception as why:
        return type(why).__name__


frame = datafusion.SessionContext().from_arrow(pa.table({"a": [1]}))
piece = next(iter(frame.execute_stream()))
CASES = [
    ("has __arrow_c_array__", True, hasattr(piece, "__arrow_c_array__")),
    ("pyarrow.record_batch", "AttributeError", seen_of(lambda: pa.record_batch(piece).to_pylist())),
    ("to_pyarrow", ROWS, seen_of(lambda: piece.to_pyarrow().to_pylist())),
    ("the whole frame, pyarrow.table", ROWS, seen_of(lambda: pa.table(frame).to_pylist())),
]
good = True
for name, expected, seen in CASES:
    good &= expected == seen
    print(f"{name}: expected {expected!r}, seen {seen!r}:", "same" if expected == seen else "CHANGED")
sys.exit(not good)
END
