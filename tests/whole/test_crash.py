"""Runs that are killed at any point go on: nothing is lost, nothing doubled that must not be, and the books are right.

For thousands of them: ``python tests/crash.py --seeds 5000``.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from postgres import Postgres

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parents[1] / "crash.py"
OTHERS = ("csv:addnoforce", "csv:addforce", "json:addforce", "json:addnoforce:in_turn")
RECURRING = (
    *("json:addnoforce:third:90", "json:addforce:everywhere", "json:unsub:zipf:20", "json:exclude:sorted"),
    *("csv:addnoforce:everywhere:90", "csv:addforce:third", "csv:remove:twice:20", "csv:exclude:few:90"),
)


def crash(*commands: str) -> list[dict[str, Any]]:
    """Run the script, once for each command, side by side."""
    begun = [
        subprocess.Popen([sys.executable, str(SCRIPT), *command.split()], stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    outputs = [process.communicate()[0] for process in begun]
    assert [process.returncode for process in begun] == [0] * len(begun)
    return [json.loads(output) for output in outputs]


@pytest.mark.timeout(900)
def test_a_run_that_is_killed_at_each_of_its_points() -> None:
    """Before and after each write, commit and send, and within answers: each third point, with one policy in turn."""
    every = "--every 6 --kinds json:addnoforce"
    done = crash(f"--resend safe {every}", f"--resend never --first 3 {every}")
    assert min(result["crashes"] for result in done) >= 25
    where = set().union(*(result["where"] for result in done))
    assert {"journal.writing", "journal.written", "commit"} <= where
    assert sum("within an answer" in point for point in where) >= 2


@pytest.mark.timeout(900)
def test_runs_of_other_kinds_that_are_killed() -> None:
    """As CSV, with an action that is not sent twice, and one chunk at a time."""
    some = f"--every 40 --kinds {' '.join(OTHERS)}"
    done = crash(f"--resend safe {some}", f"--resend never --first 22 {some}")
    assert min(result["crashes"] for result in done) >= 16


@pytest.mark.timeout(900)
def test_runs_in_which_people_recur_that_are_killed() -> None:
    """One person in a hundred, three rows in ten, somebody in every chunk, and others: on both ways, all actions."""
    some = f"--every 90 --kinds {' '.join(RECURRING)}"
    done = crash(f"--resend safe {some}", f"--resend never --first 12 {some}")
    assert min(result["crashes"] for result in done) >= 10


@pytest.mark.timeout(900)
def test_runs_that_are_killed_again_while_they_go_on() -> None:
    """Twice or three times, at random points; rows, actions and settings are random as well."""
    done = crash("--seeds 9", "--seeds 9 --first 25")
    assert sum(result["twice"] for result in done) >= 12


@pytest.mark.timeout(900)
def test_runs_in_postgresql_that_are_killed(postgres: Postgres) -> None:
    """Once or again while they go on, all of them in one database."""
    some = "--every 54 --kinds json:addnoforce:third:90 csv:addforce:everywhere"
    urls = [postgres.url(postgres.create_database()) for _ in range(2)]
    done = crash(
        f"--resend safe {some} --seeds 3 --journal {urls[0]}",
        f"--resend never --first 7 {some} --seeds 3 --journal {urls[1]}",
    )
    assert min(result["crashes"] for result in done) >= 9
