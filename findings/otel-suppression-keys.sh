#!/bin/sh
# OpenTelemetry's instrumentations of HTTP clients ask two keys of the context whether they shall be silent. The older one
# is a plain string, "suppress_instrumentation", which any library can set. The newer one, which is for HTTP alone and leaves
# other instrumentations as they are, is made by create_key(): its name has a random suffix in each process, and stands in a
# private variable of opentelemetry.context. So a library that makes spans for its own requests, and wants no second span of
# aiohttp's instrumentation, either takes that private variable or silences everything. The plain name has no effect.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opentelemetry-sdk==1.45.1 opentelemetry-instrumentation-aiohttp-client==0.66b1 aiohttp==3.14.1
"$folder/venv/bin/python" - <<'END'
import asyncio
import re
import sys
from importlib.metadata import version

import aiohttp
from aiohttp import web
from opentelemetry import context
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

names = ("opentelemetry-sdk", "opentelemetry-instrumentation-aiohttp-client", "aiohttp")
print("versions:", *(f"{name} {version(name)}" for name in names))
print("shows: how many spans one request has, by the key that is set in the context around it")
spans, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
AioHttpClientInstrumentor().instrument(tracer_provider=provider)
key = context._SUPPRESS_HTTP_INSTRUMENTATION_KEY


async def spans_with(url, *keys):
    spans.clear()
    token = context.attach({**context.get_current(), **dict.fromkeys(keys, True)})
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            await answer.read()
    finally:
        context.detach(token)
    return len(spans.get_finished_spans())


async def hello(_request):
    return web.Response(text="hello")


async def main():
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"
    found = [
        ("no key", 1, await spans_with(url)),
        ("'suppress_instrumentation'", 0, await spans_with(url, "suppress_instrumentation")),
        ("'suppress_http_instrumentation'", 1, await spans_with(url, "suppress_http_instrumentation")),
        ("the private variable", 0, await spans_with(url, key)),
    ]
    await runner.cleanup()
    return found


changed = False
for what, want, seen in asyncio.run(main()):
    changed |= seen != want
    print(f"{what}: expected {want}, seen {seen}:", "same" if seen == want else "CHANGED")
random = bool(re.fullmatch(r"suppress_http_instrumentation-[0-9a-f-]{36}", key))
changed |= not random
print(f"the private variable has a random suffix: expected True, seen {random}:", "same" if random else "CHANGED")
sys.exit(changed)
END
