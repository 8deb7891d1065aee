"""On which terms a run goes: keywords, lists and actions."""

import math
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from mjbulk.errors import UsageError
from mjbulk.terms import (
    EXCLUSIONS,
    Action,
    RunKeywords,
    RunSpec,
    action_of,
    check_method,
    list_actions,
    list_ref,
    repair_spec,
)

# Lists and actions


@pytest.mark.parametrize(("ref", "meant"), [(42, 42), ("42", 42), ("weekly", "weekly"), ("٤٢", "٤٢"), ("4 2", "4 2")])
def test_a_list_is_a_number_or_a_word(ref: int | str, meant: int | str) -> None:
    """Digits are an ID, any other word is an address or a name."""
    assert list_ref(ref) == meant
    assert type(list_ref(ref)) is type(meant)


@pytest.mark.parametrize("ref", [0, -1, "0", "", "  ", True, False, None, 4.2, b"42", 2**63, "9" * 5000])
def test_what_can_be_no_list(ref: Any) -> None:
    """Zero, booleans, nothing, and numbers that are no ID are refused."""
    with pytest.raises(UsageError) as caught:
        list_ref(ref)
    assert "a list is a number above 0" in str(caught.value)


@pytest.mark.parametrize("word", [*Action, *(str(action) for action in Action)])
def test_each_action_has_its_word(word: str) -> None:
    """An Action and its word are the same."""
    assert action_of(word) is Action(word)  # type: ignore[arg-type]  # any of the words


@pytest.mark.parametrize("word", ["AddForce", "add", "", None, 1, True, []])
def test_what_is_no_action(word: Any) -> None:
    """Any other word is refused, and the error says which there are."""
    with pytest.raises(UsageError) as caught:
        action_of(word)
    assert "addforce, addnoforce, remove, unsub" in str(caught.value)


def test_lists_are_pairs_in_their_order() -> None:
    """lists= keeps its order, and None is no list."""
    assert list_actions(None) is None
    assert list_actions({7: "unsub", "42": Action.ADDFORCE, "news": "remove"}) == (
        (7, Action.UNSUB),
        (42, Action.ADDFORCE),
        ("news", Action.REMOVE),
    )


@pytest.mark.parametrize("lists", [{}, [], 42, "42", [42], {42}])
def test_lists_have_to_be_said(lists: Any) -> None:
    """An empty mapping and what is no mapping are wrong usage."""
    with pytest.raises(UsageError) as caught:
        list_actions(lists)
    assert "lists= is" in str(caught.value)


@pytest.mark.parametrize(
    ("method", "has_list"),
    [("addforce", True), ("remove", True), ("excludemarketing", False), ("includemarketing", False)],
)
def test_methods_that_fit(method: str, *, has_list: bool) -> None:
    """An action needs a list, the exclusion list needs none."""
    assert check_method(method, has_list=has_list) == method


@pytest.mark.parametrize(
    ("method", "has_list", "problem"),
    [
        ("addforce", False, "needs a list"),
        ("excludemarketing", True, "it takes no list"),
        ("duplicate-override", True, "an action is one of"),
    ],
)
def test_methods_that_do_not_fit(method: str, problem: str, *, has_list: bool) -> None:
    """A method without its list, or with one that it must not have, is refused before it is sent."""
    with pytest.raises(UsageError) as caught:
        check_method(method, has_list=has_list)
    assert problem in str(caught.value)


# The keywords of an import


def test_keywords_become_terms() -> None:
    """What is said is kept, the rest has its default, and a list of columns is a mapping of them to themselves."""
    spec = RunSpec.of({1: "remove"}, {"columns": ["email", "age"], "run_id": "r", "max_rejected": 0, "timeout": 5})
    assert spec == RunSpec(
        lists=((1, Action.REMOVE),), columns={"email": "email", "age": "age"}, max_rejected=0, timeout=5
    )
    assert RunSpec.of(None, {"columns": {"Mail": "email"}}).columns == {"Mail": "email"}
    assert RunSpec.of(None, {}, excluded=True).excluded is True
    assert RunSpec.of(None, {}) == RunSpec(lists=None)


GOOD: list[tuple[Any, dict[str, Any]]] = [
    ({1: "addforce"}, {"via": "csv"}),
    (None, {"nulls": "unassign", "resend": "always", "on_mismatch": "accept"}),
    (None, {"create_properties": True, "types": {"age": "int"}}),
    (None, {"max_rejected": None, "timeout": None}),
    (None, {"timeout": 0.5}),
]


