"""Which rows a chunk has, as a short text."""

from base64 import b85encode
from collections.abc import Iterable
from random import Random
from zlib import compress

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mjbulk.journal.shape import PLAIN, Shape, decode_shape, encode_shape

LAW = settings(derandomize=True, deadline=None, max_examples=300)
ASCENDING = st.sets(st.integers(0, 2**40) | st.integers(0, 300), max_size=20).map(sorted)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    merged = draw(ASCENDING)
    into = draw(st.lists(st.integers(0, 2**30), min_size=len(merged), max_size=len(merged)))
    return Shape(draw(ASCENDING), draw(ASCENDING), merged, into)


def lists(shape: Shape) -> list[list[int]]:
    return [list(shape.holes), list(shape.extras), list(shape.merged), list(shape.into)]


@pytest.mark.unmeasured
@LAW
@given(shapes())
def test_a_shape_is_read_as_it_was_written(shape: Shape) -> None:
    """Whatever a chunk looks like, its text says it; and it is a text that any database takes."""
    text = encode_shape(shape)
    assert lists(decode_shape(text)) == lists(shape)
    assert text.isascii()
    assert text.isprintable()
    assert (text == "") == (not shape)


@pytest.mark.unmeasured
@LAW
@given(shapes(), st.integers(1, 10**6))
def test_a_text_that_is_cut_off_is_refused(shape: Shape, left: int) -> None:
    """Wherever it was cut."""
    text = encode_shape(shape)
    assume(text)
    with pytest.raises(ValueError):
        decode_shape(text[: 1 + left % (len(text) - 1)])


def test_a_chunk_that_is_its_window_has_an_empty_text() -> None:
    """The usual chunk costs nothing."""
    assert encode_shape(PLAIN) == encode_shape(Shape([], [], [], [])) == ""
    assert decode_shape("") is PLAIN
    assert not PLAIN


def raw(numbers: Iterable[int]) -> str:
    """The text of some bytes that are not packed."""
    return "r" + b85encode(bytes(numbers)).decode() + "."


@pytest.mark.parametrize(
    "text",
    [
        "r",
        "z",
        "no text of ours",
        "x" + raw([1, 5, 0, 0, 0])[1:],
        raw([1, 5, 0, 0]),
        raw([2, 5, 0, 0, 0]),
        raw([1, 0x85]),
        raw([1, 5, 0, 0, 0, 0]),
        raw([1, 5, 0, 1, 3, 0]),
        raw([1, 5, 0, 0, 1, 3]),
        raw([0xFF] * 12 + [1, 0, 0, 0]),
        raw([1, *[0xFF] * 9, 2, 0, 0, 0]),
        raw([2, *[0xFF] * 9, 1, 1, 0, 0, 0]),
        "z" + b85encode(b"not packed").decode() + ".",
        "z" + b85encode(compress(bytes([1, 5, 0, 0]))).decode() + ".",
        "zé.",
        "r\x00.",
        "r.",
        raw([1, 5, 0, 0, 0])[:-1],
        raw([1, 5, 0, 0, 0])[:-1] + ":",
    ],
)
def test_what_is_no_shape_is_refused(text: str) -> None:
    """A text that is damaged raises ValueError, and never gives other rows."""
    with pytest.raises(ValueError):
        decode_shape(text)


def size(shape: Shape, of: int) -> float:
    """How many characters each of some things costs."""
    return len(encode_shape(shape)) / of


def test_merged_rows_cost_about_three_bytes_each() -> None:
    """In a chunk of 1,000 rows of which 30 % were merged, each takes three characters."""
    chance = Random(7)
    merged = sorted(chance.sample(range(1, 1000), 300))
    into = [chance.randrange(position - at) for at, position in enumerate(merged)]
    assert size(Shape((), (), merged, into), 300) <= 3.1
    hot = range(1, 1000, 2)
    assert size(Shape((), (), hot, [0] * len(hot)), len(hot)) < 0.2


def test_held_rows_cost_a_few_bytes_each() -> None:
    """A hole and its extra together take three bytes where they are many, and eight where they are rare."""
    chance = Random(7)
    many = sorted(chance.sample(range(500_000, 501_000), 300))
    assert size(Shape(many, (), (), ()), 300) + size(Shape((), many, (), ()), 300) <= 3.2
    rare = sorted(chance.sample(range(500_000, 600_000), 10))
    assert size(Shape(rare, (), (), ()), 10) + size(Shape((), rare, (), ()), 10) <= 8
