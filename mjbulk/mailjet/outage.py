"""Whether a request that has an effect may leave while answers are being lost.

The theory.

**What is at stake.** A submit whose answer is lost may have been applied, and nothing at Mailjet recognises a repeated
one (FACTS 9.13). Rows of a submit that must not be repeated are unknown then, for good. In an outage every submit that
leaves ends like that. So the number of unknown chunks is the number of submits that leave between the beginning of the
outage and the moment at which it is noticed, and one for each try whether it has ended.

**What bounds it.** At most C requests of a key are under way (``concurrency``). The first lost answer of a submit stops
all others, so the outage costs at most C chunks when it begins. GETs go on: they have no effect, whatever becomes of
them. After a wait the next GET is the first try. While d submits of this outage were lost, a submit leaves only when d
GETs in a row (C at most) were answered: if a share s of all answers is lost, that happens by chance with (1 - s)^d,
which gets less with each loss. Only if that submit is answered do 2 leave at once, then 4, and so on until C, and at
most ``max(1, C - d)`` are under way. So of one outage at most C chunks are lost, and one more for each try at which d
GETs are answered and a submit is not.

**The waits.** The first one is as long as the lost answer took, within `FIRST_WAIT` and `MOST_FIRST`: a gateway that
gives up after a second, or a server whose queue is a second long, has that second to recover. Each try that fails
doubles the wait, up to `LONGEST_WAIT`.

Submits that may be repeated wait as well, because they would only add to the load of a server in trouble. They go
first when one may leave: a try with them costs nothing. If one of them is lost, that is a sign too, but d does not
grow. As long as d is 0, the shortest wait follows a loss after an answer: if answers are lost by chance, waits that
double would stop an import that only has to retry.

**The states** and what becomes of them by what happens:

========  ======================  =======================================================
state     what happens            state after it
========  ======================  =======================================================
Healthy   a submit is lost        Doubtful, with the first wait
Doubtful  a late GET is answered  Doubtful, one more heard; Probing with 1 at once, if as
                                  many were heard in a row as submits were lost
Doubtful  a late GET is lost      Doubtful, with twice the wait and none heard
Doubtful  a submit is lost        Doubtful, one more lost
Probing   a submit leaves         Probing, one more under way
Probing   a submit is answered    Probing; if it is the last of its step, twice as many;
                                  Healthy, if that is more than C
Probing   a submit comes back     Probing, one less under way
Probing   a submit is lost        Doubtful, with twice the wait; with the shortest one, if
                                  d is 0, and a submit was answered since the state began
========  ======================  =======================================================

All else changes nothing. A GET is late if it left after the wait was over. A submit comes back if it is known that it
was not applied, or was cancelled. What left before the present outage began says nothing about it: each request has
the number of the outage (`round`) that was current when it left. A submit that left before and is lost counts, though.

Assumed: a server that answers a GET is there for submits too, or the first submit shows that it is not; and one lost
answer is a sign for the next ones. If answers are lost by chance, one in a thousand, each costs a short wait, and some
submits that go fewer at once.
"""

from enum import Enum

from attrs import evolve, frozen

FIRST_WAIT, MOST_FIRST, LONGEST_WAIT = 0.5, 5.0, 30.0
"""Seconds from a lost answer to the next try: least and most of the first wait, and the longest one."""

EARLY = 1e-6
"""Seconds by which a timer of the event loop may be early."""


class News(Enum):
    """What happens to a request."""

    LEFT = "a submit leaves"
    ANSWERED = "a submit is answered"
    BACK = "a submit comes back"
    LOST = "a submit is lost"
    MISSED = "a submit that may be repeated is lost"
    HEARD = "a GET is answered"
    UNHEARD = "a GET is lost"


_LOSSES = (News.LOST, News.MISSED)


@frozen
class Ticket:
    """What a request has from its start."""

    round: int
    at: float
    """When it left, in seconds of the loop's clock."""


