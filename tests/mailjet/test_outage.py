"""Whether a submit may leave while answers are lost: the table of the module as data, and what it promises as a law."""

from random import Random

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from mjbulk.mailjet.outage import (
    FIRST_WAIT,
    LONGEST_WAIT,
    MOST_FIRST,
    Doubtful,
    Healthy,
    News,
    Probing,
    State,
    Ticket,
    after,
    may_leave,
)

MOST = 8
HEALTHY = Healthy(round=3)
DOUBTFUL = Doubtful(round=3, until=102.0, wait=2.0, lost=1)
PROBING = Probing(round=3, wait=2.0, lost=1, step=4, answered=1, under_way=2)
HARMLESS = evolve(PROBING, lost=0)
LAST = evolve(PROBING, answered=3, under_way=1)
LATE, EARLY, OLD = Ticket(3, 102.0), Ticket(3, 101.9), Ticket(2, 102.0)
NOW = 103.0


@pytest.mark.parametrize(
    ("before", "news", "expected"),
    [
        (HEALTHY, News.LOST, Doubtful(round=4, until=NOW + 1.0, wait=1.0, lost=1)),
        (HEALTHY, News.MISSED, Doubtful(round=4, until=NOW + 1.0, wait=1.0, lost=0)),
        (evolve(DOUBTFUL, lost=0), News.HEARD, Probing(round=3, wait=2.0, lost=0)),
        (PROBING, News.MISSED, Doubtful(round=4, until=NOW + 4.0, wait=4.0, lost=1)),
        (HARMLESS, News.MISSED, Doubtful(round=4, until=NOW + FIRST_WAIT, wait=FIRST_WAIT, lost=0)),
        (evolve(HARMLESS, step=2, answered=0), News.MISSED, Doubtful(round=4, until=NOW + 0.5, wait=0.5, lost=0)),
        (evolve(HARMLESS, step=1, answered=0), News.MISSED, Doubtful(round=4, until=NOW + 4.0, wait=4.0, lost=0)),
        (HARMLESS, News.LOST, Doubtful(round=4, until=NOW + 4.0, wait=4.0, lost=1)),
        (DOUBTFUL, News.HEARD, Probing(round=3, wait=2.0, lost=1)),
        (evolve(DOUBTFUL, lost=3), News.HEARD, evolve(DOUBTFUL, lost=3, heard=1)),
        (evolve(DOUBTFUL, lost=3, heard=2), News.HEARD, Probing(round=3, wait=2.0, lost=3)),
        (evolve(DOUBTFUL, lost=3, heard=2), News.UNHEARD, evolve(DOUBTFUL, lost=3, until=NOW + 4.0, wait=4.0)),
        (DOUBTFUL, News.UNHEARD, evolve(DOUBTFUL, until=NOW + 4.0, wait=4.0)),
        (evolve(DOUBTFUL, wait=20.0), News.UNHEARD, evolve(DOUBTFUL, until=NOW + LONGEST_WAIT, wait=LONGEST_WAIT)),
        (DOUBTFUL, News.LOST, evolve(DOUBTFUL, lost=2)),
        (PROBING, News.LEFT, evolve(PROBING, under_way=3)),
        (PROBING, News.BACK, evolve(PROBING, under_way=1)),
        (PROBING, News.ANSWERED, evolve(PROBING, under_way=1, answered=2)),
        (PROBING, News.LOST, Doubtful(round=4, until=NOW + 4.0, wait=4.0, lost=2)),
        (LAST, News.ANSWERED, Probing(round=3, wait=2.0, lost=1, step=8)),
        (evolve(LAST, step=8, answered=7), News.ANSWERED, Healthy(round=3)),
        (evolve(LAST, wait=30.0), News.LOST, Doubtful(round=4, until=NOW + 30.0, wait=30.0, lost=2)),
    ],
)
def test_what_happens_changes_the_state(before: State, news: News, expected: State) -> None:
    """Each line of the table."""
    assert after(before, news, LATE, NOW, MOST) == expected


def test_a_timer_may_be_early() -> None:
    """By less than a millisecond: else the same GET would be retried and again."""
    assert after(DOUBTFUL, News.HEARD, Ticket(3, 102.0 - 1e-9), NOW, MOST) == Probing(round=3, wait=2.0, lost=1)


