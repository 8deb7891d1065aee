"""Mappings that read the emulator's state at each access, from any thread."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from mjbulk.testing._rules import person
from mjbulk.testing._state import EmulatedAccount, EmulatedContact

_T = TypeVar("_T")
_K = TypeVar("_K")
_V = TypeVar("_V")


class Here(Protocol):
    """A function that calls ``work`` in the event loop of the server, and gives its result."""

    def __call__(self, work: Callable[[], _T], /) -> _T: ...


class View(Mapping[_K, _V], Generic[_K, _V]):
    """A mapping that calls ``read`` at each access."""

    def __init__(self, here: Here, read: Callable[[], Mapping[_K, _V]]) -> None:
        self._here, self._read = here, read

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}>"

    def __getitem__(self, key: _K) -> _V:
        return self._here(lambda: self._read()[key])

    def __iter__(self) -> Iterator[_K]:
        return iter(self._here(lambda: list(self._read())))

    def __len__(self) -> int:
        return self._here(lambda: len(self._read()))


class People(Mapping[str, EmulatedContact]):
    """The people of some accounts. Keys are addresses as they were first written; lookups ignore case."""

    def __init__(self, here: Here, accounts: Callable[[], Iterable[EmulatedAccount]]) -> None:
        self._here, self._accounts = here, accounts

    def __repr__(self) -> str:
        return f"<People: {len(self)}>"

    def __getitem__(self, email: str) -> EmulatedContact:
        found = self._here(lambda: self._find(email))
        if found is None:
            raise KeyError(email)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._here(self._addresses))

    def __len__(self) -> int:
        return len(self._here(self._addresses))

    def _find(self, email: str) -> EmulatedContact | None:
        found = (account.people.get(person(email)) for account in self._accounts())
        return next((who.seen() for who in found if who is not None), None)

    def _addresses(self) -> list[str]:
        merged: dict[str, str] = {}
        for account in self._accounts():
            for key, who in account.people.items():
                merged.setdefault(key, who.email)
        return list(merged.values())
