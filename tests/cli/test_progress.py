"""How the progress of a run is told: the share of the file, what it waits for, and lines where there is no terminal."""

import re
import subprocess
from pathlib import Path

import pytest
from commands import TO_LIST, command, people, running

from mjbulk import JobRef
from mjbulk.cli._progress import Look, Watch, about, check_every
from mjbulk.errors import UsageError
from mjbulk.models import Progress
from mjbulk.testing import Fault, Knobs, Mailjet

JOBS = {"Importing": 40, "Allocated": 2, "Completed": 3}
MIDDLE = Progress(rows=17_536, accepted=1_250, rejected=155, jobs=JOBS, rate=70.0, eta=30.0)


def test_the_figures_are_a_line() -> None:
    """As the counts of the books, and the rest of the file by its bytes."""
    assert Look(MIDDLE).figures() == "accepted 1,250 · rejected 155 · waiting 16,131 (42 jobs)"
    half = Look(MIDDLE, 0.5)
    assert half.figures() == "accepted 1,250 · rejected 155 · waiting 16,131 (42 jobs) · ~5 min"
    assert half.seconds_left == pytest.approx(30 + 17_536 / 70)
    whole = Look(Progress(rows=2, accepted=1, superseded=1, eta=0.0), 1.0)
    assert whole.figures() == "accepted 1 · rejected 0 · superseded 1 · waiting 0"


def test_nothing_is_foretold_too_early() -> None:
    """Nor where the size of the file, or the pace, is not known."""
    first = Progress(rows=100_000, rejected=1, rate=0.03, eta=9e6)
    assert Look(first, 1.0).seconds_left is None
    assert Look(MIDDLE).seconds_left is None
    assert Look(Progress(rows=10, accepted=5, eta=1.0), 0.5).seconds_left is None
    assert Look(Progress(rows=10, accepted=5, rate=1.0), 1.0).seconds_left is None
    assert Look(Progress(rows=10, accepted=5, rate=1.0, eta=4.0), 1.0).seconds_left == 4.0


def test_the_share_never_goes_back() -> None:
    """Also where rows are read faster than they are settled."""
    watch = Watch(every=10.0, began=0.0)
    shares = []
    for clock, (rows, accepted, read) in enumerate([(0, 0, 0.0), (10, 10, 0.5), (100, 11, 0.6), (100, 100, 1.0)]):
        watch.see(Look(Progress(rows=rows, accepted=accepted), read), float(clock), "12:00:00")
        shares.append(watch.share)
    assert shares == [0.0, 0.5, 0.5, 1.0]


def test_a_line_at_regular_times() -> None:
    """And none between them; late looks do not add up."""
    watch = Watch(every=60.0, began=0.0)
    look = Look(MIDDLE, 0.4)
    said = [watch.see(look, clock, "12:00:00") for clock in (1.0, 59.9, 60.2, 61.0, 119.0, 120.1, 400.0, 401.0)]
    assert [len(lines) for lines in said] == [0, 0, 1, 0, 0, 1, 1, 0]
    assert said[2][0].startswith("3% of the file · accepted 1,250 · rejected 155 · waiting 16,131 (42 jobs) · ~")
    assert Watch(every=60.0, began=0.0, share=0.08).line(Look(MIDDLE, 1.0)).startswith("8% settled · accepted 1,250")
    assert [*Watch(every=0.0, began=0.0).see(look, 1e6, "12:00:00")] == []


def test_trouble_is_told_when_it_begins_and_when_it_ends() -> None:
    """Once each, whatever its numbers do meanwhile; the regular lines say since when."""
    watch = Watch(every=60.0, began=0.0)
    causes = (None, "requests wait: 429; the next goes in 9 s", "requests wait: 429; the next goes in 8 s", None)
    said = [
        watch.see(Look(Progress(waiting_for=cause), 0.1), clock, f"12:00:0{clock:.0f}")
        for clock, cause in enumerate(causes)
    ]
    assert said == [[], ["waits since 12:00:01: 429; the next goes in 9 s"], [], ["goes on at 12:00:03"]]
    watch.see(Look(Progress(waiting_for="requests wait: nobody answers"), 0.1), 4.0, "12:00:04")
    (line,) = watch.see(Look(Progress(waiting_for="requests wait: nobody answers"), 0.1), 61.0, "12:01:01")
    assert line.endswith(" · nobody answers, since 12:00:04")


