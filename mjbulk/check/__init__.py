"""A check of a real account: which of our assumptions about Mailjet's API hold there.

The check creates a list and properties of its own, sends a few tiny jobs with one made-up contact and rows that Mailjet
has to refuse, records what is not known of the API, and removes what it has created::

    async with mjbulk.Client() as client:
        findings = await check_account(client, consent=True)
    print(findings)
    findings.write("assumptions.toml")  # Client(assumptions=Assumptions.load("assumptions.toml"))
"""

import asyncio
from collections.abc import Callable

from mjbulk.check._experiments import experiments
from mjbulk.check._findings import Conclusion, Findings, Observation
from mjbulk.check._lab import Lab
from mjbulk.check._readings import READINGS
from mjbulk.client import Client
from mjbulk.errors import UsageError
from mjbulk.rows.addresses import check_address
from mjbulk.rows.values import RowFault
from mjbulk.validators import POSITIVE, fits

__all__ = ["Conclusion", "Findings", "Observation", "check_account"]


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
    """Try out, in the account of this client, what is not known of the API, and give the findings.

    The check writes into the account, so ``consent`` has to be true. ``canary`` is the address of the contact that it
    creates, by default a new one under example.org; the contact stays in the account, because no call deletes it.
    ``patience`` is how many seconds each job may take, ``linger`` how many seconds the check polls a job after its end.
    ``probe_sizes`` uploads bodies of up to 16 MiB that are never imported, and sends up to 50,000 rows that Mailjet has
    to refuse. ``tell`` is called with a line about each step.

    Raises UsageError without consent and for a bad address; ApiError and NoAnswer if the list of the check could not be
    created. The check always removes what it has created. If something could not be removed, `Findings.left` names it,
    or the notes of the exception do.
    """
    if consent is not True:
        raise UsageError("the check makes a list, properties and a contact in this account: it needs consent=True")
    for name, seconds in (("patience", patience), ("linger", linger)):
        if not fits(POSITIVE, seconds):
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
    """Remove what the check has created. A cancelled removal first goes on to its end, which comes within a minute."""
    task = asyncio.create_task(lab.tidy())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
