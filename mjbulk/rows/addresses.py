"""What can be an e-mail address, and whom it stands for.

Addresses of the usual kind are recognised many at a time, by one expression over all of them.
"""

import re
from collections.abc import Sequence
from typing import Any

from mjbulk.rows.values import RowFault, is_null

EMAIL = "email"
MAX_ADDRESS = 320
_HIDDEN = "\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff"  # what nobody sees, and nobody meant
_LETTER = rf"[^\s{_HIDDEN}\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]"  # letters, digits, and all of Unicode's
_LABEL = rf"{_LETTER}(?:(?:{_LETTER}|-)*{_LETTER})?"
_LOCAL = rf"""[^\s{_HIDDEN}@"(),:;<>\[\]\\\x00-\x1f\x7f]+|"[^"\x00-\x1f\x7f]+\""""
_ADDRESS = re.compile(rf"(?:{_LOCAL})@{_LABEL}(?:\.{_LABEL})+\Z")
_ASCII_LABEL = "[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*+"
_ADDRESSES = re.compile(
    rf"(?:[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]++@{_ASCII_LABEL}(?:\.{_ASCII_LABEL})++\n)*+"
)  # nothing is tried twice


def key_of(address: str) -> str:
    """Give the form in which an address stands for a person: trimmed and casefolded."""
    return address.strip().casefold()


def is_address(text: str) -> bool:
    """Whether a text without blanks around it can be an address. Its length is looked at first."""
    return len(text) <= MAX_ADDRESS and _ADDRESS.match(text) is not None


def are_addresses(values: Sequence[Any]) -> bool:
    """Whether all values are addresses of the usual kind, in ASCII and without blanks: seen in one pass over them."""
    if set(map(type, values)) != {str} or max(map(len, values)) > MAX_ADDRESS:
        return False
    lines = "\n".join(values) + "\n"
    return lines.count("\n") == len(values) and _ADDRESSES.fullmatch(lines) is not None


def check_address(value: Any) -> str:
    """Give an address without the blanks around it.

    Raises RowFault where it is missing or can be none.
    """
    if is_null(value):
        raise RowFault(EMAIL, "the address is missing")
    if not isinstance(value, str):
        raise RowFault(EMAIL, f"the address is a {type(value).__name__}, not a text")
    address = str.strip(value)
    if not address:
        raise RowFault(EMAIL, "the address is missing")
    if not is_address(address):
        raise RowFault(EMAIL, "this is no e-mail address")
    return address