@pytest.mark.parametrize(("took", "wait"), [(0.0, FIRST_WAIT), (2.0, 2.0), (60.0, MOST_FIRST)])
def test_the_first_wait_is_as_long_as_the_answer_took(took: float, wait: float) -> None:
    """Within bounds."""
    assert after(HEALTHY, News.LOST, Ticket(3, NOW - took), NOW, MOST) == Doubtful(
        round=4, until=NOW + wait, wait=wait, lost=1
    )


CHANGES = {
    Healthy: {News.LOST, News.MISSED},
    Doubtful: {News.HEARD, News.UNHEARD, News.LOST},
    Probing: {News.LEFT, News.BACK, News.ANSWERED, News.LOST, News.MISSED},
}


@pytest.mark.parametrize("before", [HEALTHY, DOUBTFUL, PROBING])
@pytest.mark.parametrize("news", News)
def test_all_else_changes_nothing(before: State, news: News) -> None:
    """News that the table does not have, GETs that left too early, and what left before this outage."""
    if news not in CHANGES[type(before)]:
        assert after(before, news, LATE, NOW, MOST) == before
    if isinstance(before, Doubtful) and news is not News.LOST:
        assert after(before, news, EARLY, NOW, MOST) == before
    old = after(before, news, OLD, NOW, MOST)
    counted = news is News.LOST and not isinstance(before, Healthy)
    assert old == (evolve(before, lost=2) if counted and not isinstance(before, Healthy) else before)


@pytest.mark.parametrize(
    ("state", "leaves"),
    [
        (HEALTHY, True),
        (DOUBTFUL, False),
        (Probing(round=3, wait=1.0, lost=1), True),
        (Probing(round=3, wait=1.0, lost=1, under_way=1), False),
        (PROBING, True),
        (evolve(PROBING, under_way=3), False),
        (evolve(PROBING, step=8, answered=0, under_way=6), True),
        (evolve(PROBING, step=8, answered=0, under_way=7), False),
        (evolve(PROBING, lost=7, under_way=1), False),
        (evolve(PROBING, lost=20, under_way=0), True),
    ],
)
def test_who_may_leave(state: State, leaves: bool) -> None:  # noqa: FBT001
    """All, none, or as many as the step has left, and fewer where many were lost; one at least."""
    assert may_leave(state, MOST) is leaves


@pytest.mark.unmeasured
@settings(derandomize=True, deadline=None, max_examples=300)
@given(seed=st.integers(0, 2**32), most=st.integers(1, 16), share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
def test_an_outage_costs_what_may_be_under_way_and_one_for_each_try(seed: int, most: int, share: float) -> None:
    """Submits leave whenever they may, and are lost by chance; GETs are answered by chance. However it goes, the losses
    of one outage are bounded, and when all is well again everybody leaves soon.
    """
    chance, now, lost, tries = Random(seed), 0.0, 0, 0
    state: State = Healthy()
    flying: list[Ticket] = []

    def step(news: News, ticket: Ticket) -> None:
        nonlocal state, lost, tries
        before = state
        state = after(before, news, ticket, now, most)
        tries += isinstance(before, Doubtful) and isinstance(state, Probing)
        lost += news is News.LOST
        if isinstance(state, Healthy):
            lost = tries = 0

    def move(*, healthy: bool) -> None:
        nonlocal now
        now += chance.random()
        while may_leave(state, most) and len(flying) < most:
            flying.append(Ticket(state.round, now))
            step(News.LEFT, flying[-1])
        if flying and chance.random() < 0.8:
            good = News.ANSWERED if healthy or chance.random() < 0.9 else News.BACK
            news = News.LOST if not healthy and chance.random() < share else good
            step(news, flying.pop(chance.randrange(len(flying))))
        heard = healthy or chance.random() < 0.5
        step(News.HEARD if heard else News.UNHEARD, Ticket(state.round, now))

    for _ in range(200):
        move(healthy=False)
        assert lost <= most + tries
    for _ in range(300):
        move(healthy=True)
    assert isinstance(state, Healthy)
