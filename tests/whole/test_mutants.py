"""Faults that are put into the code on purpose are found by the tests that are named for them.

The gravest three are tried here; ``python tests/mutants.py`` tries all.
"""

from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from attrs import evolve
from mutants import MUTANTS, ROOT, Changed, Mutant, found, put_in

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code that takes one fault after the other."""
    folder = tmp_path_factory.mktemp("mutants")
    copytree(ROOT / "mjbulk", folder / "mjbulk", ignore=ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_it_can_be_put_in(mutant: Mutant, copy: Path) -> None:
    """Each fault still has its place in the code, and leaves a module that can be compiled."""
    file = copy.joinpath(*mutant.function.partition(":")[0].split(".")).with_suffix(".py")
    before = file.read_text(encoding="utf-8")
    put_in(mutant, copy)
    after = file.read_text(encoding="utf-8")
    file.write_text(before, encoding="utf-8")
    assert after != before
    compile(after, str(file), "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_test_that_finds_it_is_there(mutant: Mutant) -> None:
    """A test that was renamed finds nothing, and pytest's complaint would look like a failure."""
    path, _, name = mutant.found_by.partition("::")
    assert path.startswith("--") or f"def {name}" in (ROOT / "tests" / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"function": "mjbulk.nowhere:repair_spec"}, "there is no mjbulk/nowhere.py"),
        ({"function": "mjbulk.terms:Nobody.repair_spec"}, "there is no Nobody.repair_spec"),
        ({"function": "mjbulk.terms:repair_spec", "old": "raise NothingOfTheKind"}, "0 times"),
        ({"function": "mjbulk.terms:repair_spec", "old": "spec"}, "[1-9][0-9]* times"),
    ],
)
def test_one_that_has_lost_its_place_is_told(change: dict[str, str], problem: str, copy: Path) -> None:
    """A fault whose function or code is not there, or is there more than once, is an error and no silence."""
    with pytest.raises(Changed, match=problem):
        put_in(evolve(MUTANTS[0], **change), copy)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS[:3], ids=[mutant.name for mutant in MUTANTS[:3]])
def test_it_is_found(mutant: Mutant) -> None:
    """In a copy of the code, by a process of its own."""
    assert found(mutant)
