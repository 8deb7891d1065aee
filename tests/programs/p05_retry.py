import asyncio
import mjbulk


def mend(r: mjbulk.Rejection) -> dict[str, object] | None:
    return {**r.data, "email": r.data["email"].replace(",", ".")} if r.data and r.field == "email" else None


async def main() -> None:
    async with mjbulk.Client() as client:
        report = await client.import_contacts("contacts.csv", lists={42: "addnoforce"})
        again = await client.retry_rejected(report, fix=mend)
    print(report, again, sep="\n")


asyncio.run(main())
