"""``mjbulk submit``: a few contacts in one request."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mjbulk.cli._ends import DONE
from mjbulk.cli._options import SettingsSaid, client_of
from mjbulk.cli._output import say
from mjbulk.cli._source import BY_ITS_NAME, FILE_HELP, NOWHERE, Form, Where
from mjbulk.errors import UsageError

if TYPE_CHECKING:
    from mjbulk.rows.sources import Source

_MOST = 1000


async def submit(
    file: Annotated[
        str,
        Parameter(allow_leading_hyphen=True, help=FILE_HELP),
    ],
    /,
    *,
    where: Where = NOWHERE,
    form: Form = BY_ITS_NAME,
    settings: SettingsSaid = None,
) -> int:
    """Send at most 1,000 contacts in one request, and print its job without waiting for it.

    One --list is the call of that list; several, or --no-list, the call of all contacts. Values are not checked here,
    and an empty cell of CSV is left out. To import means more: use mjbulk import.

    Exit status: 0 Mailjet has taken the job, and mjbulk watch tells its end; 2 refused, and nothing was sent; 3 no
    answer: it may have been applied; or the result could not be written.
    """
    source, lists = form.source(file), where.lists()
    rows = await _few(source)
    async with client_of(settings) as client:
        if lists is not None and len(lists) == 1:
            ((list_id, action),) = lists.items()
            watcher = await client.submit_list_contacts(list_id, rows, action=action)
        else:
            watcher = await client.submit_contacts(rows, lists=lists)
    say(str(watcher.ref))
    return DONE


async def _few(source: "Source") -> list[dict[str, Any]]:
    """Read the rows of a small source. Raises UsageError for a row that cannot be read, and for too many."""
    from mjbulk.rows.iterables import BadRow  # noqa: PLC0415  # help must not wait for the engine

    rows: list[dict[str, Any]] = []
    async with aclosing(source.batches()) as batches:
        async for batch in batches:
            for block in batch:
                if isinstance(block, BadRow):
                    raise UsageError(f"row {len(rows) + 1}: {block.fault.message}")
                for index in range(len(block)):
                    row = block.given(index).as_dict()
                    rows.append({name: value for name, value in row.items() if value != "" or not source.text})
            if len(rows) > _MOST:
                raise UsageError(f"the file has more than {_MOST:,} rows: mjbulk import takes any number")
    return rows
