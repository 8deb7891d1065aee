"""`OpenTelemetryHook`: spans and metrics of what mjbulk does. Needs the extra ``otel``, which is the API alone: without
an SDK in the process nothing is recorded.

Spans are parts of each other as the things are: a request of a chunk, a chunk of its run; a look at a job of the job,
the job of its chunk. The span of a run, and of a call outside of runs, is a part of the span of the caller.

Beside the instrumentation of aiohttp each request has one span, which is made here: while a request is under way, other
HTTP instrumentation is suppressed by the key of OpenTelemetry's context for that. Its span has no address of a person,
because it has no URL: Mailjet's calls about a single contact have the address in theirs.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from mjbulk.events import Event
from mjbulk.models import COUNT_NAMES, JobRef

try:
    from opentelemetry import context, metrics, trace
except ImportError:
    raise ImportError("mjbulk.otel needs opentelemetry-api: pip install 'mjbulk[otel]'") from None

__all__ = ["OpenTelemetryHook"]

_MOST = 10_000
"""Spans that may be open beside those of requests. More are ended, the oldest first: what began them was dropped."""
_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
"""Seconds: the boundaries that the semantic conventions advise for requests."""
_JOB_BOUNDS = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600]
"""The same for jobs."""
_SUPPRESS = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation")
"""The key by which an instrumentation of HTTP is told that a request has its span already."""
_CLIENT, _INTERNAL = trace.SpanKind.CLIENT, trace.SpanKind.INTERNAL

_Attributes = Mapping[str, Any]


class OpenTelemetryHook:
    """A hook that makes spans and metrics: ``Client(hooks=[OpenTelemetryHook()])``. One is enough for all clients.

    Spans: ``mjbulk run``, ``mjbulk chunk``, ``mjbulk job``, and for each request its call. Metrics: ``mjbulk.rows`` (by
    ``mjbulk.outcome``), ``http.client.request.duration``, ``mjbulk.request.wait``, ``mjbulk.throttled`` (answers of
    429), ``mjbulk.jobs.active`` and ``mjbulk.job.duration``. Mutable state: the spans that are open.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        """Take the providers of the process, unless others are given."""
        self._tracer = trace.get_tracer("mjbulk", tracer_provider=tracer_provider)
        self._meters = _Meters(metrics.get_meter("mjbulk", meter_provider=meter_provider))
        self._open: OrderedDict[int, trace.Span] = OrderedDict()
        self._requests: dict[int, tuple[trace.Span, Any]] = {}
        self._say: Mapping[str, Callable[[Event, int], None]] = {
            "run.started": lambda event, number: self._begin(event, number, "mjbulk run"),
            "chunk.started": lambda event, number: self._begin(event, number, "mjbulk chunk"),
            "job.watched": lambda event, number: self._begin(event, number, "mjbulk job"),
            "job": self._job,
            "run.ended": self._end,
            "chunk.settled": self._end,
            "job.ended": self._end,
            "request.sending": self._sending,
            "request": self._answered,
        }

    def __repr__(self) -> str:
        return f"<OpenTelemetryHook, {len(self._open) + len(self._requests)} spans are open>"

    def __call__(self, event: Event) -> None:
        """Hear of an event."""
        self._meters.measure(event)
        say = self._say.get(event.name)
        if say is not None and event.id is not None:
            say(event, event.id)

    # Runs, chunks, jobs

    def _start(self, event: Event, name: str, kind: trace.SpanKind, attributes: _Attributes) -> trace.Span:
        """Start a span in that of which it is a part; what is a part of nothing is one of the caller's."""
        if event.parent is None:
            around = None  # that of the caller
        elif (parent := self._open.get(event.parent)) is not None:
            around = trace.set_span_in_context(parent, context.Context())
        else:
            around = context.Context()
        return self._tracer.start_span(name, around, kind, attributes)

    def _begin(self, event: Event, number: int, name: str) -> None:
        if number in self._open:
            return
        self._open[number] = self._start(event, name, _INTERNAL, _about(event))
        if len(self._open) > _MOST:
            _, oldest = self._open.popitem(last=False)
            oldest.set_attribute("mjbulk.dropped", value=True)
            oldest.end()

    def _job(self, event: Event, number: int) -> None:
        if (span := self._open.get(number)) is not None:
            span.add_event(event.status or "", {} if event.rows is None else {"mjbulk.rows": event.rows})

    def _end(self, event: Event, number: int) -> None:
        _close(self._open.pop(number, None), event, _about(event))

    # Requests

    def _sending(self, event: Event, number: int) -> None:
        """Start the span of a request, and have no other HTTP instrumentation make one in this task meanwhile."""
        span = self._start(event, event.call or "", _CLIENT, {**_about(event), **_request(event)})
        token = None
        if span.get_span_context().is_valid and not context.get_value(_SUPPRESS):
            token = context.attach(context.set_value(_SUPPRESS, value=True))
        self._requests[number] = span, token

    def _answered(self, event: Event, number: int) -> None:
        span, token = self._requests.pop(number, (None, None))
        if token is not None:
            context.detach(token)
        _close(span, event, _answer(event))


