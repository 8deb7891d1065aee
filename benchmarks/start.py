"""How long a process takes until a client is made, and until it is entered: each in a fresh process, in turns."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

_CLIENT = "mjbulk.Client(mjbulk.Credentials('public', 'private'))"
_MADE = f"import mjbulk; {_CLIENT}"
_ENTERED = f"""import asyncio, mjbulk
async def enter():
    async with {_CLIENT}:
        pass
asyncio.run(enter())"""
_FIRST = "import aiohttp"


PHASES = ("a client is made", "a client is entered, and left")


def measure(commits: Mapping[str, tuple[str, Path]], rounds: int) -> dict[str, list[float]]:
    """Give the seconds of `_FIRST`, and of each phase of each commit, which are named with their Python and folder."""
    python, home = next(iter(commits.values()))
    programs = {_FIRST: (python, home, _FIRST)}
    for name, (its_python, its_home) in commits.items():
        for phase, code in zip(PHASES, (_MADE, _ENTERED), strict=True):
            programs[f"{name}: {phase}"] = (its_python, its_home, code)
    for program in programs.values():  # the first time the compiled files are written
        _took(*program)
    took: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            took[name].append(_took(*program))
    return took


def table(took: Mapping[str, Sequence[float]]) -> str:
    """Give the table in Markdown."""
    lines = [f"| | ms | by `{_FIRST}` |", "| --- | ---: | ---: |"]
    return "\n".join([*lines, *(_line(name, times, took[_FIRST]) for name, times in took.items())])


def _took(python: str, home: Path, code: str) -> float:
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([python, "-c", code], check=True, cwd=home, env=compiled)
    return time.perf_counter() - began


def _line(name: str, times: Sequence[float], first: Sequence[float]) -> str:
    ratios = [mine / its for mine, its in zip(times, first, strict=True)]
    return f"| {name} | {median(times) * 1000:.0f} | {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
