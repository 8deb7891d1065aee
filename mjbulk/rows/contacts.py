"""Contacts in JSON, as Mailjet takes them: many are encoded column by column, one is an object like any other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from types import NoneType
from typing import Any

import orjson
from attrs import field, frozen

from mjbulk.rows.values import RowFault

_BARE = frozenset({int, float, bool, NoneType})
"""Types whose values have no comma and no quote in JSON."""


@frozen
class Contacts:
    """Contacts, column by column; where one has no value for a column, None stands."""

    fields: Mapping[str, Sequence[Any]] = field(repr=False)
    """``Email``, which all have, ``Name`` and ``IsExcludedFromCampaigns``."""
    properties: Mapping[str, Sequence[Any]] = field(factory=dict, repr=False)
    nulls: bool = False
    """Whether a property that is None is sent so, which unassigns it."""

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses of all."""
        return self.fields["Email"]

    def at(self, index: int) -> dict[str, Any]:
        """Give one of them."""
        contact = {name: values[index] for name, values in self.fields.items() if values[index] is not None}
        properties = {
            name: values[index] for name, values in self.properties.items() if self.nulls or values[index] is not None
        }
        return {**contact, "Properties": properties} if properties else contact

    def encode(self, faults: dict[int, RowFault]) -> list[bytes]:
        """Encode each of them, and note in ``faults`` the places of those that cannot be.

        A column is encoded in one call, and cut at its commas.
        """
        try:
            pieces = ["{", *_members(self.fields, nulls=False)]
            if self.properties:
                pieces += [',"Properties":{', *_members(self.properties, nulls=self.nulls), "}"]
        except TypeError:
            return self._encode_one_by_one(faults)
        texts = list(map("".join, zip(*_in_columns([*pieces, "}"]), strict=False)))
        if _MARK in pieces:
            texts = [text.replace(f"{_MARK},", "").replace(f',"Properties":{{{_MARK}}}', "") for text in texts]
        return list(map(str.encode, texts))

    def _encode_one_by_one(self, faults: dict[int, RowFault]) -> list[bytes]:
        encoded = []
        for index in range(len(self.addresses)):
            try:
                encoded.append(encode(self.at(index)))
            except RowFault as fault:
                faults.setdefault(index, fault)
                encoded.append(b"")
        return encoded


_MARK = "\0"
"""Stands where the comma after it, or the object around it, may be too many: no JSON has it."""


def _members(columns: Mapping[str, Sequence[Any]], *, nulls: bool) -> Iterator[str | Sequence[str]]:
    """Encode columns as members of objects: in turn what is the same in all objects, and what is not."""
    pieces = chain.from_iterable(_member(name, values, nulls=nulls) for name, values in columns.items())
    first = next(pieces)
    return chain([first[1:]] if isinstance(first, str) else [_MARK, first], pieces)


def _member(name: str, values: Sequence[Any], *, nulls: bool) -> list[str | Sequence[str]]:
    """Encode a column, each value with its name, and a comma before it; without ``nulls``, those are left out."""
    key = f",{orjson.dumps(name).decode()}:"
    kinds = set(map(type, values))
    if kinds == {str} and b"\\" not in orjson.dumps(values):  # nothing in these texts has to be escaped
        return [f'{key}"', values, '"']
    if kinds <= _BARE:
        encoded = orjson.dumps(values)[1:-1].decode().split(",")
    else:
        encoded = [orjson.dumps(value).decode() for value in values]
    if nulls or NoneType not in kinds:
        return [key, encoded]
    return [["" if value == "null" else key + value for value in encoded]]


def _in_columns(pieces: Iterable[str | Sequence[str]]) -> Iterator[Iterable[str]]:
    """Give what is the same in all rows once for each, and join it where it comes in pieces."""
    same = ""
    for piece in pieces:
        if isinstance(piece, str):
            same += piece
        else:
            yield repeat(same)
            yield piece
            same = ""
    yield repeat(same)


def encode(contact: Mapping[str, Any]) -> bytes:
    """Encode one contact.

    Raises RowFault where a text in it is no valid Unicode.
    """
    try:
        return orjson.dumps(contact)
    except TypeError:
        raise RowFault(_undecodable(contact), "the value is no valid Unicode text") from None


def _undecodable(contact: Mapping[str, Any]) -> str | None:
    named = {**contact.get("Properties", {}), **contact}
    named.pop("Properties", None)
    for name, value in named.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            return str(name)
    return None


def merge(earlier: bytes, later: bytes) -> bytes:
    """Merge two encoded rows of one person: the later one wins, key by key."""
    first, second = orjson.loads(earlier), orjson.loads(later)
    properties = {**first.get("Properties", {}), **second.get("Properties", {})}
    merged = first | second
    if properties:
        merged["Properties"] = properties
    return orjson.dumps(merged)
