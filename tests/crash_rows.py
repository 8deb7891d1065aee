"""The rows of runs that crash: people recur in every way that matters to chunks.

Each row sets its number in ``n`` and in one of ``a``, ``b`` and ``c``, in turn. So the last values of a person tell
whether every row was applied, and in the order of the source.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

REJECTED = "rejected"
"""A person whose rows Mailjet rejects."""
POISON = "poison"
"""A person for whom Mailjet refuses the whole body."""
BITTEN, VENOM = "bitten", "venom"
"""A person, and a value in some of their rows for which Mailjet refuses the whole body: which rows are rejected
depends on what they were merged with."""
FEW = 4
"""Rows of a chunk in these runs."""
_NOBODY = ""
_COLUMNS = ("a", "b", "c")


def _mixed() -> Iterable[str]:
    """Some who come again in the same chunk and in others, and all that can be wrong with a row."""
    return (
        *("p1", "p2", "p3", "p4", "p4", "p5"),
        *("p6", "p2", _NOBODY, REJECTED, "P1", "p7"),
        *("p8", POISON, "p4"),
    )


def _few() -> Iterable[str]:
    """One person comes again, much later."""
    names = [f"p{n}" for n in range(24)]
    names[19] = "p5"
    return names


def _third() -> Iterable[str]:
    """Three in ten rows are of somebody who was there before."""
    chance, names = Random(3), ["p0"]
    for n in range(1, 26):
        names.append(chance.choice(names) if chance.random() < 0.3 else f"p{n}")
    names[8], names[15], names[17] = _NOBODY, REJECTED, BITTEN
    return [*names[:20], "\u017fam", *names[20:24], "sam", REJECTED, BITTEN, *names[24:]]


def _everywhere() -> Iterable[str]:
    """One person is in every chunk."""
    names = [f"p{n}" if n % FEW else "hot" for n in range(28)]
    names[9], names[21], names[23] = _NOBODY, POISON, REJECTED
    return names


def _sorted() -> Iterable[str]:
    """All rows of a person come together."""
    return [f"p{n // 3}" for n in range(27)]


def _zipf() -> Iterable[str]:
    """A few people have most of the rows."""
    shares = [1 / (n + 1) for n in range(12)]
    names = [f"p{n}" for n in Random(5).choices(range(12), shares, k=34)]
    names[5], names[20] = REJECTED, _NOBODY
    return [*names[:11], BITTEN, *names[11:27], BITTEN, *names[27:]]


def _twice() -> Iterable[str]:
    """The whole list comes twice."""
    return [*(f"p{n}" for n in range(14)), *(f"P{n}" for n in range(14))]


def _row(n: int, name: str) -> Mapping[str, Any]:
    values: dict[str, Any] = dict.fromkeys(_COLUMNS)
    values[_COLUMNS[n % 3]] = n
    poisoned = name == BITTEN and not n % 4
    return {"email": f"{name}@example.org" if name else name, "n": n, **values, "note": VENOM if poisoned else None}


def _rows(names: Iterable[str]) -> Sequence[Mapping[str, Any]]:
    return [_row(n, name) for n, name in enumerate(names, 1)]


SOURCES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "mixed": _rows(_mixed()),
    "few": _rows(_few()),
    "third": _rows(_third()),
    "everywhere": _rows(_everywhere()),
    "sorted": _rows(_sorted()),
    "zipf": _rows(_zipf()),
    "twice": _rows(_twice()),
}


def people(source: str) -> Sequence[str]:
    """Give for each row whose it is; an empty text for nobody."""
    return [row["email"].casefold() for row in SOURCES[source]]


def kind(source: str, row: int) -> str:
    """Say what becomes of a row."""
    name = people(source)[row - 1].partition("@")[0]
    return {"": "refused", REJECTED: "rejected", POISON: "rejected", BITTEN: "either"}.get(name, "good")


def last_values(source: str, who: str) -> Mapping[str, int]:
    """Give what a person ends with when all rows are applied in their order."""
    values: dict[str, int] = {}
    for row in SOURCES[source]:
        if row["email"].casefold() == who:
            values |= {name: row[name] for name in ("n", *_COLUMNS) if row[name] is not None}
    return values


def csv_text(source: str) -> bytes:
    """Write the rows as a file."""
    names = ("email", "n", *_COLUMNS, "note")
    lines = (",".join("" if row[name] is None else str(row[name]) for name in names) for row in SOURCES[source])
    return "\n".join((",".join(names), *lines)).encode() + b"\n"
