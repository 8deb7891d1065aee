"""The sentences of the library in the words of the command line: keywords as options, and what helps in a shell.

The library says ``delimiter=';'`` and ``csv_source()``; here that is ``--delimiter ';'`` and ``--format csv``.
"""

import ast
import re
import shlex
from collections.abc import Mapping
from functools import lru_cache

from mjbulk.errors import ApiError, Error

_PLAIN = (
    "columns", "nulls", "via", "resend", "types", "timezone", "timeout", "partition", "encoding", "delimiter", "null",
    "escape", "sheet", "journal", "concurrency", "attempts", "proxy",
)  # fmt: skip
"""Keywords that are also words: they are options where a sign, or a sentence about a setting, says so."""
_COMPOUND = (
    "run_id", "on_mismatch", "create_properties", "date_format", "max_rejected", "header_row", "api_url", "max_jobs",
    "max_rows", "give_up_after", "max_rate", "chunk_rows", "chunk_bytes", "poll_min", "poll_max", "account_ttl",
    "stop_within", "spool_dir", "connect_timeout", "read_timeout", "insecure_host", "min_upload_rate",
)  # fmt: skip
_VALUE = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\{[^{}]*\}|True\b|[\w./-]+)"""
_KEYWORD = re.compile(rf"(?<![\w/-])({'|'.join((*_PLAIN, *_COMPOUND))})=({_VALUE})?")
_NAME = re.compile(rf"(?<![\w/='-])({'|'.join(_COMPOUND)})\b")
_FIRST = re.compile(rf"^({'|'.join(_PLAIN)})(?= is | are )")
_SHEET = r"excel_source\(\) reads spreadsheets"
_MEMBER = r"; of another archive open the member, as zipfile's open\(\) does, and give that file"
_UNZIP = "; of another archive give one file: unzip -p ARCHIVE MEMBER | mjbulk import - --format csv"
_IN_A_SHELL = (
    (_SHEET, "--format excel reads a spreadsheet"),
    (_MEMBER, _UNZIP),
    (
        r"open a member, as tarfile's extractfile\(\) does, and give that",
        "tar -xOf ARCHIVE MEMBER | mjbulk import - --format csv takes one file of it",
    ),
    (r"open it with Python's bz2\.open\(\), and give that file", "bzcat FILE | mjbulk import - --format csv takes it"),
    (r"open it with Python's lzma\.open\(\), and give that file", "xzcat FILE | mjbulk import - --format csv takes it"),
    (r"open it with pyarrow\.ipc, and give the reader", "write it as Parquet first"),
    (r"give its path, with the ending \.parquet", "--format parquet reads it"),
    (r"read it with jsonl_source\(\)", "--format jsonl reads it"),
    (r"read it with csv_source\(\)", "--format csv reads it"),
    (r"jq -c '\.\[\]' makes them of it", "jq -c '.[]' FILE | mjbulk import - --format jsonl takes it"),
    (
        r"or json\.dumps\(\) of it to a property of type str",
        "or make a text of it for a property of type str: jq -c '.NAME |= tojson' does that with JSON Lines",
    ),
    (r"jq -c \. makes them", "jq -c . FILE | mjbulk import - --format jsonl takes them"),
    (
        r"open it, with fsspec or an HTTP client, and give what gives its bytes to csv_source\(\)",
        "curl -fsS URL | mjbulk import - --format csv takes it",
    ),
    (r"read only once: give a list, a file or a table$", "read only once: write it to a file"),
    (r"was begun with another lists=", "was begun with another --list or --action"),
    (r"lists= names one list twice", "--list names one list twice"),
    (r"lists= is empty: say None for no list", "say where the contacts go: --list, or --no-list"),
    (r"the names in lists=, columns= and types= are texts", "the names in --list, --columns and --types are texts"),
    (r"spool_dir of the settings", "--spool-dir"),
    (
        r"get_report\(rows=True\) reads them from the source again",
        "mjbulk resume RUN_ID FILE --rejects OUT.csv reads them from the source again",
    ),
    (r"\(ssl=\)", "(the library takes one)"),
    (
        r"give one with ssl=, an SSLContext after load_cert_chain\(\)",
        "only the library takes one",
    ),
    (r"trust (it|its CA) with ssl=", r"trust \1: SSL_CERT_FILE in the environment names a file of certificates"),
    (r"give io\.BytesIO\(text\.encode\(\)\) to csv_source\(\)", "give the text on stdin, to mjbulk import -"),
    (r"give dicts, or objects with fields", "a line of JSON Lines is one object"),
    (r"give dict\(zip\(names, row\)\), or what has the names, .*", "a line of JSON Lines is one object"),
    (r"(this is not (?!utf-8)\S+): say encoding=$", r"\1: say another encoding="),
    (r"(this is not utf-8): say encoding=$", r"\1: say encoding=, often cp1252 (Windows, Excel); or save it as UTF-8"),
)
"""Advice for programs, and what it is in a shell."""


@lru_cache(maxsize=1024)  # a million rejections have a few sentences
def as_options(sentence: str) -> str:
    """Spell the keywords in a sentence as options, and give advice for a shell in the place of that for programs."""
    for ours, theirs in _IN_A_SHELL:
        sentence = re.sub(ours, theirs, sentence)
    sentence = _KEYWORD.sub(_option, sentence)
    return _FIRST.sub(_name, _NAME.sub(_name, sentence))


def _name(word: re.Match[str]) -> str:
    return f"--{word[1].replace('_', '-')}"


def _option(keyword: re.Match[str]) -> str:
    name, value = _name(keyword), keyword[2]
    return name if value in (None, "True") else f"{name} {_value(value)}"


def _value(value: str) -> str:
    """Write a value of Python as an argument."""
    try:
        meant = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    if isinstance(meant, Mapping):
        meant = ",".join(name if name == word else f"{name}={word}" for name, word in meant.items())
    return r"'\t'" if meant == "\t" else shlex.quote(str(meant))


_NOT_THERE = {
    "PUT contact": "no contact has this address; a FILE may have people who are no contacts yet",
    "GET contact": "no contact has this address",
    "GET contact/getcontactslists": "no contact has this address",
    "POST contact/managecontactslists": "no contact has this address",
    "GET contact/managemanycontacts": "there is no such job",
    "GET contactslist/managemanycontacts": "there is no such job",
    "GET csvimport": "there is no such job",
    "PUT csvimport": "there is no such job",
    "GET batchjob": "there is no such job",
    "GET JSONError": "this job has no error file",
    "GET CSVError": "this job has no error file",
}
"""What a 404 means, by the call."""

_UNSENT = "; nothing was sent"
_SHOWN_BY = {
    "this account has no list": ": mjbulk lists shows them",
    "the journal has no run": ": mjbulk runs shows them",
    "no API key": "; mjbulk help profiles shows its form",
    "a profile is in a TOML file": "; mjbulk help profiles shows its form",
    "the file that MJBULK_CONFIG names": "; mjbulk help profiles shows its form",
}
"""Where it is shown what there is, or what it should be, by how the sentence begins."""


def sentence_of(error: Error, *, sends: bool = True) -> str:
    """Say an error in the words of the command line; that nothing was sent only for a command that ``sends``."""
    whole = str(error)
    sentence = as_options(whole.removesuffix(_UNSENT))
    sentence += next((where for begin, where in _SHOWN_BY.items() if sentence.startswith(begin)), "")
    if isinstance(error, ApiError) and error.status == 404 and error.call in _NOT_THERE:
        sentence = f"{_NOT_THERE[error.call]} ({sentence})"
    return sentence + (_UNSENT if sends and whole.endswith(_UNSENT) else "")
