"""The names of columns as they are compared, and what helps where the one that is wanted is not there."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mjbulk.likely import likely
from mjbulk.rows.addresses import EMAIL

_BOM = "\ufeff"
_LIKELY = re.compile(
    "(?:primary|user|contact|customer)?e?mail(?:addr|addresse?|adress|adresse)?|adresse?e?mail|courriel"
    "|correo(?:electronico)?"
)
"""Names, without all that is no letter, of columns that probably have addresses."""
_DELIMITERS = ";\t|,"
_SAY = "say delimiter="
_SHOWN = 8
_LONGEST = 40
NO_ADDRESS = "the source has no column 'email'"
_NO_HEADER = (
    "an address stands where the names of the columns should be, so it has no header: its first line has to name them"
)
_HEADER_ROW = "; header_row= says in which line of the file the names stand"

_FIRST_ROW = "; the names have to stand in the first row"


def clean_name(name: str) -> str:
    """Give a name without the blanks around it, and without a byte order mark that was read as a part of it."""
    return name.strip().removeprefix(_BOM).strip()


def no_address(names: Sequence[Any], *, text: bool) -> str:
    """Say that no column has addresses, what there is, and what helps. ``text`` says that it is a file of text.

    A name with an @ in it shows that the names are somebody's data: then none is said.
    """
    found = [clean_name(name) for name in names if isinstance(name, str)]
    if text and (why := _one_cell(found)):
        return f"{NO_ADDRESS}: {why}"
    if any("@" in name for name in found):
        return f"{NO_ADDRESS}: {_NO_HEADER}"
    likely = next(filter(_is_likely, found), None)
    advice = "columns= can name the one that it is" if likely is None else _takes(likely, found)
    more = "" if likely is not None else _HEADER_ROW if text else _FIRST_ROW if "" in found else ""
    return f"{NO_ADDRESS}, but {listed(found)}: {advice}{more}"


def _one_cell(found: Sequence[str]) -> str:
    """Say that a cell of the first record holds several names, and what helps; empty if none does."""
    if len(found) == 1:
        mark = next((mark for mark in _DELIMITERS if mark in found[0]), "")
        leave = "leave delimiter= out, or " if mark == "," else ""
        return (
            f"its first record{_shown(found[0])} is one cell with {mark!r} in it: {leave}{_SAY}{mark!r}" if mark else ""
        )
    joined = ((cell, mark) for cell in found for mark in _DELIMITERS[:-1] if _joins_address(cell, mark))
    return next(
        (f"its first record has {mark!r} in a cell{_shown(cell).rstrip(',')}: {_SAY}{mark!r}" for cell, mark in joined),
        "",
    )


def _joins_address(cell: str, mark: str) -> bool:
    """Say whether a mark parts the name of the addresses from others."""
    parts = cell.split(mark)
    return len(parts) > 1 and any(map(_is_likely, parts))


def _is_likely(name: str) -> bool:
    return _LIKELY.fullmatch("".join(filter(str.isalpha, name.casefold()))) is not None


def _shown(cell: str) -> str:
    return "" if "@" in cell else f", {cell[:_LONGEST]!r},"


def _takes(address: str, found: Sequence[str]) -> str:
    """Give columns= that takes the address from its column; of few columns it takes the others, too."""
    named = [name for name in dict.fromkeys(found) if name]
    if len(named) > _SHOWN or len(max(named, key=len)) > _LONGEST:
        return f"columns={ ({address: EMAIL})!r} takes that, and the other columns are not sent then"
    return f"columns={ ({name: EMAIL if name == address else name for name in named})!r} takes that"


def not_there(picked: str | Sequence[str], names: Sequence[Any], *, text: bool = False) -> str:
    """Say that columns that were picked are not there, and what is. ``text`` says that it is a file of text."""
    wanted = [picked] if isinstance(picked, str) else picked
    found = [clean_name(name) for name in names if isinstance(name, str)]
    return f"columns= picks {listed(wanted)}, which the source does not have{_instead(wanted, found, text=text)}"


def _instead(wanted: Sequence[str], found: Sequence[str], *, text: bool) -> str:
    if text and (why := _one_cell(found)):
        return f": {why}"
    outer = next((outer for name in wanted if (outer := name.partition(".")[0]) != name and outer in found), None)
    if outer is not None:
        return f": dots do not reach into the values of {outer!r}: give each value a column of its own"
    if any("@" in name for name in found):
        return ""
    address = next(filter(_is_likely, found), None) if EMAIL in wanted else None  # columns= may be the wrong way round
    return f"; it has {listed(found)}{meant(wanted, found) if address is None else f': {_takes(address, found)}'}"


def meant(words: Iterable[str], known: Sequence[str]) -> str:
    """Ask for the names that were probably meant, in brackets after a blank; empty if none is like these words."""
    names = dict.fromkeys(name for word in words if (name := likely(word, known)) is not None)
    return f" (did you mean {' and '.join(map(repr, names))}?)" if names else ""


def aliases(picked: Iterable[str], names: Sequence[Any]) -> dict[str, str]:
    """Give, for columns that are picked and not there, the only one there that differs from it in case alone."""
    found = {clean_name(name) for name in names if isinstance(name, str)}
    folded: dict[str, list[str]] = {}
    for name in found:
        folded.setdefault(name.casefold(), []).append(name)
    wanted = {name: folded.get(clean_name(name).casefold(), []) for name in picked if clean_name(name) not in found}
    return {name: alike[0] for name, alike in wanted.items() if len(alike) == 1}


def listed(names: Sequence[str]) -> str:
    """List the first names, shortened."""
    shown = [repr(name[:_LONGEST]) for name in names[:_SHOWN]]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(shown)}{more}" if shown else "no column at all"