def _close(span: trace.Span | None, event: Event, attributes: _Attributes) -> None:
    """End a span, unless it was dropped, with what became of it."""
    if span is None:
        return
    span.set_attributes(attributes)
    if event.cause is not None:
        span.set_status(trace.Status(trace.StatusCode.ERROR, event.cause))
    span.end()


class _Meters:
    """The metrics."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._rows = meter.create_counter("mjbulk.rows", "{row}", "Rows by their outcomes.")
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self._wait = meter.create_histogram(
            "mjbulk.request.wait",
            "s",
            "How long requests wait for their turn.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self._throttled = meter.create_counter("mjbulk.throttled", "{answer}", "Answers of 429 (too many requests).")
        self._jobs = meter.create_up_down_counter("mjbulk.jobs.active", "{job}", "Jobs that are watched.")
        self._job = meter.create_histogram(
            "mjbulk.job.duration",
            "s",
            "From when a job was posted until its end was seen.",
            explicit_bucket_boundaries_advisory=_JOB_BOUNDS,
        )

    def measure(self, event: Event) -> None:
        """Measure what an event tells."""
        match event.name:
            case "chunk.settled" | "rows.settled":
                for name in COUNT_NAMES[1:]:
                    if number := getattr(event, name):
                        self._rows.add(number, {"mjbulk.outcome": name})
            case "request.sending":
                self._wait.record(event.wait or 0.0, {"mjbulk.call": event.call or ""})
            case "request":
                self._duration.record(event.seconds or 0.0, {**_request(event), **_answer(event)})
                if event.status == "429":
                    self._throttled.add(1)
            case "job.watched":
                self._jobs.add(1, _kind(event))
            case "job.ended":
                self._jobs.add(-1, _kind(event))
                if event.cause is None:
                    self._job.record(event.seconds or 0.0, {**_kind(event), "mjbulk.job.status": event.status or ""})


def _kind(event: Event) -> _Attributes:
    return {"mjbulk.job.kind": event.job.kind if event.job is not None else ""}


def _about(event: Event) -> dict[str, Any]:
    """Give what is known of a run, a chunk or a job."""
    known = {
        "mjbulk.run.id": event.run_id,
        "mjbulk.chunk": event.chunk,
        "mjbulk.job": str(event.job) if isinstance(event.job, JobRef) else None,
        **{f"mjbulk.{name}": getattr(event, name) for name in (*COUNT_NAMES, "jobs", "requests")},
    }
    return {name: value for name, value in known.items() if value is not None}


def _request(event: Event) -> dict[str, Any]:
    """Give what the semantic conventions call for of a request, except its URL. The template is that of Mailjet's
    documentation, without IDs.
    """
    method, _, template = (event.call or "").partition(" ")
    host, _, port = (event.server or ":0").rpartition(":")
    server = {"server.address": host, "server.port": int(port)}
    return {"http.request.method": method, "url.template": template, **server}


def _answer(event: Event) -> dict[str, Any]:
    """Give what became of a request. The type of an error is its status, or how much is known without an answer."""
    known: dict[str, Any] = {}
    if event.status is not None:
        known["http.response.status_code"] = int(event.status)
    if event.cause is not None:
        known["error.type"] = event.status or event.verdict or "cancelled"
    return known
