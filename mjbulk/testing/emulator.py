"""The emulator: an HTTP server that behaves as Mailjet does, on this machine and in the caller's event loop."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Self, TypeVar
from weakref import WeakKeyDictionary

import attrs
from aiohttp import web

from mjbulk.public import public
from mjbulk.testing._answers import EmulatedAnswer, proxy_page, reset
from mjbulk.testing._dispatch import Dispatcher, call_name
from mjbulk.testing._edge import SERVER_LOG, altered, read_body, send, sleep, unpacked
from mjbulk.testing._fault_file import read_faults
from mjbulk.testing._faults import Fault, FaultScript
from mjbulk.testing._jobs import EmulatedJob
from mjbulk.testing._knobs import Knobs
from mjbulk.testing._routes import Route, parse_query, parse_route
from mjbulk.testing._state import EmulatedAccount, EmulatedContact, EmulatedList, EmulatedProperty
from mjbulk.testing._views import People, View
from mjbulk.testing._world import World

_T = TypeVar("_T")
_HONEST = Fault()
_CALLS_KEPT = 10_000


@attrs.frozen(kw_only=True)
class Call:
    """A request that was received, and the status of its answer (0: none)."""

    method: str
    path: str
    route: str
    status: int
    time: float
    """Seconds since the start, by the loop's clock."""
    size: int
    """Bytes of its body."""
    key: str = attrs.field(default="", repr=False)


