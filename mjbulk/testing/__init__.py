"""A stand-in for Mailjet on this machine: for the tests of programs that use mjbulk, and for trying things out.

`Emulator` serves it in the running event loop, `serve_in_thread` in a thread of its own; the pytest fixture
``mailjet`` (a `Mailjet`) does the latter and points mjbulk's environment variables at it. It is strict where
Mailjet's behaviour is known, and `Knobs` turn what is not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mjbulk.testing._faults import Fault
    from mjbulk.testing._jobs import EmulatedJob
    from mjbulk.testing._knobs import Knobs
    from mjbulk.testing._state import EmulatedContact
    from mjbulk.testing.emulator import Emulator, serve
    from mjbulk.testing.fixture import Mailjet, serve_in_thread

__all__ = [
    "EmulatedContact",
    "EmulatedJob",
    "Emulator",
    "Fault",
    "Knobs",
    "Mailjet",
    "serve",
    "serve_in_thread",
]

_HOMES = {
    "EmulatedContact": "_state",
    "EmulatedJob": "_jobs",
    "Emulator": "emulator",
    "Fault": "_faults",
    "Knobs": "_knobs",
    "Mailjet": "fixture",
    "serve": "emulator",
    "serve_in_thread": "fixture",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: pytest loads the plugin in every user's every run."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
