"""Texts that are neither CSV nor JSON Lines."""

import pytest

from mjbulk.errors import UsageError
from mjbulk.rows.other_texts import refuse_other_text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<!DOCTYPE html><html>", "web page"),
        ("\n  <HTML lang=en>", "web page"),
        ("<?xml version='1.0'?>", "XML"),
        ('[{"email": 1}]', "JSON array"),
        ('\ufeff[\n  {"email"', "JSON array"),
        ('{"email": "a"}', "jsonl_source"),
        ("{}", "jsonl_source"),
    ],
)
def test_each_is_known_by_its_beginning(text: str, what: str) -> None:
    """In the place of CSV."""
    with pytest.raises(UsageError, match=what):
        refuse_other_text(text)


@pytest.mark.parametrize("text", ["email,name", "[email],name", "<email>,x", "{email};x", "", '"{a}",b', "htmlx"])
def test_names_of_columns_are_no_other_text(text: str) -> None:
    """Whatever they begin with."""
    refuse_other_text(text)


def test_csv_in_the_place_of_json() -> None:
    """It has a delimiter and no brackets; what is neither is a fault of its line."""
    with pytest.raises(UsageError, match="looks like CSV"):
        refuse_other_text("email,name", json=True)
    refuse_other_text("nonsense", json=True)
    refuse_other_text('["a", 1]', json=True)
