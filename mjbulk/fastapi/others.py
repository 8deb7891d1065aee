"""Which runs no worker has, by what their folders say."""

import time
from collections.abc import Collection, Mapping

import orjson
from attrs import frozen

from mjbulk.fastapi.folders import RUN, Folder, Folders

_STILL = 5.0
"""Seconds without a new snapshot after which no worker is thought to have a run."""
_GOES_ON = ("queued", "running")


@frozen
class _Seen:
    """The newest snapshot of a run."""

    changed_at: int | None
    since: float
    state: str


class OtherRuns:
    """The runs of all workers. Mutable state: what was seen of them at the last look.

    All functions block: they are called in threads.
    """

    def __init__(self, folders: Folders) -> None:
        """See nothing yet."""
        self._folders = folders
        self._seen: Mapping[Folder, _Seen] | None = None

    def left(self, ours: Collection[Folder]) -> list[Folder]:
        """Give the runs that should go on and that no worker has. The first look believes no snapshot: this process
        may be the next one of the worker that had them, and what has been interrupted goes on. An upload that is not
        judged yet is left to its worker for a while.
        """
        first, before = self._seen is None, self._seen or {}
        now = time.monotonic()
        self._seen = {folder: _look(folder, before.get(folder), now) for folder in self._folders.all()}
        return [
            folder
            for folder, seen in self._seen.items()
            if folder not in ours
            and (
                (first and seen.state == "resumable" and not folder.stops)
                or (first and seen.state in _GOES_ON and seen.changed_at is not None)
                or (seen.state in _GOES_ON and now - seen.since >= _STILL)
            )
        ]

    def older_than(self, seconds: float) -> list[Folder]:
        """Give the runs that do not go on, and have not changed for so long."""
        before = time.time_ns() - seconds * 1e9
        found = {folder: folder.changed_at() for folder in self._folders.all()}
        old = [folder for folder, changed_at in found.items() if changed_at is not None and changed_at < before]
        return [folder for folder in old if _look(folder, None, 0.0).state not in _GOES_ON]


def _look(folder: Folder, before: _Seen | None, now: float) -> _Seen:
    changed_at = folder.changed_at()
    if before is not None and before.changed_at == changed_at:
        return before
    try:
        state = orjson.loads((folder.path / RUN).read_bytes())["state"]
    except (OSError, ValueError):  # it is not judged yet
        state = _GOES_ON[0]
    return _Seen(changed_at, now, state)
