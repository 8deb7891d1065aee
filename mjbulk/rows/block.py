"""Rows as they were given, and blocks of them: rows with the same names that follow each other."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from attrs import field, frozen

from mjbulk.models import Contact
from mjbulk.rows.addresses import EMAIL
from mjbulk.rows.values import RowFault

_Other = TypeVar("_Other")
NAME = "name"
EXCLUDED = "isexcludedfromcampaigns"
PROPERTIES = "properties"
_WEIGHED = 64
"""Of so many rows that come together one is weighed."""


def weight(values: Iterable[Any]) -> int:
    """Say about how many bytes values take: each a reference, and texts their length, also in a mapping."""
    return sum(8 + (len(value) if isinstance(value, str | bytes) else _length_of_texts(value)) for value in values)


def _length_of_texts(value: Any) -> int:
    return sum(len(text) for text in value.values() if isinstance(text, str)) if isinstance(value, dict) else 0


@frozen
class Given:
    """A row as it was given."""

    names: tuple[str, ...]
    values: Sequence[Any] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Give it back."""
        return dict(zip(self.names, self.values, strict=False))


@frozen
class Block:
    """Rows with the same names, column by column, as they were given."""

    names: tuple[str, ...]
    columns: Sequence[Sequence[Any]] = field(repr=False)
    """For each name, the values of all rows."""
    size: int
    """How many rows."""
    raws: Sequence[str] | None = field(default=None, repr=False)
    """The records as they stand in a CSV file, each with its line end."""
    number: int | None = None
    """The number that the first row has already; None gives it the next one."""

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        rows: Sequence[Sequence[Any]],
        raws: Sequence[str] | None = None,
        number: int | None = None,
    ) -> "Block":
        """Make a block of rows that have a value for each name."""
        return cls(names, list(zip(*rows, strict=True)), len(rows), raws, number)

    def __len__(self) -> int:
        return self.size

    def kept(self, part: slice) -> Any:
        """Give what is kept of some rows until they are settled: records as they stand are smaller than their cells."""
        return "".join(self.raws[part]) if self.raws else [column[part] for column in self.columns]

    def weights(self) -> Sequence[int]:
        """Say how many bytes each row has as it stands; of values, about how many, by some of the rows."""
        if self.raws:
            return list(map(len, self.raws))
        some = [column[::_WEIGHED] for column in self.columns]
        return [sum(map(weight, some)) // max(-(-self.size // _WEIGHED), 1)] * self.size

    def at(self, indices: Sequence[int]) -> "Block":
        """Give some of the rows."""
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
    """Group rows that follow each other and have the same names; whatever else is given stands alone."""
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
    except Exception:  # noqa: BLE001  # names that are no texts, and that cannot be compared
        return False


def take_apart(row: Any) -> Given:
    """Take a row apart: anything with ``keys()`` and ``[]``, a `Contact`, or a bare address.

    Raises RowFault for anything else.
    """
    if type(row) is dict:
        return Given(tuple(row), tuple(row.values()))
    if isinstance(row, str):
        return Given((EMAIL,), (row,))
    if isinstance(row, Contact):
        names = [EMAIL, PROPERTIES]
        values: list[Any] = [row.email, row.properties]
        for name, value in ((NAME, row.name), (EXCLUDED, row.excluded)):
            if value is not None:
                names.append(name)
                values.append(value)
        return Given(tuple(names), tuple(values))
    try:
        names_ = tuple(row.keys())
        hash(names_)
        return Given(names_, tuple(row[name] for name in names_))
    except Exception:  # noqa: BLE001  # whatever a row of the user's raises when it is taken apart
        raise RowFault(None, f"a row has keys() and []; this is {type(row).__name__}") from None
