"""Faults that are put into the code on purpose are found by the tests that are named for them.

The gravest three are tried here; ``python tests/mutants.py`` tries all.
"""

import pytest
from mutants import MUTANTS, Mutant, found


@pytest.mark.timeout(180)
@pytest.mark.parametrize("mutant", MUTANTS[:3], ids=[mutant.name for mutant in MUTANTS[:3]])
def test_it_is_found(mutant: Mutant) -> None:
    """In a copy of the code, by a process of its own."""
    assert found(mutant)
