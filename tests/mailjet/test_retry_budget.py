"""How many retries an API key may make."""

import asyncio

import pytest
from support import settled

from mjbulk.mailjet.retry_budget import RetryBudget


async def test_retries_are_paid() -> None:
    """A hundred retries need no wait; then one comes every 25 seconds."""
    budget, clock = RetryBudget(), asyncio.get_running_loop()
    for _ in range(100):
        await budget.pay(5.0)
    assert clock.time() == 0
    for number in range(1, 4):
        await budget.pay(5.0)
        assert clock.time() == pytest.approx(25 * number)


async def test_a_success_pays_for_others_in_the_order_of_asking() -> None:
    """Tokens that come back wake the retry that has waited longest, and the next when there are more."""
    budget, order, clock = RetryBudget(), list[int](), asyncio.get_running_loop()
    await budget.pay(500.0)

    async def retry(number: int) -> None:
        await budget.pay(10.0)
        order.append(number)

    tasks = [asyncio.create_task(retry(number)) for number in range(3)]
    await settled()
    for tokens, served in [(9.0, 0), (1.0, 1), (20.0, 3)]:
        budget.refund(tokens)
        await settled()
        assert order == list(range(served))
    assert clock.time() == 0
    await asyncio.gather(*tasks)


async def test_no_more_tokens_come_back_than_there_were() -> None:
    """Neither a success nor time saves more than 500."""
    budget, clock = RetryBudget(), asyncio.get_running_loop()
    budget.refund(1000.0)
    await asyncio.sleep(10_000)
    await budget.pay(500.0)
    before = clock.time()
    await budget.pay(1.0)
    assert clock.time() - before == pytest.approx(5)


async def test_a_retry_that_gives_up_waiting_holds_up_no_other() -> None:
    """A wait for tokens ends with its time-out; the retries behind it go on waiting."""
    budget, clock = RetryBudget(), asyncio.get_running_loop()
    await budget.pay(500.0)
    patient = asyncio.create_task(budget.pay(5.0))
    await settled()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await budget.pay(5.0)
    await patient
    assert clock.time() == pytest.approx(25)
    patient = asyncio.create_task(budget.pay(5.0))
    await settled()
    patient.cancel()
    await budget.pay(5.0)
    assert clock.time() == pytest.approx(50)
