"""What is asked of a Redis server, and what each of its failures is called."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from redis.asyncio import Redis
from support import KEYS, World

import mjbulk
from benchmarks.redis_server import RedisServer, program, serving
from mjbulk.mailjet.pace import Pace
from mjbulk.mailjet.quota import Gate
from mjbulk.mailjet.redis_quota import RedisQuota
from mjbulk.mailjet.redis_store import RedisAway, RedisRefuses, RedisStore, RedisUnusable
from mjbulk.testing import Emulator

CERTIFICATE = str(Path(__file__).with_name("data") / "loopback.pem")
WITH_TLS = ("--tls-cert-file", CERTIFICATE, "--tls-key-file", CERTIFICATE, "--tls-auth-clients", "no")


def served() -> Iterator[RedisServer]:
    found = program()
    if found is None:
        pytest.skip("Redis is not installed (on Debian: apt-get install redis-server)")
    with serving(found) as running:
        yield running


@pytest.fixture(scope="module", name="server")
def a_server_for_all() -> Iterator[RedisServer]:
    """Each test has keys of its own."""
    yield from served()


@pytest.fixture(name="own_server")
def a_server_for_one() -> Iterator[RedisServer]:
    yield from served()


@asynccontextmanager
async def store_of(url: str, patience: float = 3.0) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, patience)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def gates(url: str, key: str, count: int = 1, *, max_rate: float = 1000.0) -> AsyncIterator[list[Gate]]:
    """Gates of one key, each with connections of its own, as processes have them."""
    made = [Gate(RedisQuota(url, max_rate=max_rate), key, concurrency=8, chance=Random(n)) for n in range(count)]
    try:
        yield made
    finally:
        await asyncio.gather(*(one.aclose(1.0) for one in made))


async def starts_of(made: list[Gate], count: int) -> list[float]:
    """Give the starts of ``count`` requests by the clock of Redis, spread over gates that all want more."""
    found = list[float]()

    async def request(number: int) -> None:
        async with made[number % len(made)].grant("submit") as start:
            found.append(start.at)

    await asyncio.gather(*(request(number) for number in range(count)))
    return sorted(found)


def spacing(starts: list[float]) -> float:
    """Give the shortest time between two starts; a float of a clock is exact to a microsecond."""
    return min(later - earlier for earlier, later in pairwise(starts)) + 1e-6


# What it holds


@pytest.mark.real_time
async def test_a_value_is_written_if_it_is_the_one_that_was_read(server: RedisServer) -> None:
    """Whatever bytes it has; and the time is that of Redis."""
    async with store_of(server.url) as store:
        assert (await store.swap_if_same("swap", b"", b""))[:2] == (False, b"")
        assert (await store.swap_if_same("swap", b"", b"\xff[1]"))[:2] == (True, b"")
        assert (await store.swap_if_same("swap", b"", b"[2]"))[:2] == (False, b"\xff[1]")
        written, before, now = await store.swap_if_same("swap", b"\xff[1]", b"[3]")
        assert (written, before) == (True, b"\xff[1]")
        assert now == pytest.approx(time.time(), abs=60)
        assert (await store.swap_if_same("swap", b"[3]", b""))[1] == b"[3]"


@pytest.mark.real_time
async def test_processes_are_counted_while_they_share_a_key(server: RedisServer) -> None:
    """Each once, until it says that it leaves; those of another key do not count."""
    async with store_of(server.url) as store:
        assert [await store.processes("many", who) for who in ("a", "b", "a", "c")] == [1, 2, 2, 3]
        assert await store.processes("few", "a") == 1
        await store.leave(["many", "few"], "a")
        assert await store.processes("many", "b") == 2
        assert await store.processes("few", "b") == 1


@pytest.mark.real_time
async def test_redis_holds_no_key(own_server: RedisServer) -> None:
    """The API key is a fingerprint there, the values are numbers, and all is forgotten after a while."""
    quota = RedisQuota(own_server.url, max_rate=100)
    async with Emulator() as emulator, mjbulk.Client(KEYS, World(emulator).settings(), quota=quota) as client:
        assert (await client.import_contacts([{"email": "ann@example.org"}], lists={1: "addnoforce"})).ok
        async with Redis.from_url(own_server.url) as redis:
            pace, processes = sorted([name.decode() async for name in redis.scan_iter()])
            said = f"{pace} {await redis.get(pace)!r} {await redis.zrange(processes, 0, -1)}"
            assert await redis.ttl(pace) == pytest.approx(24 * 3600, abs=60)
            assert await redis.ttl(processes) == pytest.approx(600, abs=60)
    assert processes == f"{pace}:processes"
    assert pace.startswith("mjbulk:pace:1:")
    assert not any(secret in said for secret in (KEYS.public, KEYS.private, "ann"))


# Its quota


@pytest.mark.real_time
async def test_starts_are_as_far_apart_as_the_rate_says(server: RedisServer) -> None:
    """Four gates with connections of their own reserve starts of one pace, however slow the machine is."""
    async with gates(server.url, "paced", 4, max_rate=200.0) as made:
        assert spacing(await starts_of(made, 60)) >= 1 / 200


@pytest.mark.real_time
async def test_redis_may_die_and_come_back(own_server: RedisServer) -> None:
    """It is killed while requests wait and starts again with an empty memory: no request fails."""
    async with gates(own_server.url, "killed", 2, max_rate=200.0) as made:
        await starts_of(made, 2)
        own_server.kill()
        requests = asyncio.create_task(starts_of(made, 40))
        await asyncio.sleep(0.1)
        assert not requests.done()
        own_server.start()
        assert spacing(await requests) >= 1 / 200


@pytest.mark.real_time
async def test_redis_may_freeze(own_server: RedisServer) -> None:
    """What it does not answer in time is asked once more; nothing fails."""
    async with gates(own_server.url, "frozen", max_rate=1000.0) as made:
        made[0]._quota._store = RedisStore(own_server.url, 0.1)  # type: ignore[attr-defined]
        await starts_of(made, 2)
        own_server.pause()
        requests = asyncio.create_task(starts_of(made, 4))
        await asyncio.sleep(0.3)
        assert not requests.done()
        own_server.go_on()
        assert len(await requests) == 4


@pytest.mark.real_time
async def test_this_process_may_freeze(server: RedisServer) -> None:
    """A time limit that passed while an answer lay in the socket costs a start and nothing else."""
    async with gates(server.url, "stopped", max_rate=1000.0) as made:
        made[0]._quota._store = RedisStore(server.url, 0.05)  # type: ignore[attr-defined]
        for seconds in (0.0, 0.1):
            requests = asyncio.create_task(starts_of(made, 4))
            for _ in range(5):
                await asyncio.sleep(0)
            time.sleep(seconds)  # noqa: ASYNC251  # as SIGSTOP does
            assert len(await requests) == 4


async def at_once(one: Gate) -> int:
    """Make more requests than a gate lets through at once, and count how many are under way together."""
    now, full, go_on = 0, asyncio.Event(), asyncio.Event()

    async def request() -> None:
        nonlocal now
        async with one.grant("submit") as start:
            one.left(start)
            now += 1
            if now == 8:
                full.set()
            await go_on.wait()

    requests = asyncio.gather(*(request() for _ in range(12)))
    async with asyncio.timeout(60):
        await full.wait()
    await asyncio.sleep(0.02)
    found = now
    go_on.set()
    await requests
    return found


@pytest.mark.real_time
async def test_a_cancelled_request_disturbs_no_other(server: RedisServer) -> None:
    """Requests are cancelled at any moment of talking to Redis: all others are granted, no slot is lost, and no answer
    is taken for that of another request.
    """
    async with gates(server.url, "cancelled", 3, max_rate=500.0) as made:
        chance = Random(7)
        for _ in range(20):
            tasks = [asyncio.create_task(starts_of([one], 3)) for one in made for _ in range(2)]
            await asyncio.sleep(chance.random() * 0.01)
            for task in chance.sample(tasks, 3):
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError | list) for one in ended)
        assert [await at_once(one) for one in made] == [8, 8, 8]


@pytest.mark.real_time
async def test_a_step_that_is_cancelled_leaves_the_connection_clean(server: RedisServer) -> None:
    """The step is cancelled before its answer arrives; the next step gets its own answer."""
    quota = RedisQuota(server.url, max_rate=10.0)
    last = 0.0
    for steps in range(40):
        task = asyncio.create_task(quota.change("clean", lambda pace, now: (pace, now)))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(2):
            pace, now = await quota.change("clean", lambda pace, now: (pace, (pace, now)))
            assert pace == Pace()
            assert now > last
            last = now
    await quota.aclose()


@pytest.mark.real_time
async def test_a_quota_that_was_closed_opens_again(server: RedisServer) -> None:
    """Clients that share one close it when they end: it goes on for the others, and for those that come later."""
    quota = RedisQuota(server.url, max_rate=100.0)
    one, other = (Gate(quota, key, concurrency=1, chance=Random(1)) for key in ("one", "other"))
    await starts_of([one], 2)
    await one.aclose(1.0)
    assert len(await starts_of([other], 2)) == 2
    await other.aclose(1.0)


# What fails


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def failure_of(url: str, patience: float = 3.0) -> Exception:
    """Give what writing a value raises."""
    async with store_of(url, patience) as store:
        with pytest.raises((RedisAway, RedisUnusable)) as caught:
            await store.swap_if_same("key", b"", b"[1]")
    assert "secret" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__suppress_context__}"
    return caught.value


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:secret@127.0.0.1:1/0", "nothing listens there"),
        ("redis://:secret@localhost:1/0", "nothing listens there"),
        ("rediss://:secret@127.0.0.1:1/0", "nothing listens there"),
        ("unix://:secret@/nowhere/redis.sock", "No such file or directory"),
    ],
)
async def test_where_nobody_is(url: str, said: str) -> None:
    """The reason is that of the system; it may pass."""
    found = await failure_of(url)
    assert (type(found), str(found)) == (RedisAway, said)


async def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver says why."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    found = await failure_of("redis://:secret@no-such-host/0")
    assert (type(found), str(found)) == (RedisAway, "its name is not found (Name or service not known)")


@asynccontextmanager
async def answering(answer: bytes | None, **more: Any) -> AsyncIterator[int]:
    """A server that gives one answer, whatever it is asked, or with None nothing ever. Gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await ended.wait()
        else:
            await reader.read(1)
            writer.write(answer)
        writer.close()

    ended = asyncio.Event()
    async with await asyncio.start_server(serve, "127.0.0.1", 0, **more) as listening:
        yield listening.sockets[0].getsockname()[1]
        ended.set()


