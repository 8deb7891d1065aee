"""Why mjbulk refuses a row, as words that stay: programs count by them."""

from typing import Literal

Code = Literal[
    "address.missing",
    "address.type",
    "address.invalid",
    "value.type",
    "value.range",
    "value.zone",
    "value.clock_change",
    "value.null",
    "value.nul",
    "value.unicode",
    "value.secret",
    "value.unreadable",
    "properties.invalid",
    "exclusion.ended",
    "row.fields",
    "row.nameless",
    "row.unreadable",
    "row.too_large",
    "column.name",
    "column.unnamed",
    "column.twice",
    "column.unknown",
    "column.not_static",
    "column.not_sendable",
    "column.extra",
]
"""``mjbulk/guides/values.md`` has a table of what each of them means."""


class BadValue(ValueError):
    """A value cannot be sent, for another reason than its type. Its text comes after "the value"."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code: Code = code
