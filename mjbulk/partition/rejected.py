"""The file with the rejected rows of a partition: in a folder, or in an object store through fsspec."""

import re
from contextlib import suppress
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mjbulk.errors import UsageError
from mjbulk.outcomes.report import Report


class RejectedFile:
    """The file of one partition. Its name is the same in each worker, and each time."""

    def __init__(self, folder: str, run_id: str, partition: str) -> None:
        """Make the folder, if there is none. Raises UsageError if that cannot be done."""
        readable = re.sub(r"[^\w.-]+", "_", f"{run_id}.{partition}", flags=re.ASCII)[-100:].lstrip(".")
        mark = blake2b(f"{run_id}\0{partition}".encode(), digest_size=4).hexdigest()  # two names may read alike
        self._name = f"{readable}-{mark}.csv"
        self._store = _store_of(folder) if "://" in folder else None
        self.path = f"{folder.rstrip('/')}/{self._name}" if self._store else str(Path(folder) / self._name)
        if self._store is None:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
            except OSError as why:
                raise UsageError(f"the folder of rejections= cannot be made: {why.strerror}") from None

    def write(self, report: Report) -> None:
        """Write the rejected rows. The file appears when it is whole."""
        if self._store is None:
            report.write_rejections(self.path)
            return
        with TemporaryDirectory(prefix="mjbulk-") as folder:  # only its owner can read it
            report.write_rejections(Path(folder) / self._name)
            self._store.put_file(str(Path(folder) / self._name), self.path)

    def exists(self) -> bool:
        """Say whether an earlier worker has written it."""
        return bool(self._store.isfile(self.path)) if self._store else Path(self.path).is_file()


def _store_of(url: str) -> Any:
    """Give the file system of a URL. Raises UsageError if it is not known, or if a library is missing."""
    with suppress(ImportError, ValueError):
        return import_module("fsspec.core").url_to_fs(url)[0]
    raise UsageError(
        f"rejections= at {url.partition('://')[0]}:// needs fsspec and its library for that: pip install fsspec"
    )
