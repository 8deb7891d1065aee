"""Why an exchange got no answer: each cause by servers that have it, with its kind and a sentence of its own."""

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support import KEYS

from mjbulk.config import Settings
from mjbulk.mailjet.http import Exchange
from mjbulk.mailjet.no_answer import Ends
from mjbulk.mailjet.requests import Request
from mjbulk.mailjet.response import ExchangeFailed
from mjbulk.mailjet.verdict import Failure, Phase
from mjbulk.mailjet.window import Window

GET = Request(method="GET", path="/v3/REST/contact/a%40example.org", call="GET contact")
POST = Request(method="POST", path="/v3/REST/contact", call="POST contact", body=bytes(200_000))
DATA = Path(__file__).parent / "data"
CA = DATA / "loopback.pem"
TRUSTED = ssl.create_default_context(cafile=CA)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def failure_of(url: str, request: Request = GET, **said: Any) -> ExchangeFailed:
    exchange = Exchange(KEYS, Settings(api_url=url, **{"ssl": TRUSTED, **said}), Window(8, 2**21))
    try:
        with pytest.raises(ExchangeFailed) as caught:
            await exchange.once(request, keep=False, max_reply=1e6, sink=None)
        assert KEYS.public not in caught.value.why
        assert KEYS.private not in caught.value.why
        assert "contact" not in caught.value.why
        return caught.value
    finally:
        await exchange.aclose()


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    async def to_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(to_the_end, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def speak_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, context: ssl.SSLContext) -> None:
    """Begin TLS, and tell the other side what is wrong with that, which asyncio's own servers do not."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            if came := await reader.read(65536):
                incoming.write(came)
                continue
        except ssl.SSLError:
            pass
        writer.write(outgoing.read())
        await writer.drain()
        await reader.read(65536)
        return


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, text: bytes) -> None:
    await reader.read(65536)
    writer.write(text)
    await writer.drain()


def key_of(host: str, port: int = 443) -> Any:
    """What aiohttp's errors know of a connection."""
    return aiohttp.client_reqrep.ConnectionKey(host, port, True, True, None, None, None)


def with_certificate(name: str = "loopback") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(DATA / f"{name}.pem", CA)
    return context


# Nobody is there


async def test_a_name_that_is_not_known() -> None:
    """It is said, with what the resolver says."""
    failed = await failure_of("https://api.mailjet.invalid")
    assert (failed.failure, failed.phase) == (Failure.ABSENT, Phase.NEVER)
    assert failed.why.startswith("the name api.mailjet.invalid is not found (")
    assert failed.why.endswith("): is it right, and is there a network?")


async def test_a_port_on_which_nothing_listens() -> None:
    """Host and port are said."""
    async with serving(partial(answer, text=b"")) as port:
        pass
    failed = await failure_of(f"https://127.0.0.1:{port}")
    assert (failed.failure, failed.phase) == (Failure.ABSENT, Phase.NEVER)
    assert failed.why == f"nothing listens at 127.0.0.1:{port}: are host and port right?"


async def test_a_server_that_closes_at_once() -> None:
    """It may be there in a moment, or never speak TLS."""
    async with serving(partial(answer, text=b"")) as port:
        failed = await failure_of(f"https://127.0.0.1:{port}")
    assert (failed.failure, failed.phase) == (Failure.ABSENT, Phase.NEVER)
    assert failed.why.startswith(
        f"127.0.0.1:{port} closes connections while TLS begins: it may have no TLS, or none of"
    )


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (OSError(errno.ENETUNREACH, "x"), "there is no way to a.example:443 (Network is unreachable): is there a"),
        (OSError("[Errno 113] x, [Errno 113] y"), "there is no way to a.example:443 (No route to host): is there a"),
        (OSError("[Errno 111] x, [Errno 111] y"), "nothing listens at a.example:443: are host and port right?"),
    ],
)
def test_what_a_network_says(cause: OSError, said: str) -> None:
    """Several addresses may have been tried: then the errors stand in one text."""
    failure, why = Ends.of("https://a.example", None).explain(aiohttp.ClientConnectorError(key_of("a.example"), cause))
    assert failure is Failure.ABSENT
    assert why.startswith(said)


