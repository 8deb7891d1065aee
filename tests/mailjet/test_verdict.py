"""What an answer, or none, means: the tables of the module, as data."""

from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.mailjet.verdict import (
    Backoff,
    Ending,
    Failure,
    Phase,
    Verdict,
    is_hopeless,
    judge,
    may_retry,
    retry_after,
    server_name,
)
from mjbulk.terms import Action, harmless_to_retry

LAW = settings(derandomize=True, deadline=None, max_examples=200)
A, N, R, F = Verdict.APPLIED, Verdict.NOT_APPLIED, Verdict.REFUSED, Verdict.FATAL
X, U = Verdict.AMBIGUOUS, Verdict.UNKNOWN

STATUSES = {
    **dict.fromkeys(range(100, 200), X),
    **dict.fromkeys(range(200, 300), A),
    **dict.fromkeys(range(300, 400), F),
    304: A,
    **dict.fromkeys(range(400, 500), R),
    401: F,
    403: F,
    407: N,
    408: N,
    409: X,
    425: N,
    429: N,
    **dict.fromkeys(range(500, 1000), X),
    **dict.fromkeys((-1, 0, 1, 99), X),
}
"""Every HTTP status, without an object of Mailjet's and without a pause that the server requests."""


@pytest.mark.parametrize(
    ("answer", "changed"),
    [
        ({}, {}),
        ({"form": "page"}, {401: N, 403: N}),
        ({"form": "object"}, {401: R, 403: R}),
        ({"pause": True}, {503: N}),
        ({"form": "object", "pause": True}, {401: R, 403: R, 503: N}),
        ({"form": "page", "page": "limit"}, {401: N, 403: N, 503: N}),
        ({"form": "page", "page": "unreached"}, {401: N, 403: N, 503: N}),
        ({"readable": False}, {**dict.fromkeys(range(200, 300), U), 304: U}),
    ],
)
def test_the_verdict_of_each_status(answer: Any, changed: dict[int, Verdict]) -> None:
    """Each status has one verdict; an object makes a 401 speak of the call, and a pause makes a 503 mean "not now"."""
    verdicts = {status: judge(Ending(phase=Phase.ANSWERED, status=status, **answer)) for status in STATUSES}
    assert verdicts == STATUSES | changed
    assert set(map(int, HTTPStatus)) <= set(STATUSES)


def test_what_does_not_get_better_by_itself() -> None:
    """If somebody else answers. If nobody is there, or no answer comes, it may be otherwise soon."""
    assert {failure for failure in Failure if is_hopeless(Ending(phase=Phase.NEVER, failure=failure))} == {
        Failure.UNFIT,
        Failure.NO_HTTP,
    }
    pages = [Ending(phase=Phase.ANSWERED, status=status, form="page") for status in STATUSES]
    assert [page.status for page in pages if is_hopeless(page)] == [401, 403, 407]
    assert not is_hopeless(Ending(phase=Phase.ANSWERED, status=403))


def test_only_a_success_is_applied() -> None:
    """No status above 299 but "not modified" says that a request was applied."""
    assert [status for status, verdict in STATUSES.items() if verdict is A] == [*range(200, 300), 304]


@pytest.mark.parametrize("failure", Failure)
@pytest.mark.parametrize(("phase", "verdict"), [(Phase.NEVER, N), (Phase.PART, N), (Phase.WHOLE, X)])
def test_the_verdict_of_each_failure(failure: Failure, phase: Phase, verdict: Verdict) -> None:
    """Without an answer nothing was applied if the last byte had not left; after that it is not known."""
    assert judge(Ending(phase=phase, failure=failure)) is verdict


@pytest.mark.parametrize(
    ("verdict", "certain", "again", "again_where_harmless"),
    [
        (Verdict.APPLIED, False, False, False),
        (Verdict.NOT_APPLIED, True, True, True),
        (Verdict.REFUSED, True, False, False),
        (Verdict.FATAL, True, False, False),
        (Verdict.UNKNOWN, False, False, True),
        (Verdict.AMBIGUOUS, False, False, True),
    ],
)
def test_when_the_same_bytes_may_be_retried(
    verdict: Verdict, *, certain: bool, again: bool, again_where_harmless: bool
) -> None:
    """A request that may have been applied is retried only if applying it twice does no harm."""
    assert verdict.nothing_applied is certain
    assert may_retry(verdict, harmless=False) is again
    assert may_retry(verdict, harmless=True) is again_where_harmless


def test_tables_are_whole() -> None:
    """There is no verdict and no phase that the tables above do not have."""
    assert set(Verdict) == {A, N, R, F, X, U}
    assert set(Phase) == {Phase.NEVER, Phase.PART, Phase.WHOLE, Phase.ANSWERED}


ADD, FORCE, REMOVE, UNSUB = Action.ADDNOFORCE, Action.ADDFORCE, Action.REMOVE, Action.UNSUB


