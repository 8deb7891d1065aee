"""One request until it is answered: what follows from each attempt, and what the transport does about it."""

import asyncio
import re
from contextlib import suppress
from io import BytesIO
from itertools import pairwise
from math import inf
from random import Random
from typing import Any, BinaryIO

import pytest
from attrs import evolve
from support import settled

from mjbulk.config import Settings
from mjbulk.errors import ApiError, Error, NoAnswer
from mjbulk.events import Event
from mjbulk.mailjet.attempts import (
    AttemptResult,
    GaveUp,
    Patience,
    Raise,
    Retry,
    Tries,
    Untrusted,
    WasReset,
    decide,
    is_sign,
    seconds_left,
)
from mjbulk.mailjet.quota import Gate, LocalQuota, Step
from mjbulk.mailjet.replies import UnreadableReply, decode_lists
from mjbulk.mailjet.request_count import RequestCount
from mjbulk.mailjet.requests import Request, sign_of_life_request
from mjbulk.mailjet.response import ExchangeFailed, Response
from mjbulk.mailjet.transport import Doubt, Transport
from mjbulk.mailjet.verdict import Ending, Failure, Phase

# What follows from an attempt


def answered(status: int, body: bytes = b"", asked: float | None = None, **said: Any) -> AttemptResult:
    ending = Ending(phase=Phase.ANSWERED, status=status, pause=asked is not None, **said)
    return AttemptResult(ending, f"status {status}", body, asked)


def unanswered(failure: Failure, phase: Phase = Phase.WHOLE) -> AttemptResult:
    return AttemptResult(Ending(phase=phase, failure=failure), failure.value)


APPLIED = answered(200)
REFUSED = answered(400, b'{"ErrorMessage": "MJ19 no"}')
THROTTLED = answered(429)
NOT_NOW = answered(503, asked=5.0)
LIMITED = answered(503, page="limit")
UNREACHED = answered(503, page="unreached")
NEVER_SENT = unanswered(Failure.NEVER_SENT, Phase.NEVER)
CUT = unanswered(Failure.TIMED_OUT, Phase.PART)
TIMED_OUT = unanswered(Failure.TIMED_OUT)
RESET = unanswered(Failure.RESET)
LOST = unanswered(Failure.LOST)
SERVER_ERROR = answered(500)
UNREADABLE = answered(201, readable=False)
CERTIFICATE = unanswered(Failure.UNFIT, Phase.NEVER)
NO_KEYS = answered(401)
PAGE = answered(403, form="page")
ABSENT = unanswered(Failure.ABSENT, Phase.NEVER)
NO_HTTP = unanswered(Failure.NO_HTTP)
ONE = Tries(count=1, deadline=160.0)
USUAL = Patience(attempts=10, seconds=60.0)
ONE_RESET = evolve(USUAL, resets=1)


def decided(result: AttemptResult, tries: Tries = ONE, patience: Patience = USUAL, **said: Any) -> Raise | Retry:
    """Decide about a GET at second 100."""
    usual = {"call": "GET job", "harmless": True, "in_doubt": True, "now": 100.0, "chance": 1.0}
    return decide(result, tries, patience, **{"held": False, "first": False, **usual, **said})


@pytest.mark.parametrize("harmless", [True, False])
@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (THROTTLED, Retry(0.0)),
        (NOT_NOW, Retry(0.0)),
        (LIMITED, Retry(0.0)),
        (UNREACHED, Retry(0.5, 5.0, 59.5)),
        (NEVER_SENT, Retry(0.5, 5.0, 59.5)),
        (CUT, Retry(0.5, 10.0, 59.5)),
        (REFUSED, ApiError),
        (NO_KEYS, ApiError),
        (CERTIFICATE, Retry(0.5, 5.0, 59.5)),
        (PAGE, Retry(0.5, 5.0, 59.5)),
    ],
)
def test_what_is_known_is_the_same_for_all_requests(result: AttemptResult, expected: object, *, harmless: bool) -> None:
    """Where it is known whether the request was applied, it does not matter whether twice would do harm."""
    decision = decided(result, harmless=harmless)
    assert (type(decision.error) if isinstance(decision, Raise) else decision) == expected


