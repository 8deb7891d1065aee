"""What users import from mjbulk itself."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mjbulk


def names_for_type_checkers() -> dict[str, str]:
    """Read the imports that stand under TYPE_CHECKING: where each name comes from."""
    tree = ast.parse(Path(mjbulk.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


def test_the_three_lists_are_one() -> None:
    """__all__, the names for type checkers and the names that are loaded are the same, each from the same module."""
    homes = {name: f"mjbulk.{home}" for name, home in mjbulk._HOME_OF.items()}
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