@pytest.mark.parametrize(
    ("actions", "excludes", "safe"),
    [
        ([], False, True),
        ([ADD], False, True),
        ([ADD, ADD], False, True),
        ([], True, False),
        ([ADD], True, False),
        ([FORCE], False, False),
        ([REMOVE], False, False),
        ([UNSUB], False, False),
        ([ADD, UNSUB], False, False),
        ([FORCE, ADD], False, False),
    ],
)
def test_what_may_be_applied_twice(actions: list[Action], *, excludes: bool, safe: bool) -> None:
    """Only addnoforce and updates without a list converge; the caller's word stands above that."""
    assert harmless_to_retry(iter(actions), excludes=excludes, resend="safe") is safe
    assert harmless_to_retry(iter(actions), excludes=excludes, resend="never") is False
    assert harmless_to_retry(iter(actions), excludes=excludes, resend="always") is True


# Retry-After

NOW = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("0000000000005", 5.0),
        ("9999999999", 9999999999.0),
        ("9" * 400, float("inf")),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wednesday, 21-Oct-15 07:28:30 GMT", 30.0),
        ("Wed Oct 21 07:28:30 2015", None),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 09:28:30 +0200", 30.0),
        ("Thu, 31 Dec 100000 23:59:59 GMT", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        *((text, None) for text in ("", "nan", "inf", "1e3", "-5", "+5", "5.0", "１２", "٥", "1_0", "soon", "5 s")),
    ],
)
def test_what_a_server_asks_for(text: str, seconds: float | None) -> None:
    """ASCII digits are seconds; a date counts from the answer's own Date; anything else counts as missing."""
    assert retry_after({"Retry-After": text, "Date": NOW}) == seconds


@pytest.mark.parametrize("headers", [{}, {"Date": NOW}, {"Retry-After": NOW}, {"Retry-After": NOW, "Date": "?"}])
def test_a_date_needs_the_answers_own_date(headers: dict[str, str]) -> None:
    """Without a header, and for a date without the answer's Date, nothing is known."""
    assert retry_after(headers) is None


@LAW
@given(st.text(max_size=30), st.one_of(st.text(max_size=20), st.just(NOW)))
def test_any_header_gives_seconds_or_nothing(text: str, date: str) -> None:
    """Whatever a server writes: a number that is not negative, or None."""
    seconds = retry_after({"Retry-After": text, "Date": date})
    assert seconds is None or seconds >= 0.0


# The server that answers


@pytest.mark.parametrize("name", ["nginx/1.22.1", "tinyproxy/1.11.1", "squid/5.7", "Microsoft-IIS/10.0", "cloudflare"])
def test_a_server_is_called_as_it_calls_itself(name: str) -> None:
    """By its product and version."""
    assert server_name({"Server": name}) == name


@pytest.mark.parametrize("name", ["", "a\nb", "<b>", "x" * 41, "Ünknown", "ann@example.org"])
def test_a_server_may_have_no_name_that_can_be_repeated(name: str) -> None:
    """It stands in errors."""
    assert server_name({"Server": name}) == server_name({}) == "an unnamed server"


# Pauses

CHANCES = st.floats(min_value=0, max_value=1)


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"),
    [(1, 1.0, 0.5), (2, 1.0, 1.0), (3, 0.5, 1.0), (4, 0.0, 0.0), (7, 1.0, 30.0), (10**6, 1.0, 30.0)],
)
def test_a_pause_doubles_with_full_jitter(attempt: int, chance: float, seconds: float) -> None:
    """From half a second it doubles to at most 30, anywhere between nothing and that."""
    assert Backoff().seconds(attempt, chance) == seconds


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"), [(1, 0.0, 0.5), (1, 1.0, 1.0), (3, 0.0, 2.0), (9, 1.0, 30.0)]
)
def test_a_throttled_pause_is_never_short(attempt: int, chance: float, seconds: float) -> None:
    """After a 429 the wait is at least half of the doubled one."""
    assert Backoff().seconds(attempt, chance, throttled=True) == seconds


@LAW
@given(st.integers(1, 10**6), CHANCES, st.floats(min_value=0, max_value=1e6), st.booleans())
def test_what_was_asked_for_is_never_cut_short(attempt: int, chance: float, asked: float, throttled: bool) -> None:  # noqa: FBT001
    """A pause that the server requests is stretched by a tenth at most, and is never below the first wait."""
    pause = Backoff()
    wanted = max(asked, pause.throttled if throttled else pause.first)
    assert wanted <= pause.seconds(attempt, chance, asked=asked, throttled=throttled) <= wanted * 1.1 + 1e-9


@LAW
@given(st.integers(1, 10**6), CHANCES, st.booleans())
def test_a_pause_is_bounded(attempt: int, chance: float, throttled: bool) -> None:  # noqa: FBT001
    """If the server does not ask for one, no pause is longer than the bound, nor negative."""
    assert 0 <= Backoff().seconds(attempt, chance, throttled=throttled) <= Backoff().most
