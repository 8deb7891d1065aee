"""What the benchmarks compute and write: ratios, costs, what an import would take, blocks of RESULTS.md, and plots."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support import extra

from benchmarks import contest, expected, extremes, plots, processes, results, rows, run, scale, scale_check, scaling
from benchmarks.expected import Constants, Work
from benchmarks.processes import Refused, Took

KNOWN = Constants(
    cpu_row=5e-6,
    cpu_request=5e-4,
    memory_base=50e6,
    memory_row=100.0,
    journal_base=50e3,
    journal_chunk=200.0,
    spill_row=230.0,
)

# A regression


@pytest.mark.parametrize("terminal", [False, True])
def test_a_commit_that_was_faster_is_a_regression_in_red(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    """5 % are allowed, and the median decides."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    rates = {"mjbulk": [94.0, 94.0, 120.0], "slow": [100.0] * 3, "peer": [200.0] * 3, "same": [98.0, 98.0, 125.0]}
    contest.print_ratios("speed", rates, {"slow", "same"})
    slow, peer, same = capsys.readouterr().out.splitlines()[3:]
    line = "| mjbulk / slow | 0.94 | 0.94 to 1.20 | regression"
    assert slow == (f"\033[31m{line}\033[0m" if terminal else line)
    assert peer == "| mjbulk / peer | 0.47 | 0.47 to 0.60 |"
    assert same == "| mjbulk / same | 0.96 | 0.96 to 0.96 |"


