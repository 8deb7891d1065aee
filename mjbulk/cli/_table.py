"""Tables of text that fit into the width of a terminal."""

import shutil
from collections.abc import Iterator, Mapping, Sequence

Cells = Mapping[str, str | int]
_LEAST = 6
"""Characters of a column that is cut short."""
_GAP = "  "


def width() -> int:
    """Give the width of the terminal; 80 where there is none, unless COLUMNS says otherwise."""
    return shutil.get_terminal_size().columns


def table(rows: Sequence[Cells], most: int | None = None, *, short: Sequence[str] = ()) -> Iterator[str]:
    """Give rows as lines of columns, with numbers to the right; an empty column is left out.

    If lines would have more than ``most`` characters, the columns named in ``short`` are cut, the first one first.
    """
    columns = {name: _texts(name, [row[name] for row in rows]) for name in (rows[0] if rows else ())}
    columns = {name: texts for name, texts in columns.items() if any(text.strip() for text in texts[1:])}
    for name in short:
        if most is not None and name in columns:
            over = sum(len(texts[0]) for texts in columns.values()) + len(_GAP) * (len(columns) - 1) - most
            columns[name] = _cut(columns[name], over)
    for line in zip(*columns.values(), strict=True):
        yield _GAP.join(line).rstrip()


def _texts(name: str, values: Sequence[str | int]) -> list[str]:
    texts = [name, *(f"{value:,}" if isinstance(value, int) else value for value in values)]
    longest = max(map(len, texts))
    right = isinstance(values[0], int)
    return [text.rjust(longest) if right else text.ljust(longest) for text in texts]


def _cut(texts: list[str], over: int) -> list[str]:
    longest = max(len(texts[0]) - max(over, 0), min(_LEAST, len(texts[0])))
    return [cut(text.rstrip(), longest).ljust(longest) for text in texts]


def cut(text: str, most: int) -> str:
    """Cut a text to a number of characters, and mark where."""
    return text if len(text) <= most else f"{text[: max(most - 1, 0)]}~"
