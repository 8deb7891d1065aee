"""One question at a time: shared by all who ask meanwhile, remembered, and asked again for what is missing."""

import asyncio
from collections.abc import Callable

import pytest
from support import settled

from mjbulk.errors import ApiError, Error
from mjbulk.mailjet.remembered import Remembered

TTL = 60.0


class Case:
    """A server that knows some names, and answers when a test lets it."""

    def __init__(self, *names: str, ttl: float = TTL) -> None:
        self.names = set(names)
        self.asked = 0
        self.failures: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()
        self.known = Remembered(self._ask, ttl)

    async def _ask(self) -> set[str]:
        self.asked += 1
        names = set(self.names)
        await self.open.wait()
        if self.failures:
            raise self.failures.pop()
        return names

    async def has(self, *names: str, since: int | None = None) -> bool:
        return set(names) <= await self.known.get(without(*names), since=since)


def without(*names: str) -> Callable[[set[str]], set[str]]:
    return lambda known: set(names) - known


async def test_an_answer_is_remembered_for_a_while() -> None:
    """It counts from when the question was asked."""
    case = Case("a")
    for seconds in (0, TTL - 1):
        await asyncio.sleep(seconds)
        assert await case.known.get() == {"a"}
    assert (case.asked, case.known.kept) == (1, {"a"})
    await asyncio.sleep(1)
    assert case.known.kept is None
    await case.known.get()
    assert case.asked == 2


async def test_those_who_ask_meanwhile_share_the_answer() -> None:
    """Also where nothing is remembered afterwards."""
    for ttl in (TTL, 0.0):
        case = Case("a", ttl=ttl)
        assert await asyncio.gather(*(case.has("a") for _ in range(200))) == [True] * 200
        assert case.asked == 1
        await case.has("a")
        assert case.asked == (1 if ttl else 2)


async def test_who_is_cancelled_ends_no_question() -> None:
    """Neither the first, who has asked it, nor all of them."""
    case = Case("a")
    case.open.clear()
    first, second = (asyncio.create_task(case.has("a")) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    assert first.cancelled()
    case.open.set()
    assert await second
    assert (case.asked, await case.has("a"), case.asked) == (1, True, 1)


async def test_a_failure_goes_to_all_and_is_not_kept() -> None:
    """The next caller asks again. A failure that nobody waits for any more is no fault."""
    case = Case("a")
    failure = ApiError(401, call="GET contactmetadata")
    case.failures.append(failure)
    failed: list[object] = [*await asyncio.gather(case.has("a"), case.has("a"), return_exceptions=True)]
    assert failed == [failure] * 2
    assert await case.has("a")
    case.known.forget()
    case.failures.append(failure)
    case.open.clear()
    task = asyncio.create_task(case.has("a"))
    await settled()
    task.cancel()
    case.open.set()
    await settled()
    assert (await case.has("a"), case.asked) == (True, 4)


# What is missing


async def test_what_is_missing_is_asked_for_again_and_then_remembered_as_missing() -> None:
    """For as long as an answer is."""
    case = Case("a")
    await case.has("a")
    await asyncio.sleep(10)
    assert not await case.has("a", "b")
    assert case.asked == 2
    case.names.add("b")
    await asyncio.sleep(TTL - 1)
    assert not await case.has("b")
    assert case.asked == 2
    await asyncio.sleep(1)
    assert await case.has("b")
    assert case.asked == 3


async def test_what_was_created_meanwhile_is_found() -> None:
    """Two hundred ask for it side by side: that is one more question."""
    case = Case("a")
    await case.has("a")
    case.names |= {"b", "c"}
    assert all(await asyncio.gather(*(case.has("b") for _ in range(200))))
    assert await case.has("c")
    assert case.asked == 2


async def test_a_new_answer_is_not_asked_for_again() -> None:
    """A question is new to those who came before it was asked, and to those who took a mark before it."""
    case = Case("a")
    mark = case.known.mark
    assert not await case.has("b")
    assert not await case.has("c", since=mark)
    assert case.asked == 1
    await case.has("d", since=mark + 1)
    assert case.asked == 2


async def test_a_question_under_way_may_be_too_old() -> None:
    """All who joined it share one more question, for what is missing in its answer."""
    case = Case("a")
    case.open.clear()
    first = asyncio.create_task(case.has("a"))
    await settled()
    case.names.add("b")
    others = [asyncio.create_task(case.has("b")) for _ in range(3)]
    await settled()
    case.open.set()
    assert (await first, await asyncio.gather(*others), case.asked) == (True, [True] * 3, 2)


async def test_new_names_without_end_are_no_questions_without_end() -> None:
    """After a question that has not helped there is none for a second, and the names are no miss to remember."""
    case = Case("a")
    for number in range(1000):
        await case.has(f"name {number}")
    assert case.asked == 2
    case.names.add("name 999")
    await asyncio.sleep(1)
    assert await case.has("name 999")
    assert case.asked == 3
    assert await case.has("name 999")
    assert len(case.known._missing) == 2


async def test_not_too_many_names_are_remembered_as_missing() -> None:
    """They may be anything that stands in a source."""
    case = Case()
    for first in range(0, 40_000, 4000):
        await case.has(*map(str, range(first, first + 4000)))
        await asyncio.sleep(2)
    assert len(case.known._missing) <= 14_000


# What contradicts it


async def test_what_is_contradicted_is_forgotten() -> None:
    """An answer too that comes later, to a question that was asked before, and what was missing."""
    case = Case("a")
    await case.has("b")
    case.known.forget()
    assert case.known.kept is None
    case.names.add("b")
    assert await case.has("b")
    case.known.forget()
    case.open.clear()
    old = asyncio.create_task(case.known.get())
    await settled()
    case.known.forget()
    new = asyncio.create_task(case.has("c"))
    case.names.add("c")
    await settled()
    case.open.set()
    assert (await old, await new) == ({"a", "b"}, True)
    assert case.asked == 4


async def test_a_question_under_way_that_fails_is_not_the_one_that_was_wanted() -> None:
    """A caller that waits for its end, to ask a new one, does so."""
    case = Case("a")
    case.open.clear()
    case.failures.append(ApiError(500, call="GET contactmetadata"))
    old = asyncio.create_task(case.known.get())
    await settled()
    case.known.forget()
    new = asyncio.create_task(case.known.get())
    await settled()
    case.open.set()
    assert await new == {"a"}
    with pytest.raises(ApiError):
        await old


async def test_a_client_that_closes_ends_the_question() -> None:
    """A caller that waits for it is told, and is not cancelled."""
    case = Case("a")
    await case.known.aclose()
    case.open.clear()
    task = asyncio.create_task(case.known.get())
    await settled()
    await case.known.aclose()
    with pytest.raises(Error, match="the client was closed"):
        await task
