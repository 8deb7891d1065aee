import asyncio
from pathlib import Path
import mjbulk


async def main(files: dict[int, Path], action: mjbulk.Action) -> None:
    async with mjbulk.Client() as client, asyncio.TaskGroup() as tg:
        tasks = {i: tg.create_task(client.start_import(p, lists={i: action}).wait()) for i, p in files.items()}
    for list_id, task in tasks.items():
        print(list_id, task.result(), task.result().halted or "")


async def variables(client: mjbulk.Client, ids: list[int]) -> None:
    lists = {i: mjbulk.Action.ADDNOFORCE for i in ids}  # dict[int, Action]
    await client.import_contacts("a.csv", lists=lists)
    by_name = {"news": mjbulk.Action.REMOVE}
    await client.import_contacts("a.csv", lists=by_name)
    LISTS: mjbulk.ListActions = {42: "addnoforce", "news": "remove"}
    await client.import_contacts("a.csv", lists=LISTS)
    await client.import_contacts("a.csv", lists={42: "addnoforce", "news": mjbulk.Action.UNSUB})
    await client.import_contacts("a.csv", lists={7: "remove"}, via="csv", timeout=3600)
