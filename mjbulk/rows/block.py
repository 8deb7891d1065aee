"""Rows as they were given, and blocks of them: consecutive rows with the same names."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from attrs import field, frozen

_Other = TypeVar("_Other")
NAME = "name"
EXCLUDED = "isexcludedfromcampaigns"
PROPERTIES = "properties"
"""Casefolded names of what a contact has beside its address."""
_WEIGHED = 64
"""One row in this many is weighed, for all of them."""


def weight(values: Iterable[Any]) -> int:
    """Estimate the bytes that values take: 8 for each reference, and the length of each text, in a mapping too."""
    size = 0
    for value in values:  # as an expression of sum() it takes three times as long
        size += 8
        if isinstance(value, str | bytes):
            size += len(value)
        elif isinstance(value, dict):
            size += sum(len(text) for text in value.values() if isinstance(text, str))
    return size


@frozen
class Given:
    """A row as it was given."""

    names: tuple[str, ...] = field(repr=False)
    values: Sequence[Any] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Give the values by their names."""
        return dict(zip(self.names, self.values, strict=False))


@frozen
class Block:
    """Consecutive rows with the same names, as they were given, column by column."""

    names: tuple[str, ...] = field(repr=False)
    """They are no words of ours, and may be the first row of a source without a header."""
    columns: Sequence[Sequence[Any]] = field(repr=False)
    """For each name, the values of all rows."""
    size: int
    """How many rows it has."""
    raws: Sequence[str] | None = field(default=None, repr=False)
    """Each record exactly as in its CSV file, with its line end; None for rows of another source."""
    number: int | None = None
    """The number of the first row, where the rows already have numbers; with None the reader counts on."""
    zoneless: frozenset[int] = frozenset()
    """Columns, by index, whose type says that they have dates and times without a time zone."""
    lines: Sequence[int] | None = field(default=None, repr=False)
    """The line of its CSV file in which each row begins; None, or none, where that is not known."""

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        rows: Sequence[Sequence[Any]],
        raws: Sequence[str] | None = None,
        number: int | None = None,
        *,
        lines: Sequence[int] | None = None,
    ) -> "Block":
        """Make a block of rows; each has a value for each name."""
        return cls(names, list(zip(*rows, strict=True)), len(rows), raws, number, lines=lines)

    def __len__(self) -> int:
        return self.size

    def kept(self, part: slice) -> Any:
        """Give some rows in the form in which they are kept until they are settled: raw records take less memory than
        their cells.
        """
        return "".join(self.raws[part]) if self.raws else [column[part] for column in self.columns]

    @property
    def weight(self) -> int:
        """About how many bytes a row takes: of its raw record, otherwise of its values in a sample; at least 1."""
        if self.raws:
            return max(-(-sum(map(len, self.raws)) // self.size), 1)
        some = [column[::_WEIGHED] for column in self.columns]
        return max(sum(map(weight, some)) // max(-(-self.size // _WEIGHED), 1), 1)

    def at(self, indices: Sequence[int]) -> "Block":
        """Make a block of the rows at some indices."""
        raws = [self.raws[index] for index in indices] if self.raws else None
        return Block(self.names, [[column[index] for index in indices] for column in self.columns], len(indices), raws)

    @property
    def rows(self) -> Sequence[tuple[Any, ...]]:
        """The values of each row."""
        return list(zip(*self.columns, strict=True)) if self.columns else [()] * self.size

    def given(self, index: int) -> Given:
        """Give one of the rows."""
        return Given(self.names, tuple(column[index] for column in self.columns))


def blocks_of(rows: Iterable[Given | _Other]) -> Iterator[Block | _Other]:
    """Group consecutive rows with the same names into blocks; pass on anything that is no row as it is."""
    names: tuple[str, ...] = ()
    some: list[Sequence[Any]] = []
    for row in rows:
        if some and not (isinstance(row, Given) and _same(row.names, names)):
            yield Block.of(names, some)
            some = []
        if isinstance(row, Given):
            names = row.names
            some.append(row.values)
        else:
            yield row
    if some:
        yield Block.of(names, some)


def _same(names: tuple[str, ...], others: tuple[str, ...]) -> bool:
    try:
        return names == others
    except Exception:  # noqa: BLE001  # names that are no texts may refuse to be compared
        return False
