"""Which chunk a row goes into, and which rows wait: the chunker against plain rules."""

import os

import pytest
from chunk_cases import CASES, Case, go_through
from hypothesis import given, settings

LAW = settings(derandomize=True, deadline=None, max_examples=int(os.environ.get("MJBULK_CASES", "300")))


@pytest.mark.unmeasured
@LAW
@given(CASES)
def test_a_run_and_its_crashes_against_the_plain_rules(case: Case) -> None:
    """Through crashes, doubts and other limits, every row that is not refused is in one chunk at the end; nobody is in
    flight twice, no row goes out after a later one of its person, and nobody waits without reason.
    """
    go_through(case)
