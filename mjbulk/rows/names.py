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
_SHOWN = 8
_LONGEST = 40
NO_ADDRESS = "the source has no column 'email'"
_HEADER_ROW = "; header_row= says in which line of the file the names stand"


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
        return f"{NO_ADDRESS}: an address stands where the names of the columns should be, so it has no header"
    likely = next((name for name in found if _LIKELY.fullmatch("".join(filter(str.isalpha, name.casefold())))), None)
    advice = "columns= can name the one that it is" if likely is None else _takes(likely, found)
    return f"{NO_ADDRESS}, but {listed(found)}: {advice}{_HEADER_ROW if text and likely is None else ''}"


def _one_cell(found: Sequence[str]) -> str:
    """Say that the first record is one cell that holds all names, and what helps; empty if it is not."""
    mark = next((mark for mark in _DELIMITERS if mark in found[0]), "") if len(found) == 1 else ""
    if not mark:
        return ""
    cell = "" if "@" in found[0] else f", {found[0][:_LONGEST]!r},"
    leave = "leave delimiter= out, or " if mark == "," else ""
    return f"its first record{cell} is one cell with {mark!r} in it: {leave}say delimiter={mark!r}"


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
    return "" if any("@" in name for name in found) else f"; it has {listed(found)}{meant(wanted, found)}"


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
