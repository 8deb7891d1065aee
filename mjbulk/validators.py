"""The validators of attrs for flags and numbers, combined once.

The sentence of a UsageError is ours: the messages of attrs quote the value, which may be a key or an address.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
from attrs.validators import and_, ge, gt, instance_of, lt, not_

from mjbulk.errors import UsageError

_T = TypeVar("_T")
Validator = Callable[[Any, "attrs.Attribute[Any]", Any], object]
_NO_BOOL: Validator = not_(instance_of(bool))  # to Python, True is the number 1

BOOL = instance_of(bool)
INT = and_(instance_of(int), _NO_BOOL)
NOT_NEGATIVE_INT = and_(INT, ge(0))
POSITIVE_INT = and_(INT, ge(1))
NOT_NEGATIVE = and_(instance_of((int, float)), _NO_BOOL, ge(0), lt(math.inf))
POSITIVE = and_(NOT_NEGATIVE, gt(0))

_VALUE = attrs.fields(attrs.make_class("_Any", ["value"])).value


def fits(validator: Validator, value: object, attribute: "attrs.Attribute[Any]" = _VALUE) -> bool:
    """Tell whether a validator takes a value."""
    try:
        validator(None, attribute, value)
    except (TypeError, ValueError):
        return False
    return True


def of_type(value: object, kind: type[_T], sentence: str) -> _T | None:
    """Give a value back. Raises UsageError if it is neither of this type nor None."""
    if value is None or isinstance(value, kind):
        return value
    raise UsageError(sentence)


def checked(validator: Validator, sentence: str) -> Validator:
    """Give the validator of a field that raises UsageError; ``{}`` in its sentence is the name of the field."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if not fits(validator, value, attribute):
            raise UsageError(sentence.format(attribute.name))

    return check
