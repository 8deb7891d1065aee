"""The command line: it turns arguments into calls of `Client`, and does nothing else.

Exit status: 0 every row was accepted or superseded; 1 settled, and some rows were rejected; 2 wrong usage,
configuration or input, refused before anything was sent; 3 not complete (unknown or unsent rows, interrupted, halted),
or the result could not be written.
"""

import sys
from collections.abc import Sequence

_EXTRA = ("cyclopts", "rich", "docstring_parser")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by default that of this process, and give its exit status."""
    try:
        import rich  # noqa: F401, PLC0415  # the parser loads it late

        from mjbulk.cli._app import run  # noqa: PLC0415  # it needs an extra that may not be installed
    except ImportError as missing:
        if (missing.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(f"mjbulk: the command line needs {missing.name}: pip install 'mjbulk[cli]'\n")
        return 2
    return run(sys.argv[1:] if arguments is None else arguments)
