"""Sources of many kinds, and processes that take them in, for tests by properties."""

from random import Random

from attrs import frozen
from chunk_run import Journal, Row, Run, Source, make_rules
from hypothesis import strategies as st

from mjbulk.chunks.people_table import PeopleTable


@frozen
class Process:
    """How one process of a run goes: its settings, its steps, and how it ends."""

    rows: int
    size: int
    learned: int
    retry: bool
    bits: int
    """How many bits of a hash tell people apart."""
    steps: list[tuple[str, int]]
    lost: int
    """One in this many chunks in flight at its end loses its answer."""


KINDS = ("none", "1 %", "30 %", "hot", "few", "sorted", "zipf", "twice")
STEPS = [*["read"] * 6, *["record"] * 2, *["send"] * 3, *["done"] * 2, "doubt", "cut"]
SEEDS = st.integers(0, 2**32)


def steps_of(size: int, chance: Random) -> list[tuple[str, int]]:
    """Steps of a process, and of each, how much or which."""
    return [(chance.choice(STEPS), chance.randrange(8)) for _ in range(size)]


PROCESSES = st.builds(
    Process,
    rows=st.sampled_from([1, 2, 3, 5, 8]),
    size=st.sampled_from([160, 250, 400, 2000]),
    learned=st.sampled_from([100, 200, 2**30]),
    retry=st.booleans(),
    bits=st.sampled_from([40, 40, 2, 0]),
    steps=st.builds(steps_of, st.integers(0, 80), SEEDS.map(Random)),
    lost=st.integers(1, 4),
)


def people_of(kind: str, size: int, chance: Random) -> list[int]:
    """The person of each row."""
    if kind == "twice":
        return [*range(size // 2), *range(size // 2)]
    if kind == "sorted":
        return sorted(chance.randrange(max(size // 4, 1)) for _ in range(size))
    if kind == "hot":
        return [0 if chance.random() < 0.4 else number for number in range(size)]
    if kind == "few":
        return [chance.randrange(6) for _ in range(size)]
    if kind == "zipf":
        return [int(chance.paretovariate(1)) % 30 for _ in range(size)]
    often = {"none": 0.0, "1 %": 0.01, "30 %": 0.3}[kind]
    people: list[int] = []
    for number in range(size):
        people.append(chance.choice(people) if people and chance.random() < often else number)
    return people


def address_of(person: int, chance: Random) -> str:
    """An address of a person, in one of several spellings; the low bits of its hash are those of the person."""
    names = (f"{spare:02}p{person}ss@x.org" for spare in range(100))
    name = next(name for name in names if hash(name) & 3 == person & 3)
    if chance.random() < 0.05:
        return name.replace("ss", "ß")
    return name.upper() if chance.random() < 0.1 else name


def source_of_kind(kind: str, size: int, chance: Random) -> Source:
    """Rows of one kind, some of them refused, with gaps in their numbers, and some of them large."""
    source: dict[int, Row | None] = {}
    number = 0
    for person in people_of(kind, size, chance):
        number += 1 if chance.random() < 0.95 else 3
        values = {"n": number, f"k{number % 3}": "x" * (50 if chance.random() < 0.1 else 1)}
        source[number] = None if chance.random() < 0.1 else (address_of(person, chance), values)
    return source


@frozen
class Case:
    """A source, the processes that take it in, and in which order chunks of the last ones are done."""

    source: Source
    processes: list[Process]
    seed: int


SOURCES = st.builds(source_of_kind, st.sampled_from(KINDS), st.integers(0, 60), SEEDS.map(Random))
CASES = st.builds(Case, SOURCES, st.lists(PROCESSES, min_size=1, max_size=4), SEEDS)


def step(run: Run, kind: str, amount: int) -> None:
    """Do one step of a process."""
    if kind == "read":
        run.read(amount + 1)
    elif kind == "record":
        run.record(amount)
    elif kind == "send":
        run.send(amount)
    elif kind == "cut":
        run.cut()
    else:
        run.done(amount, in_doubt=kind == "doubt")


def go_through(case: Case) -> Journal:
    """Let processes follow each other, each ended by a crash; the last two go to the end."""
    journal, chance = crashed(case), Random(case.seed)
    for process in (case.processes[-1], case.processes[0]):
        begin(process, case.source, journal).finish(chance)
    return journal


def crashed(case: Case) -> Journal:
    """Let processes follow each other, each ended by a crash."""
    journal = Journal()
    for process in case.processes:
        run = begin(process, case.source, journal)
        for kind, amount in process.steps:
            step(run, kind, amount)
        for number in sorted(run.flight)[:: process.lost]:
            journal.states[number] = "doubt"
    return journal


def begin(process: Process, source: Source, journal: Journal) -> Run:
    rules = make_rules(process.rows, process.size, process.learned)
    people = PeopleTable(1, process.bits)
    return Run(source, journal, rules=rules, people=people, bits=process.bits, retry=process.retry)
