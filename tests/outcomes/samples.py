"""Rejections and reports for tests."""

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from mjbulk.models import Rejection
from mjbulk.outcomes.rejections import RejectionStore
from mjbulk.outcomes.report import Report
from mjbulk.terms import RunSpec

A = "ann@example.org"


def rejection(row: int | None, **more: Any) -> Rejection:
    fields: dict[str, Any] = {"email": A, "message": "no", "data": {"email": A, "n": row}}
    return Rejection(row=row, **fields | more)


def report(rejections: Sequence[Rejection] = (), **more: Any) -> Report:
    fields: dict[str, Any] = {"spec": RunSpec(lists=None), "run_id": "r1", "rejections": RejectionStore(rejections)}
    return Report(**fields | more)


ODD: dict[str, Any] = {
    "n": 10**30,
    "half": "a\ud800",
    "nan": math.nan,
    "list": [1.5, -math.inf, None, True],
    "when": date(2026, 1, 2),
    "money": Decimal("1.10"),
    "text": "né\n\u2028",
}
"""A row with values that no JSON can hold."""
