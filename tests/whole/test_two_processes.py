"""Two processes at one run: for many tries, ``python tests/two_processes.py --seeds 200``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from postgres import Postgres

SCRIPT = Path(__file__).parents[1] / "two_processes.py"


@pytest.mark.timeout(120)
def test_at_most_one_of_two_processes_holds_a_run(pooled: Postgres) -> None:
    """While PostgreSQL drops sessions and restarts: without a pooler, and behind one in each mode."""
    command = [sys.executable, str(SCRIPT), "--first", "16", "--seeds", "4"]
    done = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    assert done["ways"] == {"session": 1, "transaction": 1, "direct": 1, "mixed": 1}
    assert sum(done["happened"].values()) >= 4
