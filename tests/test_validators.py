"""What a number may be, and how a value is refused."""

import math
from decimal import Decimal
from typing import Any

import attrs
import pytest
from attrs.validators import instance_of

from mjbulk.errors import UsageError
from mjbulk.validators import BOOL, INT, NOT_NEGATIVE, NOT_NEGATIVE_INT, POSITIVE, POSITIVE_INT, checked, fits

VALUES: list[Any] = [-1, -0.5, 0, 0.0, 0.5, 1, 1.0, True, False, "1", None, math.inf, math.nan, Decimal(1), 10**400]


@pytest.mark.parametrize(
    ("validator", "good"),
    [
        (BOOL, [True, False]),
        (INT, [-1, 0, 1, 10**400]),
        (NOT_NEGATIVE_INT, [0, 1, 10**400]),
        (POSITIVE_INT, [1, 10**400]),
        (NOT_NEGATIVE, [0, 0.0, 0.5, 1, 1.0, 10**400]),
        (POSITIVE, [0.5, 1, 1.0, 10**400]),
    ],
)
def test_what_fits(validator: Any, good: list[Any]) -> None:
    """A boolean is no number, a text is none, and neither is what is not finite."""
    found = [value for value in VALUES if fits(validator, value)]
    assert list(map(repr, found)) == sorted(map(repr, good), key=list(map(repr, VALUES)).index)


def test_a_refusal_does_not_repeat_the_value() -> None:
    """Neither in its sentence nor in an error behind it: the value may be a key."""

    @attrs.frozen
    class Keys:
        secret: str = attrs.field(validator=checked(instance_of(str), "the {} key is none"))

    given: Any = b"5up3r"
    with pytest.raises(UsageError) as caught:
        Keys(given)
    assert str(caught.value).startswith("the secret key is none")
    assert caught.value.__context__ is None
