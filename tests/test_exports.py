"""What users import from mjbulk, mjbulk.partition and mjbulk.testing, and what it says of itself."""

import ast
import inspect
import linecache
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest

import mjbulk
import mjbulk.partition
import mjbulk.testing
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.outcomes.row_set import RowSet

FACES = (mjbulk, mjbulk.partition, mjbulk.testing)
NAMES = [(face, name) for face in FACES for name in face.__all__]
DEFINED = [pair for pair in NAMES if inspect.isclass(getattr(*pair)) or inspect.isfunction(getattr(*pair))]
"""All but the names of types that have no name of their own, such as ``int | str``."""

pytestmark = pytest.mark.unmeasured


def names_for_type_checkers() -> dict[str, str]:
    """Read the imports that stand under TYPE_CHECKING: where each name comes from."""
    tree = ast.parse(Path(mjbulk.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


def test_the_three_lists_are_one() -> None:
    """__all__, the names for type checkers and the names that are loaded are the same, each from the same module."""
    homes = {
        name: f"mjbulk.{home}" for name, home in mjbulk._HOME_OF.items() if name not in ("RejectionStore", "RowSet")
    }
    assert homes == names_for_type_checkers()
    assert sorted(mjbulk.__all__) == sorted(homes)
    assert len(set(mjbulk.__all__)) == len(mjbulk.__all__)


@pytest.mark.parametrize("name", sorted(mjbulk.__all__))
def test_each_name_is_there(name: str) -> None:
    """Each name is what its module has under it."""
    assert getattr(mjbulk, name) is getattr(import_module(f"mjbulk.{mjbulk._HOME_OF[name]}"), name)


def test_dir_is_sorted_and_whole() -> None:
    """dir() shows every name, sorted, also those that are not loaded yet, and what the module calls itself."""
    names = mjbulk.__dir__()
    assert names == sorted(set(names))
    assert {*mjbulk.__all__, "__all__", "__doc__"} <= set(names)
    code = "import mjbulk; print(set(mjbulk.__all__) <= set(dir(mjbulk)), 'Client' in vars(mjbulk))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["True", "False"]


def test_any_other_name_is_an_attribute_error() -> None:
    """A name that is not there says so."""
    with pytest.raises(AttributeError) as caught:
        mjbulk.nothing  # noqa: B018  # the access is the test
    assert str(caught.value) == "module 'mjbulk' has no attribute 'nothing'"


def test_importing_the_package_loads_no_library() -> None:
    """`import mjbulk` alone costs nothing: no HTTP library is loaded by it."""
    code = "import sys, mjbulk; print({'aiohttp', 'cattrs', 'orjson', 'asyncio'} & set(sys.modules) or 'none')"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "none"


# What each of them says of itself


@pytest.mark.parametrize(("face", "name"), DEFINED)
def test_each_says_where_users_import_it_from(face: ModuleType, name: str) -> None:
    """A traceback and a repr do not name a module that may move."""
    thing = getattr(face, name)
    assert (thing.__module__, thing.__qualname__) == (face.__name__, name)


def test_nothing_else_says_so() -> None:
    """Whatever says that it comes from mjbulk is public."""
    for face, name in NAMES:
        getattr(face, name)
    public = {getattr(*pair) for pair in DEFINED} | {RejectionStore, RowSet}
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "mjbulk"]
    faces = [face.__name__ for face in FACES]
    say_so = [
        thing
        for module in modules
        for thing in vars(module).values()
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ in faces
    ]
    of_the_faces = {"__getattr__", "__dir__"}
    assert {thing for thing in say_so if thing.__name__ not in of_the_faces} == public


@pytest.mark.parametrize(("face", "name"), DEFINED)
def test_the_source_of_each_is_found(face: ModuleType, name: str) -> None:
    """inspect.getsource gives it, and nothing else: editors and notebooks show it."""
    source = inspect.getsource(getattr(face, name))
    tree = ast.parse(source)
    assert [getattr(node, "name", None) for node in tree.body] == [name]
    assert source.startswith("@public\n")


def test_sources_are_not_read_before_somebody_asks() -> None:
    """Loading all of mjbulk reads none of its source text."""
    code = """
import linecache, tokenize
tokenize.open = linecache.updatecache = None
import mjbulk, mjbulk.partition, mjbulk.testing
print(all(getattr(face, name) for face in (mjbulk, mjbulk.partition, mjbulk.testing) for name in face.__all__))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "True"


def test_a_package_is_still_shown_in_tracebacks() -> None:
    """The lines of its own file come first, and are those of the file."""
    for face in FACES:
        file = str(face.__file__)
        linecache.checkcache(file)
        lines = Path(file).read_text(encoding="utf-8").splitlines(keepends=True)
        assert linecache.getlines(file)[: len(lines)] == lines
        assert linecache.getline(file, len(lines)) == lines[-1]


@pytest.mark.parametrize(("face", "name"), DEFINED)
def test_the_type_hints_of_each_can_be_read(face: ModuleType, name: str) -> None:
    """Those of a class, of its fields and of its calls: libraries that convert and validate ask for them.

    A hint that names what is not there would raise NameError.
    """
    thing = getattr(face, name)
    get_type_hints(thing)
    for call, function in inspect.getmembers(thing, inspect.isfunction):
        if not call.startswith("_") or function.__code__.co_filename.endswith("errors.py"):
            get_type_hints(function)


PICKLED: list[Any] = [
    mjbulk.Report(
        spec=mjbulk.RunSpec(lists=((1, mjbulk.Action.ADDFORCE),)),
        run_id="r",
        rows=1,
        rejected=1,
        jobs=(mjbulk.JobRef("contact", 1),),
        halted=mjbulk.UsageError("wrong"),
        rejections=RejectionStore([mjbulk.Rejection(row=1, message="no")]),
        unsettled=(mjbulk.Unsettled(rows=(range(1, 2),), cause="x"),),
    ),
    mjbulk.Progress(jobs={"Completed": 1}),
    mjbulk.ApiError(400, call="POST contact"),
    mjbulk.Contact("ann@example.org"),
    mjbulk.Event(name="run.started"),
    mjbulk.RunInfo(run_id="r", state="settled"),
    mjbulk.Assumptions(),
]


@pytest.mark.parametrize("thing", PICKLED, ids=lambda thing: type(thing).__name__)
def test_pickles_name_no_module_that_may_move(thing: Any) -> None:
    """They name mjbulk alone, and so can be read after the code has been moved."""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(thing, protocol)
        assert b"mjbulk" in data
        assert b"mjbulk." not in data
        assert repr(pickle.loads(data)) == repr(thing)
