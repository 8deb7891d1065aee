"""Error files. The CSV form is documented and observed (FACTS 6.2), the JSON form a guess (FACTS 3.2)."""

from collections.abc import Iterable, Mapping
from typing import Any

from mjbulk.testing._fpjson import render, shown
from mjbulk.testing._jobs import EmulatedError


def json_error_file(rows: list[dict[str, Any]], errors: Mapping[int, EmulatedError], shape: str) -> bytes:
    """Write the rejected rows in one of the shapes of `Knobs.json_error_shape`; all of them are guesses."""
    entries = [_entry(rows[index], error) for index, error in sorted(errors.items())]
    if shape == "lines":
        return "".join(f"{render(entry)}\n" for entry in entries).encode()
    if shape == "text":
        return "".join(f"{shown(entry['Email'])}: {entry['Error']}\n" for entry in entries).encode()
    if shape == "copy":
        copies = [{**_fields(rows[index]), "error": error.message} for index, error in sorted(errors.items())]
        return render(copies).encode()
    if shape == "data":
        return render({"Count": len(entries), "Data": entries, "Total": len(entries)}).encode()
    return render({"Errors": entries} if shape == "object" else entries).encode()


def _fields(row: Any) -> dict[str, Any]:
    return row if isinstance(row, dict) else {"Email": row}


def _entry(row: Any, error: EmulatedError) -> dict[str, Any]:
    return {"Email": _fields(row).get("Email", ""), "Error": error.message}


def csv_error_file(names: Iterable[str], lines: Iterable[tuple[str, EmulatedError]]) -> bytes:
    """Write a header that ends in ``error``, then each failing line as it was sent with ``, ###message###field`` added.

    The field is optional; header and error cell have no quotes (observed).
    """
    text = [",".join([*names, "error"]) + "\n"]
    for line, error in lines:
        field = f"###{error.field}" if error.field else ""
        text.append(f"{line}, ###{error.message}{field}\n")
    return "".join(text).encode("utf-8", "surrogateescape")
