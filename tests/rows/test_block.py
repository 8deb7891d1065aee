"""Rows as they were given, and blocks of them."""

from touchy import NA

from mjbulk.rows.block import Block, Given, blocks_of, weight

A = "ann@example.org"


def test_a_repr_of_a_row_shows_no_value() -> None:
    """The values of a row are not in its repr, nor in that of a block."""
    assert "example" not in repr(Given(("email",), (A,)))
    assert "example" not in repr(Block.of(("email",), [(A,)], [f"{A}\n"]))


# Blocks


def test_a_block_gives_its_rows() -> None:
    """Of many rows with the same names each can be had."""
    block = Block.of(("email", "age"), [(A, 7), ("b@c.de", 8)], number=5)
    assert (len(block), block.number, block.rows) == (2, 5, [(A, 7), ("b@c.de", 8)])
    assert block.given(1).as_dict() == {"email": "b@c.de", "age": 8}
    assert block.at([1]).rows == [("b@c.de", 8)]
    assert list(map(list, block.kept(slice(1, 2)))) == [["b@c.de"], [8]]


def test_a_block_of_a_csv_file_has_its_records() -> None:
    """They go where their rows go, and are what is kept of them."""
    block = Block.of(("email",), [(A,), ("b@c.de",), ("d@e.de",)], [f"{A}\n", "b@c.de\n", "d@e.de\n"])
    some = block.at([2, 0])
    assert (some.rows, some.raws, some.kept(slice(0, 2))) == (
        [("d@e.de",), (A,)],
        ["d@e.de\n", f"{A}\n"],
        f"d@e.de\n{A}\n",
    )


def test_rows_without_names_are_rows() -> None:
    """A block of them knows how many there are."""
    assert Block.of((), [(), ()]).rows == [(), ()]


def test_what_values_weigh() -> None:
    """Each is a reference; of texts and bytes the length counts, in a mapping as well."""
    assert weight([7, None, "four", b"abc", {"x": "ab", "y": 1}]) == 5 * 8 + 4 + 3 + 2


def test_what_rows_weigh() -> None:
    """The mean of their records, or else of a sample: of one row in 64. Nothing weighs nothing."""
    records = Block.of(("email",), [(A,), ("b@c.de",)], [f"{A}\n", "b@c.de\n"])
    assert records.weight == (len(A) + 9) // 2
    rows = Block.of(("text",), [("x" * 100 if n in (0, 64) else "",) for n in range(129)])
    assert rows.weight == (108 + 108 + 8) // 3
    assert Block(("text",), [()], 0).weight == 1


def test_rows_with_the_same_names_make_a_block() -> None:
    """Consecutive ones are put together, and what is no row stands alone."""
    one, two, other = Given(("email",), (A,)), Given(("email",), ["b@c.de"]), Given(("email", "x"), (A, 7))
    found = list(blocks_of([one, two, "none", "none", one, other, other]))
    assert found == [
        Block.of(("email",), [(A,), ("b@c.de",)]),
        "none",
        "none",
        Block.of(("email",), [(A,)]),
        Block.of(("email", "x"), [(A, 7), (A, 7)]),
    ]
    assert list(blocks_of([])) == []
    assert list(blocks_of(["none"])) == ["none"]


def test_names_that_cannot_be_compared_make_a_block_of_their_own() -> None:
    """The rows beside such a row are not touched."""
    rows = [Given(("email",), (A,)), Given((NA,), (A,)), Given(("email",), (A,))]
    assert [len(block) for block in blocks_of(rows)] == [1, 1, 1]
