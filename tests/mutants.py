"""Faults that are put into a copy of the code on purpose, and the test that finds each of them.

``python tests/mutants.py`` runs them all, and says which one no test has found.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree, ignore_patterns

from attrs import frozen

ROOT = Path(__file__).parent.parent


@frozen
class Mutant:
    """One fault."""

    name: str
    module: str
    old: str
    new: str
    found_by: str
    """A test, or the arguments of ``tests/crash.py``."""

    def command(self) -> list[str]:
        """Give what finds it."""
        if self.found_by.startswith("--"):
            return [sys.executable, "tests/crash.py", *self.found_by.split()]
        options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header"]
        return [sys.executable, "-m", "pytest", *options, f"tests/{self.found_by}"]


_CRASH = "--resend never --every 1 --kinds json:addnoforce"
MUTANTS = (
    Mutant(
        "the intent is not committed",
        "run/submission.py",
        'await self._save(part, state="sending", attempts=part.record.attempts + 1)',
        'self._note(part, state="sending", attempts=part.record.attempts + 1)',
        _CRASH,
    ),
    Mutant(
        "a job is used before it is committed",
        "run/submission.py",
        "        await self._save(part)\n        self._desk.refused",
        "        self._desk.refused",
        _CRASH,
    ),
    Mutant(
        "an import is adopted whatever its data",
        "mailjet/account.py",
        "if job.data_id == data_id and job.id is not None:\n                return job.id\n        async for",
        "if job.id is not None:\n                return job.id\n        async for",
        "whole/test_lost_imports.py",
    ),
    Mutant(
        "an outcome is told before it is committed",
        "run/chunk.py",
        "        await log.put(part.record, *log.records_of(part.record, [*rejections, *notes]))\n"
        "        self._post(part, [*rejections, *notes])\n",
        "        self._post(part, [*rejections, *notes])\n"
        "        self._desk.notify()\n"
        "        await log.put(part.record, *log.records_of(part.record, [*rejections, *notes]))\n",
        _CRASH,
    ),
    Mutant(
        "an uploaded file is imported before it is committed",
        "run/submission.py",
        "part.passage.uploaded = lambda data_id: self._save(part, data_id=data_id)",
        "part.passage.uploaded = lambda data_id: asyncio.sleep(0)",
        "--resend safe --every 2 --kinds csv:addnoforce",
    ),
    Mutant(
        "a doubt is forgotten",
        "run/part.py",
        'in_doubt = record.state == "sending" and',
        "in_doubt = False and",
        _CRASH,
    ),
    Mutant(
        "what may not go again does",
        "mailjet/verdict.py",
        "    return not excludes and all(action is Action.ADDNOFORCE for action in actions)",
        "    return not excludes",
        "whole/test_consent.py",
    ),
    Mutant(
        "a repair forces",
        "models.py",
        "mild = {Action.ADDFORCE: Action.ADDNOFORCE}",
        "mild = {}",
        "whole/test_consent.py",
    ),
    Mutant(
        "a source is not compared",
        "run/run_log.py",
        "if known is not None and known != now:",
        "if known is not None and False:",
        "whole/test_resume.py::test_a_source_that_changed_is_refused",
    ),
    Mutant(
        "a later row is forgotten",
        "run/run_log.py",
        "self.later(evolve(part, overtaken=True))",
        "self.later(part)",
        "whole/test_resume.py",
    ),
    Mutant(
        "a run is not locked",
        "journal/backends.py",
        "        try:\n            lock.acquire()\n        except Timeout:\n            return False\n",
        "",
        "whole/test_resume.py::test_two_at_one_run",
    ),
    Mutant(
        "a check sum is not compared",
        "journal/tables.py",
        "check_sum(values) != found:",
        "False:",
        "journal/test_damage.py::test_a_record_that_is_another",
    ),
    Mutant(
        "an index is not checked",
        "journal/backends.py",
        "PRAGMA integrity_check(1)",
        "PRAGMA quick_check(1)",
        "journal/test_damage.py::test_a_record_that_is_found_no_more",
    ),
    Mutant(
        "a version is not compared", "journal/tables.py", "if version != FORMAT:", "if False:", "journal/test_damage.py"
    ),
    Mutant(
        "an error in writing is tried once more",
        "journal/sql.py",
        "                raise self._failure from None\n",
        "                self._failure = None\n                raise failure\n",
        "journal/test_damage.py::test_an_error_at_each_commit",
    ),
)


@contextmanager
def mutated(mutant: Mutant) -> Iterator[Path]:
    """Make a copy of the code that has the fault."""
    with tempfile.TemporaryDirectory(prefix="mjbulk-mutant-") as name:
        folder = Path(name)
        for part in ("mjbulk", "tests"):
            copytree(ROOT / part, folder / part, ignore=ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md"):
            (folder / file).write_bytes((ROOT / file).read_bytes())
        module = folder / "mjbulk" / mutant.module
        code = module.read_text(encoding="utf-8")
        assert code.count(mutant.old) == 1, f"{mutant.module} has changed: {mutant.name!r} has to be put in anew"
        module.write_text(code.replace(mutant.old, mutant.new), encoding="utf-8")
        yield folder


def begin(mutant: Mutant, folder: Path) -> "subprocess.Popen[str]":
    """Begin to look for the fault in a copy."""
    environment = {"PYTHONPATH": str(folder), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        mutant.command(), cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def found(mutant: Mutant) -> bool:
    """Whether its test fails, as a test does."""
    with mutated(mutant) as folder:
        process = begin(mutant, folder)
        output = process.communicate()[0]
    return process.returncode == 1 and ("AssertionError" in output or "FAILED" in output)


def main(names: Sequence[str]) -> int:
    """Try the mutants whose names begin so, by default all."""
    missed = 0
    for mutant in MUTANTS:
        if names and not mutant.name.startswith(tuple(names)):
            continue
        seen = found(mutant)
        missed += not seen
        sys.stdout.write(f"{'found' if seen else 'MISSED'}: {mutant.name} ({mutant.found_by})\n")
        sys.stdout.flush()
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
