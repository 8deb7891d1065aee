"""An Airflow of the tests' own, in a folder that goes with them. It is chosen before Airflow is imported."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from connection_keys import PUBLIC, SECRET

_FOLDER = TemporaryDirectory(prefix="mjbulk-airflow-")
HOME = Path(_FOLDER.name)
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "0",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
}


@pytest.fixture(autouse=True)
def connection(mailjet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ``mailjet_default``; the keys of the environment are others."""
    known = {"conn_type": "mailjet", "login": PUBLIC, "password": SECRET, "host": mailjet.url}
    monkeypatch.setenv("AIRFLOW_CONN_MAILJET_DEFAULT", json.dumps(known))
    monkeypatch.delenv("MJ_API_URL")
    mailjet.emulator.knobs = attrs.evolve(mailjet.emulator.knobs, credentials=[(PUBLIC, SECRET)])
    monkeypatch.setenv("MJBULK_CHUNK_ROWS", "10")
    monkeypatch.setenv("MJBULK_POLL_MIN", "0.02")


@pytest.fixture
def contacts(tmp_path: Path) -> Path:
    """41 rows: the last of them is no address."""
    file = tmp_path / "contacts.csv"
    file.write_text("email\n" + "".join(f"p{n}@example.org\n" for n in range(40)) + "nobody\n")
    return file


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Executes an operator without a scheduler."""
    from airflow.sdk.bases.operator import ExecutorSafeguard  # noqa: PLC0415  # see above

    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)

    def executes(operator: Any, **context: Any) -> Any:
        return operator.execute(context)

    return executes


@pytest.fixture(scope="session")
def dags() -> Iterator[Path]:
    """The folder of a whole Airflow, with its database."""
    from airflow.utils import db  # noqa: PLC0415

    (HOME / "dags").mkdir()
    db.initdb()
    yield HOME / "dags"
    _FOLDER.cleanup()
