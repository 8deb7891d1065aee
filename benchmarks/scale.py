"""``python -m benchmarks.scale``: what an import would take, by the formulas of `benchmarks.expected`."""

import argparse
import math
from collections.abc import Sequence

from benchmarks import expected, scale_check
from benchmarks.expected import CONSTANTS, HEAD, Constants, Work, expect, line


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute what the arguments say, or measure and check."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=expected.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--check", action="store_true", help="compare with the emulator and the sink, in small")
    parser.add_argument("--measure", action="store_true", help=f"write {CONSTANTS.name} for this machine: a minute")
    for name, kind, default in (
        ("rows", int, 10_000_000),
        ("chunk", int, 1_000),
        ("job-seconds", float, 90.0),
        ("rate", float, math.inf),
        ("workers", int, 1),
        ("concurrency", int, 8),
        ("answer", float, 0.1),
        ("max-jobs", int, 256),
        ("max-rows", int, 1_000_000),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default, metavar=kind.__name__)
    parser.add_argument("--csv", action="store_true", help="on the CSV way")
    options = vars(parser.parse_args(arguments))
    check, measure = options.pop("check"), options.pop("measure")
    if check or measure:
        return scale_check.main(measure=measure, check=check)
    work, known = Work(**options), Constants.load()
    print(f"{HEAD}\n{line('this import', work, known)}\n\n| bound | rows a second |\n| --- | ---: |")
    for name, value in sorted(expect(work, known).paces.items(), key=lambda pair: pair[1]):
        print(f"| {name} | {value:,.0f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
