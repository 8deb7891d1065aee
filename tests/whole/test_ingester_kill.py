"""An ingester whose process is killed: for kills at each request, ``python tests/ingester_kill.py --every 1``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "ingester_kill.py"


@pytest.mark.timeout(120)
def test_what_a_killed_ingester_leaves_is_settled() -> None:
    """Callers were told the truth, nothing is sent twice, imports are found, and the counts agree with the server: by
    the next ingester or `resume_all`, on both ways, also after a second process was killed.
    """
    done = json.loads(
        subprocess.run([sys.executable, str(SCRIPT)], check=True, stdout=subprocess.PIPE, text=True).stdout
    )
    assert done["deaths"] == done["lives"] == 7
    assert done["told"] >= 5
    assert {"sending", "watched"} <= done.keys()
