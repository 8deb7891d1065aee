"""mjbulk at the limit of its quota: an endless import with one row per request."""

import argparse
import asyncio
from collections.abc import Iterator
from itertools import count

from mjbulk import Client, Credentials, RedisQuota, Settings


def people(name: str) -> Iterator[dict[str, str]]:
    for number in count():
        yield {"email": f"{name}-{number}@example.org"}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--redis")
    parser.add_argument("--max-rate", type=float, default=1000.0)
    parser.add_argument("--name", default="one")
    options = parser.parse_args()
    quota = RedisQuota(options.redis, max_rate=options.max_rate) if options.redis else None
    settings = Settings(api_url=options.url, chunk_rows=1)
    async with Client(Credentials("one-key", "secret"), settings, quota=quota) as client:
        await client.import_contacts(people(options.name), lists=None)


if __name__ == "__main__":
    asyncio.run(main())