@pytest.mark.parametrize(
    ("scheme", "answer", "kind", "said"),
    [
        ("redis", None, RedisAway, "it does not answer"),
        ("rediss", None, RedisAway, "it does not answer; a Redis without TLS is silent if asked for it (rediss://)"),
        ("redis", b"", RedisAway, "it closes connections; a Redis with TLS does so (rediss://)"),
        ("redis", b"HTTP/1.1 400 Bad Request\r\n\r\n", RedisRefuses, "it does not speak as Redis does"),
        ("rediss", b"HTTP/1.1 400 Bad Request\r\n\r\n", RedisRefuses, "TLS with it fails (WRONG_VERSION_NUMBER)"),
        ("redis", b"-NOAUTH Authentication required.\r\n", RedisRefuses, "it wants a password"),
        ("redis", b"-LOADING Redis is loading the dataset in memory\r\n", RedisAway, "it is starting"),
        ("redis", b"-ERR max number of clients reached\r\n", RedisAway, "it has too many clients"),
    ],
)
async def test_where_somebody_else_is(scheme: str, answer: bytes | None, kind: type, said: str) -> None:
    """A silent server, one that closes, and one that speaks another language."""
    async with answering(answer) as port:
        found = await failure_of(f"{scheme}://:secret@127.0.0.1:{port}/0", 0.5)
    assert (type(found), str(found)) == (kind, said)