@pytest.mark.parametrize(("lists", "how"), GOOD)
def test_keywords_that_fit(lists: Any, how: Mapping[str, Any]) -> None:
    """Every word that is allowed is taken as it is said."""
    spec = RunSpec.of(lists, how)
    assert {name: getattr(spec, name) for name in how} == how


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"vai": "csv"}, "unknown keyword 'vai'"),
        ({"column": ["email"]}, "unknown keyword 'column' (did you mean 'columns'?)"),
        ({"encoding": "cp1252"}, "encoding=, delimiter= and the like are those of csv_source()"),
        ({"concurrency": 4}, "settings such as concurrency= are those of the client"),
        ({"excluded": True}, "unknown keyword 'excluded'"),
        ({"lists": {}}, "unknown keyword 'lists'"),
        ({"via": "xml"}, "via= is one of json, csv"),
        ({"via": None}, "via= is one of json, csv"),
        ({"nulls": "drop"}, "nulls= is one of keep, unassign"),
        ({"resend": True}, "resend= is one of safe, never, always"),
        ({"on_mismatch": "ignore"}, "on_mismatch= is one of unknown, accept"),
        ({"columns": "email"}, "columns= takes a list of names or a mapping, not one string"),
        ({"types": {"age": "int"}}, "it needs create_properties=True"),
        ({"types": {"age": "integer"}, "create_properties": True}, "types= takes one of str, int"),
        ({"create_properties": "false"}, "create_properties= is True or False"),
        ({"create_properties": 1}, "create_properties= is True or False"),
        ({"via": "csv"}, "takes exactly one list"),
        ({"max_rejected": -1}, "max_rejected= is a number of rows"),
        ({"max_rejected": True}, "max_rejected= is a number of rows"),
        ({"max_rejected": 1.5}, "max_rejected= is a number of rows"),
        ({"max_rejected": "5"}, "max_rejected= is a number of rows"),
        ({"timeout": 0}, "timeout= is a number of seconds above 0"),
        ({"timeout": -1.0}, "timeout= is a number of seconds above 0"),
        ({"timeout": math.nan}, "timeout= is a number of seconds above 0"),
        ({"timeout": math.inf}, "timeout= is a number of seconds above 0"),
        ({"timeout": True}, "timeout= is a number of seconds above 0"),
        ({"timeout": "5"}, "timeout= is a number of seconds above 0"),
    ],
)
def test_keywords_that_are_wrong(how: Mapping[str, Any], problem: str) -> None:
    """A wrong keyword is refused in a sentence that names it."""
    with pytest.raises(UsageError) as caught:
        RunSpec.of(None, how)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("lists", "how", "problem"),
    [
        ({1: "remove", 2: "remove"}, {"via": "csv"}, "takes exactly one list"),
        ({1: "remove"}, {"via": "csv", "nulls": "unassign"}, "cannot unassign a property"),
    ],
)
def test_what_the_csv_way_cannot(lists: Any, how: Mapping[str, Any], problem: str) -> None:
    """The CSV way has one list, and no way to unassign a property."""
    with pytest.raises(UsageError) as caught:
        RunSpec.of(lists, how)
    assert problem in str(caught.value)


def test_the_exclusion_list_needs_no_list_on_the_csv_way() -> None:
    """People who are put on the exclusion list by CSV go onto no other list."""
    assert RunSpec.of(None, {"via": "csv"}, excluded=False).lists is None


def test_every_keyword_has_its_term() -> None:
    """Each keyword of an import is a term of its spec, except the names of the run."""
    terms = {f.name for f in attrs.fields(RunSpec)}
    assert set(RunKeywords.__annotations__) - terms == {"run_id", "partition"}


def test_actions_are_the_four_of_the_guides() -> None:
    """There are four actions, and two methods for the exclusion list."""
    assert sorted(Action) == ["addforce", "addnoforce", "remove", "unsub"]
    assert EXCLUSIONS == ("excludemarketing", "includemarketing")


def test_a_repair_forces_nobody() -> None:
    """Its terms are the run's own, but that addforce becomes addnoforce; nobody is taken off the exclusion list."""
    forced = RunSpec(lists=((1, Action.ADDFORCE), (2, Action.UNSUB)), nulls="unassign")
    assert repair_spec(forced) == attrs.evolve(forced, lists=((1, Action.ADDNOFORCE), (2, Action.UNSUB)), repairs=True)
    for spec in (attrs.evolve(forced, resend="always"), RunSpec(lists=None), RunSpec(lists=None, excluded=True)):
        assert repair_spec(spec) == attrs.evolve(spec, repairs=spec.resend != "always")
    with pytest.raises(UsageError, match="resend"):
        repair_spec(RunSpec(lists=None, excluded=False))
