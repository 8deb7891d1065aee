"""What a run needs and a client that was only made does not, loaded in a thread.

To import the HTTP library and cattrs, and to read the certificates that the system trusts, takes longer than an event
loop may be held. Other modules are loaded by Python and its libraries when they are first used: in the event loop, if
they are not loaded here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from mjbulk.config import Credentials, Settings
from mjbulk.mailjet.replies import converter
from mjbulk.mailjet.window import Window
from mjbulk.threads import DaemonThread

if TYPE_CHECKING:
    from mjbulk.mailjet.http import Exchange

_FIRST_USED_LATER = (
    "concurrent.futures.thread",
    "encodings.punycode",
    "encodings.utf_8_sig",
    "idna.uts46data",
    "_strptime",
)
_loaded = False


async def load() -> None:
    """Load it, the first time in a process. It has to come before an `Engine` is started."""
    global _loaded  # noqa: PLW0603  # so are modules: once in a process
    if _loaded:
        return
    thread = DaemonThread("mjbulk loads")
    try:
        await thread.ask(_load)
    finally:
        thread.end()
    _loaded = True


def _load() -> None:
    from mjbulk.mailjet.http import system_trust  # noqa: PLC0415  # see above

    system_trust()
    converter()
    for name in _FIRST_USED_LATER:
        import_module(name)


def exchange_of(credentials: Credentials, settings: Settings, window: Window) -> "Exchange":
    """Make the exchange of an API key."""
    from mjbulk.mailjet.http import Exchange  # noqa: PLC0415  # see above

    return Exchange(credentials, settings, window)
