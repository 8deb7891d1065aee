"""What is a date and time, and how it is sent."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.rows.dates import NO_ZONE, Dates, NoZone

LAW = settings(derandomize=True, deadline=None, max_examples=200)
ANYWHERE = Dates()
PARIS = Dates(ZoneInfo("Europe/Paris"))
EAST = timezone(timedelta(hours=2))


def refused(dates: Dates, value: Any) -> str:
    with pytest.raises(ValueError) as caught:
        dates(value)
    return str(caught.value)


# Without a word of the caller


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (date(2026, 1, 2), "2026-01-02T00:00:00Z"),
        ("2026-01-02", "2026-01-02T00:00:00Z"),
        (" 2026-01-02 ", "2026-01-02T00:00:00Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02 03:04:05+02:00", "2026-01-02T01:04:05Z"),
        ("2026-01-02 03:04:05+00", "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, tzinfo=EAST), "2026-01-02T01:00:00Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC), "2026-01-02T03:04:05.000600Z"),
    ],
)
def test_dates_and_times(value: Any, sent: str) -> None:
    """A time is sent in UTC, and a day as its midnight there."""
    assert ANYWHERE(value) == sent


@pytest.mark.parametrize("value", ["2026-01-02T03:04:05", "2026-01-02 03:04", datetime(2026, 1, 2)])  # noqa: DTZ001
def test_a_time_without_a_zone(value: Any) -> None:
    """It is not known what it means. All values of a column have that fault at once."""
    with pytest.raises(NoZone) as caught:
        ANYWHERE(value)
    assert str(caught.value) == NO_ZONE


# Numbers: each has one reading


@pytest.mark.parametrize(
    ("number", "sent"),
    [
        (20251231, "2025-12-31T00:00:00Z"),
        (19750204, "1975-02-04T00:00:00Z"),
        (1705312800, 1705312800),
        (10**8, 10**8),
        (10**10, 10**10),
    ],
)
def test_numbers_that_are_dates(number: int, sent: Any) -> None:
    """Eight digits that are a date are that date; Unix seconds are from 10^8 to 10^10. As a text they are the same."""
    carriers = [number, float(number), Decimal(number), f"{number}", f" {number}.0 ", f"{number}."]
    assert [ANYWHERE(value) for value in carriers] == [sent] * 6


MILLISECONDS = "is a number too large for Unix seconds: milliseconds have to be divided by 1,000"
NEITHER = "is a number that is no date: neither YYYYMMDD nor Unix seconds from 1973 to 2286"


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (1705312800000, MILLISECONDS),
        (157766400000, MILLISECONDS),  # a birthday of 1975
        (-(10**11), MILLISECONDS),
        (1985, NEITHER),
        (45306, NEITHER),  # a day of a spreadsheet
        (0, NEITHER),
        (-1, NEITHER),
        (10**8 - 1, "is a number of eight digits that is no date"),
        (20251331, "is a number of eight digits that is no date"),
    ],
)
def test_numbers_that_are_none(number: int, problem: str) -> None:
    """All others are refused, with the reason, whatever carries them."""
    assert refused(ANYWHERE, number) == refused(ANYWHERE, float(number)) == problem
    assert refused(ANYWHERE, f"{number}.0") == refused(ANYWHERE, str(number)) == problem


@pytest.mark.parametrize("value", [True, 1.5, float("inf"), Decimal("1705312800.5")])
def test_what_is_no_date(value: Any) -> None:
    """Neither a boolean nor a fraction is one."""
    assert refused(ANYWHERE, value) == "is no date"


@pytest.mark.parametrize("text", ["x", "2026-13-01", "02.01.2026", "1705312800.5", "2026-01-02T25:00:00Z"])
def test_texts_that_are_no_date(text: str) -> None:
    """The sentence says what helps, and does not repeat the text."""
    assert refused(ANYWHERE, text) == "is no date and time in RFC 3339 (date_format= names another form)"


def test_times_that_no_calendar_has() -> None:
    """In UTC they are before its first day, or after its last."""
    for when in (datetime(1, 1, 1, tzinfo=EAST), datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=2)))):
        assert refused(ANYWHERE, when) == "is a time before the year 1 or after the year 9999"


# With timezone=


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (datetime(2026, 1, 2, 3), "2026-01-02T02:00:00Z"),  # noqa: DTZ001
        (datetime(2026, 7, 2, 3), "2026-07-02T01:00:00Z"),  # noqa: DTZ001
        ("2026-01-02T03:00:00", "2026-01-02T02:00:00Z"),
        ("2026-01-02T03:00:00Z", "2026-01-02T03:00:00Z"),
        (date(2026, 7, 2), "2026-07-01T22:00:00Z"),
        (20260702, "2026-07-01T22:00:00Z"),
        ("2026-07-02", "2026-07-01T22:00:00Z"),
        (datetime(2026, 7, 2), "2026-07-01T22:00:00Z"),  # noqa: DTZ001  # as a frame has the day
        (1705312800, 1705312800),
    ],
)
def test_times_in_the_zone_of_the_caller(value: Any, sent: Any) -> None:
    """What names no zone is in that one, a day begins there, and a Unix time stays what it is."""
    assert PARIS(value) == sent


@pytest.mark.parametrize(
    ("value", "often"),
    [(datetime(2026, 3, 29, 2, 30), "never"), ("2026-10-25T02:30:00", "twice")],  # noqa: DTZ001
)
def test_times_that_are_not_one(value: Any, often: str) -> None:
    """When clocks change, some times are never there and some twice: which is meant is not known."""
    assert refused(PARIS, value) == f"is a time that Europe/Paris has {often}: clocks change then"


# With date_format=


@pytest.mark.parametrize(
    ("form", "text", "sent"),
    [
        ("%d/%m/%Y", " 31/12/2025 ", "2025-12-30T23:00:00Z"),
        ("%d%m%Y", "31122025", "2025-12-30T23:00:00Z"),
        ("%d/%m/%Y %H:%M", "31/12/2025 12:30", "2025-12-31T11:30:00Z"),
        ("%d/%m/%Y %H:%M %z", "31/12/2025 12:30 +0000", "2025-12-31T12:30:00Z"),
    ],
)
def test_texts_of_another_form(form: str, text: str, sent: str) -> None:
    """A text is read as the caller says."""
    assert Dates(ZoneInfo("Europe/Paris"), form)(text) == sent


def test_a_form_says_whether_there_is_a_time() -> None:
    """One without hours is a day, which needs no zone; a percent sign is no hour."""
    assert Dates(None, "%d/%m/%Y %%H")("31/12/2025 %H") == "2025-12-31T00:00:00Z"
    with pytest.raises(NoZone):
        Dates(None, "%d/%m/%Y %H")("31/12/2025 12")


def test_texts_that_do_not_have_the_form() -> None:
    """They are refused; what is no text is read as always."""
    dates = Dates(None, "%d/%m/%Y")
    assert refused(dates, "2025-12-31") == "does not have the form that date_format= names"
    assert dates(date(2025, 12, 31)) == dates("31/12/2025") == dates(20251231)


@pytest.mark.parametrize(
    ("form", "number", "sent"),
    [
        ("%d%m%Y", 31122025, "2025-12-31T00:00:00Z"),
        ("%d%m%Y", 1012012, "2012-01-01T00:00:00Z"),  # 01012012 had a zero before it was a number
        ("%Y%d%m", 20251201, "2025-01-12T00:00:00Z"),
        ("%Y", 1985, "1985-01-01T00:00:00Z"),
        ("%Y%j", 2025365, "2025-12-31T00:00:00Z"),
        ("%d/%m/%Y", 20251231, "2025-12-31T00:00:00Z"),
        ("%d/%m/%Y", 1705312800, 1705312800),
    ],
)
def test_digits_have_one_reading(form: str, number: int, sent: str | int) -> None:
    """As a text, as a number and as a whole float they mean the same, in a form of digits alone or in another."""
    dates = Dates(None, form)
    assert {dates(value) for value in (number, str(number), float(number), Decimal(number))} == {sent}


def test_numbers_without_the_form() -> None:
    """A form of digits alone refuses them, and no other reading is tried."""
    dates = Dates(None, "%Y%d%m")
    for value in (20251231, "20251231", 1705312800):
        assert refused(dates, value) == "does not have the form that date_format= names"
    assert refused(dates, -20251201).startswith("is a number that is no date")
    assert refused(Dates(None, "%d/%m/%Y"), "9" * 5000).startswith("is no date")


# Whatever comes


@LAW
@given(
    st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.dates()
    | st.datetimes()
    | st.decimals(allow_nan=False)
)
def test_what_is_sent_is_a_date(value: Any) -> None:
    """It is RFC 3339 in UTC or Unix seconds, or it is refused."""
    try:
        sent = PARIS(value)
    except (ValueError, ArithmeticError):
        return
    assert isinstance(sent, int) or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", sent)
