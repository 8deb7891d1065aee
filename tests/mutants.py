"""Faults that are put into a copy of the code on purpose, and the test that finds each of them.

``python tests/mutants.py`` runs them all, and says which one no test has found.
"""

import ast
import re
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
    function: str
    """Where it is put in: the module, a colon, and the qualified name of a function."""
    old: str
    """Code that stands in that function once, whatever its indentation and line ends."""
    new: str
    found_by: str
    """A test, or the arguments of ``tests/crash.py``."""

    def command(self) -> list[str]:
        """Give what finds it."""
        if self.found_by.startswith("--"):
            return [sys.executable, "tests/crash.py", *self.found_by.split()]
        options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header"]
        return [sys.executable, "-m", "pytest", *options, f"tests/{self.found_by}"]


_CRASH = "--resend never --every 1 --kinds json:addnoforce:in_turn"
_PUT = "await self._write(part.settled(**figures), *records)"
_NOTE = "self._context.log.later(part.settled(**figures), *records)"
_STEP = "part.become(Settled(), **figures)"
_TALLY = 'self._tally(figures, figures["cause"])'
_POST = "self._post(part, [*rejections, *unassigned])"
_HELD = "chunks/test_held_rows.py"
_PEOPLE = "chunks/test_people.py"
_AGAIN = "chunks/test_after_a_crash.py"
MUTANTS = (
    Mutant(
        "the intent is not committed",
        "mjbulk.run.submission:Submission._send",
        "await self._save(part, InDoubt(own=True), attempts=part.record.attempts + 1)",
        "self._note(part, InDoubt(own=True), attempts=part.record.attempts + 1)",
        _CRASH,
    ),
    Mutant(
        "a job is used before it is committed",
        "mjbulk.run.submission:Submission._taken",
        "await context.log.put()",
        "pass",
        _CRASH,
    ),
    Mutant(
        "an import is adopted whatever its data",
        "mjbulk.mailjet.account:AccountCalls.import_of",
        "for job in filtered: if job.data_id == data_id and",
        "for job in filtered:\n            if",
        "whole/test_lost_imports.py",
    ),
    Mutant(
        "an outcome is told before it is committed",
        "mjbulk.run.settling:Settling._settle",
        f"{_PUT} {_STEP} {_TALLY} {_POST}",
        f"{_NOTE}; {_STEP}; {_TALLY}; {_POST}; self._context.notify(); await self._context.log.put()",
        _CRASH,
    ),
    Mutant(
        "a doubt is forgotten",
        "mjbulk.run.part:Part.of",
        'record.state == "sending" and',
        "False and",
        _CRASH,
    ),
    Mutant(
        "what may not go again does",
        "mjbulk.terms:harmless_to_retry",
        "and all(action is Action.ADDNOFORCE for action in actions)",
        "",
        "whole/test_consent.py",
    ),
    Mutant(
        "a repair forces",
        "mjbulk.terms:repair_spec",
        "{Action.ADDFORCE: Action.ADDNOFORCE}",
        "{}",
        "whole/test_consent.py",
    ),
    Mutant(
        "a source is not compared",
        "mjbulk.chunks.replay:Replay.whole",
        "(chunk.rows, chunk.entries, chunk.digest) != (known.rows, known.entries, known.digest)",
        "False",
        "whole/test_resume.py::test_a_source_that_changed_is_refused",
    ),
    Mutant(
        "a later row is forgotten",
        "mjbulk.run.run_log:RunLog.overtake",
        "evolve(part, overtaken=True)",
        "part",
        "whole/test_resume.py",
    ),
    Mutant(
        "a run is not locked",
        "mjbulk.journal.sqlite:Sqlite.lock",
        "lock.acquire()",
        "pass",
        "whole/test_resume.py::test_two_at_one_run",
    ),
    Mutant(
        "the number of a run is not compared",
        "mjbulk.journal.store:Store._look",
        "fences.get(run, hold.fence) != hold.fence",
        "False",
        "journal/test_holding.py",
    ),
    Mutant(
        "a run that is begun by two is written by both",
        "mjbulk.journal.store:Store.write",
        "not add_run(connection, self._backend.insert, record)",
        "False",
        "journal/test_holding.py::test_who_begins_a_run_at_the_same_moment_has_lost_it",
    ),
    Mutant(
        "a run is not locked again",
        "mjbulk.journal.store:Store._prepare",
        "self._lock_again(connection)",
        "pass",
        "journal/test_holding.py::test_a_process_that_looks_at_its_runs_keeps_them",
    ),
    Mutant(
        "a pooler is not looked for",
        "mjbulk.journal.postgres:Postgres._prepare",
        "self._is_shared(session)",
        "False",
        "journal/test_pooler.py::test_transaction_mode_is_refused",
    ),
    Mutant(
        "a check sum is not compared",
        "mjbulk.journal.tables:Layout.decode",
        "self.sum_of(cls, values) != found",
        "False",
        "journal/test_damage.py::test_a_record_that_is_another",
    ),
    Mutant(
        "an index is not checked",
        "mjbulk.journal.sqlite:Sqlite.check",
        "PRAGMA integrity_check(1)",
        "PRAGMA quick_check(1)",
        "journal/test_damage.py::test_a_record_that_is_found_no_more",
    ),
    Mutant(
        "a version is not compared",
        "mjbulk.journal.formats:check_format",
        "formats - {_OLD, FORMAT}",
        "False",
        "journal/test_damage.py",
    ),
    Mutant(
        "an error in writing is tried once more",
        "mjbulk.journal.sql:SqlJournal._commit",
        "raise self._failure from None",
        "self._failure = None; raise failure",
        "journal/test_damage.py::test_an_error_at_each_commit",
    ),
    Mutant(
        "an opening that is cancelled keeps its run",
        "mjbulk.journal.sql:SqlJournal.open_run",
        "if not self._closed:",
        "if False:",
        "journal/test_opening.py::test_an_opening_that_is_cancelled_when_it_is_done",
    ),
    Mutant(
        "what waits to be written of a forgotten run is written",
        "mjbulk.journal.sql:SqlJournal.purge",
        "self._drop(run.run)",
        "pass",
        "journal/test_opening.py::test_a_run_that_is_forgotten_stays_forgotten",
    ),
    Mutant(
        "extras of other chunks are rows of a window",
        "mjbulk.journal.row_sets:RowSets._take",
        "window != number and window in self._missing",
        "False",
        "journal/test_row_sets.py",
    ),
    Mutant(
        "a run that waits for its source is settled",
        "mjbulk.journal.info:RunFacts.state",
        '"needs_source" if waits else "settled"',
        '"settled"',
        "journal/test_info.py",
    ),
    Mutant(
        "a row passes held ones of its person",
        "mjbulk.chunks.chunker:Chunker._take_known",
        "if key in self._held: return holder",
        "pass",
        f"{_HELD}::test_a_row_does_not_pass_held_ones_of_its_person",
    ),
    Mutant(
        "all held rows of a person are freed together",
        "mjbulk.chunks.chunker:Chunker._free",
        "self._waiting.setdefault(self._open.number, []).append(some[0])",
        "self._free(some[0])",
        f"{_HELD}::test_entries_of_one_person_are_freed_one_by_one",
    ),
    Mutant(
        "a chunk in doubt frees nobody",
        "mjbulk.chunks.chunker:Chunker.done",
        "self.free(number)",
        "in_doubt or self.free(number)",
        f"{_HELD}::test_a_chunk_in_doubt_frees_too",
    ),
    Mutant(
        "a chunk ends with its window",
        "mjbulk.chunks.replay:Recorded.end",
        "self.shape.extras[-1] if self.shape.extras else 0",
        "0",
        f"{_AGAIN}::test_chunks_end_where_their_last_row_is",
    ),
    Mutant(
        "holes are not written",
        "mjbulk.chunks.chunker:Chunker._holes",
        "return [row for row in held if row < window]",
        "return []",
        f"{_AGAIN}::test_holes_are_written",
    ),
    Mutant(
        "entries stand in the order in which they came",
        "mjbulk.chunks.builder:Builder._arranged",
        "ranks.setdefault(entry, len(ranks))",
        "ranks.setdefault(entry, entry)",
        f"{_AGAIN}::test_a_chunk_is_a_function_of_its_rows",
    ),
    Mutant(
        "digests of held rows stand in the order in which they came",
        "mjbulk.chunks.builder:Builder._digests_of_extras",
        "sorted(",
        "list(",
        f"{_AGAIN}::test_several_freed_entries_stand_in_the_order_of_the_source",
    ),
    Mutant(
        "pending rows go into the open chunk",
        "mjbulk.chunks.chunker:Chunker._take_again",
        "self.hold(batch, position, REPLAY)",
        "self._open.take(batch, position, position + 1); self._open.note(batch, position, position + 1)",
        f"{_AGAIN}::test_pending_rows_are_no_fresh_ones",
    ),
    Mutant(
        "a pending row that is bad is known",
        "mjbulk.chunks.chunker:Chunker.is_new",
        "not self._chunk_of(row)",
        "row > self._last",
        f"{_AGAIN}::test_a_pending_row_is_refused_when_it_is_bad_now",
    ),
    Mutant(
        "nobody looks who is pending",
        "mjbulk.chunks.chunker:Chunker._take_again",
        "self._overtakes(batch, at, stop)",
        "False",
        f"{_AGAIN}::test_a_pending_row_may_not_become_an_earlier_one_of_a_recorded_row",
    ),
    Mutant(
        "recorded chunks do not wait for each other",
        "mjbulk.chunks.people_table:PeopleTable.enter_recorded",
        "return {number for number in shared if self._is_unfinished(number)}",
        "return set()",
        f"{_AGAIN}::test_recorded_chunks_wait_for_each_other",
    ),
    Mutant(
        "nobody is told what a chunk overtakes",
        "mjbulk.chunks.people_table:PeopleTable._holder",
        "overtaken.add(self._doubtful[newest])",
        "pass",
        f"{_AGAIN}::test_that_a_chunk_in_doubt_is_overtaken_outlives_a_crash",
    ),
    Mutant(
        "a free row is not looked up again",
        "mjbulk.chunks.chunker:Chunker._free",
        "self.people.holder(who, self._open.number)",
        "0",
        f"{_HELD}::test_a_free_entry_is_looked_up_again",
    ),
    Mutant(
        "a slot knows one chunk",
        "mjbulk.chunks.people_table:PeopleTable.enter_recorded",
        "self._others[person] = before",
        "pass",
        f"{_AGAIN}::test_a_slot_knows_several_recorded_chunks",
    ),
    Mutant(
        "a tag is used again with what is stale",
        "mjbulk.chunks.people_table:PeopleTable._free_tag",
        "self._rebuild(part)",
        "pass",
        f"{_PEOPLE}::test_a_run_may_have_any_number_of_chunks",
    ),
    Mutant(
        "held rows keep what merging gave",
        "mjbulk.chunks.chunker:Chunker._merged",
        "bytes(memoryview(self._rules.merge(held.encoded, encoded)))",
        "self._rules.merge(held.encoded, encoded)",
        f"{_HELD}::test_held_entries_are_no_larger_than_their_bytes",
    ),
    Mutant(
        "a doubt stops nothing",
        "mjbulk.mailjet.outage:after",
        "_doubtful(state, _first_wait(now - ticket.at), _harm(news), now) if is_lost else state",
        "state",
        "mailjet/test_transport.py::test_one_doubt_stops_what_may_do_harm",
    ),
    Mutant(
        "a try that is lost ends no trust",
        "mjbulk.mailjet.outage:_probing",
        "_doubtful(state, _wait_after(state, news), state.lost + _harm(news), now)",
        "evolve(state, under_way=state.under_way - 1)",
        "mailjet/test_outage.py::test_what_happens_changes_the_state",
    ),
    Mutant(
        "what left whole was not applied",
        "mjbulk.mailjet.verdict:judge",
        "Verdict.AMBIGUOUS if ending.phase is Phase.WHOLE else Verdict.NOT_APPLIED",
        "Verdict.NOT_APPLIED",
        "mailjet/test_verdict.py::test_the_verdict_of_each_failure",
    ),
    Mutant(
        "what waits for its grant leaves in an outage",
        "mjbulk.mailjet.outage_gate:OutageGate.tell",
        "leave.recall()",
        "pass",
        "mailjet/test_outage_gate.py::test_a_leave_is_recalled",
    ),
)


