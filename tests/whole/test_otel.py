"""Spans and metrics of whole imports, beside the instrumentation of aiohttp, and without an SDK."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import pytest

pytest.importorskip("opentelemetry.instrumentation.aiohttp_client", reason="the smoke set does not install it")
from opentelemetry import context, trace
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support import KEYS, World, balanced

import mjbulk
from mjbulk.events import Event, Scope
from mjbulk.otel import OpenTelemetryHook
from mjbulk.testing import Fault

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
POST = "POST contact/managemanycontacts"


class Telemetry:
    """Providers of a test's own, and what they were given."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])
        self.hook = OpenTelemetryHook(tracer_provider=self.tracers, meter_provider=self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def parents(self, name: str) -> Counter[str | None]:
        """Count the names of the parents of all spans of a name."""
        names = {span.context.span_id: span.name for span in self.spans}
        return Counter(names[span.parent.span_id] if span.parent else None for span in self.named(name))

    def metrics(self) -> dict[str, list[tuple[Mapping[str, Any], Any]]]:
        """The attributes and the figure of each point: a value, or the number of what a histogram has."""
        data: Any = self._reader.get_metrics_data()
        found: dict[str, list[tuple[Mapping[str, Any], Any]]] = {}
        for metric in [one for some in data.resource_metrics for scope in some.scope_metrics for one in scope.metrics]:
            points = metric.data.data_points
            found[metric.name] = [(one.attributes, one.count if hasattr(one, "count") else one.value) for one in points]
        return found

    def client(self, world: World, **said: Any) -> mjbulk.Client:
        return mjbulk.Client(KEYS, world.settings(**said), hooks=[world.events.append, self.hook])


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[None]:
    """The instrumentation of aiohttp, for the same exporter."""
    instrumentor = AioHttpClientInstrumentor()
    instrumentor.instrument(tracer_provider=telemetry.tracers, meter_provider=telemetry.meters)
    yield
    instrumentor.uninstrument()


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"canary{number}@example.org"} for number in range(count)]


async def test_an_import_is_a_tree(world: World, telemetry: Telemetry) -> None:
    """Requests of chunks, looks of jobs, jobs of chunks, chunks of the run, the run of the caller."""
    world.emulator.reject("canary3@example.org", "No")
    tracer = telemetry.tracers.get_tracer("tests")
    async with telemetry.client(world, chunk_rows=10) as client:
        with tracer.start_as_current_span("caller"):
            run = client.start_import([*people(40), {"email": "nobody"}], lists=ADD)
        balanced(await run)
    assert telemetry.parents("mjbulk run") == {"caller": 1}
    assert telemetry.parents("mjbulk chunk") == {"mjbulk run": 4}
    assert telemetry.parents("mjbulk job") == {"mjbulk chunk": 4}
    assert telemetry.parents(POST) == {"mjbulk chunk": 4}
    assert set(telemetry.parents("GET contact/managemanycontacts")) == {"mjbulk job"}
    assert telemetry.parents("GET JSONError") == {"mjbulk job": 4}
    assert telemetry.parents("GET contactslist") == {"mjbulk run": 1}
    assert len({span.context.trace_id for span in telemetry.spans}) == 1
    assert repr(telemetry.hook) == "<OpenTelemetryHook, 0 spans are open>"
    assert all(span.status.is_unset for span in telemetry.spans)
    (of_run,) = telemetry.named("mjbulk run")
    known = {"rows": 41, "accepted": 39, "rejected": 2, "unknown": 0}
    assert of_run.attributes is not None
    assert {name: of_run.attributes[f"mjbulk.{name}"] for name in known} == known
    assert {event.name for span in telemetry.named("mjbulk job") for event in span.events} >= {"Completed"}


async def test_the_names_of_requests_are_standard(world: World, telemetry: Telemetry) -> None:
    """Those of the semantic conventions; a failure has its type, and no URL."""
    world.emulator.fault(POST, Fault.answer(500))
    world.emulator.fault(POST, Fault.drop_after())
    async with telemetry.client(world) as client:
        assert (await client.import_contacts(people(3), lists=ADD)).ok
    sent = [dict(span.attributes or {}) for span in telemetry.named(POST)]
    port = int(world.emulator.url.rpartition(":")[2])
    for attributes in sent:
        assert attributes["http.request.method"] == "POST"
        assert attributes["url.template"] == "contact/managemanycontacts"
        assert (attributes["server.address"], attributes["server.port"]) == ("127.0.0.1", port)
    became = [(one.get("http.response.status_code"), one.get("error.type")) for one in sent]
    assert became == [(500, "500"), (None, "ambiguous"), (201, None)]
    assert [span.status.is_ok or span.status.is_unset for span in telemetry.named(POST)] == [False, False, True]
    assert all(span.kind is trace.SpanKind.CLIENT for span in telemetry.named(POST))


