import asyncio, sys
import mjbulk


async def main(text: str) -> int:
    async with mjbulk.Client() as client:
        watcher = client.watch(text)  # "contactslist:42/113869785"
        try:
            job = await watcher.wait(timeout=3600)
        except TimeoutError:
            print("still", watcher.latest and watcher.latest.status, watcher.ref)
            return 3
    for r in job.rejections:
        print(r.email, r.message)
    return 0 if job.ok else 1


sys.exit(asyncio.run(main(sys.argv[1])))