def test_another_commit_is_judged_by_its_processor_time_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with other work the clock of the wall says little."""
    took = {"mjbulk": Took(1.0, 2.0, 1.0), "mjbulk of main": Took(1.0, 1.5, 1.0)}
    monkeypatch.setattr(contest, "take_part", lambda contender, task: took[contender.name])
    other = replace(contest.MJBULK, name="mjbulk of main", home=Path("elsewhere"))
    contest.compare("Rows", (contest.MJBULK, other), contest.Task(10, "rows", 10), 1)
    ratios = [line for line in capsys.readouterr().out.splitlines() if " / " in line]
    assert ratios == [
        "| mjbulk / mjbulk of main | 1.00 | 1.00 to 1.00 |",
        "| mjbulk / mjbulk of main | 0.75 | 0.75 to 0.75 | regression",
    ]


@pytest.mark.parametrize(("command", "word"), [(run.main, "--against"), (scale.main, "--job-seconds")])
def test_a_command_has_help(capsys: pytest.CaptureFixture[str], command: Callable[..., int], word: str) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        command(["--help"])
    assert word in capsys.readouterr().out


# The memory of a process


def test_a_peak_is_that_of_the_contender_alone() -> None:
    """Linux counts what a process holds as memory of the programs that it starts."""
    held = b"x" * 200_000_000
    done, peak = processes.run([sys.executable, "-S", "-c", "print('{}')"])
    assert (done, len(held)) == ({}, 200_000_000)
    assert 1 < peak < 60


def test_a_contender_that_takes_too_long_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PATIENCE", 0.2)
    with pytest.raises(Refused, match="ended with 1"):
        processes.run([sys.executable, "-S", "-c", "import time; time.sleep(60)"])


# The cost of a row


def test_rows_recur_in_the_share_that_is_asked_for() -> None:
    for share, wanted in ((0.0, 0), (0.01, 20), (0.3, 600)):
        people = Counter(row["email"] for row in rows.recurring(2_000, share))
        assert 2_000 - len(people) == pytest.approx(wanted, abs=wanted * 0.3)
        assert (len(people) == 2_000) == (wanted == 0)


def test_what_is_not_flat_is_said() -> None:
    points = scaling.by_rows([10_000, 100_000, 1_000_000])
    assert scaling.verdict("CPU", points, [5.4, 5.0, 5.0]) == "- CPU: flat within 10% (at most 8%)."
    assert scaling.verdict("CPU", points, [9.0, 5.1, 5.0]).endswith(
        "not flat, +80% at 10,000; within 10% from 100,000 on."
    )
    late = scaling.verdict("CPU", points, [5.0, 5.0, 9.0])
    assert late.endswith("not flat, -44% at 10,000; within 10% from 1,000,000 on.")


def test_small_imports_are_repeated() -> None:
    small, large = scaling.by_rows([1_000, 1_000_000])
    assert (small.repeat, small.all_rows, large.repeat) == (20, 20_000, 1)
    assert [point.repeat for point in scaling.by_rows([1_000], jobs_last=2.0)] == [1]


@pytest.mark.parametrize(("told", "counted"), [(3_999, 4_000), (4_000, 3_999), (4_000, 4_001)])
def test_a_cost_is_refused_where_rows_are_missing(told: int, counted: int) -> None:
    point = scaling.Point(3_000, 3_000)
    with pytest.raises(Refused, match="of 4000 rows"):
        scaling.check(point, told, counted)
    scaling.check(point, 4_000, 4_000)
    scaling.check(replace(point, arguments=("--recurring", "0.3")), 4_000, 3_500)


def test_a_table_has_a_line_for_each_size() -> None:
    few, many = scaling.Point(10, 10), scaling.Point(1_000, 1_000)
    series: scaling.Series = {
        "JSON": ([few, many], [scaling.Cost([3.0, 1.0, 2.0], [1.0]), scaling.Cost([2.0], [1.25])]),
        "CSV": ([many], [scaling.Cost([0.5], [0.25])]),
    }
    lines = scaling.table("rows", series).splitlines()
    assert lines[0] == "| rows | JSON, wall | JSON, CPU | CSV, wall | CSV, CPU |"
    assert lines[2:] == ["| 10 | 2.0 | 1.0 |  |  |", "| 1,000 | 2.0 | 1.2 | 0.5 | 0.2 |"]
    assert [line.name for line in scaling.lines(series, ("CPU",))] == ["JSON, CPU", "CSV, CPU"]


def test_extreme_files_have_what_they_say(tmp_path: Path) -> None:
    extremes.wide(tmp_path / "wide.csv", 2)
    head, first, *_ = (tmp_path / "wide.csv").read_text(encoding="ascii").splitlines()
    assert head.count(",") == first.count(",") == extremes.COLUMNS - 1
    extremes.long(tmp_path / "long.csv", 11)
    assert sum(len(line) > 10**6 for line in (tmp_path / "long.csv").read_text(encoding="ascii").splitlines()) == 2


# What an import would take


@pytest.mark.parametrize(
    ("work", "bound", "pace"),
    [
        (Work(rows=10_000_000), "jobs", 256_000 / 90),
        (Work(rows=10_000_000, workers=4), "jobs", 4 * 256_000 / 90),
        (Work(rows=10_000_000, chunk=5_000), "jobs", 1_000_000 / 90),
        (Work(rows=10_000_000, workers=4, rate=6.0), "quota", 2_000),
        (Work(rows=10_000_000, workers=4, rate=8.0, csv=True), "quota", 2_000),
        (Work(rows=10_000_000, job_seconds=1.0, answer=1.0), "answers", 8_000 / 3),
        (Work(rows=10_000_000, job_seconds=1.0), "answers", 80_000 / 3),
        (Work(rows=10_000_000, job_seconds=1.0, answer=0.0), "CPU", 1 / 6.5e-6),
    ],
)
def test_what_bounds_an_import(work: Work, bound: str, pace: float) -> None:
    found = expected.expect(work, KNOWN)
    assert found.bound == bound
    assert found.paces[bound] == pytest.approx(pace, rel=0.05)
    assert found.seconds == pytest.approx(work.rows / pace, rel=0.1)


def test_what_an_import_costs() -> None:
    """170,000 rows in flight take memory, and more take no more; files hold twice what is needed, and 16 MiB."""
    found = expected.expect(Work(rows=10_000_000, chunk=5_000), KNOWN)
    assert found.memory == 50e6 + 170_000 * 100
    assert found.journal == 50e3 + 2_000 * 200
    assert found.spill == pytest.approx(2 * 1_000_000 * 230 + 16 * 2**20, rel=0.05)
    assert found.cpu == pytest.approx(50 + found.requests * 5e-4)
    assert found.requests > 3 * 2_000
    small = expected.expect(Work(rows=10_000, workers=2), KNOWN)
    assert (small.memory, small.spill) == (50e6 + 5_000 * 100, 5_000 * 230)
    assert small.journal == 2 * 50e3 + 10 * 200


@pytest.mark.parametrize("name", ["12 jobs at once, short ones", "1 request a second, one wave"])
def test_a_small_import_takes_what_is_computed(name: str) -> None:
    """The others are compared by ``python -m benchmarks.scale --check``."""
    for checked in scale_check.emulated(name, scale_check.SMALL[name], KNOWN):
        assert abs(checked.off) <= scale_check.ALLOWED, checked.line


def test_what_is_stored_is_what_is_computed() -> None:
    for checked in scale_check.stored(Constants.load()):
        assert abs(checked.off) <= scale_check.ALLOWED, checked.line


def test_the_command_tells_what_bounds_an_import(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main(["--rows", "50000000", "--workers", "4", "--rate", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| quota: 6,667 |" in lines[2]
    assert lines[6] == "| quota | 6,667 |"


def test_constants_are_kept_with_three_digits(tmp_path: Path) -> None:
    replace(KNOWN, cpu_row=5.12345e-6).write(tmp_path / "constants.json")
    assert Constants.load(tmp_path / "constants.json") == replace(KNOWN, cpu_row=5.12e-6)


# RESULTS.md


def test_each_table_has_a_block_in_the_results() -> None:
    text = results.RESULTS.read_text(encoding="utf-8")
    assert sorted(results.names(text)) == sorted(run.TABLES)
    for name in run.TABLES:
        assert results.filled(text, name, "## New").count("## New") == 1


def test_a_block_is_filled_and_nothing_else() -> None:
    text = "before\n<!-- one -->\nold\n<!-- end of one -->\nbetween\n<!-- two -->\n<!-- end of two -->\nafter\n"
    new = results.filled(text, "one", "\n## New\n\n")
    assert new == text.replace("old\n", "\n## New\n\n")
    assert results.filled(new, "one", "## New") == new
    with pytest.raises(KeyError):
        results.filled(text, "three", "")


def test_plots_that_are_shown_are_there_and_small() -> None:
    home = results.RESULTS.parent
    shown = [
        part.partition(")")[0] for part in results.RESULTS.read_text(encoding="utf-8").split("](") if ".svg)" in part
    ]
    assert sorted(shown) == sorted(file.name for file in home.glob("*.svg"))
    assert all((home / name).stat().st_size < 40_000 for name in shown)


@pytest.mark.extra
def test_a_plot_is_the_same_each_time(tmp_path: Path) -> None:
    extra("matplotlib")
    lines = [plots.Line("JSON", [10, 1000], [[3.0, 2.0], [1.0, 1.5]]), plots.Line("seen", [10], [[1.0]], "points")]
    for log_y, base in ((False, 10), (True, 0)):
        plot = plots.Plot("plot.svg", "Cost", "rows", "µs", lines, base=base, log_y=log_y)
        first = plots.draw(plot, tmp_path).read_bytes()
        assert plots.draw(plot, tmp_path).read_bytes() == first
        assert b"Cost" in first
        assert len(first) < 20_000
