"""The events of one run, or of one ingester, that are about no single chunk."""

import logging

from mjbulk.events import Emit, Scope
from mjbulk.models import COUNT_NAMES
from mjbulk.outcomes.report import Report

_log = logging.getLogger("mjbulk")


class RunEvents:
    """Emits them. Mutable state: how many rows were refused here since the last event about rows, and what was
    warned of.
    """

    def __init__(self, emit: Emit, scope: Scope) -> None:
        """Emit nothing yet. ``scope`` is that of the run."""
        self.scope = scope
        self.refused = 0
        self._emit = emit
        self._warned: set[str] = set()

    def started(self) -> None:
        """Tell that it begins."""
        self._emit(self.scope.event("run.started"))

    def rows_settled(self, **outcomes: int) -> None:
        """Tell that rows have their outcomes that are in no chunk: these, and those that were refused here."""
        refused, self.refused = self.refused, 0
        if rows := sum(outcomes.values()) + refused:
            self._emit(self.scope.event("rows.settled", rows=rows, **{"rejected": refused, **outcomes}))

    def warn_of_column(self, code: str) -> None:
        """Warn, once for each code, that rows of an ingester are rejected for a fault of the program, as a missing
        property is: their callers are told, who may pass it on to people. The name of the column may be anything.
        """
        if code.startswith("column.") and code not in self._warned:
            self._warned.add(code)
            _log.warning("rows of an ingester are rejected: %s; their outcomes name the column", code)

    def ended(self, report: Report, cause: str | None) -> None:
        """Tell that it has ended, and why it has ended early."""
        self.rows_settled()
        figures = {name: getattr(report, name) for name in (*COUNT_NAMES, "requests", "seconds")}
        self._emit(self.scope.event("run.ended", **figures, jobs=len(report.jobs), cause=cause))
