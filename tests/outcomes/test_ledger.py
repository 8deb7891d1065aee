"""The books of a run while it goes on."""

import random

from samples import rejection

from mjbulk.models import COUNT_NAMES, Rejection, Unsettled
from mjbulk.outcomes.ledger import Ledger


def test_a_ledger_adds_up() -> None:
    """Whatever is posted in whatever order: every row has one outcome, and the sums agree."""
    chance, ledger, rows = random.Random(7), Ledger(), 0
    wanted = dict.fromkeys(COUNT_NAMES, 0)
    for number in range(1, 200):
        count = chance.randrange(4)
        why = Unsettled(rows=(range(rows, rows + count),), cause="x")
        match chance.randrange(4):
            case 0:
                ledger.post_accepted(count, 1)
                wanted["accepted"] += count
                wanted["superseded"] += 1
                count += 1
            case 1:
                count = 1
                ledger.post_rejections([rejection(number)])
                wanted["rejected"] += 1
            case 2:
                ledger.post_unsettled(why, unknown=count)
                wanted["unknown"] += count
            case _:
                ledger.post_unsettled(why, not_sent=count)
                wanted["not_sent"] += count
        rows += count
        assert ledger.settled == rows
    wanted["rows"] = rows
    assert ledger.counts(rows).as_dict() == wanted
    assert len(ledger.rejections) == wanted["rejected"]
    assert all(unsettled.rows for unsettled in ledger.unsettled)


def test_a_note_is_no_outcome() -> None:
    """An error that cannot be assigned to a row is reported, and no row is counted as rejected for it."""
    ledger = Ledger()
    ledger.post_rejections([Rejection(row=None, message="x", match="unmatched")])
    assert (ledger.settled, len(ledger.rejections)) == (0, 1)
