import mjbulk


async def main(client: mjbulk.Client) -> None:
    watcher = await client.submit_contacts([{"email": "a@example.org"}], lists={42: "addnoforce"})
    save = str(watcher.ref)
    job = await watcher
    data_id = await client.upload_csvdata(42, b"email\na@example.org\n")
    job = await (await client.submit_csvimport(data_id, list_id=42, method="addnoforce"))
    subs = [s async for s in client.subscriptions("a@example.org")]
    names = [x async for x in client.lists()]