@public
class Emulator:
    """A server that stands in for Mailjet.

    It listens in the event loop that calls `start`, and takes all times from that loop, so that a virtual clock works.
    It accepts any API key and secret (unless `Knobs.credentials` says otherwise); each key has an account with one
    list, ID 1. Other threads may read and script everything too.
    """

    url: str
    """Its address, without a slash at the end: http://127.0.0.1:PORT."""
    requests: int
    """How many requests it has received."""

    def __init__(self, knobs: Knobs | None = None, *, seed: int = 0) -> None:
        self.url = ""
        self.requests = 0
        self._calls: deque[Call] = deque(maxlen=_CALLS_KEPT)
        self._counts: Counter[str] = Counter()
        self._world = World(knobs or Knobs(), seed=seed)
        self._dispatcher = Dispatcher(self._world)
        self._faults = FaultScript()
        self._answered: WeakKeyDictionary[asyncio.BaseTransport, int] = WeakKeyDictionary()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began: float | None = None
        self._runner: web.ServerRunner | None = None
        self._closing = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Emulator {self.url or 'not started'}: {self.requests} requests, {len(self._world.jobs)} jobs>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Start listening; port 0 takes a free one. A start after `aclose` keeps the state."""
        self._loop = loop = asyncio.get_running_loop()
        self._closing.clear()
        if self._began is None:
            self._began = began = loop.time()
            self._world.elapsed = lambda: loop.time() - began
        # Mailjet is not known to read compressed bodies: only with `Knobs.gzip_bodies` are they decompressed.
        server = web.Server(self._handle, access_log=None, logger=SERVER_LOG, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound = self._runner.addresses[0][1]
        self._world.url = self.url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"

    async def aclose(self) -> None:
        """Stop listening, and cut open requests. The state can still be read."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # What happened.

    @property
    def contacts(self) -> Mapping[str, EmulatedContact]:
        """The people of all accounts. Keys are addresses as they were first written; lookups ignore case."""
        return People(self.here, self._world.accounts.values)

    @property
    def lists(self) -> Mapping[int, EmulatedList]:
        """The lists of the first account, by ID."""
        return View(self.here, lambda: self._first().lists)

    @property
    def properties(self) -> Mapping[str, EmulatedProperty]:
        """The contact properties of the first account, by name."""
        return View(self.here, lambda: {item.name: item for item in self._first().properties.values()})

    @property
    def jobs(self) -> Mapping[int, EmulatedJob]:
        """Every job by its ID, with the truth about its rows."""
        return View(self.here, lambda: self._world.jobs)

    @property
    def calls(self) -> list[Call]:
        """The newest requests, oldest first; at most 10,000."""
        return self.here(lambda: list(self._calls))

    @property
    def now(self) -> float:
        """Seconds since the start, by the loop's clock."""
        return self._world.elapsed()

    def count(self, call: str) -> int:
        """Count the requests for a route ("csvimport"), or for a method and route ("POST csvimport").

        Raises ValueError if there is no such call.
        """
        name = call_name(call)
        return self.requests if name == "*" else self._counts[name]

    def account(self, key: str) -> EmulatedAccount:
        """Give the account of an API key, and create it at the first call."""
        return self.here(lambda: self._world.account(key))

    # What shall happen.

    @property
    def knobs(self) -> Knobs:
        """The settings. New ones may be set at any time, and hold from then on."""
        return self._world.knobs

    @knobs.setter
    def knobs(self, knobs: Knobs) -> None:
        self._world.knobs = knobs

    def create_list(self, name: str, *, key: str | None = None) -> EmulatedList:
        """Create a list in the account of a key, or in the first one."""
        return self.here(lambda: self._of(key).create_list(name, self._world.stamp()))

    def create_property(self, name: str, datatype: str = "str", *, key: str | None = None) -> EmulatedProperty:
        """Create a contact property in the account of a key, or in the first one."""
        return self.here(lambda: self._of(key).create_property(name, datatype))

    def unsubscribe(self, email: str, list_id: int = 1) -> None:
        """Unsubscribe a person from a list, as if they had clicked on "unsubscribe": they stay on it, unsubscribed."""
        self.here(
            lambda: self._whose(email).person(email, self._world.stamp()).act(list_id, "unsub", self._world.stamp())
        )

    def reject(self, email: str, message: str, field: str = "email") -> None:
        """Make jobs reject every row of this person."""
        self.here(lambda: self._world.reject(email, message, field))

    def poison(self, email: str, status: int = 400) -> None:
        """Refuse every request whose body holds this address, with all its rows."""
        self.here(lambda: self._world.poisons.update({email.casefold().encode(): status}))

    def fault(self, call: str, fault: Fault, *, times: int | None = 1, after: int = 0) -> None:
        """Skip ``after`` requests of ``call``, and let ``fault`` happen to the next ``times`` (None: to all).

        ``call`` is a route, with or without a method before it, in any case ("POST contact/managemanycontacts",
        "csvimport", "batchjob/jsonerror"), or ``*`` for every request. Raises ValueError if there is no such call.
        """
        name = call_name(call)
        self.here(lambda: self._faults.add(name, fault, times=times, after=after))

    def read_faults(self, content: bytes) -> None:
        """Let the faults of a file happen: a list in JSON of objects with ``call``, ``fault``, ``times`` and ``after``.

        Raises ValueError that says which entry is wrong, and adds none then.
        """
        entries = read_faults(content)
        for number, one in enumerate(entries, 1):
            try:
                call_name(one.call)
            except ValueError as problem:
                raise ValueError(f"entry {number}: {problem}") from None
        for one in entries:
            self.fault(one.call, one.fault, times=one.times, after=one.after)

    def drop_answer(self, call: str, *, times: int = 1) -> None:
        """Let requests have their effect, and close the connection without an answer."""
        self.fault(call, Fault.drop_after(), times=times)

    # The inside.

    def here(self, work: Callable[[], _T]) -> _T:
        """End all jobs that are due, then call ``work``, both in the event loop of the server."""

        def settled() -> _T:
            self._world.settle()
            return work()

        loop = self._loop
        if loop is None or loop.is_closed() or not loop.is_running() or _running_loop() is loop:
            return settled()

        async def over_there() -> _T:
            return settled()

        return asyncio.run_coroutine_threadsafe(over_there(), loop).result()

    def _first(self) -> EmulatedAccount:
        return self._world.first_account()

    def _of(self, key: str | None) -> EmulatedAccount:
        return self._first() if key is None else self._world.account(key)

    def _whose(self, email: str) -> EmulatedAccount:
        return next((a for a in self._world.accounts.values() if a.find(email)), None) or self._first()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        route = parse_route(request.raw_path)
        name = "unknown" if route is None else route.name
        self._counts.update((name, f"{request.method.casefold()} {name}"))
        fault = self._faults.take(request.method, name) or _HONEST
        body = await read_body(request, self._world.knobs.max_body) if fault.read else b""
        if body and self._world.knobs.gzip_bodies:
            body = unpacked(request, body)
        await sleep(fault.delay_before, self._closing)
        answer = altered(self._last(request, self._answer(request, route, body, fault)), fault)
        await sleep(fault.delay_after, self._closing)
        self._note(request, name, 0 if fault.raw == b"" else answer.status, len(body or b""))
        return await send(request, answer, fault, self._closing)

    def _last(self, request: web.BaseRequest, answer: EmulatedAnswer) -> EmulatedAnswer:
        """Let the answer close its connection, if that has given as many answers as it may."""
        most, transport = self._world.knobs.requests_per_connection, request.transport
        if most is None or transport is None or answer.connection != "keep":
            return answer
        self._answered[transport] = self._answered.get(transport, 0) + 1
        return answer if self._answered[transport] < most else attrs.evolve(answer, connection="close")

    def _answer(
        self, request: web.BaseRequest, route: Route | None, body: bytes | None, fault: Fault
    ) -> EmulatedAnswer:
        if body is None:
            early = self._world.knobs.max_body_answer == "413"
            return attrs.evolve(proxy_page(413, "Request Entity Too Large"), connection="close") if early else reset()
        if not fault.apply:
            return EmulatedAnswer(200)
        authorization, query = request.headers.get("Authorization", ""), parse_query(request.raw_path)
        return self._dispatcher.answer(request.method, route, authorization, query, body)

    def _note(self, request: web.BaseRequest, route: str, status: int, size: int) -> None:
        self._calls.append(
            Call(method=request.method, path=request.raw_path, route=route, status=status, time=self.now, size=size)
        )


@public
async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    knobs: Knobs | None = None,
    *,
    ready: Callable[[Emulator], None] | None = None,
) -> None:
    """Serve an emulator until the task is cancelled; once it listens, call ``ready`` with it."""
    emulator = Emulator(knobs)
    await emulator.start(host, port)
    try:
        if ready is not None:
            ready(emulator)
        await asyncio.get_running_loop().create_future()
    finally:
        await emulator.aclose()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with contextlib.suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None
