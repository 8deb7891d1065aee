"""What a value of a datetime property means, and how it is sent: RFC 3339 in UTC, or Unix seconds (FACTS 8.2).

A number has one reading, whatever carries it, as a number or as text.
"""

import re
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from numbers import Real
from typing import Any

from attrs import frozen

from mjbulk.rows.codes import BadValue

_UNIX = range(10**8, 10**10 + 1)
"""Seconds that are read as Unix time: March 1973 to November 2286."""
_DAY = range(10**7, 10**8)
"""Eight digits."""
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?\Z")
_TIME = re.compile(r"%[HIMSfpcXTRrs]")
_DIGITS = re.compile(r"[0-9]+\Z")
_DIGITS_ALONE = re.compile(r"(?:%[dmyYHMSj])+\Z")
"""Forms that read nothing but digits."""
_TOO_MANY = 10**30
"""A number with more digits than any form reads."""
_WIDTHS = {"Y": 4, "j": 3}
"""Digits of what has not two of them."""
NO_ZONE = "there are dates and times without a time zone: timezone= says it, as in timezone='Europe/Paris'"


class NoZone(ValueError):
    """A date and time has no zone, and the caller has named none: it is not known what it means."""

    def __init__(self) -> None:
        super().__init__(NO_ZONE)


@frozen
class Dates:
    """How dates and times are read."""

    zone: tzinfo | None = None
    """The zone of those that name none; None refuses times without a zone, and has a day begin in UTC."""
    format: str | None = None
    """How texts are read, in the words of `strptime`; None reads RFC 3339 and numbers. A form of digits alone reads
    whole numbers, too; with any other form digits are read as without one.
    """

    def __call__(self, value: Any) -> str | int:
        """Give a plain value as it is sent. Raises ValueError, whose text comes after "the value"."""
        if isinstance(value, str):
            value = self._of_text(str.strip(value))
        if not isinstance(value, date):
            value = self._of_real(value)
        if isinstance(value, datetime):
            return self._stamp(value)
        return self._of_day(value) if isinstance(value, date) else value

    def _of_real(self, value: Any) -> int | date:
        if isinstance(value, bool) or not isinstance(value, Real | Decimal) or value != value // 1:
            raise ValueError("is no date")
        number = int(value)  # type: ignore[arg-type]  # any real number has this
        if self.format is not None and 0 <= number < _TOO_MANY and _DIGITS_ALONE.match(self.format):
            return self._of_digits(str(number), self.format)
        return _of_number(number)

    def has_form(self, value: Any) -> bool:
        """Say whether the caller has said in which form a value of this kind is written."""
        if self.format is None or isinstance(value, date):
            return False
        digits = not isinstance(value, str) or _DIGITS.match(value.strip())
        return not digits or _DIGITS_ALONE.match(self.format) is not None

    def _of_text(self, text: str) -> Any:
        if self.format is not None and not _DIGITS.match(text):
            return self._of_format(text, self.format)
        if self.format is not None and _DIGITS_ALONE.match(self.format):
            return self._of_digits(text, self.format)
        try:
            if _NUMBER.match(text):
                return _whole(text)
            return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("is no date and time in RFC 3339 (date_format= names another form)") from None

    def _of_digits(self, text: str, form: str) -> date:
        """Read digits in a form of digits alone, with the zeros that a number does not have at its beginning."""
        width = sum(_WIDTHS.get(directive, 2) for directive in form[1::2])
        return self._of_format(text.zfill(width), form)

    def _of_format(self, text: str, form: str) -> date:
        try:
            found = datetime.strptime(text, form)  # noqa: DTZ007  # a zone is told apart below
        except ValueError:
            raise ValueError("does not have the form that date_format= names") from None
        return found if found.tzinfo or _TIME.search(form.replace("%%", "")) else found.date()

    def _of_day(self, day: date) -> str:
        if self.zone is None:
            return f"{day.isoformat()}T00:00:00Z"
        return self._stamp(datetime(day.year, day.month, day.day))  # noqa: DTZ001  # it is added there

    def _stamp(self, when: datetime) -> str:
        if when.tzinfo is None:
            when = self._in_zone(when)
        try:
            return when.astimezone(UTC).isoformat().replace("+00:00", "Z")
        except OverflowError:
            raise BadValue("value.range", "is a time before the year 1 or after the year 9999") from None

    def _in_zone(self, when: datetime) -> datetime:
        """Give a time in the zone. Raises ValueError if clocks have it twice or never."""
        if self.zone is None:
            raise NoZone
        first, second = (when.replace(tzinfo=self.zone, fold=fold) for fold in (0, 1))
        if first.utcoffset() == second.utcoffset():
            return first
        again = first.astimezone(UTC).astimezone(self.zone)
        never = again.replace(tzinfo=None) != first.replace(tzinfo=None)
        raise BadValue(
            "value.clock_change", f"is a time that {self.zone} has {'never' if never else 'twice'}: clocks change then"
        )


def _whole(text: str) -> int:
    whole, _, rest = text.partition(".")
    if rest.strip("0"):
        raise ValueError("is no whole number of seconds")
    return int(whole)


def _of_number(number: int) -> int | date:
    """Read a number: eight digits that are a date, or Unix seconds. Raises ValueError for any other."""
    if number in _UNIX:
        return number
    if number in _DAY:
        try:
            return date(number // 10_000, number // 100 % 100, number % 100)
        except ValueError:
            raise ValueError("is a number of eight digits that is no date") from None
    if abs(number) > _UNIX[-1]:
        raise BadValue(
            "value.range", "is a number too large for Unix seconds: milliseconds have to be divided by 1,000"
        )
    raise ValueError("is a number that is no date: neither YYYYMMDD nor Unix seconds from 1973 to 2286")