async def test_a_server_that_is_silent() -> None:
    """It may answer later: nothing is known."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass

    async with serving(silent) as port:
        failed = await failure_of(f"https://127.0.0.1:{port}", connect_timeout=5.0)
        assert (failed.failure, failed.why) == (
            Failure.NEVER_SENT,
            f"no connection to 127.0.0.1:{port} was made in time",
        )
        failed = await failure_of("https://a.example", connect_timeout=5.0, proxy=f"http://127.0.0.1:{port}")
    assert failed.failure is Failure.NEVER_SENT
    assert failed.why == f"no connection to the proxy 127.0.0.1:{port} was made in time"


def test_a_reason_that_python_has_no_name_for() -> None:
    """OpenSSL's words are said then."""
    for words, said in (
        ("[SSL] legacy sigalg disallowed or unsupported (_ssl.c:992)", "has no TLS of version 1.2 or newer (legacy"),
        ("[SSL] something else (_ssl.c:1)", "TLS with a.example:443 fails (something else)"),
    ):
        error = aiohttp.ClientConnectorSSLError(key_of("a.example"), ssl.SSLError(1, words))
        failure, why = Ends.of("https://a.example", None).explain(error)
        assert failure is Failure.UNFIT
        assert said in why


def test_tls_that_ends_without_a_name_of_its_reason() -> None:
    """It was not for our certificate, as far as is known."""
    error = aiohttp.ClientOSError()
    error.__cause__ = ssl.SSLError(1, "[SSL] something else (_ssl.c:1)")
    assert Ends.of("https://a.example", None).explain(error)[0] is Failure.RESET


# Somebody else is there


