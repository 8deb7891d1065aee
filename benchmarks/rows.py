"""The rows that every contender sends: the same rows for all, each with an address of its own."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

CHUNK = 1000
PROPERTIES = {"country": "str", "plan": "str", "visits": "int", "score": "float", "active": "bool"}
"""Properties of a row, with their types."""
_COUNTRIES = ("Austria", "Brazil", "Canada", "Denmark", "Estonia", "France", "Ghana")
_PLANS = ("free", "team", "enterprise")
_DISTANCE = 200_000
"""How many rows ago a person came at most who comes again."""


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Give flat rows, as a database cursor does: an address, a name and five properties."""
    for number in range(count):
        yield {
            "email": f"contact{number:08d}@example.com",
            "name": f"Contact {number}",
            "country": _COUNTRIES[number % 7],
            "plan": _PLANS[number % 3],
            "visits": number % 1000,
            "score": number % 100 / 4,
            "active": number % 2 == 0,
        }


def recurring(count: int, share: float) -> Iterator[dict[str, Any]]:
    """Give the same rows, of which a share, evenly spread, has the address of somebody before."""
    chance = random.Random(1)
    for number, row in enumerate(rows(count)):
        if number and int((number + 1) * share) > int(number * share):
            before = number - chance.randrange(1, min(number, _DISTANCE) + 1)
            row["email"] = f"contact{before:08d}@example.com"
        yield row


def contact_of(row: dict[str, Any]) -> dict[str, Any]:
    """Make Mailjet's contact object from a row, as code without mjbulk has to."""
    return {
        "Email": row["email"],
        "Name": row["name"],
        "Properties": {name: row[name] for name in PROPERTIES},
    }


def chunks_of(count: int) -> Iterator[list[dict[str, Any]]]:
    """Give contact objects in chunks."""
    source = map(contact_of, rows(count))
    while chunk := list(islice(source, CHUNK)):
        yield chunk


def write_csv(path: Path, size: int, most: int | None = None) -> int:
    """Write a CSV file of about ``size`` bytes, and of ``most`` rows; give its number of rows.

    Some names are quoted, and some hold a line end.
    """
    written = count = 0
    with path.open("w", encoding="ascii", newline="") as file:
        written += file.write(f"email,name,{','.join(PROPERTIES)}\n")
        for row in rows(size if most is None else most):
            written += file.write(",".join(map(_cell, row.values())) + "\n")
            count += 1
            if written >= size:
                break
    return count


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if text.startswith("Contact ") and text.endswith("00"):
        return f'"{text}\nthe ""round"" one"' if text.endswith("000") else f'"{text}, the round one"'
    return text
