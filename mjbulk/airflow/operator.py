"""The task that imports."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

from airflow.sdk import BaseOperator, ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from mjbulk.airflow.hook import MailjetHook
from mjbulk.airflow.trigger import MailjetJobTrigger
from mjbulk.client import Client
from mjbulk.discreet import discreet
from mjbulk.errors import Error, RowsRejected, UsageError
from mjbulk.models import COUNT_NAMES
from mjbulk.outcomes.report import Report
from mjbulk.partition import PartitionSpec
from mjbulk.partition.work import Stop, run_to_end, with_rows
from mjbulk.public import public
from mjbulk.rows.sources import Rows
from mjbulk.run.run import ImportRun
from mjbulk.terms import Datatype, ListActions, Resend

_LOOK = 0.2
"""Seconds between two looks at whether a run can be deferred."""
_ENDINGS = (".csv", ".jsonl", ".json")
"""What a file of rejected rows may be."""


@public
class MailjetImportOperator(BaseOperator):
    """Imports contacts into Mailjet, and gives the counts of its report as a dict, to XCom.

    ``source`` is the path of a file that each worker can read, or a function that is called in the worker with the
    task's context, and gives what `mjbulk.Client.import_contacts` takes: the same rows each time. ``journal`` is the
    URL of a PostgreSQL database, or the path of a SQLite file if all workers are on one machine; a password in it is
    the name of a variable of the worker's environment. ``run_id`` names the run: a retry of the task, and a task that
    is cleared, continue the run by that name, and send nothing twice. Once the run has ended, its name gives its counts
    (with ``stored``), whatever the source is: so each of the tasks that are mapped has its own. ``lists`` maps lists to
    actions; None for none.

    ``mailjet_conn_id`` names a connection of type ``mailjet``. With ``deferrable`` the task gives its slot back while
    nothing but jobs are under way, and a triggerer waits for them. The task fails, and is not retried, if more rows
    than ``max_rejected`` are rejected. ``rejections`` is the path or the URL (of `ObjectStoragePath`) of a file that
    gets the rejected rows, if there are any: ``.csv``, ``.jsonl`` or ``.json``. The other keywords are those of
    `mjbulk.Client.import_contacts`, and of all operators.

    The task raises what that call raises. All of these arguments but the last ones are templates, except numbers.
    """

    template_fields: ClassVar[Sequence[str]] = ("source", "lists", "run_id", "journal", "mailjet_conn_id", "rejections")

    def __init__(
        self,
        *,
        source: str | Callable[[Mapping[str, Any]], Rows],
        lists: ListActions | None,
        run_id: str,
        journal: str,
        mailjet_conn_id: str = MailjetHook.default_conn_name,
        deferrable: bool = False,
        max_rejected: int | None = None,
        rejections: str | None = None,
        columns: Sequence[str] | Mapping[str, str] | None = None,
        nulls: Literal["keep", "unassign"] | None = None,
        via: Literal["json", "csv"] | None = None,
        resend: Resend | None = None,
        on_mismatch: Literal["unknown", "accept"] | None = None,
        create_properties: bool | None = None,
        types: Mapping[str, Datatype] | None = None,
        timezone: str | None = None,
        date_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Check nothing yet: templates are filled in the worker. The keywords are named for `partial`."""
        super().__init__(**kwargs)
        self.source = source
        self.lists = lists
        self.run_id = run_id
        self.journal = journal
        self.mailjet_conn_id = mailjet_conn_id
        self.deferrable = deferrable
        self.max_rejected = max_rejected
        self.rejections = rejections
        self.terms: dict[str, Any] = {
            "columns": columns,
            "nulls": nulls,
            "via": via,
            "resend": resend,
            "on_mismatch": on_mismatch,
            "create_properties": create_properties,
            "types": types,
            "timezone": timezone,
            "date_format": date_format,
        }
        self._stop: Stop | None = None

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Take the run to its end, or as far as it goes without waiting for jobs."""
        return self._continue(context)

    def execute_complete(self, context: Mapping[str, Any], event: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Resume the run, whose jobs have ended. Rows that had to wait for them are sent now."""
        return self._continue(context)

    def on_kill(self) -> None:
        """Stop the run, so that it can continue."""
        if self._stop is not None:
            self._stop.set()

    @discreet
    def _continue(self, context: Mapping[str, Any]) -> dict[str, Any]:
        spec = self._spec()
        self._stop = stop = Stop()
        ended: Report | Sequence[str] = ()
        try:
            while not isinstance(ended, Report) and not ended:
                ended = self._read_once(context, spec, stop)
        except asyncio.CancelledError:
            raise Error(f"run {spec.run_id!r} was stopped: a retry of the task continues it") from None
        if isinstance(ended, Report):
            return self._finish(context, ended)
        self.log.info("%d jobs are under way: run %s continues when they have ended", len(ended), spec.run_id)
        trigger = MailjetJobTrigger(ended, self.mailjet_conn_id)
        raise TaskDeferred(trigger=trigger, method_name="execute_complete", timeout=self.execution_timeout)

    def _read_once(self, context: Mapping[str, Any], spec: PartitionSpec, stop: Stop) -> Report | Sequence[str]:
        """Take the run as far as it goes with one reading of its source: a cursor gives its rows once."""
        client = MailjetHook(self.mailjet_conn_id).get_conn(spec.journal_place())
        return run_to_end(lambda: self._advance(client, spec, self._rows(context), stop), stop)

    def _spec(self) -> PartitionSpec:
        """Check what the templates gave. Raises UsageError."""
        if self.rejections is not None and PurePath(self.rejections).suffix.casefold() not in _ENDINGS:
            raise UsageError(f"rejections= is a file that ends in {', '.join(_ENDINGS)}")
        terms = {name: value for name, value in self.terms.items() if value is not None}
        return PartitionSpec(run_id=self.run_id, lists=self.lists, journal=self.journal, **terms)

    def _rows(self, context: Mapping[str, Any]) -> Rows:
        """Give the source. Raises UsageError for rows themselves, which Airflow would write into its database."""
        if callable(self.source):
            return self.source(context)
        if not isinstance(self.source, str | os.PathLike):
            raise UsageError("source= is a path, or a function that is called in the worker and gives the rows")
        return self.source

    @discreet
    async def _advance(self, client: Client, spec: PartitionSpec, source: Rows, stop: Stop) -> Report | Sequence[str]:
        """Give the report of the run, or the jobs for which it has to wait: none if they ended while it was stopped."""
        with stop.reaches():
            async with client:
                run = self._start(client, spec, source)
                if self.deferrable and await _stopped(run):
                    chunks = client.run_chunks(spec.run_id)
                    return [str(chunk.job) async for chunk in chunks if chunk.state == "watched"]
                report = await run.wait()
                if report.halted is not None and not isinstance(report.halted, RowsRejected):
                    await run.result()  # it raises
                return await with_rows(client, report, "", source) if self.rejections else report

    def _start(self, client: Client, spec: PartitionSpec, source: Rows) -> ImportRun:
        return client.start_import(
            source, lists=spec.lists, run_id=spec.run_id, max_rejected=self.max_rejected, **spec.terms
        )

    def _finish(self, context: Mapping[str, Any], report: Report) -> dict[str, Any]:
        """Write the rejected rows, and give the counts. Raises AirflowFailException if too many rows are rejected."""
        figures = {name: getattr(report, name) for name in ("run_id", *COUNT_NAMES, "requests", "complete", "stored")}
        counts = {**figures, "jobs": len(report.jobs), "rejections": self._write(report)}
        self.log.info("%s", report)
        if self.max_rejected is not None and report.rejected > self.max_rejected:
            context["ti"].xcom_push(key="return_value", value=counts)
            why = RowsRejected(report, allowed=self.max_rejected)
            raise AirflowFailException(f"run {report.run_id!r}: {why}")
        return counts

    def _write(self, report: Report) -> str | None:
        """Write the rejected rows, and give the place of their file; None if there is none."""
        if self.rejections is None or not report.rejected:
            return None
        if "://" not in self.rejections:
            Path(self.rejections).parent.mkdir(parents=True, exist_ok=True)
            report.write_rejections(self.rejections)
            return self.rejections
        with TemporaryDirectory(prefix="mjbulk-") as folder:  # only its owner can read it
            file = Path(folder) / f"rejected{PurePath(self.rejections).suffix}"
            report.write_rejections(file)
            with file.open("rb") as written, ObjectStoragePath(self.rejections).open("wb") as target:
                copyfileobj(written, target)
        return self.rejections


async def _stopped(run: ImportRun) -> bool:
    """Stop a run when nothing but its jobs are under way; False if it ends before that."""
    async for _ in run.updates(every=_LOOK):
        if run.waits_for_jobs:
            await run.stop()
            return True
    return False
