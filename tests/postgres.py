"""A PostgreSQL server of the tests' own, and poolers in front of it: with sockets in a private folder, and no port."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

from attrs import Factory, evolve, frozen

OWNER = "mjbulk"
_PORT = 5432
_SETTINGS = ("listen_addresses=", "shared_buffers=16MB")
_FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
"""Nothing has to outlive the tests."""


@frozen
class Postgres:
    """A server that runs."""

    programs: Path
    folder: Path
    """Where its socket lies."""
    numbers: Iterator[int] = Factory(count)

    def create_database(self) -> str:
        """Make an empty database, and give its name."""
        name = f"test_{next(self.numbers)}"
        self.sql(f"create database {name}")
        return name

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement, and give its rows as text."""
        command = [str(self.programs / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement]
        env = {**os.environ, **self.environment(database)}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    def environment(self, database: str) -> dict[str, str]:
        """Give the variables by which every PostgreSQL client finds a database."""
        return {"PGHOST": str(self.folder), "PGUSER": OWNER, "PGDATABASE": database}

    def end_sessions(self, database: str) -> None:
        """End all sessions of a database."""
        self.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'")

    def restart(self) -> None:
        """Restart the server, as after a crash."""
        self.control("restart", "--mode=immediate")

    def control(self, *order: str) -> None:
        """Have the server started or stopped."""
        _call(self.programs / "pg_ctl", self.folder, *order, "--wait", "-s", f"--log={self.folder / 'log'}")

    @contextmanager
    def pooled(self, mode: str, size: int = 20, *more: str) -> "Iterator[Postgres]":
        """Run a pooler, and give the server behind it. ``mode`` is pgbouncer's ``pool_mode``; it may have ``more``
        settings.
        """
        folder = self.folder / f"pooler-{next(self.numbers)}"
        folder.mkdir()
        settings = [
            f"[databases]\n* = host={self.folder} user={OWNER}\n[pgbouncer]\nlisten_addr =\nauth_type = any",
            f"unix_socket_dir = {folder}\npool_mode = {mode}\ndefault_pool_size = {size}\nlisten_port = {_PORT}",
            "server_login_retry = 1",
            *more,
        ]
        (folder / "settings").write_text("\n".join(settings))
        if user := _user():
            shutil.chown(folder, user)
        command = [str(pooler()), "-q", str(folder / "settings")]
        with subprocess.Popen(command, user=user, cwd=folder, stderr=subprocess.DEVNULL) as process:
            try:
                while not _listens(folder / f".s.PGSQL.{_PORT}"):
                    assert process.poll() is None, "pgbouncer has ended"
                    time.sleep(0.01)
                yield evolve(self, folder=folder)
            finally:
                process.kill()

    def url(self, database: str, driver: str = "postgresql+psycopg") -> str:
        """Give the address of a database, as SQLAlchemy has it."""
        return f"{driver}://{OWNER}@/{database}?host={quote(str(self.folder), safe='')}"


def programs() -> Path | None:
    """Find the server's programs: Debian keeps them off the path."""
    folders = map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
    found = shutil.which("initdb", path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))
    return Path(found).resolve().parent if found else None


def _memory() -> str | None:
    """Find a folder in memory with room for some hundred databases: on a disk they cost seconds to make and remove."""
    folder = "/dev/shm"
    return folder if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 4 << 30 else None


def pooler() -> Path | None:
    """Find pgbouncer."""
    found = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    return Path(found) if found else None


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def _user() -> str | None:
    """Give who runs the programs. They refuse to run as root: then it is the user that Debian's package makes."""
    return "postgres" if os.geteuid() == 0 else None


def _call(program: Path, folder: Path, *arguments: str) -> None:
    command = [str(program), "-D", str(folder / "data"), *arguments]
    log = subprocess.run(command, user=_user(), cwd=folder, check=False, capture_output=True, text=True)
    assert log.returncode == 0, log.stdout + log.stderr


@contextmanager
def serving(programs: Path, *, durable: bool = False) -> Iterator[Postgres]:
    """Run a server; a ``durable`` one has its data on disk, and waits for that."""
    with tempfile.TemporaryDirectory(prefix="mjbulk-pg-", dir=None if durable else _memory()) as name:
        folder = Path(name)
        if user := _user():
            shutil.chown(folder, user)
        making = ("--auth=trust", f"--username={OWNER}", "--encoding=UTF8", "--no-locale", "--no-sync")
        _call(programs / "initdb", folder, *making)
        server = Postgres(programs, folder)
        chosen = _SETTINGS if durable else (*_SETTINGS, *_FORGETFUL)
        settings = " ".join(f"-c {setting}" for setting in (*chosen, f"unix_socket_directories={folder}"))
        server.control("start", "-o", settings)
        try:
            yield server
        finally:
            server.control("stop", "--mode=immediate")