@pytest.mark.parametrize("result", [CERTIFICATE, PAGE, NO_HTTP])
def test_what_does_not_get_better_fails_at_once_at_first(result: AttemptResult) -> None:
    """Before any request was answered. Later it waits, as all else."""
    decision = decided(result, first=True)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, Untrusted)
    assert isinstance(decided(result, first=False), Retry)


def test_nobody_is_looked_for_for_a_few_seconds_at_first() -> None:
    """A server that is not there may be starting just now."""
    assert [seconds_left(ABSENT, USUAL, first=first) for first in (True, False)] == [3.0, 60.0]
    assert seconds_left(LOST, USUAL, first=True) == 60.0
    decision = decided(ABSENT, Tries(count=3, deadline=100.0), first=True)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, Untrusted)


@pytest.mark.parametrize(
    ("result", "price"), [(LOST, 5.0), (RESET, 5.0), (SERVER_ERROR, 5.0), (UNREADABLE, 5.0), (TIMED_OUT, 10.0)]
)
def test_what_is_not_known_is_retried_only_without_harm(result: AttemptResult, price: float) -> None:
    """An answer that is lost or unreadable: a harmless request is paid for and retried, any other ends in doubt."""
    assert decided(result) == Retry(0.5, price, 59.5)
    decision = decided(result, harmless=False)
    assert isinstance(decision, Raise)
    assert type(decision.error) is NoAnswer
    assert decision.error.sent


@pytest.mark.parametrize("result", [LOST, RESET, TIMED_OUT, SERVER_ERROR, UNREADABLE])
def test_what_waits_for_the_end_of_an_outage_needs_no_other_wait(result: AttemptResult) -> None:
    """It costs no tokens; its patience ends as that of others."""
    assert decided(result, held=True) == Retry(0.0)
    for tries in (Tries(count=10, deadline=160.0), Tries(count=1, deadline=99.0)):
        assert isinstance(decided(result, tries, held=True), Raise)


@pytest.mark.parametrize(
    ("result", "sign"),
    [
        (LOST, True), (TIMED_OUT, True), (RESET, True), (SERVER_ERROR, True), (UNREADABLE, True), (answered(409), True),
        (APPLIED, False), (REFUSED, False), (THROTTLED, False), (NOT_NOW, False), (NEVER_SENT, False), (CUT, False),
        (NO_KEYS, False), (CERTIFICATE, False),
    ],
)  # fmt: skip
def test_signs_of_an_outage(result: AttemptResult, sign: bool) -> None:  # noqa: FBT001
    """A lost answer is one; a reset is none if the size of the body may be the reason and a retry does no harm."""
    assert is_sign(result, USUAL, harmless=True) is is_sign(result, ONE_RESET, harmless=False) is sign
    assert is_sign(result, ONE_RESET, harmless=True) is (sign and result is not RESET)


@pytest.mark.parametrize(
    ("result", "tries", "patience", "expected"),
    [
        (LOST, Tries(count=9, deadline=160.0), USUAL, Retry(30.0, 5.0, 30.0)),
        (LOST, Tries(count=10, deadline=160.0), USUAL, GaveUp),
        (LOST, Tries(count=60, throttled=51, deadline=160.0), USUAL, Retry(30.0, 5.0, 30.0)),
        (LOST, Tries(count=9, deadline=130.0), USUAL, Retry(30.0, 5.0, 0.0)),
        (LOST, Tries(count=9, deadline=129.9), USUAL, GaveUp),
        (LOST, Tries(count=1, deadline=inf), Patience(attempts=1, seconds=inf), GaveUp),
        (LOST, Tries(count=2, deadline=inf), Patience(attempts=3, seconds=inf), Retry(1.0, 5.0, inf)),
        (RESET, Tries(count=1, resets=1, deadline=160.0), ONE_RESET, WasReset),
        (RESET, Tries(count=10, resets=10, deadline=160.0), USUAL, GaveUp),
        (RESET, Tries(count=10, resets=1, deadline=160.0), evolve(USUAL, resets=3), WasReset),
        (LOST, Tries(count=10, resets=1, deadline=160.0), evolve(USUAL, resets=3), GaveUp),
        (LOST, Tries(count=2, deadline=50.0).not_before(160.0), USUAL, Retry(1.0, 5.0, 59.0)),
        (THROTTLED, Tries(count=99, throttled=99, deadline=0.0), USUAL, Retry(0.0)),
        (THROTTLED, Tries(count=120, throttled=100), USUAL, GaveUp),
    ],
)
def test_patience_ends(result: AttemptResult, tries: Tries, patience: Patience, expected: object) -> None:
    """By attempts, by seconds or by resets, whichever ends first; a "not now" counts for none of them, up to 100."""
    decision = decided(result, tries, patience)
    assert (type(decision.error) if isinstance(decision, Raise) else decision) == expected


