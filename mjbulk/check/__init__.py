"""For somebody who has a real account: which of our assumptions of the API hold there.

The check makes a list and properties of its own, sends a few tiny jobs with one made-up contact and rows that Mailjet
has to refuse, looks at everything that nobody could yet observe, and removes what it has made::

    async with mjbulk.Client() as client:
        findings = await check_account(client, consent=True)
    print(findings)
    findings.write("assumptions.toml")  # Client(assumptions=Assumptions.load("assumptions.toml"))
"""

import asyncio
import math
from collections.abc import Callable

from mjbulk.check._experiments import experiments
from mjbulk.check._findings import Findings, Observation, Verdict
from mjbulk.check._lab import Lab
from mjbulk.check._readings import READINGS
from mjbulk.client import Client
from mjbulk.errors import UsageError
from mjbulk.rows.addresses import check_address
from mjbulk.rows.values import RowFault

__all__ = ["Findings", "Observation", "Verdict", "check_account"]


async def check_account(
    client: Client,
    *,
    consent: bool,
    canary: str | None = None,
    patience: float = 900.0,
    linger: float = 90.0,
    probe_sizes: bool = False,
    tell: Callable[[str], object] | None = None,
) -> Findings:
    """Look at what is unknown of the API, in the account of this client, and say what was found.

    It writes into the account, so ``consent`` has to be true. ``canary`` is the address of the contact that it makes
    (it stays in the account: there is no call that deletes it); by default a new one under example.org. ``patience``
    is how many seconds each job may take, ``linger`` how many it is looked at after its end. ``probe_sizes`` uploads
    bodies of up to 16 MiB that are never imported, and sends up to 50,000 rows that have to be refused. ``tell`` is
    told of each step.

    Raises UsageError without consent or for an address that is none; ApiError and NoAnswer where not even its list
    could be made. What it has made is removed in any case; what could not be is named in `Findings.left`, or in the
    notes of the exception.
    """
    if consent is not True:
        raise UsageError("the check makes a list, properties and a contact in this account: it needs consent=True")
    for name, seconds in (("patience", patience), ("linger", linger)):
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            raise UsageError(f"{name} is a number of seconds above 0")
    lab = Lab.start(client, canary and _address(canary), patience=patience, linger=linger, tell=tell)
    try:
        await experiments(lab, probe_sizes=probe_sizes)
    except (Exception, asyncio.CancelledError) as error:
        for sentence in await _tidy(lab):
            error.add_note(sentence)
        raise
    left = await _tidy(lab) + (["contacts of rows that had to be refused"] if lab.evidence.taken else [])
    return Findings(observations=tuple(read(lab.evidence) for read in READINGS), left=tuple(left))


def _address(canary: object) -> str:
    try:
        return check_address(canary)
    except RowFault as fault:
        raise UsageError(f"canary: {fault.message}") from None


async def _tidy(lab: Lab) -> list[str]:
    """Remove what was made. Who cancels it waits for its end, which is bounded."""
    task = asyncio.create_task(lab.tidy())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