async def test_metrics(world: World, telemetry: Telemetry) -> None:
    """Rows by outcome, requests, 429s, waits; and jobs, of which none is left."""
    world.emulator.reject("canary3@example.org", "No")
    world.emulator.fault(POST, Fault.answer(429))
    async with telemetry.client(world, chunk_rows=10) as client:
        await client.import_contacts([*people(20), {"email": "nobody"}], lists=ADD)
    found = telemetry.metrics()
    rows = {attributes["mjbulk.outcome"]: value for attributes, value in found["mjbulk.rows"]}
    assert rows == {"accepted": 19, "rejected": 2}
    assert found["mjbulk.throttled"] == [({}, 1)]
    assert found["mjbulk.jobs.active"] == [({"mjbulk.job.kind": "contact"}, 0)]
    durations = found["http.client.request.duration"]
    posts = {key["http.response.status_code"]: number for key, number in durations if "POST" in key.values()}
    assert posts == {201: 2, 429: 1}
    assert sum(number for _, number in durations) == sum(number for _, number in found["mjbulk.request.wait"])
    assert sum(number for _, number in found["mjbulk.job.duration"]) == 2


@pytest.mark.usefixtures("instrumented")
async def test_beside_the_instrumentation_of_aiohttp(world: World, telemetry: Telemetry) -> None:
    """Each request has one span and is measured once; no span of an import, a watcher or an ingester has an address;
    and requests of the user's own keep their spans.
    """
    async with telemetry.client(world, chunk_rows=10) as client:
        await client.import_contacts(people(30), lists=ADD)
        await client.import_contacts(people(30), lists=ADD, via="csv")
        tracer = telemetry.tracers.get_tracer("tests")
        async with client.ingest(lists=ADD) as ingester:
            with tracer.start_as_current_span("caller"):
                await asyncio.gather(*(ingester.put(row) for row in people(5)))
        job = await (await client.submit_contacts(people(3), lists=ADD))
        await client.watch(job.ref)
        await client.set_excluded("canary1@example.org", excluded=True)
        ours = world.requests()
        spans = [span for span in telemetry.spans if span.kind is trace.SpanKind.CLIENT]
        assert len(spans) == ours == len(world.emulator.calls)
        async with aiohttp.ClientSession() as session, session.get(f"{world.emulator.url}/v3/REST/contactslist"):
            pass
    assert "canary" not in "".join(span.to_json() for span in telemetry.spans)
    assert [span.name for span in telemetry.spans if span.kind is trace.SpanKind.CLIENT][ours:] == ["GET"]
    assert "http.client.duration" in telemetry.metrics()
    durations = telemetry.metrics()["http.client.request.duration"]
    assert sum(number for _, number in durations) == ours
    assert telemetry.parents("mjbulk chunk")[None] == 1  # of the ingester


@pytest.mark.usefixtures("instrumented")
async def test_a_call_that_is_cancelled_leaves_the_caller_as_it_was(world: World, telemetry: Telemetry) -> None:
    """It is the caller's own task: requests of others get their spans again."""
    world.weather(lambda _, now: Fault.delay(before=60) if now < 5 else None)
    before = context.get_current()
    async with telemetry.client(world) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await client.set_excluded(7, excluded=True)
        assert context.get_current() == before
    (span,) = telemetry.spans
    assert (span.attributes or {})["error.type"] == "cancelled"


async def test_the_spans_of_a_single_call_are_the_callers(world: World, telemetry: Telemetry) -> None:
    """There is no run between them."""
    tracer = telemetry.tracers.get_tracer("tests")
    async with telemetry.client(world) as client:
        with tracer.start_as_current_span("caller"):
            [one async for one in client.lists()]
    assert telemetry.parents("GET contactslist") == {"caller": 1}


async def test_a_chunk_of_an_ingester_is_nobodys(world: World, telemetry: Telemetry) -> None:
    """Its rows are of many callers: it has a trace of its own, and is no part of the span in which the ingester was
    entered, or a row was put or flushed.
    """
    tracer = telemetry.tracers.get_tracer("tests")
    async with telemetry.client(world) as client:
        with tracer.start_as_current_span("startup"):
            ingester = await client.ingest(lists=ADD, linger=60.0).__aenter__()
        with tracer.start_as_current_span("caller"):
            first = await ingester.send({"email": "canary0@example.org"})
            await ingester.flush()
            assert (await first).ok
            assert (await ingester.put({"email": "canary1@example.org"})).ok
        await ingester.aclose()
    assert telemetry.parents("mjbulk chunk") == {None: 2}
    assert telemetry.parents("mjbulk job") == telemetry.parents(POST) == {"mjbulk chunk": 2}
    assert telemetry.parents("GET contactslist") == {None: 1}
    callers = {span.context.trace_id for name in ("startup", "caller") for span in telemetry.named(name)}
    ours = [span.context.trace_id for span in telemetry.spans if span.name not in ("startup", "caller")]
    assert callers.isdisjoint(ours)


