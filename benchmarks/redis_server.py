"""A private Redis server for tests and benchmarks: on a socket in a temporary folder, with all data in memory."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RedisServer:
    """A server that can be killed and started again under the same address."""

    def __init__(self, program: str, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self._command = [program, "--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir", str(folder)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self, *options: str) -> None:
        """Start the server, and wait until it listens."""
        self._process = subprocess.Popen([*self._command, *options], stdout=subprocess.DEVNULL)
        for _ in range(500):
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self._socket)) == 0:
                    return
            time.sleep(0.01)
        raise RuntimeError("redis-server does not start")

    def pause(self) -> None:
        """Have the server answer nothing, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a pause."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the server. Its data are lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def program() -> str | None:
    """Find the program of the server; None if it is not installed."""
    return shutil.which("redis-server")


@contextmanager
def serving(program: str) -> Iterator[RedisServer]:
    """Run a server until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="mjbulk-redis-") as folder:
        server = RedisServer(program, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.kill()