class Changed(Exception):
    """The code has changed, so that a fault of this table cannot be put in."""


def put_in(mutant: Mutant, root: Path) -> None:
    """Put the fault into the code under a folder. Raises Changed if its function or its code is not there once."""
    module, _, names = mutant.function.partition(":")
    file = root.joinpath(*module.split(".")).with_suffix(".py")
    if not file.exists():
        raise Changed(f"{mutant.name!r}: there is no {file.relative_to(root)}")
    code = file.read_text(encoding="utf-8")
    function = find_function(ast.parse(code), names)
    lines = code.splitlines(keepends=True)
    inside = "".join(lines[function.lineno - 1 : function.end_lineno])
    old = r"\s+".join(map(re.escape, mutant.old.split()))
    changed, count = re.subn(old, lambda _: mutant.new, inside)
    if count != 1:
        raise Changed(f"{mutant.function} has {mutant.old!r} {count} times")
    lines[function.lineno - 1 : function.end_lineno] = [changed]
    file.write_text("".join(lines), encoding="utf-8")


def find_function(module: ast.Module, names: str) -> ast.stmt:
    """Find a class or function by its qualified name."""
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef = module
    for name in names.split("."):
        inner = [n for n in node.body if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
        found = [n for n in inner if n.name == name]
        if len(found) != 1:
            raise Changed(f"there is no {names}")
        node = found[0]
    assert not isinstance(node, ast.Module)
    return node


@contextmanager
def mutated(mutant: Mutant) -> Iterator[Path]:
    """Make a copy of the code that has the fault."""
    with tempfile.TemporaryDirectory(prefix="mjbulk-mutant-") as name:
        folder = Path(name)
        for part in ("mjbulk", "tests"):
            copytree(ROOT / part, folder / part, ignore=ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md"):
            (folder / file).write_bytes((ROOT / file).read_bytes())
        put_in(mutant, folder)
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