def test_what_ends_a_request_says_how() -> None:
    """An error has the call, the cause, the number of attempts and the doubt."""
    decision = decided(LOST, Tries(count=10, deadline=160.0), in_doubt=False)
    assert isinstance(decision, Raise)
    error = decision.error
    assert isinstance(error, GaveUp)
    assert (error.call, error.sentence, error.attempts, error.sent) == ("GET job", "the answer was lost", 10, False)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"ErrorMessage": "MJ19 no"}', "a value cannot be set"),
        (401, b"", "the API key or its secret is wrong"),
        (401, b'{"ErrorMessage": "Operation not allowed"}', "GET job; this API key may not do that"),
        (401, b'{"ErrorMessage": "MJ19 no"}', "(MJ19: a value cannot be set) to GET job"),
        (403, b"", "this API key may not do that"),
        (413, b"", "the request is too large"),
        (400, b"<html>bad request</html>", "it is a page, which Mailjet's API does not send"),
        (404, b"<html>not found</html>", "it is a page, which Mailjet's API does not send"),
        (400, b"<center>No required SSL certificate was sent</center>", "the server wants a client certificate: give"),
        (413, b"<html>too large</html>", "the request is too large"),
        (302, b"", "it is a redirect, which is never followed"),
    ],
)
def test_a_refusal_gives_advice(status: int, body: bytes, said: str) -> None:
    """What Mailjet's code means, or what the status means where that is known."""
    decision = decided(answered(status, body, form="object" if body else "nothing"))
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, ApiError)
    assert decision.error.status == status
    assert said in str(decision.error)


def test_a_foreign_page_is_no_refusal_of_mailjet() -> None:
    """Nothing was applied, and nothing will be."""
    page = evolve(answered(403, form="page"), why="squid/5.7 answered 403")
    decision = decided(page, Tries(count=1), in_doubt=False, first=True)
    assert isinstance(decision, Raise)
    assert isinstance(decision.error, Untrusted)
    assert "squid/5.7 answered 403); nothing of it was applied" in str(decision.error)


def test_tries_count_what_patience_is_about() -> None:
    """The deadline comes with the first failure and stays; a "not now" moves neither deadline nor resets."""
    tries = Tries(count=1).after(THROTTLED, 60.0)
    assert tries == Tries(count=1, throttled=1)
    tries = tries.after(RESET, 70.0)
    assert tries == Tries(count=1, throttled=1, resets=1, deadline=70.0)
    assert tries.after(LOST, 99.0) == tries


# Doing it


class Longest(Random):
    """Chance by which every wait is as long as it may be."""

    def random(self) -> float:
        return 1.0


class FakeExchange:
    """Gives answers, or raises failures, in order; the last one stays. What asks for a sign of life gets it at once."""

    def __init__(self, *answers: Response | Exception, seconds: float = 1.0) -> None:
        """``seconds`` is how long an exchange takes."""
        self._answers = list(answers)
        self._seconds = seconds
        self.alive: Response | Exception = answer(200, b'{"Count": 0, "Data": [], "Total": 0}')
        self.asked: list[float] = []
        """When it had to give a sign of life."""
        self.calls: list[tuple[float, Request, bool, float]] = []
        self.closed = False

    async def once(self, request: Request, *, keep: bool, max_reply: float, sink: BinaryIO | None) -> Response:
        now = asyncio.get_running_loop().time()
        if request == sign_of_life_request():
            self.asked.append(now)
            if isinstance(self.alive, Exception):
                raise self.alive
            return self.alive
        self.calls.append((now, request, keep, max_reply))
        await asyncio.sleep(self._seconds)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        if sink is not None:
            sink.write(answer.body)
        return answer

    async def aclose(self) -> None:
        self.closed = True