async def test_a_watcher_has_a_span_of_the_caller_that_waits(world: World, telemetry: Telemetry) -> None:
    """The task that looks at jobs belongs to nobody: its looks are those of the job."""
    tracer = telemetry.tracers.get_tracer("tests")
    async with telemetry.client(world) as client:
        watchers = [await client.submit_contacts(people(2), lists=ADD) for _ in range(2)]
        for number, watcher in enumerate(watchers):
            with tracer.start_as_current_span(f"caller {number}"):
                await watcher
    assert telemetry.parents("mjbulk job") == {"caller 0": 1, "caller 1": 1}
    assert set(telemetry.parents("GET contact/managemanycontacts")) == {"mjbulk job"}


async def test_halts_and_unknown_rows_are_errors(world: World, telemetry: Telemetry) -> None:
    """By a sentence without personal data."""
    world.emulator.fault(POST, Fault.answer(401), times=None)
    async with telemetry.client(world) as client:
        report = await client.start_import(people(3), lists=ADD).wait()
    (run,), (chunk,) = telemetry.named("mjbulk run"), telemetry.named("mjbulk chunk")
    assert run.status.description == str(report.halted)
    assert not run.status.is_ok
    assert chunk.status.description == str(report.halted)
    assert telemetry.metrics()["mjbulk.rows"] == [({"mjbulk.outcome": "not_sent"}, 3)]


def test_what_never_ends_does_not_grow(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest spans are ended; that they are begun or ended twice does no harm."""
    monkeypatch.setattr("mjbulk.otel._MOST", 10)
    runs = [Scope(run_id=f"r{number}") for number in range(30)]
    for run in runs:
        telemetry.hook(run.event("run.started"))
        telemetry.hook(run.event("run.started"))
    assert repr(telemetry.hook) == "<OpenTelemetryHook, 10 spans are open>"
    assert all((span.attributes or {})["mjbulk.dropped"] for span in telemetry.spans)
    for run in runs:
        telemetry.hook(run.event("run.ended"))
        telemetry.hook(run.within(job=mjbulk.JobRef("contact", 7)).event("job", status="Completed"))
        telemetry.hook(run.within().event("request"))
        telemetry.hook(run.within(chunk=1).event("chunk.started"))
    assert len([span for span in telemetry.spans if span.name == "mjbulk run"]) == 30
    telemetry.hook(Event(name="run.started"))


async def test_two_hooks_leave_the_context_as_it_was(telemetry: Telemetry) -> None:
    """The second one finds that nothing is left to suppress."""
    other, before = Telemetry(), context.get_current()
    request = Scope()
    for name in ("request.sending", "request"):
        for hook in (telemetry.hook, other.hook):
            hook(request.event(name, call="GET contactslist", server="api.mailjet.com:443"))
    assert context.get_current() == before
    assert len(telemetry.spans) == len(other.spans) == 1


PROGRAM = """
import asyncio, sys
import mjbulk
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
from mjbulk.otel import OpenTelemetryHook
from mjbulk.testing import Emulator, Knobs

async def main():
    async with Emulator(Knobs(queue_seconds=0.01, prepare_seconds=0.01, import_seconds=0.01)) as emulator:
        settings = mjbulk.Settings(api_url=emulator.url, poll_min=0.05)
        async with mjbulk.Client(mjbulk.Credentials("a", "b"), settings, hooks=[OpenTelemetryHook()]) as client:
            print((await client.import_contacts([{"email": "a@example.org"}], lists={1: "addnoforce"})).accepted)

asyncio.run(main())
assert not [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.instrumentation"))]
"""
NO_API = "sys.modules['opentelemetry'] = None"


@pytest.mark.real_time
def test_without_the_sdk_and_without_the_api() -> None:
    """Nothing is recorded without an SDK, and nothing fails; without the API it is said which extra is missing."""
    code = PROGRAM
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("1\n", "")
    code = f"import sys; {NO_API}; import mjbulk; import mjbulk.otel"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.endswith("ImportError: mjbulk.otel needs opentelemetry-api: pip install 'mjbulk[otel]'\n")
