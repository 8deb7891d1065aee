"""The pytest plugin: one fixture, nothing automatic.

pytest imports this module in every run of every user, so it imports the emulator only when the fixture is used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mjbulk.testing.fixture import Mailjet


@pytest.fixture
def mailjet(monkeypatch: pytest.MonkeyPatch) -> "Iterator[Mailjet]":
    """Serve a stand-in for Mailjet on this machine, and point mjbulk's environment variables at it."""
    from mjbulk.testing.fixture import QUICK, Mailjet, serve_in_thread  # noqa: PLC0415 - see the module's docstring

    with serve_in_thread(QUICK) as served:
        monkeypatch.setenv("MJ_API_URL", served.url)
        monkeypatch.setenv("MJ_APIKEY_PUBLIC", "test-public-key")
        monkeypatch.setenv("MJ_APIKEY_PRIVATE", "test-private-key")
        monkeypatch.setenv("MJBULK_POLL_MIN", "0.01")
        yield Mailjet(served.emulator)
