"""Which journal the command line uses: the one that was named, else one under the user's state folder."""

import os
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import frozen
from cyclopts import Group, Parameter

from mjbulk.cli._ends import GoOn
from mjbulk.cli._options import SettingsSaid, client_of
from mjbulk.errors import UsageError

if TYPE_CHECKING:
    from mjbulk.client import Client

_JOURNAL = Group("Journal", sort_key=40)
_VARIABLE = "MJBULK_JOURNAL"


@Parameter(name="*")
@frozen(kw_only=True)
class ExistingJournal:
    """The option of commands that need a journal which exists."""

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
        """Give its path or URL. Raises UsageError if it does not exist."""
        where = self._said() or str(_usual())
        if "://" not in where and not Path(where).exists():
            raise UsageError(f"there is no journal {where}, so no run was kept in it: --journal names another")
        return where

    @asynccontextmanager
    async def client(self, settings: SettingsSaid) -> "AsyncIterator[Client]":
        """Open a client with this journal. If that does not have a run, the UsageError names it, without a password."""
        where = self.existing()
        try:
            async with client_of(settings, where) as client:
                yield client
        except UsageError as why:
            if why.kind != "run.unknown":
                raise
            from mjbulk.journal.backends import without_secrets  # noqa: PLC0415  # help must not wait for the engine

            what = why.sentence.replace("the journal", f"the journal {without_secrets(where)}", 1)
            runs = " ".join(["mjbulk runs", *self._option()])
            raise UsageError(f"{what}: {runs} shows its runs, and another --journal has others", kind=why.kind) from why

    def go_on(self, run_id: str, partition: str | None, source: str = "", *, new: bool = True) -> GoOn:
        """Give the commands that go on with a run; ``source`` is the FILE that resuming it needs, if it needs one."""
        part = ["--partition", shlex.quote(partition)] if partition else []
        where = self._option()
        resume = ["mjbulk", "resume", shlex.quote(run_id), *([source] if source else []), *part, *where]
        show = ["mjbulk", "runs", shlex.quote(run_id), *where]
        return GoOn(resume=" ".join(resume), show=" ".join(show), new=new)

    def _option(self) -> list[str]:
        """Give the option as it was given, to be typed again; a URL may have a password in it."""
        if self.journal is None:
            return []
        return ["--journal", "URL" if "://" in self.journal else shlex.quote(self.journal)]

    def _said(self) -> str | None:
        return self.journal or os.environ.get(_VARIABLE)


@Parameter(name="*")
@frozen(kw_only=True)
class WritableJournal(ExistingJournal):
    """The options of commands that create the journal if it does not exist, or use none."""

    no_journal: Annotated[
        bool, Parameter(group=_JOURNAL, help="Keep nothing: a run that has stopped cannot go on.")
    ] = False

    def target(self) -> str | None:
        """Give the path or URL to write to; None for no journal. Raises UsageError if it cannot be created there."""
        if not self.no_journal:
            return self._said() or _made(_usual())
        if self.journal is not None:
            raise UsageError("--no-journal goes without --journal")
        return None


DEFAULT_EXISTING = ExistingJournal()
DEFAULT_WRITABLE = WritableJournal()


def _usual() -> Path:
    """Give the path of the journal under the user's state folder, as the XDG Base Directory Specification says.

    Raises UsageError if this user has no home.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        folder = state if state.is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        raise UsageError("this user has no home for a journal: say --journal FILE, or --no-journal") from None
    return folder / "mjbulk" / "journal.db"


def _made(journal: Path) -> str:
    """Create the folder of a journal, which only its owner can read. Raises UsageError if it cannot be created or
    written to.
    """
    folder = journal.parent
    why: str | None = "it cannot be written to"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return str(journal)
    except OSError as failure:
        why = failure.strerror
    raise UsageError(f"no journal can be kept in {folder} ({why}): say --journal FILE, or --no-journal")
