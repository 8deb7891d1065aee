"""Put any number of contacts into Mailjet, and know what became of every one of them.

::

    async with mjbulk.Client() as client:
        report = await client.import_contacts("contacts.csv", lists={42: "addnoforce"})

The guides follow here where ``pdoc mjbulk`` renders them.

.. include:: guides/values.md
.. include:: guides/etl.md
.. include:: guides/web.md
.. include:: guides/operations.md
.. include:: guides/testing.md
"""

# Names are loaded when they are first used, so that importing this package alone costs nothing.

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mjbulk.client import Client, import_contacts
    from mjbulk.config import Assumptions, Credentials, Settings
    from mjbulk.errors import (
        ApiError,
        CredentialsRefused,
        Error,
        ImportHalted,
        ImportTimeout,
        JobFailed,
        JournalError,
        JournalRefused,
        NoAnswer,
        OutcomeError,
        OutcomeNotSent,
        OutcomeRejected,
        OutcomeUnknown,
        RowsRejected,
        SourceError,
        UsageError,
    )
    from mjbulk.events import Event, Hook
    from mjbulk.jobs.watcher import JobWatcher
    from mjbulk.journal.info import ChunkInfo, RunInfo
    from mjbulk.mailjet.quota import Quota
    from mjbulk.mailjet.redis_quota import RedisQuota
    from mjbulk.models import (
        Contact,
        Counts,
        Finding,
        ImportOptions,
        Job,
        JobRef,
        Progress,
        Rejection,
        Rejections,
        Row,
        SupportsArrow,
        SupportsCursor,
        SupportsRow,
        Unsettled,
    )
    from mjbulk.outcome import Outcome
    from mjbulk.outcomes.report import Report
    from mjbulk.pool import SessionPool
    from mjbulk.resources import ContactInfo, ContactsList, Property, Subscription
    from mjbulk.rows.files import SupportsAsyncRead
    from mjbulk.rows.sources import Addresses, Rows, Source, csv_source, excel_source, in_thread, jsonl_source
    from mjbulk.run.ingester import Ingester
    from mjbulk.run.plan import Plan
    from mjbulk.run.run import ImportRun
    from mjbulk.terms import Action, ActionLike, ActionWord, ListActions, ListRef, RunKeywords, RunSpec, RunTerms
    from mjbulk.version import __version__

_HOMES = {
    "events": ("Event", "Hook"),
    "mailjet.quota": ("Quota",),
    "mailjet.redis_quota": ("RedisQuota",),
    "journal.info": ("ChunkInfo", "RunInfo"),
    "rows.files": ("SupportsAsyncRead",),
    "rows.sources": ("Addresses", "Rows", "Source", "csv_source", "excel_source", "in_thread", "jsonl_source"),
    "client": ("Client", "import_contacts"),
    "config": ("Assumptions", "Credentials", "Settings"),
    "errors": (
        "ApiError",
        "CredentialsRefused",
        "Error",
        "ImportHalted",
        "ImportTimeout",
        "JobFailed",
        "JournalError",
        "JournalRefused",
        "NoAnswer",
        "OutcomeError",
        "OutcomeNotSent",
        "OutcomeRejected",
        "OutcomeUnknown",
        "RowsRejected",
        "SourceError",
        "UsageError",
    ),
    "jobs.watcher": ("JobWatcher",),
    "models": (
        "Contact",
        "Counts",
        "Finding",
        "ImportOptions",
        "Job",
        "JobRef",
        "Progress",
        "Rejection",
        "Rejections",
        "Row",
        "SupportsArrow",
        "SupportsCursor",
        "SupportsRow",
        "Unsettled",
    ),
    "resources": ("ContactInfo", "ContactsList", "Property", "Subscription"),
    "terms": ("Action", "ActionLike", "ActionWord", "ListActions", "ListRef", "RunKeywords", "RunSpec", "RunTerms"),
    "run.plan": ("Plan",),
    "pool": ("SessionPool",),
    "outcomes.report": ("Report",),
    "run.run": ("ImportRun",),
    "run.ingester": ("Ingester",),
    "outcome": ("Outcome",),
    "version": ("__version__",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_HOME_OF["RejectionStore"] = "outcomes.rejections"  # not public: reports that were pickled name it
_HOME_OF["RowSet"] = "outcomes.row_set"  # not public either

__all__ = [
    "Action",
    "ActionLike",
    "ActionWord",
    "Addresses",
    "ApiError",
    "Assumptions",
    "ChunkInfo",
    "Client",
    "Contact",
    "ContactInfo",
    "ContactsList",
    "Counts",
    "Credentials",
    "CredentialsRefused",
    "Error",
    "Event",
    "Finding",
    "Hook",
    "ImportHalted",
    "ImportOptions",
    "ImportRun",
    "ImportTimeout",
    "Ingester",
    "Job",
    "JobFailed",
    "JobRef",
    "JobWatcher",
    "JournalError",
    "JournalRefused",
    "ListActions",
    "ListRef",
    "NoAnswer",
    "Outcome",
    "OutcomeError",
    "OutcomeNotSent",
    "OutcomeRejected",
    "OutcomeUnknown",
    "Plan",
    "Progress",
    "Property",
    "Quota",
    "RedisQuota",
    "Rejection",
    "Rejections",
    "Report",
    "Row",
    "Rows",
    "RowsRejected",
    "RunInfo",
    "RunKeywords",
    "RunSpec",
    "RunTerms",
    "SessionPool",
    "Settings",
    "Source",
    "SourceError",
    "Subscription",
    "SupportsArrow",
    "SupportsAsyncRead",
    "SupportsCursor",
    "SupportsRow",
    "Unsettled",
    "UsageError",
    "__version__",
    "csv_source",
    "excel_source",
    "import_contacts",
    "in_thread",
    "jsonl_source",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'mjbulk' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"mjbulk.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
