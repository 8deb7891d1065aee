"""What pyproject.toml promises to those who install the package."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import EntryPoint, PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOR_TESTS = {"bench", "smoke", "test", "test-airflow", "test-all", "test-sources"}

pytestmark = pytest.mark.unmeasured


def normal(name: str) -> str:
    """Give the name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """Name what the package and its extras install, except those that only tests need."""
    extras = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(extras[name] for name in extras if name not in FOR_TESTS)]
    return {normal(re.split(r"[\[<>=; ]", requirement)[0]) for some in lists for requirement in some}


def imported(file: Path) -> set[str]:
    """Name the packages that a module imports, at its top or later."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def test_what_is_imported_is_declared() -> None:
    """A library that comes only because another one needs it may be gone with that one's next version."""
    names = set[str]().union(*map(imported, (ROOT / "mjbulk").rglob("*.py")))
    found = packages_distributions()
    others = names - set(sys.stdlib_module_names) - {"mjbulk"}
    assert {"aiohttp", "attrs", "sqlalchemy"} <= others
    missing = {name for name in others if not {normal(one) for one in found.get(name, [name])} & declared()}
    assert missing - {"airflow"} == {"pytest"}  # the plugin needs no other; apache-airflow is installed elsewhere


def named(requirements: Iterable[str]) -> set[str]:
    """Name the distributions that requirements bring here, except those that extras of others would add."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        need = waiting.pop()
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        if need.name == "mjbulk":
            waiting += [Requirement(text) for name in need.extras for text in PROJECT["optional-dependencies"][name]]
        elif normal(need.name) not in found:
            found.add(normal(need.name))
            with suppress(PackageNotFoundError):
                waiting += map(Requirement, requires(need.name) or [])
    return found


def brought(*extras: str) -> set[str]:
    """Name what the package brings with these extras."""
    return named([*PROJECT["dependencies"], *(f"mjbulk[{extra}]" for extra in extras)])


def test_what_an_installation_brings() -> None:
    """The core has no engine. The extra for Dask has Dask and what a journal needs, and no library of data frames."""
    heavy = {"dask", "distributed", "numpy", "pandas", "polars", "pyarrow", "sqlalchemy"}
    assert brought() & heavy == set()
    assert brought("dask") & heavy == {"dask", "distributed", "sqlalchemy"}
    assert "pyarrow" in brought("arrow")


def test_each_python_that_is_named_is_allowed() -> None:
    """CI tries the Pythons that the classifiers name; the oldest is the one that is required."""
    named = [re.fullmatch(r"Programming Language :: Python :: 3\.(\d+)", text) for text in PROJECT["classifiers"]]
    minors = sorted(int(match[1]) for match in named if match)
    assert len(minors) >= 3
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert PROJECT["requires-python"] == f">=3.{minors[0]}"


def test_what_airflow_asks_for_is_there_without_airflow() -> None:
    """What it asks each installed package for imports nothing; the rest says which extra is missing."""
    (named,) = PROJECT["entry-points"]["apache_airflow_provider"].values()
    (kind,) = EntryPoint("provider_info", named, "apache_airflow_provider").load()()["connection-types"]
    package, _, hook = kind["hook-class-name"].rpartition(".")
    assert (package, kind["connection-type"], hook) == ("mjbulk.airflow", "mailjet", "MailjetHook")
    code = "import sys; sys.modules['airflow'] = None; import mjbulk.airflow_provider; import mjbulk.airflow"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].endswith("pip install 'mjbulk[airflow]'")