@pytest.mark.real_time
async def test_a_certificate_has_to_be_trusted(own_server: RedisServer) -> None:
    """With its CA it is; else the reason is that of OpenSSL."""
    port = free_port()
    own_server.kill()
    own_server.start("--tls-port", str(port), *WITH_TLS)
    untrusted = await failure_of(f"rediss://:secret@127.0.0.1:{port}/0")
    assert (type(untrusted), str(untrusted)) == (
        RedisRefuses,
        "its certificate is not trusted (self-signed certificate)",
    )
    other_name = await failure_of(f"rediss://:secret@localhost:{port}/0?ssl_ca_certs={CERTIFICATE}")
    assert "is not trusted (Hostname mismatch, certificate is not valid for 'localhost')" in str(other_name)
    async with store_of(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={CERTIFICATE}") as store:
        assert await store.processes("key", "a") == 1
    plain = await failure_of(f"redis://127.0.0.1:{port}/0")
    assert (type(plain), str(plain)) == (RedisAway, "it closes connections; a Redis with TLS does so (rediss://)")


@pytest.mark.real_time
@pytest.mark.parametrize(
    ("commands", "user", "said"),
    [
        (["CONFIG SET requirepass right-one"], "", "it wants a password"),
        (["CONFIG SET requirepass right-one"], ":secret@", "it does not take this user and password"),
        (["ACL SETUSER ann on >right-one ~* +@all"], "ann:secret@", "it does not take this user and password"),
    ],
)
async def test_a_password_that_is_wrong(own_server: RedisServer, commands: list[str], user: str, said: str) -> None:
    """It is said whether one is missing, or another one is wanted."""
    await run(own_server, commands)
    found = await failure_of(own_server.url.replace("unix://", f"unix://{user}"))
    assert (type(found), str(found)) == (RedisRefuses, said)


async def run(server: RedisServer, commands: list[str]) -> None:
    async with Redis.from_url(server.url) as redis:
        for command in commands:
            await redis.execute_command(*command.split())  # type: ignore[no-untyped-call]  # as loose as it gets


USELESS = {
    "a read-only replica": (["REPLICAOF 127.0.0.1 1"], "", "it is a read-only replica"),
    "a full memory": (
        ["CONFIG SET maxmemory 1"], "", "its memory is full, and it may drop nothing (maxmemory with noeviction)"
    ),
    "another type": (
        ["HSET mjbulk:pace:1:key a b"], "",
        "the value of mjbulk:pace:1:key is not from mjbulk: delete it, or use another database (redis://host:port/1)",
    ),
    "no permission": (
        ["ACL SETUSER ann on >secret ~other:* +@all"], "ann:secret@",
        "this user may not run the scripts (EVALSHA, SCRIPT LOAD) or use the names mjbulk:*",
    ),
    "no such database": ([], "?db=99", "it has no database of this number"),
}  # fmt: skip


@pytest.mark.real_time
@pytest.mark.parametrize("what", USELESS)
async def test_a_redis_that_cannot_be_used(own_server: RedisServer, what: str) -> None:
    """It answers, and the sentence says why the pace cannot be kept there. Processes are counted as far as known."""
    commands, how, said = USELESS[what]
    async with store_of(own_server.url) as store:
        await store.processes("key", "a")
    await run(own_server, commands)
    url = own_server.url.replace("unix://", f"unix://{how}") if "@" in how else own_server.url + how
    found = await failure_of(url)
    assert (type(found), str(found)) == (RedisUnusable, said)
    async with store_of(own_server.url) as store:
        assert await store.processes("key", "a") == 1
        assert await store.processes("key", "b") == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.",
         "it takes no writes, because it cannot save its data on disk"),
        ("MOVED 3999 127.0.0.1:6381", "it is a cluster, which RedisQuota cannot use"),
        ("ERR unknown command 'EVALSHA', with args beginning with: 'secret'", "it refuses the scripts of the quota"),
    ],
)  # fmt: skip
async def test_other_refusals(answer: str, said: str) -> None:
    """What is not known is not quoted."""
    async with answering(f"-{answer}\r\n".encode()) as port:
        found = await failure_of(f"redis://127.0.0.1:{port}/0")
    assert (type(found), str(found)) == (RedisUnusable, said)


