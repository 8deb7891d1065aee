"""Imports through nginx, HAProxy and squid when something is wrong: for more, ``python tests/proxies.py --long``."""

import time
from collections.abc import Callable
from typing import Any

import proxies
import pytest
from proxies import imported, mailjet, nginx, passing, people, program, squid

import mjbulk

pytestmark = [pytest.mark.long, pytest.mark.real_time]

ROWS, CHUNK, CONCURRENCY = people(800), 20, 8
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "squid": "squid"}


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [PACKAGES[name] for name in names if program(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"on Debian: apt-get install {' '.join(missing)}")


def bounded(report: mjbulk.Report) -> mjbulk.Report:
    """Give the report, in which no more chunks are unknown than requests were under way, and the rest is accepted."""
    assert report.halted is None
    assert report.unknown <= CONCURRENCY * CHUNK
    assert report.accepted == len(ROWS) - report.unknown
    return report


@pytest.mark.parametrize(
    ("wrong", "seconds"),
    [
        pytest.param(proxies.nothing_listens_behind_nginx, 2.0, marks=needs("nginx")),
        pytest.param(proxies.nginx_limits_requests, 2.0, marks=needs("nginx")),
        pytest.param(proxies.a_server_behind_haproxy_is_frozen, 2.5, marks=needs("haproxy")),
        pytest.param(proxies.nginx_does_not_wait, 2.0, marks=needs("nginx")),
    ],
)
async def test_what_is_lost_is_what_was_under_way(wrong: Callable[..., Any], seconds: float) -> None:
    """People are added by force, so no request is repeated that may have been applied."""
    bounded(await wrong(ROWS, seconds, chunk_rows=CHUNK, max_rate=100.0))


@needs("nginx")
async def test_imports_whose_answers_were_lost_are_found() -> None:
    """On the CSV way each has its DataID: nothing is unknown."""
    report = await proxies.nginx_does_not_wait(ROWS, 2.0, chunk_rows=CHUNK, max_rate=100.0, via="csv", read_timeout=2.0)
    assert bounded(report).unknown == 0


@needs("squid", "nginx")
async def test_what_a_proxy_did_not_connect_was_not_sent() -> None:
    """It goes again."""
    report = await proxies.nothing_listens_behind_squid(ROWS, 2.0, chunk_rows=CHUNK, max_rate=100.0)
    assert bounded(report).unknown == 0


@needs("nginx")
async def test_parts_of_a_chunk_are_watched_together() -> None:
    """nginx answers 413 above 128 KiB: a chunk becomes eight, whose jobs of a second end in a second."""
    async with mailjet(import_seconds=1.0) as emulator:
        with nginx(f"client_max_body_size 128k; {passing(emulator)}") as port:
            report = await imported(port, people(700, 1000), chunk_rows=700)
        assert len(emulator.jobs) == 8
    assert report.ok
    assert report.seconds < 4.0


@needs("squid")
async def test_squid_wants_a_user() -> None:
    """That does not get better: the first request says so."""
    with squid() as proxy:
        began = time.monotonic()
        through: dict[str, Any] = {"api_url": "https://127.0.0.1:1", "proxy": f"http://127.0.0.1:{proxy.shut}"}
        report = await imported(0, ROWS, **through)
    assert f"the proxy 127.0.0.1:{proxy.shut} wants a user and a password (407)" in str(report.halted)
    assert time.monotonic() - began < 5.0
