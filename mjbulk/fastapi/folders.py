"""The folder of each run, under ``upload_dir``: what all workers share of it.

::

    upload_dir/<tenant>/<run_id>/upload.csv         what was uploaded, unpacked
                                 terms.json         the terms of the upload, and its tenant
                                 run.json           the newest snapshot; there is none before the upload is judged
                                 rejections.jsonl   rejected rows, as they became known
                                 stop               the run is to stop, and is not resumed by itself
               .new-*, .old-*                       an upload that goes on; a run that is being deleted

A tenant's folder has the digest of its name, so that no name is a path. All files are the owner's alone (0600), and one
that others read appears when it is whole. A run begins by renaming its folder to its place, which one of several
workers can do; while it goes on its worker holds it in the journal.

All functions block: they are called in threads.
"""

import errno
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp
from typing import Any

import orjson
from attrs import asdict, frozen

from mjbulk.fastapi.problems import not_found
from mjbulk.rows.sources import Source, csv_source, excel_source, jsonl_source

_NEW, _OLD = ".new-", ".old-"
_LEFT_AFTER = 3600.0
"""Seconds without a change after which the folder of an upload was left by a process that has ended."""
STOP, RUN, TERMS, REJECTIONS = "stop", "run.json", "terms.json", "rejections.jsonl"


@frozen(kw_only=True)
class Terms:
    """The terms of an upload."""

    tenant: str
    run_id: str
    name: str | None
    created: str
    digest: str
    """SHA-256 of the bytes that came, in hex."""
    kind: str
    """``csv``, ``jsonl`` or ``excel``."""
    file: str
    list: int | str
    action: str
    via: str = "json"
    delimiter: str = ","
    encoding: str = "utf-8"
    timezone: str | None = None
    date_format: str | None = None
    nulls: str = "keep"
    types: Mapping[str, str] | None = None
    columns: Mapping[str, str] | None = None

    def asks_the_same(self, other: "Terms") -> bool:
        """Say whether two uploads are one: the same bytes, on the same terms."""
        mine, others = ({**asdict(one), "created": "", "name": ""} for one in (self, other))
        return mine == others


@frozen
class Folder:
    """The folder of one run."""

    path: Path

    def read_terms(self) -> Terms:
        """Read the terms. Raises Problem if the folder is gone."""
        with _gone_is_not_found():
            return Terms(**orjson.loads((self.path / TERMS).read_bytes()))

    def write_terms(self, terms: Terms) -> None:
        """Write down the terms."""
        _write(self.path / TERMS, orjson.dumps(asdict(terms)))

    def read_run(self) -> dict[str, Any]:
        """Read the newest snapshot. Raises Problem if there is none."""
        with _gone_is_not_found():
            known: dict[str, Any] = orjson.loads((self.path / RUN).read_bytes())
            return known

    def write_run(self, snapshot: Mapping[str, Any]) -> None:
        """Write a snapshot."""
        _write(self.path / RUN, orjson.dumps(snapshot))

    def changed_at(self) -> int | None:
        """Give when the newest snapshot was written, as a number that only grows; None if there is none."""
        try:
            return (self.path / RUN).stat().st_mtime_ns
        except OSError:
            return None

    @property
    def journal_id(self) -> str:
        """The name of the run in the journal: no other tenant has it."""
        return f"{self.path.parent.name}-{self.path.name}"

    def source(self, terms: Terms) -> Source:
        """Give what was uploaded, to be read. Raises UsageError for an encoding or a delimiter that cannot be."""
        file = self.path / terms.file
        if terms.kind == "csv":
            return csv_source(file, encoding=terms.encoding, delimiter=terms.delimiter)
        return jsonl_source(file) if terms.kind == "jsonl" else excel_source(file)

    @property
    def stops(self) -> bool:
        """Whether the run is to stop."""
        return (self.path / STOP).exists()

    def ask_to_stop(self) -> None:
        """Ask the worker of the run to stop it, and all workers not to resume it by themselves."""
        with _gone_is_not_found():
            os.close(os.open(self.path / STOP, os.O_CREAT | os.O_WRONLY, 0o600))

    def take_back(self) -> None:
        """Let the run go on."""
        (self.path / STOP).unlink(missing_ok=True)


class Folders:
    """All folders under ``upload_dir``."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Touch nothing yet."""
        self._root = Path(root).absolute()

    def prepare(self) -> None:
        """Make the folder, and delete what processes that have ended left of their uploads."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in [*self._root.glob(f"{_NEW}*"), *self._root.glob(f"{_OLD}*")]:
            if time.time() - max((one.stat().st_mtime for one in (path, *path.iterdir())), default=0.0) > _LEFT_AFTER:
                shutil.rmtree(path, ignore_errors=True)

    def incoming(self) -> Folder:
        """Make a folder for an upload."""
        return Folder(Path(mkdtemp(prefix=_NEW, dir=self._root)))

    def place(self, tenant: str, run_id: str) -> Folder:
        """Name the folder of a run. Raises Problem for what can be no run_id."""
        if not (run_id.isascii() and run_id.isalnum() and len(run_id) <= 64):
            raise not_found()
        return Folder(self._of(tenant) / run_id)

    def _of(self, tenant: str) -> Path:
        return self._root / sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def claim(self, incoming: Folder, tenant: str, run_id: str) -> Folder | None:
        """Move an upload to the place of its run; None if there is one already."""
        place = self.place(tenant, run_id)
        while True:
            place.path.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                incoming.path.rename(place.path)
            except FileNotFoundError:  # its last run was deleted meanwhile
                if not incoming.path.exists():
                    raise
            except OSError as why:
                if why.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return None
                raise
            else:
                return place

    def hide(self, folder: Folder) -> Folder:
        """Take a folder away from where others look for it."""
        hidden = Folder(self._root / f"{_OLD}{token_hex(8)}")
        with suppress(FileNotFoundError):
            folder.path.rename(hidden.path)
        if folder.path.parent != self._root:
            with suppress(OSError):  # it has other runs
                folder.path.parent.rmdir()
        return hidden

    def show(self, hidden: Folder, folder: Folder) -> None:
        """Put a folder back."""
        folder.path.parent.mkdir(mode=0o700, exist_ok=True)
        hidden.path.rename(folder.path)

    def drop(self, folder: Folder) -> None:
        """Delete a folder, with all that is in it. Others see it whole, or not at all."""
        shutil.rmtree(self.hide(folder).path, ignore_errors=True)

    def all(self) -> Iterator[Folder]:
        """Give the folders of all runs, of all tenants."""
        for tenant in _folders_in(self._root):
            yield from map(Folder, _folders_in(tenant))

    def snapshots(self, tenant: str) -> list[dict[str, Any]]:
        """Read the newest snapshots of a tenant's runs that were judged, the newest run first."""
        found = []
        for path in _folders_in(self._of(tenant)):
            with suppress(OSError, ValueError):  # it is not judged yet, or was deleted meanwhile
                found.append(orjson.loads((path / RUN).read_bytes()))
        return sorted(found, key=lambda run: (run["created"], run["run_id"]), reverse=True)


def _folders_in(path: Path) -> list[Path]:
    try:
        with os.scandir(path) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []


@contextmanager
def _gone_is_not_found() -> Iterator[None]:
    """Answer 404 where a file is gone."""
    try:
        yield
    except FileNotFoundError:
        raise not_found() from None


def _write(path: Path, data: bytes) -> None:
    """Write a file that appears when it is whole."""
    partial = path.with_name(f".{path.name}-{token_hex(4)}")
    file = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(file, data)
    finally:
        os.close(file)
    partial.replace(path)
