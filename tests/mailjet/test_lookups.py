"""Hosts are looked up in threads that nobody waits for."""

import socket
import threading

import pytest
from aiohttp import resolver as of_aiohttp

from mjbulk.mailjet.lookups import resolver


async def test_names_and_addresses_are_looked_up_in_daemon_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what aiohttp asks for; an address of one link alone needs its interface."""
    threads = list[threading.Thread]()

    def getaddrinfo(host: str, port: int, **how: object) -> list[object]:
        threads.append(threading.current_thread())
        link = (socket.AF_INET6, how["type"], 6, "", ("fe80::1", port, 0, 7))
        return [link, (socket.AF_INET, how["type"], 6, "", ("192.0.2.1", port))]

    def getnameinfo(address: object, flags: int) -> tuple[str, str]:
        threads.append(threading.current_thread())
        return "fe80::1%eth7", "443"

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "getnameinfo", getnameinfo)
    found = resolver()
    assert found is not None
    hosts = await found.resolve("mailjet.test", 443)
    assert [(one["host"], one["port"]) for one in hosts] == [("fe80::1%eth7", 443), ("192.0.2.1", 443)]
    assert [(thread.daemon, thread.name) for thread in threads] == [(True, "mjbulk lookup")] * 2


async def test_a_failure_is_that_of_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """As aiohttp expects it."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    found = resolver()
    assert found is not None
    with pytest.raises(socket.gaierror):
        await found.resolve("mailjet.test", 443)


def test_a_resolver_without_threads_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp takes that of aiodns where it is installed."""
    monkeypatch.setattr("mjbulk.mailjet.lookups.DefaultResolver", of_aiohttp.AsyncResolver)
    assert resolver() is None
