"""A stand-in for Mailjet on this machine: for the tests of programs that use mjbulk, and for trying mjbulk out.

`Emulator` runs it in the current event loop, `serve_in_thread` in a thread of its own. The pytest fixture ``mailjet``
(a `Mailjet`) also uses a thread, and points mjbulk's environment variables at the server. The emulator is strict where
Mailjet's behaviour is known; where it is not known, `Knobs` set it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mjbulk.testing._clock import VirtualClockLoop
    from mjbulk.testing._faults import Fault
    from mjbulk.testing._jobs import EmulatedJob
    from mjbulk.testing._knobs import Knobs
    from mjbulk.testing._state import EmulatedContact
    from mjbulk.testing.emulator import Emulator, serve
    from mjbulk.testing.fixture import Mailjet, MailjetAccount, serve_in_thread

__all__ = [
    "EmulatedContact",
    "EmulatedJob",
    "Emulator",
    "Fault",
    "Knobs",
    "Mailjet",
    "MailjetAccount",
    "VirtualClockLoop",
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
    "MailjetAccount": "fixture",
    "VirtualClockLoop": "_clock",
    "serve": "emulator",
    "serve_in_thread": "fixture",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, because pytest loads the plugin in every test run of every user."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
