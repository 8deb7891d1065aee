"""The prose of mjbulk: words that must not come back, and one grammar for the docstrings of functions."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

TABLE = r"""
instead of                               write                          for example in
---------------------------------------  -----------------------------  ---------------------------------
for certain                              what is known, and by whom     an error that means no row for certain
\b(anew|afresh)\b                        again                          make the table anew
\b(puts?|laid)\b~\baside\b               keep, store                    put the rows of a chunk aside
\bnobody (yet )?(can|could|knows)\b      it is not known                nobody can say what became of them
\bnobody (wants|would|has)\b             say what is done instead       nobody wants to know
\bon (its|their|one's|the) way\b         in flight                      a million people on their way
\bin (its|their|one's) way\b             in conflict; blocks            a row that is in its way
\bsen[dt](s|ing)?( \w+)? again\b         retry                          it may be sent again
\bhand(s|ed|ing)?( \w+)? over\b          submit                         the body waits to be handed over
\b(go|goes|going|gone|went) away\b       is cancelled, ends             a waiter that has gone away
\b(rests|rested|resting)\b               wait                           a key that was refused rests
\bat hand\b                              available, given               its rows are not at hand
\bwho(m?)ever\b                          the caller that                whoever counts the rows
\bone's own\b                            of your own, private           a Mailjet of one's own
\bso many\b                              this many, a number of         make so many jobs
\b(none|nothing) of (ours|theirs)\b      not from mjbulk                what is none of ours
\b(that|what|or) (is|are|can be) none\b  for anything else              raises for what is none
\bbut for\b                              except                         as the import, but for properties
\bin vain\b                              for nothing                    how much is asked in vain
\bas (it|they) (stand|c[ao]me)s?\b       unchanged; as it is now        find the run as it stands
\b(told|tells?|telling) of\b             is called with; announces      it is told of each row
\b(is|are|be|was)( not)? asked for\b     is requested, is polled        a job is not asked for
\b(is|are) to be seen\b                  can be seen                    nothing more is to be seen
\bmend(s|ed|ing)?\b                      fix, correct                   it sends mended rows
\bto blame\b                             bad, at fault                  the row was to blame
\bmeets? an? (outage|error)\b            fails because of               it meets an outage
\bteach(es)? (no|only|nothing)\b         lowers the limit; learns from  a large body teaches nothing
\bprice of an?\b                         the formula, with its units    lateness is the price of a look
\bwhose time has come\b                  due                            a start whose time has come
\bhowever (little|much) of\b             included, too                  however little of them is sent
\bmay be too many\b                      is removed afterwards          the comma may be too many
\bsay(s)? (themselves|itself|not)\b      say what it is                 what rows do not say themselves
\bRaises?\b~(?<!say )\bwhere\b           Raises ... if                  Raises Error where it fails

^It does:                                an imperative sentence         It does: nobody else writes.
@Of (an?|the|one|all|each|several)\b     the subject first              Of a file all rows are read.
@Who (?!calls it:)                       the caller that                It ends. Who cancels it waits.
@(Never|Only|Nor|Not)\b~ IS IT\b         subject, verb, object          Only then are they read.
@(So|Nor) (is|are|do|does|has|have)\b    subject, verb, object          It is private. So is the folder.
"""
"""Patterns, what to write instead, and words that the pattern finds. Case is ignored, except in a pattern with @."""
SHORT = {
    "@": r"(?:^|[.;:] )",  # a sentence begins here, or a clause that could be one
    "~": r"[^.;:]{0,80}?",
    "IS": "(?:is|are|does|do|can|has|have|was|were|may|must|will)",
    "IT": "(?:it|they|we|he|an?|the|any|its|there|this|that)",
}
WORDS = [tuple(re.split(r"  +", line)) for line in TABLE.splitlines()[3:] if line]


def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of the table."""
    whole = re.sub("@|~|IS|IT", lambda short: SHORT[short[0]], pattern)
    return re.compile(whole, 0 if pattern.startswith("@") else re.IGNORECASE)


PATTERNS = [(compiled(pattern), instead) for pattern, instead, _ in WORDS]


NO_VERBS = """
    A All An And Another Any As At Both By Each Either Every Everything For From How If In It Its Many Most No None
    Nothing Of On One Only Or Such That The Their There These This Those To What When Where Whether Which Who Why
    Given Kept Made Sent Taken Told Written
"""
"""First words that no imperative sentence has. Words in -s and -ed are found without a list."""
pytestmark = pytest.mark.unmeasured
HOME = Path(__file__).parents[1]
MODULES = sorted(
    module for folder in ("mjbulk", "benchmarks", "tests") for module in HOME.joinpath(folder).rglob("*.py")
)


def name_of(module: Path) -> str:
    """Give the path of a module from the top of the project."""
    return module.relative_to(HOME).as_posix()


CODE = [module for module in MODULES if not name_of(module).startswith("tests/")]


def prose(source: str) -> Iterator[tuple[int, str]]:
    """Give line numbers and texts of all docstrings and comments, without the code in them."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, plain(text)
    for line, text in comments(source):
        yield line, plain(text)


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Give line numbers and texts of comments; several lines of comment in a row are one text."""
    texts: list[str] = []
    begun = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, column = token.start
            goes_on = line == last + 1 and not token.line[:column].strip()
            if texts and not goes_on:
                yield begun, " ".join(texts)
                texts = []
            begun, last = begun if texts else line, line
            texts.append(token.string.lstrip("# "))
    if texts:
        yield begun, " ".join(texts)


def plain(text: str) -> str:
    """Replace code by a word, and line breaks by spaces."""
    return " ".join(re.sub(r"``.*?``|`.*?`|\bNone\b", "it", text, flags=re.DOTALL).split())


def found(text: str) -> Iterator[tuple[str, str]]:
    """Give the words of the table that are in a text, each with what to write instead."""
    for pattern, instead in PATTERNS:
        for match in pattern.finditer(text):
            yield match[0], instead


def functions(source: str) -> Iterator[tuple[int, str]]:
    """Give line numbers and docstrings of all functions except properties, which are described like attributes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring and not any("property" in ast.unparse(one) for one in node.decorator_list):
                yield node.lineno, docstring


def is_imperative(docstring: str) -> bool:
    """Tell, roughly, whether a docstring begins with a verb in the imperative."""
    first = docstring.split(maxsplit=1)[0].rstrip(".,:;")
    if first in NO_VERBS.split() or not re.fullmatch(r"[A-Z]([a-z-]+|[A-Z]+)", first):
        return False
    return not re.search(r"[^s]s$|[^e]ed$", first)


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_no_word_of_the_table_is_in_a_docstring_or_comment(module: Path) -> None:
    """A reader who learned English at school understands each sentence at first sight."""
    text = module.read_text(encoding="utf-8")
    wrong = [f"line {line}: {word!r}: write {instead!r}" for line, one in prose(text) for word, instead in found(one)]
    assert not wrong


@pytest.mark.parametrize("module", CODE, ids=name_of)
def test_docstrings_of_functions_begin_with_an_imperative(module: Path) -> None:
    """One grammar everywhere but in tests, whose docstrings say what they show."""
    wrong = [
        f"line {line}: {docstring.splitlines()[0]}"
        for line, docstring in functions(module.read_text(encoding="utf-8"))
        if not is_imperative(docstring)
    ]
    assert not wrong


@pytest.mark.parametrize(("pattern", "instead", "example"), WORDS)
def test_each_pattern_finds_its_example(pattern: str, instead: str, example: str) -> None:
    """A pattern with a mistake in it would find nothing, and no other test would show that."""
    assert instead in [one for _, one in found(plain(example))], pattern


@pytest.mark.parametrize(
    "source",
    ['"""Read it\nanew."""', 'x = 1\n"""Read anew."""', "x = 1  # read\n    # anew", "def f():\n    '''Read anew.'''"],
)
def test_prose_is_found_wherever_it_is(source: str) -> None:
    """Docstrings of modules, attributes and functions count, and so do comments, over the ends of lines."""
    assert [word for _, text in prose(source) for word, _ in found(text)] == ["anew"]


def test_code_and_messages_are_no_prose() -> None:
    """A message of an error, or a name in a docstring, is not judged here."""
    source = 'def f():\n    """Give ``anew`` and `anew`."""\n    raise ValueError("anew")\n'
    assert [word for _, text in prose(source) for word in found(text)] == []


@pytest.mark.parametrize(
    ("docstring", "imperative"),
    [
        ("Give it.", True),
        ("Pass it on.", True),
        ("POST it.", True),
        ("Feed it.", True),
        ("Gives it.", False),
        ("Told of it.", False),
        ("Encoded rows.", False),
        ("The rows.", False),
        ("Whether it is there.", False),
        ("``first`` is a row.", False),
    ],
)
def test_imperatives_are_told_from_other_words(docstring: str, *, imperative: bool) -> None:
    """The heuristic knows a few endings, and a few words that are no verbs."""
    assert is_imperative(docstring) is imperative
