"""What can be an e-mail address, and which addresses belong to one person.

Addresses of the usual kind are recognised many at a time: one regular expression runs over all of them.
"""

import re
from collections.abc import Sequence
from typing import Any

from mjbulk.rows.values import RowFault, is_null

EMAIL = "email"
"""The casefolded name of the column that has the address."""
MAX_ADDRESS = 320
"""Characters."""
_HIDDEN = "\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\ufeff"  # invisible characters, which come in by accident
_LETTER = rf"[^\s{_HIDDEN}\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]"  # a letter or digit of ASCII, or any beyond it
_LABEL = rf"{_LETTER}(?:(?:{_LETTER}|-)*{_LETTER})?"
_LOCAL = rf"""[^\s{_HIDDEN}@"(),:;<>\[\]\\\x00-\x1f\x7f]+|"[^"\x00-\x1f\x7f]+\""""
_ADDRESS = re.compile(rf"(?:{_LOCAL})@{_LABEL}(?:\.{_LABEL})+\Z")
_ASCII_LABEL = "[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*+"
_ADDRESSES = re.compile(
    rf"(?:[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]++@{_ASCII_LABEL}(?:\.{_ASCII_LABEL})++\n)*+"
)  # possessive: it never goes back


def key_of(address: str) -> str:
    """Give the key of the person whom an address belongs to: the address, trimmed and casefolded."""
    return address.strip().casefold()


def is_address(text: str) -> bool:
    """Say whether a text without blanks around it can be an address. Its length is checked first."""
    return len(text) <= MAX_ADDRESS and _ADDRESS.match(text) is not None


def are_addresses(values: Sequence[Any]) -> bool:
    """Say, in one pass, whether all values are addresses of the usual kind: in ASCII, without blanks around them."""
    if set(map(type, values)) != {str} or max(map(len, values)) > MAX_ADDRESS:
        return False
    lines = "\n".join(values) + "\n"
    return lines.count("\n") == len(values) and _ADDRESSES.fullmatch(lines) is not None


def check_address(value: Any) -> str:
    """Give an address without the blanks around it.

    Raises RowFault if it is missing or cannot be an address.
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
