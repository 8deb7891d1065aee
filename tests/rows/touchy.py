"""Values that raise whatever is asked of them, as a user's own may."""

from enum import Enum
from typing import Any


class Touchy:
    """A value that raises whatever is asked of it."""

    def _raise(self, *_: Any) -> Any:
        raise RuntimeError("do not touch")

    __eq__ = __bool__ = __str__ = __repr__ = __float__ = __len__ = _raise
    __hash__ = object.__hash__


class TouchyText(str):
    """A text that does the same."""

    __slots__ = ()
    __eq__ = __bool__ = __str__ = __repr__ = __len__ = strip = Touchy._raise
    __hash__ = str.__hash__


class TouchyFloat(float):
    """A number that does the same."""

    __ne__ = __eq__ = __str__ = __float__ = __floordiv__ = Touchy._raise
    __hash__ = float.__hash__


class TouchyWord(Enum):
    """A member of an enumeration that has no value to give."""

    RED = "red"

    @property
    def value(self) -> Any:
        raise RuntimeError("do not touch")


class Many:
    """Many values, as an array has them: which of them are equal to something is no yes or no."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth of many values is not known")

    __hash__ = None  # type: ignore[assignment]  # nor has it a hash


class NAType:
    """A null as pandas has it: it is not known whether it is equal to something."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise TypeError("the truth of a null is not known")

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "<NA>"


NA: Any = NAType()
ODD_VALUES = [Touchy(), TouchyFloat(1), TouchyWord.RED, Many()]
