"""What can be an e-mail address, and which addresses belong to one person.

Addresses of the usual kind are recognised many at a time.

One person has one key, however the address is spelled: composed as NFC has it, without case, the domain as DNS has it.
What is sent is the address as it was given.
"""

import re
import string
import unicodedata
from collections.abc import Sequence
from typing import Any

import idna

from mjbulk.rows.plain import is_null
from mjbulk.rows.values import RowFault

EMAIL = "email"
"""The casefolded name of the column that has the address."""
MAX_ADDRESS = 320
"""Characters."""
_LETTER = r"[^\s\x00-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]"  # a letter or digit of ASCII, or any beyond it
_LABEL = rf"{_LETTER}(?:(?:{_LETTER}|-)*{_LETTER})?"
_LOCAL = r"""[^\s@"(),:;<>\[\]\\\x00-\x1f\x7f]+|"[^"\x00-\x1f\x7f]+\""""
_ADDRESS = re.compile(rf"(?:{_LOCAL})@{_LABEL}(?:\.{_LABEL})+\Z")
_PLAIN = (string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~.-").encode()
"""Bytes that may stand before the @ without quotes."""
_ASCII_LABEL = "[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*+"
_DOMAINS = re.compile(rf"(?:{_ASCII_LABEL}(?:\.{_ASCII_LABEL})++\n)*+")  # possessive: it never goes back


def key_of(address: str) -> str:
    """Give the key of the person whom an address belongs to. It may be any text."""
    address = address.strip()
    if address.isascii():
        return address.casefold()
    local, at, domain = unicodedata.normalize("NFC", address).rpartition("@")
    return f"{_folded(local)}@{_in_dns(domain)}" if at else _folded(domain)


def keys_of(addresses: Sequence[str]) -> Sequence[str]:
    """Give the keys of many, all without blanks around them: the same sequence where all are keys already."""
    joined = "".join(addresses)
    if not joined.isascii():
        return list(map(key_of, addresses))
    return addresses if joined == joined.casefold() else list(map(str.casefold, addresses))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _in_dns(domain: str) -> str:
    """Give a domain in its xn-- form, as far as it has one."""
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:  # some registries have names beyond the standard
        return ".".join(map(_label_in_dns, _folded(domain).split(".")))


def _label_in_dns(label: str) -> str:
    return label if label.isascii() else f"xn--{label.encode('punycode').decode()}"


def is_address(text: str) -> bool:
    """Say whether a text without blanks around it can be an address. Its length is checked first."""
    return len(text) <= MAX_ADDRESS and _ADDRESS.match(text) is not None


def are_addresses(values: Sequence[Any]) -> bool:
    """Say, in one pass, whether all values are addresses of the usual kind: in ASCII, without blanks around them."""
    if set(map(type, values)) != {str} or max(map(len, values)) > MAX_ADDRESS:
        return False
    lines = "\n".join(values) + "\n"
    if not lines.isascii() or lines.encode().translate(None, _PLAIN) != b"@\n" * len(values):
        return False
    parts = lines.replace("\n", "@").split("@")
    domains = "\n".join(set(parts[1::2])) + "\n"  # few, mostly: it takes two thirds of the time of a match of all
    return "" not in parts[:-1:2] and _DOMAINS.fullmatch(domains) is not None


def check_address(value: Any) -> str:
    """Give an address without the blanks around it.

    Raises RowFault if it is missing or cannot be an address.
    """
    if is_null(value):
        raise RowFault("address.missing", EMAIL, "the address is missing")
    if not isinstance(value, str):
        raise RowFault("address.type", EMAIL, f"the address is a {type(value).__name__}, not a text")
    address = str.strip(value)
    if not address:
        raise RowFault("address.missing", EMAIL, "the address is missing")
    if not address.isascii() and (strange := next(filter(_is_strange, address), None)):
        raise RowFault("address.invalid", EMAIL, f"the address has a character that no address has: {_name(strange)}")
    if not is_address(address):
        raise RowFault("address.invalid", EMAIL, _what_is_wrong(address))
    return address


# What is wrong with a text that is no address


_STRANGE = frozenset({"Cc", "Cf", "Cn", "Co", "Zs", "Zl", "Zp", "Pc", "Pd", "Pe", "Pf", "Pi", "Ps"})
"""Categories whose characters cannot be seen, or look like a sign of ASCII: quotes, dashes, brackets, blanks."""
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\ufffd"
    + "".join(map(chr, [*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
)
"""The others that cannot be seen, and the two that stand for what was lost."""
_LIKE_DOTS = frozenset("\u3002\uff61")  # IDNA takes these for dots


def _is_strange(character: str) -> bool:
    """Say whether a character is not seen, or is taken for another one."""
    if character.isascii():
        return False
    if unicodedata.category(character) in _STRANGE or character in _INVISIBLE or character in _LIKE_DOTS:
        return True
    if character.casefold().isascii():  # case alone makes the difference, as of the long s
        return False
    return unicodedata.normalize("NFKC", character).isascii()


def _name(character: str) -> str:
    return f"{unicodedata.name(character, 'a character without a name')} (U+{ord(character):04X})"


def _what_is_wrong(text: str) -> str:
    """Say what is wrong with a text, without repeating it, and what helps."""
    if len(text) > MAX_ADDRESS:
        return f"the address has more than {MAX_ADDRESS} characters"
    around = re.search(r"<([^<>]*)>\Z", text)
    if around and is_address(around[1].strip()):
        return "the address has a name before it: give what stands between < and > alone, and the name as 'name'"
    if text[:7].casefold() == "mailto:" and is_address(text[7:]):
        return "the address begins with mailto: give what follows it alone"
    if len(text.split("@")) > 2 and all(map(is_address, re.split(r"[\s,;/|]+", text.strip(",; ")))):
        return "there are several addresses in one cell: give a row for each"
    return "this is no e-mail address"
