"""What all contenders have in common: their arguments, and the line of JSON that they print as their result.

A contender is a process of its own, so that its peak of memory includes nothing else. Its clock starts when its modules
are loaded.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable


def contend(work: Callable[[argparse.Namespace], int]) -> None:
    """Do the work, and print how long it took. ``work`` gives the number of rows whose outcome it has seen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--file", default="")
    parser.add_argument("--poll-min", type=float, default=1.0)
    options = parser.parse_args()
    began, cpu_before = time.perf_counter(), time.process_time()
    rows = work(options)
    result = {
        "rows": rows,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu_before,
        "pyarrow": "pyarrow" in sys.modules,
    }
    print(json.dumps(result))
