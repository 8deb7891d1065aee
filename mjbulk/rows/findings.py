"""What is worth knowing about a source though nothing in it is refused: a plan tells it."""

from collections.abc import Iterator

from attrs import evolve

from mjbulk.models import Finding


class Findings:
    """Findings of one reading, each once, with a count. Mutable state: all of it.

    Whatever reads a source notes them, and nothing but a plan asks for them: an import pays one look-up for each note.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._found: dict[tuple[str, str | None], Finding] = {}

    def note(
        self, code: str, message: str, *, column: str | None = None, row: int | None = None, rows: int = 1
    ) -> None:
        """Note that ``rows`` rows, of which ``row`` is the first, show something. Rows are noted in their order.

        ``code`` is a word that stays. ``message`` is the sentence of the first note with this code and column.
        """
        known = self._found.get((code, column))
        if known is None:
            found = Finding(code=code, column=column, count=rows, first_row=row, message=message)
        else:
            found = evolve(known, count=known.count + rows)
        self._found[code, column] = found

    def clear(self) -> None:
        """Forget all of them: the source is read from its beginning."""
        self._found.clear()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found.values())
