"""The values of many libraries as Python's own: what carries a value makes no difference to what is sent.

What a library has made is known by the names of its class and of the classes below it: no library is imported to find
out. Each class is looked at once.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from numbers import Real
from types import NoneType
from typing import Any
from weakref import WeakKeyDictionary

from mjbulk.rows.codes import BadValue

_NULLS = frozenset({"NAType", "NaTType", "UnsetType", "MaskedConstant"})
"""What pandas, msgspec and numpy have for nothing."""
_OWN = frozenset({str, int, float, bool, NoneType, Decimal, date, datetime, list, dict, tuple, bytes})
"""Classes whose values stay as they are."""


def is_null(value: Any) -> bool:
    """Say whether a value stands for nothing: None, NaN, or what data frames and arrays have for either."""
    if value is None:
        return True
    try:
        if isinstance(value, str | int):
            return False
        if isinstance(value, Decimal):
            return value.is_nan()
        if isinstance(value, Real) or type(value).__name__ in ("datetime64", "timedelta64"):
            return bool(value != value)  # noqa: PLR0124  # only NaN and NaT differ from themselves
    except Exception:  # noqa: BLE001  # a user's value may raise anything when it is looked at
        return False
    return type(value).__name__ in _NULLS


def plain(value: Any) -> Any:
    """Give Python's own value for one of a library, or the value itself. Raises ValueError for what is never sent."""
    kind = type(value)
    if kind in _OWN:
        return value
    make = _KNOWN.get(kind)
    if make is None:
        make = _KNOWN[kind] = _maker(kind)
    return make(value)


def _maker(kind: type) -> Callable[[Any], Any]:
    """Say what makes Python's own value of those of a class."""
    for base in kind.__mro__:
        library = base.__module__.partition(".")[0]
        for name in (library, f"{library}.{base.__name__}"):
            if name in _MAKERS:
                return _MAKERS[name]
    return _itself


def _itself(value: Any) -> Any:
    return value


def _of_enum(value: Enum) -> Any:
    return plain(value.value)


def _of_timestamp(value: Any) -> datetime:
    return value.to_pydatetime(warn=False)  # type: ignore[no-any-return]  # Python has no nanoseconds


def _of_decimal128(value: Any) -> Any:
    return value.to_decimal()


def _secret(value: Any) -> Any:
    raise BadValue("value.secret", f"is a {type(value).__name__}: what is secret is not sent")


def _odd(value: Any) -> Any:
    raise ValueError(f"is a {value.type} that Python has no form for")


def _of_numpy(value: Any) -> Any:
    """Give Python's own value for one of numpy; one without such a value stays as it is."""
    if type(value).__name__ in _NULLS:  # its item is zero
        return None
    unit = str(getattr(value, "dtype", ""))
    if unit in ("float16", "float32") and not getattr(value, "shape", ()):
        return float(str(value))  # the shortest number that it can be, and not all digits that it has in a float
    if unit.startswith("datetime64") and unit.endswith(_BELOW_MICROSECONDS):
        value = value.astype("datetime64[us]")  # Python has no nanoseconds
    if getattr(value, "shape", ()):  # of one value, too: another row has two
        return value.tolist()
    try:
        own = value.item()
    except (AttributeError, ValueError):  # none of one value
        return value
    if unit.startswith("timedelta64") and own is not None:  # numpy calls it a number
        raise ValueError("is a timedelta64, which is neither text nor number")
    no_form = unit.startswith("datetime64") and isinstance(own, int)  # Python has no such date, and gives a number
    return value if no_form else own


_BELOW_MICROSECONDS = ("ns]", "ps]", "fs]", "as]")
_MAKERS: Mapping[str, Callable[[Any], Any]] = {
    "numpy": _of_numpy,
    "enum.Enum": _of_enum,
    "datetime.time": time.isoformat,
    "uuid.UUID": str,
    "ipaddress._IPAddressBase": str,
    "pandas.Timestamp": _of_timestamp,
    "pandas.Period": str,
    "bson.ObjectId": str,
    "bson.Decimal128": _of_decimal128,
    "pydantic._BaseUrl": str,
    "pydantic._BaseMultiHostUrl": str,
    "pydantic_core.Url": str,
    "pydantic_core.MultiHostUrl": str,
    "yarl.URL": str,
    "httpx.URL": str,
    "starlette.URL": str,
    "django.__proxy__": str,  # a text that is translated when it is shown
    "mjbulk.OddValue": _odd,
    "pydantic._SecretBase": _secret,
    "pydantic.Secret": _secret,
    "starlette.Secret": _secret,
}
"""What makes Python's own value, by the library of a class, or by that and its name."""
_KNOWN: WeakKeyDictionary[type, Callable[[Any], Any]] = WeakKeyDictionary()