def transport_of(
    exchange: FakeExchange,
    events: list[Event] | None = None,
    quota: LocalQuota | None = None,
    *,
    believe_pages: bool = False,
    **said: Any,
) -> Transport:
    settings = Settings(**said)
    gate = Gate(quota or LocalQuota(), "key", concurrency=8, max_rate=settings.max_rate, chance=Longest())
    emit = (lambda _: None) if events is None else events.append
    fake: Any = exchange
    return Transport(fake, gate, settings, emit, Longest(), believe_pages=believe_pages)


def answer(status: int, body: bytes = b"", **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def failed(failure: Failure) -> ExchangeFailed:
    return ExchangeFailed(failure, failure.value, Phase.NEVER if failure is Failure.NEVER_SENT else Phase.WHOLE)


GET = Request(method="GET", path="/v3/REST/contact/somebody%40example.org", call="GET contact", kind="poll")
POST = Request(method="POST", path="/v3/REST/contact", call="POST contact", body=b"12345", kind="submit")
OK = answer(200, b"fine")


def unreadable(_: bytes) -> object:
    raise UnreadableReply("the reply names no job")


async def test_an_answer_is_decoded() -> None:
    """One request, one answer; a GET may use a kept connection, a POST that may do harm may not."""
    exchange = FakeExchange(OK)
    transport, count = transport_of(exchange), RequestCount()
    count.begin()
    assert await transport.send(GET, bytes.decode) == "fine"
    assert await transport.send(POST, bytes.decode, max_reply=9.0) == "fine"
    assert [(request, keep) for _, request, keep, _ in exchange.calls] == [(GET, True), (POST, False)]
    assert exchange.calls[1][3] == 9.0
    assert count.sent == 2


async def test_a_good_answer_goes_into_the_sink() -> None:
    """The transport hands the sink on, and decodes what is left of the body."""
    sink = BytesIO()
    await transport_of(FakeExchange(OK)).send(GET, bytes, sink=sink)
    assert sink.getvalue() == b"fine"


async def test_a_harmless_request_is_retried_until_it_is_answered() -> None:
    """After a lost answer, a server error and a time-out; the wait doubles each time, and then a GET is asked first."""
    exchange = FakeExchange(failed(Failure.LOST), answer(500), failed(Failure.TIMED_OUT), OK)
    assert await transport_of(exchange).send(POST, bytes, harmless=True) == b"fine"
    assert [when for when, *_ in exchange.calls] == [0.0, 2.0, 5.0, 10.0]
    assert exchange.asked == [2.0, 5.0, 10.0]
    assert await transport_of(FakeExchange(failed(Failure.LOST), OK)).send(GET, bytes) == b"fine"


@pytest.mark.parametrize(
    "answers",
    [
        [failed(Failure.LOST)],
        [answer(500)],
        [failed(Failure.NEVER_SENT), failed(Failure.RESET)],
        [answer(429), failed(Failure.TIMED_OUT)],
    ],
)
async def test_a_request_that_may_do_harm_ends_in_doubt(answers: list[Response | Exception]) -> None:
    """What did not reach Mailjet is retried; after a lost answer the request ends, and is known to be in doubt."""
    exchange, doubt = FakeExchange(*answers, OK), Doubt()
    with pytest.raises(NoAnswer) as caught:
        await transport_of(exchange).send(POST, bytes, doubt=doubt)
    assert type(caught.value) is NoAnswer
    assert (caught.value.sent, caught.value.attempts) == (True, len(answers))
    assert doubt.sent
    assert len(exchange.calls) == len(answers)


@pytest.mark.parametrize(
    ("answers", "in_doubt"),
    [
        ((OK,), False),
        ((answer(400),), False),
        ((failed(Failure.LOST), OK), False),
        ((failed(Failure.LOST), answer(400)), True),
        ((answer(503, Retry_After="1"), answer(400)), False),
    ],
)
async def test_a_doubt_ends_with_a_good_answer_alone(answers: tuple[Any, ...], in_doubt: bool) -> None:  # noqa: FBT001
    """A refusal says nothing about an attempt before it whose answer was lost."""
    doubt = Doubt()
    await asyncio.gather(
        transport_of(FakeExchange(*answers)).send(POST, bytes, harmless=True, doubt=doubt), return_exceptions=True
    )
    assert doubt.sent is in_doubt


@pytest.mark.parametrize(("seconds", "in_doubt"), [(0.5, True), (1.25, False), (1.75, True)])
async def test_a_cancellation_leaves_the_doubt_of_that_moment(seconds: float, in_doubt: bool) -> None:  # noqa: FBT001
    """Cancelled during an exchange, or in the wait between two of them: no byte of the first one left."""
    doubt = Doubt()
    transport = transport_of(FakeExchange(failed(Failure.NEVER_SENT)))
    task = asyncio.create_task(transport.send(POST, bytes, doubt=doubt, patience=Patience(attempts=9, seconds=60)))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert doubt.sent is in_doubt


async def test_an_unreadable_answer_means_that_it_was_applied() -> None:
    """A POST ends in doubt and says why; a GET is asked once more."""
    exchange = FakeExchange(answer(200, b"{}"))
    with pytest.raises(NoAnswer, match="the reply names no job"):
        await transport_of(exchange).send(POST, unreadable)
    with pytest.raises(GaveUp):
        await transport_of(exchange).send(GET, unreadable, patience=Patience(attempts=3, seconds=60))
    assert len(exchange.calls) == 4


async def test_a_good_answer_of_somebody_else_is_known_at_once() -> None:
    """At the first request of all, as where nobody is there; later it may be an outage. A body that is cut is none."""
    loop = asyncio.get_running_loop()
    exchange = FakeExchange(answer(200, b"<html>Please log in</html>", Server="nginx/1.22.1"))
    with pytest.raises(Untrusted, match=r"nginx/1.22.1 answered 200 with a page, .* or api_url is wrong"):
        await transport_of(exchange).send(GET, decode_lists)
    assert loop.time() < 20.0
    later, began = transport_of(FakeExchange(*[answer(200, b'{"Data": [')] * 2, *exchange._answers)), loop.time()
    later.expect_outages()
    with pytest.raises(GaveUp, match="with a page") as gave_up:
        await later.send(GET, decode_lists)
    assert not isinstance(gave_up.value, Untrusted)
    assert loop.time() - began > 20.0


async def test_a_429_is_waited_for_and_is_no_failure() -> None:
    """It stops the key for as long as the server asks, and costs neither patience nor tokens."""
    exchange = FakeExchange(*[answer(429, Retry_After="60")] * 5, OK)
    patience = Patience(attempts=1, seconds=1.0)
    assert await transport_of(exchange).send(POST, bytes, patience=patience) == b"fine"
    assert [when for when, *_ in exchange.calls] == pytest.approx([67.0 * number for number in range(6)])


async def test_a_hundred_429s_end_a_request() -> None:
    """A server that always says "not now" does not hold a request for ever; each attempt has its event."""
    events: list[Event] = []
    with pytest.raises(GaveUp, match="status 429"):
        await transport_of(FakeExchange(answer(429)), events).send(POST, bytes)
    assert [event.name for event in events] == ["request.sending", "request"] * 100


async def test_a_key_that_is_stopped_for_long_ends_a_request() -> None:
    """A pause of more than two minutes is not waited for: the error says how long it lasts."""
    exchange = FakeExchange(answer(429, Retry_After="600"))
    with pytest.raises(GaveUp, match=r"Mailjet has stopped this key for another [56]\d\d s"):
        await transport_of(exchange).send(POST, bytes)
    assert len(exchange.calls) == 1


@pytest.mark.parametrize(
    ("failure", "request_", "why"),
    [
        (
            answer(429, Retry_After="100"),
            POST,
            r"Mailjet answers 429 .*; the next one goes in \d+ s",
        ),
        (failed(Failure.LOST), POST, rf"answers are lost \({Failure.LOST.value}\)"),
        (answer(407, b"<html>"), GET, "an unnamed server answered 407: a proxy in between"),
    ],
)
async def test_what_keeps_requests_is_told_as_long_as_it_lasts(failure: Any, request_: Request, why: str) -> None:
    exchange = FakeExchange(failure, OK)
    alive, exchange.alive = exchange.alive, failed(Failure.LOST)
    transport = transport_of(exchange, give_up_after=1e4)
    transport.expect_outages()
    assert transport.trouble is None
    sending = asyncio.create_task(transport.send(request_, bytes, harmless=True))
    await asyncio.sleep(1.2)
    assert re.match(why, transport.trouble or "")
    exchange.alive = alive
    assert await sending == b"fine"
    assert transport.trouble is None
    await transport.aclose(1.0)


async def test_patience_begins_with_the_first_failure() -> None:
    """An answer that does not come for long is no failure yet; then the patience of the settings runs."""
    exchange = FakeExchange(failed(Failure.TIMED_OUT), seconds=100.0)
    with pytest.raises(GaveUp) as caught:
        await transport_of(exchange, give_up_after=150.0).send(GET, bytes)
    assert caught.value.attempts == 3
    assert asyncio.get_running_loop().time() == pytest.approx(301.5)


async def test_patience_stands_still_while_the_gate_waits() -> None:
    """A pause that another request's 429 has brought takes nothing of it."""
    exchange = FakeExchange(failed(Failure.NEVER_SENT), answer(429, Retry_After="100"), failed(Failure.NEVER_SENT), OK)
    assert await transport_of(exchange, give_up_after=10.0).send(POST, bytes) == b"fine"
    assert asyncio.get_running_loop().time() > 100


async def test_resets_that_may_be_for_the_size_end_early() -> None:
    """As often as the patience says; without such a bound a reset is a failure as others are."""
    exchange = FakeExchange(failed(Failure.RESET))
    with pytest.raises(WasReset):
        await transport_of(exchange).send(POST, bytes, harmless=True, patience=evolve(USUAL, resets=2))
    assert len(exchange.calls) == 2
    with pytest.raises(GaveUp) as caught:
        await transport_of(exchange).send(POST, bytes, harmless=True, patience=evolve(USUAL, attempts=3))
    assert type(caught.value) is GaveUp


async def test_retries_share_a_budget() -> None:
    """After a hundred retries at once a request waits for tokens, and gives up where its patience ends before."""
    transport = transport_of(FakeExchange(failed(Failure.NEVER_SENT)))
    hasty = [transport.send(POST, bytes, patience=Patience(attempts=11, seconds=9999.0)) for _ in range(14)]
    await asyncio.gather(*hasty, return_exceptions=True)
    with pytest.raises(GaveUp, match="no connection; too many requests fail to send one more"):
        await transport.send(POST, bytes, patience=Patience(attempts=9, seconds=5.0))


async def test_a_success_gives_back_what_it_cost() -> None:
    """Requests that succeed with their second attempt do not use up the budget."""
    answers: list[Response | Exception] = [failed(Failure.NEVER_SENT), OK] * 300
    transport = transport_of(FakeExchange(*answers))
    for _ in range(300):
        assert await transport.send(POST, bytes) == b"fine"
    assert asyncio.get_running_loop().time() == pytest.approx(300 * 2.5)


async def test_every_answer_is_shown_before_it_is_judged() -> None:
    """Refusals and "not now" too; a failure without an answer is not."""
    seen: list[tuple[int, str | None]] = []
    exchange = FakeExchange(answer(429, X_Limit="5"), failed(Failure.NEVER_SENT), answer(400))
    with pytest.raises(ApiError):
        await transport_of(exchange).send(
            POST, bytes, on_answer=lambda status, headers: seen.append((status, headers.get("X-Limit")))
        )
    assert seen == [(429, "5"), (400, None)]


async def test_events_tell_each_attempt_and_no_address() -> None:
    """Two events an attempt: its number, verdict, status and cause, by the name of the call."""
    events: list[Event] = []
    await transport_of(FakeExchange(answer(500), OK), events).send(GET, bytes)
    assert [(one.name, one.attempt, one.verdict, one.status, one.cause) for one in events] == [
        ("request.sending", 1, None, None, None),
        ("request", 1, "ambiguous", "500", "status 500"),
        ("request.sending", 2, None, None, None),
        ("request", 2, "applied", "200", None),
    ]
    assert "somebody" not in repr(events)


class Deaf(LocalQuota):
    """A quota that fails at its second step: the first grants a request, the second learns of its answer."""

    steps = 0

    async def change(self, key: str, step: Step[Any]) -> Any:
        self.steps += 1
        if self.steps == 2:
            raise Error("the quota cannot be reached")
        return await super().change(key, step)


async def test_an_answer_is_worth_more_than_its_lesson() -> None:
    """Where the quota fails to learn of a 429, the request goes on all the same."""
    exchange = FakeExchange(answer(429), OK)
    assert await transport_of(exchange, quota=Deaf()).send(POST, bytes) == b"fine"
    assert len(exchange.calls) == 2


# An outage


async def test_one_doubt_stops_what_may_do_harm() -> None:
    """Eight of a hundred submits whose answers are lost are sent; the others wait, and are known not to be sent."""
    exchange = FakeExchange(answer(503))
    exchange.alive = failed(Failure.LOST)
    transport = transport_of(exchange, give_up_after=100.0)
    doubts = [Doubt() for _ in range(100)]
    sent = [asyncio.create_task(transport.send(POST, bytes, doubt=doubt)) for doubt in doubts]
    ends = [end for end in await asyncio.gather(*sent, return_exceptions=True) if isinstance(end, NoAnswer)]
    assert len(exchange.calls) == sum(doubt.sent for doubt in doubts) == 8
    assert exchange.asked == [2.0, 4.0, 8.0, 16.0, 32.0, 62.0, 92.0]
    assert (len(ends), {type(end) for end in ends if not end.sent}) == (100, {GaveUp})
    assert str(ends[-1]) == (
        "POST contact was not sent: it waited for 100 s while the answers to others were lost: status 503"
    )


async def test_a_request_that_waits_is_not_in_doubt() -> None:
    """Its owner hears that it leaves when it does, and not before."""
    exchange, left = FakeExchange(failed(Failure.LOST), OK), list[float]()

    async def leaving() -> None:
        left.append(asyncio.get_running_loop().time())

    transport = transport_of(exchange)
    with pytest.raises(NoAnswer):
        await transport.send(POST, bytes)
    doubt = Doubt(leaving=leaving)
    sending = asyncio.create_task(transport.send(POST, bytes, doubt=doubt))
    await asyncio.sleep(0.4)
    assert (left, doubt.sent) == ([], False)
    assert await sending == b"fine"
    assert left == [exchange.calls[1][0]] == [2.0]


async def test_what_waited_for_its_grant_waits_again_if_an_outage_has_begun() -> None:
    """It does not leave, and takes no start from others."""
    exchange, quota = FakeExchange(failed(Failure.LOST), OK), LocalQuota()
    quota.max_rate = 2.0
    transport = transport_of(exchange, quota=quota)
    results = await asyncio.gather(*(transport.send(POST, bytes) for _ in range(6)), return_exceptions=True)
    assert [type(result) for result in results] == [NoAnswer, *[bytes] * 5]
    assert [when for when, *_ in exchange.calls] == [0.0, 0.5, 2.5, 3.5, 4.0, 5.0]


@pytest.mark.parametrize("status", [403, 404, 503])
async def test_a_get_that_is_refused_lets_a_submit_find_out(status: int) -> None:
    """Somebody is there, whatever they say; a server in trouble is not."""
    exchange = FakeExchange(failed(Failure.LOST), answer(400))
    exchange.alive = answer(status)
    transport = transport_of(exchange, give_up_after=5.0)
    results = await asyncio.gather(*(transport.send(POST, bytes) for _ in range(10)), return_exceptions=True)
    assert isinstance(results[9], GaveUp if status == 503 else ApiError)


async def test_429s_end_no_outage() -> None:
    """The key stops, and is asked once more after that."""
    exchange = FakeExchange(failed(Failure.LOST), OK)
    exchange.alive = answer(429, Retry_After="20")
    transport = transport_of(exchange)
    with pytest.raises(NoAnswer):
        await transport.send(POST, bytes)
    sending = asyncio.create_task(transport.send(POST, bytes))
    await asyncio.sleep(10)
    exchange.alive = FakeExchange(OK).alive
    assert await sending == b"fine"
    assert exchange.asked == [2.0, pytest.approx(24.0)]


async def test_pages_of_proxies_are_believed_if_the_user_says_so() -> None:
    """Then a page which says that the request reached nobody lets it go once more, whatever it is."""
    page = b"<h1>503 Service Unavailable</h1>\nNo server is available to handle this request."
    with pytest.raises(NoAnswer):
        await transport_of(FakeExchange(answer(503, page), OK)).send(POST, bytes)
    assert await transport_of(FakeExchange(answer(503, page), OK), believe_pages=True).send(POST, bytes) == b"fine"


async def test_requests_that_wait_for_their_turn_are_counted() -> None:
    """Until they have it, are cancelled, or fail."""
    transport = transport_of(FakeExchange(OK, seconds=1.0))
    tasks = [asyncio.create_task(transport.send(GET, bytes)) for _ in range(12)]
    await settled()
    assert (transport.waiting, transport.granted) == (4, 8)
    tasks[9].cancel()
    await asyncio.sleep(1.5)
    assert (transport.waiting, transport.granted) == (0, 11)
    await asyncio.wait(tasks)
    await transport.send(GET, bytes)
    assert (transport.waiting, transport.granted) == (0, 12)
    stopped = transport_of(FakeExchange(answer(429, Retry_After="3600")))
    with pytest.raises(GaveUp):
        await stopped.send(GET, bytes)
    assert (stopped.waiting, stopped.granted) == (0, 1)


@pytest.mark.parametrize(
    ("request_", "reply", "calls"),
    [(POST, answer(400), 1), (POST, answer(404), 1), (POST, OK, 0), (GET, answer(404), 0), (POST, answer(302), 1)],
)
async def test_a_refusal_of_what_was_sent_is_told(request_: Request, reply: Response, calls: int) -> None:
    """Something may not be what it was. A GET that finds nothing changes nothing."""
    told: list[int] = []
    transport = transport_of(FakeExchange(reply))
    transport.when_refused(lambda: told.append(1))
    with suppress(ApiError):
        await transport.send(request_, bytes)
    assert len(told) == calls


@pytest.mark.parametrize(("status", "verdict"), [(401, "not applied"), (403, "not applied")])
async def test_a_page_of_somebody_else_is_told_from_a_refusal(status: int, verdict: str) -> None:
    """By its body; the error names the server, and the event tells it too."""
    events: list[Event] = []
    transport = transport_of(FakeExchange(answer(status, b"<html>no</html>", Server="squid/5.7")), events)
    with pytest.raises(Untrusted, match=f"squid/5.7 answered {status} with a page") as page:
        await transport.send(POST, bytes)
    assert (page.value.sent, events[-1].verdict, events[-1].status) == (False, verdict, str(status))
    for body, kind in ((b"", "wrong"), (b'{"ErrorMessage": "no"}', "may not do that")):
        with pytest.raises(ApiError, match=kind if status == 401 else "may not do that"):
            await transport_of(FakeExchange(answer(status, body))).send(POST, bytes)


async def test_what_takes_long_before_a_request_leaves_makes_no_burst() -> None:
    """The journal is busy for a second: requests that would have been granted meanwhile come after that, as far apart
    as the rate says. Where no rate is set nor learned, each is written at once.
    """
    busy = 0.0

    async def leaving() -> None:
        await asyncio.sleep(busy)

    async def left(max_rate: float | None) -> list[float]:
        exchange, began = FakeExchange(OK), asyncio.get_running_loop().time()
        transport = transport_of(exchange, max_rate=max_rate)
        sends = (transport.send(POST, bytes, doubt=Doubt(leaving=leaving)) for _ in range(12))
        await asyncio.gather(*sends)
        return [when - began for when, *_ in exchange.calls]

    busy = 1.0
    assert min(later - earlier for earlier, later in pairwise(await left(4.0))) == pytest.approx(1.0)
    assert await left(None) == pytest.approx([1.0] * 8 + [3.0] * 4)
    busy = 0.1
    assert await left(4.0) == pytest.approx([0.1 + 0.25 * n for n in range(12)])


async def test_closing_ends_requests_that_wait_and_the_connections() -> None:
    """A request that waits for the gate raises; the exchange is closed."""
    exchange = FakeExchange(OK)
    transport = transport_of(exchange)
    under_way = [asyncio.create_task(transport.send(GET, bytes)) for _ in range(9)]
    await settled()
    await transport.aclose(1.0)
    assert exchange.closed
    results = await asyncio.gather(*under_way, return_exceptions=True)
    assert results[:8] == [b"fine"] * 8
    assert str(results[8]) == "the client was closed"
