"""The emulator: an HTTP server on this machine that behaves as Mailjet does, in the caller's event loop."""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Self, TypeVar
from weakref import WeakKeyDictionary

import attrs
from aiohttp import web

from mjbulk.testing._answers import Answer, proxy_page, reset
from mjbulk.testing._dispatch import Dispatcher
from mjbulk.testing._edge import altered, pause, read_body, send, unpacked
from mjbulk.testing._faults import Fault, FaultScript
from mjbulk.testing._jobs import EmulatedJob
from mjbulk.testing._knobs import Knobs
from mjbulk.testing._routes import Route, parse
from mjbulk.testing._state import Account, EmulatedContact, EmulatedList, EmulatedProperty
from mjbulk.testing._views import People, View
from mjbulk.testing._world import World

_T = TypeVar("_T")
_HONEST = Fault()
_CALLS_KEPT = 10_000


@attrs.frozen(kw_only=True)
class Call:
    """One request that came, and the status it got (0: no answer)."""

    method: str
    path: str
    route: str
    status: int
    time: float
    """Seconds since the start, by the loop's clock."""
    size: int
    """Bytes of its body."""
    key: str = attrs.field(default="", repr=False)


class Emulator:
    """A server that stands in for Mailjet.

    It listens in the event loop that calls `start`, and all its durations are that loop's, so that a virtual clock
    works. Any API key and secret are accepted (`Knobs.credentials`); each key has an account with one list, ID 1.
    What can be read or scripted here may be read and scripted from other threads as well.
    """

    url: str
    """Where it listens, without a slash at the end: http://127.0.0.1:PORT."""
    requests: int
    """How many requests came."""

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
        """Listens; port 0 takes a free one. After `aclose` it may start again, and knows what it knew."""
        self._loop = loop = asyncio.get_running_loop()
        self._closing.clear()
        if self._began is None:
            self._began = began = loop.time()
            self._world.elapsed = lambda: loop.time() - began
        # Mailjet is not known to read compressed bodies: `Knobs.gzip_bodies` has them read.
        server = web.Server(self._handle, access_log=None, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound = self._runner.addresses[0][1]
        self._world.url = self.url = f"http://{f'[{host}]' if ':' in host else host}:{bound}"

    async def aclose(self) -> None:
        """Stops listening and cuts what is under way; what was seen can still be read."""
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # What happened.

    @property
    def contacts(self) -> Mapping[str, EmulatedContact]:
        """Everybody, of all accounts; keys are addresses as first given, found in any case."""
        return People(self.here, self._world)

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
        """How many requests came for a route ("csvimport") or a method and route ("POST csvimport")."""
        return self._counts[" ".join(call.casefold().split())]

    def account(self, key: str) -> Account:
        """The account of an API key, made on first sight."""
        return self.here(lambda: self._world.account(key))

    # What shall be.

    @property
    def knobs(self) -> Knobs:
        """The knobs; new ones may be set at any time, and hold from then on."""
        return self._world.knobs

    @knobs.setter
    def knobs(self, knobs: Knobs) -> None:
        self._world.knobs = knobs

    def create_list(self, name: str) -> EmulatedList:
        """A new list in the first account."""
        return self.here(lambda: self._first().create_list(name, self._world.stamp()))

    def create_property(self, name: str, datatype: str = "str") -> EmulatedProperty:
        """A new contact property in the first account."""
        return self.here(lambda: self._first().create_property(name, datatype))

    def unsubscribe(self, email: str, list_id: int = 1) -> None:
        """The person clicks on "unsubscribe": they are on the list, unsubscribed."""
        self.here(
            lambda: self._whose(email).person(email, self._world.stamp()).act(list_id, "unsub", self._world.stamp())
        )

    def reject(self, email: str, message: str, field: str = "email") -> None:
        """Lets jobs reject every row of this person."""
        self.here(lambda: self._world.reject(email, message, field))

    def poison(self, email: str, status: int = 400) -> None:
        """Refuses every request whose body holds this address, as a whole."""
        self.here(lambda: self._world.poisons.update({email.casefold().encode(): status}))

    def fault(self, call: str, fault: Fault, *, times: int | None = 1, after: int = 0) -> None:
        """Lets ``fault`` happen to the next ``times`` requests of ``call`` (None: all), when ``after`` went well.

        ``call`` is a route, with or without a method before it, in any case ("POST contact/managemanycontacts",
        "csvimport", "batchjob/jsonerror"), or ``*`` for every request.
        """
        self.here(lambda: self._faults.add(call, fault, times=times, after=after))

    def drop_answer(self, call: str, *, times: int = 1) -> None:
        """Lets requests have their effect and closes the connection without an answer."""
        self.fault(call, Fault.drop_after(), times=times)

    # The inside.

    def here(self, work: Callable[[], _T]) -> _T:
        """Runs ``work`` where the server runs, after all jobs that are due have ended."""

        def settled() -> _T:
            self._world.settle()
            return work()

        loop = self._loop
        if loop is None or loop.is_closed() or not loop.is_running() or _running_loop() is loop:
            return settled()

        async def over_there() -> _T:
            return settled()

        return asyncio.run_coroutine_threadsafe(over_there(), loop).result()

    def _first(self) -> Account:
        return self._world.first_account()

    def _whose(self, email: str) -> Account:
        return next((a for a in self._world.accounts.values() if a.find(email)), None) or self._first()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        route = parse(request.raw_path)
        name = "unknown" if route is None else route.name
        self._counts.update((name, f"{request.method.casefold()} {name}"))
        fault = self._faults.take(request.method, name) or _HONEST
        body = await read_body(request, self._world.knobs.max_body) if fault.read else b""
        if body and self._world.knobs.gzip_bodies:
            body = unpacked(request, body)
        await pause(fault.delay_before, self._closing)
        answer = altered(self._last(request, self._answer(request, route, body, fault)), fault)
        await pause(fault.delay_after, self._closing)
        self._note(request, name, 0 if fault.raw == b"" else answer.status, len(body or b""))
        return await send(request, answer, fault, self._closing)

    def _last(self, request: web.BaseRequest, answer: Answer) -> Answer:
        """The answer, which closes its connection where that has had as many as it may."""
        most, transport = self._world.knobs.requests_per_connection, request.transport
        if most is None or transport is None or answer.connection != "keep":
            return answer
        self._answered[transport] = self._answered.get(transport, 0) + 1
        return answer if self._answered[transport] < most else attrs.evolve(answer, connection="close")

    def _answer(self, request: web.BaseRequest, route: Route | None, body: bytes | None, fault: Fault) -> Answer:
        if body is None:
            early = self._world.knobs.max_body_answer == "413"
            return attrs.evolve(proxy_page(413, "Request Entity Too Large"), connection="close") if early else reset()
        if not fault.apply:
            return Answer(200)
        query: dict[str, str] = {}
        for name, value in request.query.items():
            query.setdefault(name.casefold(), value)
        return self._dispatcher.answer(request.method, route, request.headers.get("Authorization", ""), query, body)

    def _note(self, request: web.BaseRequest, route: str, status: int, size: int) -> None:
        self._calls.append(
            Call(method=request.method, path=request.raw_path, route=route, status=status, time=self.now, size=size)
        )


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    knobs: Knobs | None = None,
    *,
    ready: Callable[[Emulator], None] | None = None,
) -> None:
    """Serves an emulator until it is cancelled; ``ready`` is called with it once it listens."""
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
