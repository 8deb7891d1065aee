"""Imports of a large file that are killed at random times and run again until they are done.

``python tests/kill.py --runs 50`` holds what each of them leaves at the server against one that nobody killed.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from attrs import frozen
from crash_world import start, state_of
from servers import Server

from mjbulk import client  # noqa: F401  # so that no process has to import them
from mjbulk.cli import main as mjbulk
from mjbulk.journal import sql  # noqa: F401

Left = tuple[object, str]
"""What a run left: its figures, and the state at the server."""
_MOST = 12
"""Kills of one run, after which it is left alone."""


_CHUNK = 1000
"""Rows of a chunk."""


def write(path: Path, rows: int) -> str:
    """Write a file in which three rows in ten are of people who were there before; somebody is in every chunk, and some
    are no people. Gives the state in which its last rows leave everybody.
    """
    chance = random.Random(rows)
    names = [_name(n, chance) for n in range(rows)]
    lines = (f"{name},{n},C{n % 7}\n" for n, name in enumerate(names))
    path.write_text("email,n,city\n" + "".join(lines), encoding="utf-8")
    last = {name: n for n, name in enumerate(names) if "@" in name}
    return state_of((name, {"n": n, "city": f"C{n % 7}"}, {1: "addnoforce"}) for name, n in last.items())


def _name(n: int, chance: random.Random) -> str:
    if n % _CHUNK == _CHUNK - 1:
        return "nobody"
    if n % (_CHUNK // 2) == _CHUNK // 4:
        return "always@example.org"
    return f"p{chance.randrange(n) if n and chance.random() < 0.3 else n}@example.org"


def begin(arguments: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    """Run a command in a process of its own, which has all it needs in memory, and give its number."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setpgid(0, 0)
        os.dup2(output, 1)
        os.environ.update(environment)
        status = mjbulk(arguments)
    except BaseException:  # noqa: BLE001  # this process ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


@frozen
class Kills:
    """Kills runs of one file."""

    server: Server
    folder: Path
    file: Path

    def run(self, name: str, chance: random.Random | None = None, seconds: float = 0.0) -> tuple[int, Left]:
        """Import until it is done; gives how often it was killed, and what it left at the server."""
        self.server.tell("begin", name)
        environment = {
            "MJ_API_URL": self.server.url,
            "MJ_APIKEY_PUBLIC": name,
            "MJ_APIKEY_PRIVATE": "secret",
            "MJBULK_POLL_MIN": "0.02",
            "MJBULK_CHUNK_ROWS": str(_CHUNK),
        }
        journal = self.folder / f"{name}.db"
        arguments = ["import", str(self.file), "--list", "1", "--action", "addnoforce", "--journal", str(journal)]
        kills = 0
        while True:
            with tempfile.TemporaryFile() as output:
                child = begin([*arguments, "--run-id", "r", "--json"], environment, output.fileno())
                if chance is not None and kills < _MOST:
                    kills += self._kill(child, chance.uniform(0.0, seconds))
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                output.seek(0)
                if status >= 0:
                    return kills, (self._checked(status, json.loads(output.read())), self.server.tell("state", name))

    def _kill(self, child: int, after: float) -> int:
        end = time.monotonic() + after
        while time.monotonic() < end:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return 0
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        return 1

    @staticmethod
    def _checked(status: int, figures: Mapping[str, int]) -> Mapping[str, int]:
        """Give the figures of a report. Which rows are merged depends on when jobs end."""
        assert status == 1, f"exit status {status}"
        settled = figures["accepted"] + figures["superseded"]
        return {"settled": settled, **{name: figures[name] for name in ("rows", "rejected", "unknown", "not_sent")}}


def main(arguments: Sequence[str]) -> int:
    """Kill as many runs as it is said, and print what was done as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    said = parser.parse_args(arguments)
    server, kills, took = start(), 0, 0.0
    with closing(server.line), tempfile.TemporaryDirectory(prefix="mjbulk-kill-") as folder:
        file = Path(folder, "people.csv")
        state = write(file, said.rows)
        runs = Kills(server, Path(folder), file)
        began = time.monotonic()
        _, clean = runs.run("clean")
        assert clean[1] == state, "the rows of a person were not applied in their order"
        took = time.monotonic() - began
        for seed in range(said.first, said.first + said.runs):
            often, left = runs.run(f"run-{seed}", random.Random(seed), took * 0.6)
            assert left == clean, f"run {seed} left something else"
            kills += often
    os.waitpid(server.pid, 0)
    sys.stdout.write(json.dumps({"runs": said.runs, "kills": kills, "seconds": round(took, 1)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
