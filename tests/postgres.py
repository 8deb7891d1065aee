"""A PostgreSQL server of the tests' own: a private folder, a socket in it and no port, and an end."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

from attrs import Factory, frozen

OWNER = "mjbulk"
_SETTINGS = (
    "listen_addresses=",
    "fsync=off",  # nothing of it has to outlive the tests
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
)


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


@contextmanager
def serving(programs: Path) -> Iterator[Postgres]:
    """Run a server. It refuses to run as root: then it runs as its own user, as Debian's package makes it."""
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="mjbulk-pg-", dir=_memory()) as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)

        def call(program: str, *arguments: str) -> None:
            command = [str(programs / program), "-D", str(folder / "data"), *arguments]
            log = subprocess.run(command, user=user, cwd=folder, check=False, capture_output=True, text=True)
            assert log.returncode == 0, log.stdout + log.stderr

        call("initdb", "--auth=trust", f"--username={OWNER}", "--encoding=UTF8", "--no-locale", "--no-sync")
        settings = " ".join(f"-c {setting}" for setting in (*_SETTINGS, f"unix_socket_directories={folder}"))
        call("pg_ctl", "start", "--wait", f"--log={folder / 'log'}", "-o", settings)
        try:
            yield Postgres(programs, folder)
        finally:
            call("pg_ctl", "stop", "--wait", "--mode=immediate")
