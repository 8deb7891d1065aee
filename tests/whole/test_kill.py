"""The command, killed at random times and run again until it is done: for more, ``python tests/kill.py --runs 50``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long


@pytest.mark.timeout(900)
def test_imports_that_are_killed_leave_what_others_leave() -> None:
    """Of 15,000 rows each; the server holds the same people, and the last report tells the same."""
    script = [sys.executable, str(Path(__file__).parents[1] / "kill.py"), "--runs", "2", "--rows", "15000"]
    begun = [subprocess.Popen([*script, "--first", first], stdout=subprocess.PIPE, text=True) for first in ("0", "5")]
    outputs = [process.communicate()[0] for process in begun]
    assert [process.returncode for process in begun] == [0, 0]
    done = [json.loads(output) for output in outputs]
    assert sum(each["runs"] for each in done) == 4
    assert sum(each["kills"] for each in done) >= 4
