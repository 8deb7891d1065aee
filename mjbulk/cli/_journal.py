"""Where the command line keeps its runs: in a journal that was named, else in one under the user's state folder."""

import os
import shlex
from pathlib import Path
from typing import Annotated

from attrs import frozen
from cyclopts import Group, Parameter

from mjbulk.errors import UsageError

_JOURNAL = Group("Journal", sort_key=40)
_VARIABLE = "MJBULK_JOURNAL"


@Parameter(name="*")
@frozen(kw_only=True)
class Kept:
    """A journal that is there."""

    journal: Annotated[
        str | None,
        Parameter(
            group=_JOURNAL,
            metavar="FILE|URL",
            help=f"Where runs are kept: a file, or the URL of a database. What is not said comes from {_VARIABLE} in "
            "the environment, then it is mjbulk/journal.db under the user's state folder (XDG_STATE_HOME).",
        ),
    ] = None

    def existing(self) -> str:
        """Give its path or URL. Raises UsageError where it is not there."""
        where = self._said() or str(_usual())
        if "://" not in where and not Path(where).exists():
            raise UsageError(f"there is no journal {where}: no run was kept in it")
        return where

    def resume(self, run_id: str, partition: str | None, source: str = "") -> str:
        """Give the command that goes on with a run; ``source`` is what it is given for a file, if it has to be."""
        words = ["mjbulk", "resume", shlex.quote(run_id), *([source] if source else [])]
        if partition:
            words += ["--partition", shlex.quote(partition)]
        if self.journal is not None:  # a URL may have a password in it
            words += ["--journal", "URL" if "://" in self.journal else shlex.quote(self.journal)]
        return " ".join(words)

    def _said(self) -> str | None:
        return self.journal or os.environ.get(_VARIABLE)


@Parameter(name="*")
@frozen(kw_only=True)
class Keeping(Kept):
    """A journal that is made where there is none; or none at all."""

    no_journal: Annotated[
        bool, Parameter(group=_JOURNAL, help="Keep nothing: a run that has stopped cannot go on.")
    ] = False

    def target(self) -> str | None:
        """Give the path or URL to write to; None for no journal. Raises UsageError where there is no place for it."""
        if not self.no_journal:
            return self._said() or _made(_usual())
        if self.journal is not None:
            raise UsageError("--no-journal goes without --journal")
        return None


THE_USUAL = Kept()
KEEP = Keeping()


def _usual() -> Path:
    """Find the journal under the user's state folder, as the XDG Base Directory Specification has it.

    Raises UsageError where this user has no home.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        folder = state if state.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        raise UsageError("this user has no home for a journal: say --journal FILE, or --no-journal") from None
    return folder / "mjbulk" / "journal.db"


def _made(journal: Path) -> str:
    """Make the folder of a journal, for its owner alone. Raises UsageError where it cannot be made or written to."""
    folder = journal.parent
    why: str | None = "it cannot be written to"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return str(journal)
    except OSError as failure:
        why = failure.strerror
    raise UsageError(f"no journal can be kept in {folder} ({why}): say --journal FILE, or --no-journal")