@pytest.mark.real_time
@pytest.mark.parametrize("what", ["a read-only replica", "a full memory"])
async def test_an_import_goes_on_without_such_a_redis(
    own_server: RedisServer, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At the process's own pace, with one warning."""
    await run(own_server, USELESS[what][0])
    quota = RedisQuota(own_server.url, max_rate=100)
    async with Emulator() as emulator, mjbulk.Client(KEYS, World(emulator).settings(), quota=quota) as client:
        assert (await client.import_contacts([{"email": "ann@example.org"}], lists={1: "addnoforce"})).ok
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "mjbulk.requests"]
    assert USELESS[what][2] in warning


async def test_an_import_without_a_redis_halts_soon_and_says_where(world: World) -> None:
    """Nothing is sent without a grant."""
    quota = RedisQuota("redis://:secret@127.0.0.1:1/0", max_rate=10)
    began = asyncio.get_running_loop().time()
    async with mjbulk.Client(KEYS, world.settings(), quota=quota) as client:
        with pytest.raises(mjbulk.ImportHalted) as caught:
            await client.import_contacts([{"email": "a@example.org"}], lists={1: "addnoforce"})
    assert str(caught.value.__cause__) == "the quota in Redis at 127.0.0.1:1 cannot be used: nothing listens there"
    assert asyncio.get_running_loop().time() - began < 5
    assert world.emulator.requests == 0
