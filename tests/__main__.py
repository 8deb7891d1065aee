"""Every check of the project, in one command: ``python -m tests``. Arguments go to pytest.

It stops at the first check that fails, and exits with its status. Longer forms of what it does a little of:

- ``python tests/crash.py --seeds 5000`` kills runs at random points, again while they go on, and holds what came of
  them against a run that nobody disturbed;
- ``python tests/ingester_kill.py --every 1`` kills a service with an ingester at each of its requests;
- ``python tests/kill.py --runs 50`` kills the command, and runs it again until it is done;
- ``MJBULK_CASES=50000 pytest tests/whole/test_truth.py`` holds random imports against the truth;
- ``MJBULK_CANCELLATIONS=500 pytest tests/whole/test_stopping.py`` cancels imports at random times;
- ``MJBULK_TEST_PLACES=500 pytest tests/journal/test_damage.py`` damages more places of each journal;
- ``MJBULK_TEST_SEEDS=50000 pytest tests/whole/test_lost_imports.py`` loses answers of imports;
- ``python tests/dask_million.py --kill`` imports a million rows by workers of Dask, and kills two of them;
- ``python tests/outages.py`` takes the server away from one to four processes;
- ``python tests/proxies.py --long`` puts nginx, HAProxy and squid in between;
- ``python tests/ingester_week.py`` lets a service live for a week;
- ``MJBULK_TEST_ROWS=10000 pytest tests/whole/test_ingester_rates.py`` sends more rows to ingesters;
- ``pip install -e '.[test-sources]'`` and ``python -m pytest tests/rows/more_sources.py`` read Dask, ibis, DataFusion,
  MariaDB, fsspec and S3.
"""

import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
EDGES = ("check", "cli", "fastapi", "testing")
"""Packages that coverage does not measure, which doubles the time of their tests: all of them do I/O."""


def pure() -> list[str]:
    """Name the files of what decides and does no I/O: their branches are covered to the last one."""
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter")
    names = contracts["importlinter:contract:pure"]["source_modules"].split()
    paths = [name.replace(".", "/") for name in names]
    return [f"{path}/*" if (ROOT / path).is_dir() else f"{path}.py" for path in paths]


def main(arguments: list[str]) -> int:
    """Run all checks. Mypy, which takes one processor for a minute, runs beside the tests."""
    some_wait = (os.cpu_count() or 1) + 1  # for servers and other processes
    tests = ["pytest", f"--numprocesses={some_wait}", "--dist=worksteal"]
    elsewhere = [f"--ignore=tests/{name}" for name in (*EDGES, "whole")]
    checks = [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        ["coverage", "erase"],
        ["coverage", "run", "-m", *tests, "-m", "not long and not unmeasured", *elsewhere, *arguments],
        ["coverage", "combine", "--quiet"],
        ["coverage", "report", "--fail-under=100", f"--include={','.join(pure())}"],
        [
            "coverage",
            "report",
            "--fail-under=90",
            f"--omit={','.join(f'mjbulk/{name}/*' for name in (*EDGES, 'airflow'))}",
        ],
        [*tests, "-m", "long or whole or unmeasured", *arguments],
    ]
    with begun(["mypy"], subprocess.PIPE) as mypy:
        for check in checks:
            if status := done(check, begun(check)):
                mypy.kill()
                return status
            if mypy.poll():
                break
        sys.stdout.write(mypy.communicate()[0])
        return done(["mypy"], mypy)


def begun(check: list[str], output: int | None = None) -> "subprocess.Popen[str]":
    """Begin a check. What Python compiles is kept, because hundreds of processes would compile it again."""
    sys.stdout.write(f"$ {' '.join(check)}\n")
    sys.stdout.flush()
    env = {**os.environ, "COVERAGE_FILE": str(ROOT / ".coverage")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, *([] if check[0] == "-c" else ["-m"]), *check]
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=output, stderr=subprocess.STDOUT)


def done(check: list[str], process: "subprocess.Popen[str]") -> int:
    """Wait for the end of a check, and give its status."""
    status = process.wait()
    if status:
        sys.stdout.write(f"failed: {' '.join(check)}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
