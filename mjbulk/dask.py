"""`import_partitions`: the partitions of one run, imported by the workers of a Dask cluster. Needs the extra ``dask``.

Dask chooses the workers, and runs a partition again if its worker has ended. The journal makes that harmless.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Unpack
from urllib.parse import urlsplit
from uuid import uuid4

from attrs import frozen

from mjbulk.config import Credentials
from mjbulk.discreet import discreet
from mjbulk.errors import Error, UsageError
from mjbulk.partition import PartitionReport, PartitionSpec
from mjbulk.partition.work import Stop, check_name, run_partition
from mjbulk.rows.sources import Source, reopen
from mjbulk.tasks import finish
from mjbulk.terms import ListActions, RunTerms

try:
    from dask.base import is_dask_collection
    from dask.delayed import delayed
    from distributed import wait
except ImportError as _missing:
    raise ImportError(f"mjbulk.dask needs {_missing.name}: pip install 'mjbulk[dask]'") from None

__all__ = ["import_partitions"]

_RETRIES = 2
"""How often Dask runs a partition again that has failed: it goes on from the journal."""
_STOPPING = 10.0
"""Seconds to tell the workers that all partitions are to stop."""
_STOPS: dict[str, Stop] = {}
"""What stops the partitions of a call, in a worker."""


@discreet
async def import_partitions(
    client: Any,
    partitions: Any,
    *,
    run_id: str,
    lists: ListActions | None,
    journal: str,
    quota: str | None = None,
    max_rate: float | None = None,
    credentials: Callable[[], Credentials] | None = None,
    rejections: str | None = None,
    **terms: Unpack[RunTerms],
) -> PartitionReport:
    """Import all partitions by the workers of a cluster, and give their reports as one.

    ``client`` is a ``distributed.Client``, asynchronous or not. ``partitions`` are paths of files (CSV, JSON Lines,
    Parquet) that each worker can read, delayed objects, tables or lists of rows; or a bag or a data frame of Dask. All
    rows of a person belong in one partition: see `mjbulk.partition.import_partition`.

    A partition is known by its name, so that the same call continues a run that was interrupted. The name of a file is
    its own name; others are numbered in their order. A mapping gives them names of yours.

    The other arguments are those of `mjbulk.partition.PartitionSpec`, with one difference: without ``quota``, each
    thread of the workers that are there now gets its share of ``max_rate``.

    If partitions fail, the others are imported to their end, and the first error is raised: what
    `mjbulk.partition.import_partition` raises, or an error of Dask. Cancelling the call stops all partitions. Raises
    UsageError, before anything is sent, for wrong arguments, and for a journal in a file if the workers are on several
    machines.
    """
    if isinstance(partitions, str | os.PathLike):
        raise UsageError("partitions= are the paths of all parts, and this is one path: list its folder")
    named = _named(partitions)
    hosts, threads = await _workers_of(client)
    share = max_rate if quota is not None or max_rate is None else max_rate / min(threads, len(named))
    spec = PartitionSpec(
        run_id=run_id,
        lists=lists,
        journal=journal,
        quota=quota,
        max_rate=share,
        credentials=credentials,
        rejections=rejections,
        **terms,
    )
    if hosts > 1 and spec.journal_is_file:
        raise UsageError(
            f"the workers are on {hosts} machines, and cannot share a journal in a file: name a PostgreSQL database"
        )
    for name in named:
        check_name(run_id, name)
    call = uuid4().hex
    tasks = [_task(call, spec, name, part) for name, part in named.items()]
    first, *others = await _all_imported(client, call, tasks)
    return first.merge(*others)


# Partitions and their names


def _named(partitions: Any) -> Mapping[str, Any]:
    """Give the partitions by their names. Raises UsageError if there are none, or if two have one name."""
    if isinstance(partitions, Mapping):
        names, parts = [str(name) for name in partitions], list(partitions.values())
    else:
        try:
            parts = list(partitions.to_delayed() if hasattr(type(partitions), "to_delayed") else partitions)
        except TypeError:
            raise UsageError(f"a {type(partitions).__name__} has no partitions: give a list of them") from None
        names = _names(parts)
    if not parts:
        raise UsageError("there are no partitions")
    if often := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"two partitions have the name {often[0]!r}: give a mapping with a name for each")
    return dict(zip(names, parts, strict=True))


def _names(parts: Sequence[Any]) -> list[str]:
    """Name files by their names, and other parts by their positions. A file that comes first or goes changes only the
    names of files that are called the same.
    """
    seen: Counter[str] = Counter()
    names = []
    for index, part in enumerate(parts):
        path = (part.location or {}).get("path") if isinstance(part, Source) else part
        name = Path(path).name if isinstance(path, str | os.PathLike) else f"part-{index:05}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def _task(call: str, spec: PartitionSpec, name: str, part: Any) -> Any:
    """Make the task that imports a partition. Raises UsageError for a source that no other process can read."""
    if isinstance(part, Source):
        if part.location is None:
            raise UsageError(f"partition {name!r} is a source without a file, which no worker can read: give its rows")
        part = _File(part.location)
    elif isinstance(part, str | os.PathLike):
        part = str(Path(part).absolute())
    if not is_dask_collection(part):
        part = delayed(part, pure=False, traverse=False)
    return delayed(_import, pure=False)(call, spec, name, part)


@frozen
class _File:
    """A file, and how it is read."""

    location: Mapping[str, Any]


# In a worker


@discreet
def _import(call: str, spec: PartitionSpec, name: str, part: Any) -> PartitionReport | UsageError:
    """Import a partition. An error is given instead of raised if Dask could not help by running it again."""
    source = reopen(part.location) if isinstance(part, _File) else part
    try:
        return run_partition(spec, name, source, _STOPS.setdefault(call, Stop()))
    except UsageError as refused:
        return refused
    except asyncio.CancelledError:
        raise Error(f"partition {name!r} was stopped: the same call continues it") from None


def _stop(call: str) -> None:
    _STOPS.setdefault(call, Stop()).set()


# In the client


async def _ask(client: Any, call: Callable[..., Any], *args: Any, **how: Any) -> Any:
    """Make a call that waits for the cluster."""
    if client.asynchronous:
        return await call(*args, **how)
    return await asyncio.to_thread(partial(call, *args, **how))


async def _workers_of(client: Any) -> tuple[int, int]:
    """Give on how many machines workers are, and how many threads they have: one of each at least."""
    threads = await _ask(client, client.nthreads)
    return max(len({urlsplit(address).hostname for address in threads}), 1), max(sum(threads.values()), 1)


async def _all_imported(client: Any, call: str, tasks: Sequence[Any]) -> Sequence[PartitionReport]:
    """Wait until all partitions have ended, and give their reports. Raises the first error."""
    futures = client.compute(tasks, retries=_RETRIES)
    try:
        await _ask(client, wait, futures)
        ends: Sequence[PartitionReport | UsageError] = await _ask(client, client.gather, futures)
    except asyncio.CancelledError:
        await finish(_stop_all(client, call, futures))
        raise
    reports = [end for end in ends if isinstance(end, PartitionReport)]
    for end in ends:
        if isinstance(end, UsageError):
            raise end
    return reports


async def _stop_all(client: Any, call: str, futures: Sequence[Any]) -> None:
    """Stop the partitions that are under way, and begin no other one. Workers that do not answer are left alone."""
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_STOPPING):
            await _ask(client, client.cancel, futures, force=True)
            await _ask(client, client.run, _stop, call, on_error="ignore")