def old_tls() -> ssl.SSLContext:
    context = with_certificate()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def asks_for_certificates(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = with_certificate()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(CA)
    context.maximum_version = version
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("trusted", [TRUSTED, None])
async def test_tls_that_is_too_old(trusted: ssl.SSLContext | None) -> None:
    """It is not used, whatever Python's own default is, and whatever the server's certificate is."""
    async with serving(partial(speak_tls, context=old_tls())) as port:
        failed = await failure_of(f"https://127.0.0.1:{port}", ssl=trusted)
    assert (failed.failure, failed.phase) == (Failure.UNFIT, Phase.NEVER)
    assert failed.why.startswith(f"127.0.0.1:{port} has no TLS of version 1.2 or newer (")


@pytest.mark.parametrize("request_", [GET, POST])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_certificate_that_is_wanted(version: ssl.TLSVersion, request_: Request) -> None:
    """With TLS 1.3 that shows when the request has left; it was not even read."""
    async with serving(partial(speak_tls, context=asks_for_certificates(version))) as port:
        failed = await failure_of(f"https://127.0.0.1:{port}", request_)
    if version is ssl.TLSVersion.TLSv1_3:
        assert (failed.failure, failed.phase) == (Failure.UNFIT, Phase.NEVER)
        assert failed.why.startswith(f"127.0.0.1:{port} wants a client certificate that it knows (")
    else:
        assert (failed.failure, failed.phase) == (Failure.UNFIT, Phase.NEVER)
        assert failed.why.startswith(f"TLS with 127.0.0.1:{port} fails (")
        assert "HANDSHAKE_FAILURE" in failed.why


@pytest.mark.parametrize("text", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"])
async def test_a_port_without_tls(text: bytes) -> None:
    """It is another port, or another server."""
    async with serving(partial(answer, text=text)) as port:
        failed = await failure_of(f"https://127.0.0.1:{port}")
    assert (failed.failure, failed.phase) == (Failure.UNFIT, Phase.NEVER)
    assert failed.why == f"what listens at 127.0.0.1:{port} speaks no TLS (WRONG_VERSION_NUMBER): is the port right?"


async def test_a_port_without_http() -> None:
    """The port of https is one of those for a client of http."""
    async with serving(partial(answer, text=b"\x15\x03\x01\x00\x02\x02\x46")) as port:
        failed = await failure_of(f"http://127.0.0.1:{port}")
    assert (failed.failure, failed.phase) == (Failure.NO_HTTP, Phase.WHOLE)
    assert failed.why == f"what listens at 127.0.0.1:{port} does not speak HTTP: is the port right?"


PLACE = "a proxy or a firewall may answer in its place"


@pytest.mark.parametrize(
    ("certificate", "host", "context", "said"),
    [
        ("expired", "127.0.0.1", TRUSTED, "has expired: is the clock of this machine right?"),
        ("future", "127.0.0.1", TRUSTED, "is not valid yet: is the clock of this machine right?"),
        ("elsewhere", "127.0.0.1", TRUSTED, f"is for another name: is the host right? Else {PLACE}"),
        ("loopback", "localhost", TRUSTED, f"is for another name: is the host right? Else {PLACE}"),
        ("loopback", "127.0.0.1", None, f"is self-signed: {PLACE}. If it is right, trust it with ssl="),
        ("stranger", "127.0.0.1", TRUSTED,
         f"is from a CA that is not trusted: {PLACE}. If it is right, trust its CA with ssl="),
    ],
    ids=["expired", "not yet", "other address", "other name", "self-signed", "unknown CA"],
)  # fmt: skip
async def test_certificates(certificate: str, host: str, context: ssl.SSLContext | None, said: str) -> None:
    """Each kind of trouble by OpenSSL's reason; nothing was sent."""
    async with serving(partial(speak_tls, context=with_certificate(certificate))) as port:
        failed = await failure_of(f"https://{host}:{port}", ssl=context)
    assert (failed.failure, failed.phase) == (Failure.UNFIT, Phase.NEVER)
    assert failed.why == f"the certificate of {host}:{port} {said}"


def test_other_trouble_with_a_certificate() -> None:
    """It is said in OpenSSL's words."""
    cause = ssl.SSLCertVerificationError(1, "x")
    cause.verify_code, cause.verify_message = 23, "certificate revoked."
    error = aiohttp.ClientConnectorCertificateError(key_of("a.example"), cause)
    assert Ends.of("https://a.example", None).explain(error) == (
        Failure.UNFIT,
        "the certificate of a.example:443 is not trusted (certificate revoked)",
    )


# A proxy


@pytest.mark.parametrize(
    ("status", "failure", "said"),
    [
        (407, Failure.UNFIT, "{} wants a user and a password (407): proxy=http://USER:PASSWORD@HOST:PORT"),
        (401, Failure.UNFIT, "{} wants a user and a password (401): proxy=http://USER:PASSWORD@HOST:PORT"),
        (403, Failure.UNFIT, "{} does not allow connections to a.example:443 (403)"),
        (405, Failure.UNFIT, "{} makes no connections to a.example:443 (405): is it a proxy?"),
        (502, Failure.NEVER_SENT, "{} cannot connect to a.example:443 (502)"),
        (503, Failure.NEVER_SENT, "{} cannot connect to a.example:443 (503)"),
    ],
)
async def test_a_proxy_that_makes_no_connection(status: int, failure: Failure, said: str) -> None:
    """Nothing was sent, and who has refused is said."""
    text = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()
    async with serving(partial(answer, text=text)) as port:
        failed = await failure_of("https://a.example", POST, proxy=f"http://127.0.0.1:{port}")
    assert (failed.failure, failed.phase) == (failure, Phase.NEVER)
    assert failed.why == said.format(f"the proxy 127.0.0.1:{port}")


async def test_a_proxy_that_does_not_take_a_password() -> None:
    """Neither the user nor the password is said."""
    async with serving(partial(answer, text=b"HTTP/1.1 407 X\r\nContent-Length: 0\r\n\r\n")) as port:
        failed = await failure_of("https://a.example", proxy=f"http://name:hidden@127.0.0.1:{port}")
    assert failed.why == f"the proxy 127.0.0.1:{port} does not take its user and password (407): see proxy="


async def test_a_proxy_that_is_not_there() -> None:
    """The same words, said of the proxy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        failed = await failure_of("https://a.example", proxy=f"http://127.0.0.1:{port}")
        assert (failed.failure, failed.phase) == (Failure.ABSENT, Phase.NEVER)
        assert failed.why == f"nothing listens at the proxy 127.0.0.1:{port}: are host and port right?"
    failed = await failure_of("https://a.example", proxy="http://proxy.invalid:3128")
    assert failed.why.startswith("the name proxy.invalid is not found (")


async def test_a_proxy_that_is_something_else() -> None:
    """It speaks no HTTP, or closes; the body has not left."""
    async with serving(partial(answer, text=b"SSH-2.0-OpenSSH_9.2\r\n")) as port:
        failed = await failure_of("https://a.example", POST, proxy=f"http://127.0.0.1:{port}")
    assert (failed.failure, failed.phase) == (Failure.NO_HTTP, Phase.PART)
    assert failed.why == f"what listens at the proxy 127.0.0.1:{port} does not speak HTTP: is the port right?"
    async with serving(partial(answer, text=b"")) as port:
        failed = await failure_of("https://a.example", POST, proxy=f"http://127.0.0.1:{port}")
    assert (failed.failure, failed.phase) == (Failure.RESET, Phase.PART)


def test_an_address_of_version_6_has_brackets() -> None:
    """Else its port could not be told from it."""
    error = aiohttp.ClientConnectorError(key_of("::1", 8443), OSError(errno.ECONNREFUSED, "x"))
    assert Ends.of("https://[::1]:8443", None).explain(error)[1].startswith("nothing listens at [::1]:8443:")