def test_what_it_waits_for_without_trouble_is_in_the_regular_lines() -> None:
    """It is no change that somebody has to know."""
    watch = Watch(every=60.0, began=0.0)
    look = Look(Progress(waiting_for="it waits for its source"), 0.1)
    assert watch.see(look, 2.0, "12:00:00") == []
    (line,) = watch.see(look, 60.0, "12:00:00")
    assert line.endswith(" · it waits for its source")


def test_a_job_that_does_not_move_is_named_once() -> None:
    """With the command that watches it."""
    watch = Watch(every=60.0, began=0.0)
    look = Look(Progress(stalled=[JobRef("contact", 113)]), 0.1)
    assert watch.see(look, 1.0, "") == [
        "contact:113 has not moved for half an hour or longer: mjbulk watch contact:113"
    ]
    assert watch.see(look, 2.0, "") == []


def test_the_end_of_the_file_is_told_of_runs_that_last() -> None:
    """Once."""
    watch = Watch(every=60.0, began=0.0)
    assert watch.see(Look(MIDDLE, 1.0), 1.0, "") == []
    (line,) = watch.see(Look(MIDDLE, 1.0), 6.0, "")
    assert line.startswith("the file is read to its end: 17,536 rows · accepted 1,250")
    assert watch.see(Look(MIDDLE, 1.0), 7.0, "") == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"), (40.4, "40 s"), (240.0, "4 min"), (5_000.0, "83 min"), (7_800.0, "2 h 10 min"), (7_200.0, "2 h"),
        (100_000.0, "28 h"), (500_000.0, "6 d"),
    ],
)  # fmt: skip
def test_lengths_of_time(seconds: float, text: str) -> None:
    """In a unit that says enough."""
    assert about(seconds) == text


def test_seconds_between_lines() -> None:
    """Cannot be negative, or no number."""
    assert check_every(0.5) == 0.5
    for wrong in (-1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError):
            check_every(wrong)


# In a process without a terminal


def test_lines_come_to_stderr(mailjet: Mailjet, tmp_path: Path) -> None:
    """The share grows to the end, and stdout has the books alone."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.3, running_jobs=4)
    file = tmp_path / "contacts.csv"
    file.write_text(people(30))
    options = ["--chunk-size", "5", "--max-jobs", "4", "--poll-min", "0.1", "--report-every", "0.3"]
    words = command("import", str(file), *TO_LIST, *options)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    shares = [
        int(found[1]) for line in lines if (found := re.match(r"mjbulk: (\d+)% (?:of the file|settled) · ", line))
    ]
    assert len(shares) >= 2
    assert shares == sorted(shares)
    assert any(re.search(r"waiting \d+ \(\d+ jobs?\)", line) for line in lines)


def test_a_quiet_import_is_silent(mailjet: Mailjet, tmp_path: Path) -> None:
    """However often lines are wanted."""
    file = tmp_path / "contacts.csv"
    file.write_text(people(2))
    words = command("import", str(file), *TO_LIST, "--report-every", "0.1", "-q")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_server_in_trouble_is_told_while_it_lasts(mailjet: Mailjet, tmp_path: Path) -> None:
    """What it waits for, since when; and when it goes on."""
    file = tmp_path / "contacts.csv"
    file.write_text(people(3))
    slow = Fault.answer(429, "{}", headers={"Retry-After": "3"})
    mailjet.emulator.fault("POST contact/managemanycontacts", slow, times=1)
    with running("import", str(file), *TO_LIST) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.search(r"mjbulk: waits since \d\d:\d\d:\d\d: Mailjet answers 429", err)
    assert re.search(r"mjbulk: goes on at \d\d:\d\d:\d\d", err)


def test_a_job_is_watched_with_lines(mailjet: Mailjet, tmp_path: Path) -> None:
    """Its changes, and a reminder."""
    mailjet.emulator.knobs = Knobs(queue_seconds=60.0)
    file = tmp_path / "contacts.csv"
    file.write_text(people(1))
    submitted = subprocess.run(command("submit", str(file), *TO_LIST), capture_output=True, text=True, check=True)
    job = submitted.stdout.strip()
    words = command("watch", job, "--report-every", "0.4", "--timeout", "2")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.count(f"mjbulk: {job}: Allocated, 0 contacts, 0 rejected") >= 2
