"""The journal that keeps nothing."""

import pytest

from mjbulk import JournalRefused
from mjbulk.journal.protocol import NoJournal
from mjbulk.journal.records import (
    RunRecord,
    fingerprint,
    number_of,
)

ACCOUNT = fingerprint("key")
RUN = RunRecord(run=number_of(ACCOUNT, "r", ""), run_id="r", account=ACCOUNT, spec="{}", created="2026-11-23")


async def test_no_journal_knows_nothing() -> None:
    """It takes everything and gives nothing; who asks for a run is told why."""
    journal = NoJournal()
    assert not (await journal.open_run(RUN)).begun
    journal.later(RUN)
    await journal.put(RUN)
    assert [record async for record in journal.rejections(RUN.run)] == []
    assert (await journal.runs(RUN.account), await journal.notes(RUN.account)) == ((), {})
    with pytest.raises(JournalRefused, match="no journal"):
        await journal.find("r", "", RUN.account)
    await journal.purge(RUN)
    await journal.release(RUN)
    await journal.aclose()