@frozen(kw_only=True)
class Healthy:
    """Answers come."""

    round: int = 0


@frozen(kw_only=True)
class Doubtful:
    """An answer was lost. No submit may leave."""

    round: int
    until: float
    """When the wait for the next try ends, in seconds of the loop's clock."""
    wait: float
    """Seconds of that wait."""
    lost: int
    """Submits that were lost in this outage, of those that may not be repeated."""
    heard: int = 0
    """GETs that were answered in a row."""


@frozen(kw_only=True)
class Probing:
    """An answer came after one was lost. Some submits may leave."""

    round: int
    wait: float
    lost: int
    step: int = 1
    """How many submits have to be answered until twice as many may leave."""
    answered: int = 0
    under_way: int = 0


State = Healthy | Doubtful | Probing


def may_leave(state: State, most: int) -> bool:
    """Say whether one more submit may leave now. ``most`` is how many may be under way in good times."""
    if isinstance(state, Probing):
        room = max(1, most - state.lost)
        return state.under_way < min(room, state.step - state.answered)
    return isinstance(state, Healthy)


def after(state: State, news: News, ticket: Ticket, now: float, most: int) -> State:
    """Give the state after some news of the request that has this ticket: see the table in the module's docstring."""
    if isinstance(state, Healthy):
        is_lost = news in _LOSSES and _is_of(ticket, state)
        return _doubtful(state, _first_wait(now - ticket.at), _harm(news), now) if is_lost else state
    if isinstance(state, Doubtful):
        return _in_doubt(state, news, ticket, now, most)
    return _probing(state, news, ticket, now, most)


def _harm(news: News) -> int:
    return int(news is News.LOST)


def _is_of(ticket: Ticket, state: State) -> bool:
    return ticket.round == state.round


def _doubtful(state: State, wait: float, lost: int, now: float) -> Doubtful:
    return Doubtful(round=state.round + 1, until=now + wait, wait=wait, lost=lost)


def _first_wait(took: float) -> float:
    return min(max(FIRST_WAIT, took), MOST_FIRST)


def _longer(wait: float) -> float:
    return min(2 * wait, LONGEST_WAIT)


def _in_doubt(state: Doubtful, news: News, ticket: Ticket, now: float, most: int) -> State:
    if news is News.LOST:
        return evolve(state, lost=state.lost + 1)
    if not _is_of(ticket, state) or ticket.at < state.until - EARLY:
        return state
    if news is News.HEARD and state.heard + 1 < min(state.lost, most):
        return evolve(state, heard=state.heard + 1)
    if news is News.HEARD:
        return Probing(round=state.round, wait=state.wait, lost=state.lost)
    if news is News.UNHEARD:
        wait = _longer(state.wait)
        return evolve(state, until=now + wait, wait=wait, heard=0)
    return state


def _probing(state: Probing, news: News, ticket: Ticket, now: float, most: int) -> State:
    if news is News.LOST and not _is_of(ticket, state):
        return evolve(state, lost=state.lost + 1)
    if not _is_of(ticket, state):
        return state
    match news:
        case News.LEFT:
            return evolve(state, under_way=state.under_way + 1)
        case News.BACK:
            return evolve(state, under_way=state.under_way - 1)
        case News.LOST | News.MISSED:
            return _doubtful(state, _wait_after(state, news), state.lost + _harm(news), now)
        case News.ANSWERED:
            return _one_answered(evolve(state, under_way=state.under_way - 1, answered=state.answered + 1), most)
    return state


def _wait_after(state: Probing, news: News) -> float:
    """Give the wait after a try that ends with a loss."""
    was_answered = state.step > 1 or state.answered > 0
    harmless = news is News.MISSED and not state.lost
    return FIRST_WAIT if was_answered and harmless else _longer(state.wait)


def _one_answered(state: Probing, most: int) -> State:
    if state.answered < state.step:
        return state
    if 2 * state.step > most:
        return Healthy(round=state.round)
    return evolve(state, step=2 * state.step, answered=0)
