"""``mjbulk check``: which assumptions about Mailjet hold for an account."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mjbulk.cli._ends import DONE, UNFINISHED, check_target, on_signals
from mjbulk.cli._options import SettingsSaid, client_of
from mjbulk.cli._output import say, tell
from mjbulk.errors import Error, UsageError


async def check(
    *,
    yes: Annotated[bool, Parameter(help="Make a list, properties and a contact in this account.")] = False,
    out: Annotated[Path | None, Parameter(help="Write the assumptions to this file, for Assumptions.load.")] = None,
    probe_sizes: Annotated[
        bool, Parameter(help="Find the largest body (up to 16 MiB) and the most rows (up to 50,000).")
    ] = False,
    canary: Annotated[str | None, Parameter(help="The address of the contact; it stays in the account.")] = None,
    settings: SettingsSaid = None,
) -> int:
    """See which assumptions about Mailjet hold for this account.

    It makes a list of its own, imports one contact and bad rows into it by both ways, looks, and removes the list.
    Exit status: 0 the assumptions were found out; 2 refused, or without --yes; 3 something that it made could not be
    removed, it was interrupted, or the result could not be written.
    """
    from mjbulk.check import check_account  # noqa: PLC0415  # help must not wait for the engine

    if not yes:
        raise UsageError("this makes a list, properties and a contact in your account: add --yes to consent")
    if out is not None:
        check_target("--out", out)
    async with client_of(settings) as client:
        work = check_account(client, consent=True, canary=canary, probe_sizes=probe_sizes, tell=tell)
        task = asyncio.create_task(work)
        try:
            with on_signals(task.cancel):
                findings = await task
        except (Error, asyncio.CancelledError) as end:
            for note in getattr(end, "__notes__", ()):
                tell(f"left in the account: {note}")
            if isinstance(end, Error):
                raise
            tell("interrupted")
            return UNFINISHED
    say(findings.text())
    if out is not None:
        findings.write(out)
    return UNFINISHED if findings.left else DONE
