"""What users see of a run that is in a journal."""

from mjbulk import RunInfo
from mjbulk.journal.info import together


def test_partitions_together() -> None:
    """Their sums, and the state of the least settled; as plain data it says which run it is."""
    alone = RunInfo(run_id="r", partition="1", state="settled", rows=1, accepted=1, created="2026-11-23")
    assert list(alone.as_dict().items())[:5] == [
        ("run_id", "r"), ("partition", "1"), ("state", "settled"), ("created", "2026-11-23"), ("rows", 1),
    ]  # fmt: skip
    infos = [RunInfo(run_id="r", partition=str(n), state="settled", rows=n, accepted=n) for n in (1, 2)]
    assert together(infos) == RunInfo(run_id="r", state="settled", rows=3, accepted=3)
    assert together([*infos, RunInfo(run_id="r", state="resumable")]).state == "resumable"
    assert together([*infos, RunInfo(run_id="r", state="running")]).state == "running"
