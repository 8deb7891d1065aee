"""RESULTS.md: what was measured stands in blocks, which a command fills; what is said about it stands around them.

A block begins with a line ``<!-- NAME -->`` and ends with ``<!-- end of NAME -->``.
"""

import re
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def names(text: str) -> list[str]:
    """Give the names of the blocks, in their order."""
    return re.findall(r"^<!-- (\w+) -->$", text, re.MULTILINE)


def filled(text: str, name: str, made: str) -> str:
    """Give the text with other content in one block. Raises KeyError if there is no such block."""
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, found, rest = text.partition(first)
    _, ended, after = rest.partition(last)
    if not found or not ended:
        raise KeyError(name)
    return f"{before}{first}\n{made.strip()}\n\n{last}{after}"


def write(name: str, made: str, path: Path = RESULTS) -> None:
    """Write what was measured into its block of the file."""
    path.write_text(filled(path.read_text(encoding="utf-8"), name, made), encoding="utf-8")
