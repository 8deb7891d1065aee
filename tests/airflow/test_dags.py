"""Whole tasks, as Airflow runs them: with its database, its retries, its triggerer and its log."""

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from connection_keys import PUBLIC, SECRET

import mjbulk
from mjbulk.airflow import MailjetJobTrigger
from mjbulk.testing import Fault, Knobs, Mailjet

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.real_time,
    pytest.mark.filterwarnings("default"),  # what Airflow warns of is its own
]
POST = "POST contact/managemanycontacts"
GUIDE = (Path(mjbulk.__file__).parent / "guides" / "etl.md").read_text(encoding="utf-8")
OPERATOR, TASK = (code for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "airflow" in code)
PROGRAM = (Path(__file__).parent.parent / "programs" / "p11_airflow.py").read_text(encoding="utf-8")
OF_PROGRAM = """
from airflow.sdk import DAG, task

with DAG("program", schedule=None) as dag:
    task(retries=5)(load)("contacts.csv")
"""


@pytest.fixture
def run(dags: Path, contacts: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Runs the one task of a file with a DAG, and gives what went to XCom."""
    monkeypatch.chdir(contacts.parent)
    monkeypatch.setenv("IMPORTS_DB", str(contacts.parent / "imports.db"))
    files: list[Path] = []

    def runs(code: str) -> Any:
        name = f"dag_{abs(hash(code))}"
        files.append(dags / f"{name}.py")
        files[-1].write_text(code)
        spec = importlib.util.spec_from_file_location(name, files[-1])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found = [thing for thing in vars(module).values() if isinstance(thing, DAG)]
        (task,) = (found or [module.crm_in_one_task()])[0].test().get_task_instances()
        assert task.state == "success"
        return task.xcom_pull(task_ids=task.task_id)

    yield runs
    for file in files:
        file.unlink()


def test_a_task_that_crashes_after_it_has_sent(
    mailjet: Mailjet,
    run: Callable[[str], Any],
    contacts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Airflow has not yet heard of the jobs. A retry sends nothing, and is deferred until they have ended."""
    mailjet.emulator.knobs = Knobs(queue_seconds=4.0, credentials=[(PUBLIC, SECRET)])
    deferred: list[Any] = []

    def crashes(*jobs: Any) -> Any:
        deferred.append(jobs)
        if len(deferred) == 1:
            raise RuntimeError("the worker is gone")
        return MailjetJobTrigger(*jobs)

    monkeypatch.setattr("mjbulk.airflow.operator.MailjetJobTrigger", crashes)
    counts = run(OPERATOR)
    assert (counts["accepted"], counts["rejected"], counts["complete"]) == (40, 1, True)
    assert (mailjet.emulator.count(POST), len(deferred)) == (4, 2)
    assert "nobody" in (contacts.parent / counts["rejections"]).read_text()
    said = "".join(capfd.readouterr())
    assert "4 jobs are under way" in said
    assert not re.search(rf"example\.org|{PUBLIC}|{SECRET}", said)


@pytest.mark.parametrize("code", [TASK, PROGRAM + OF_PROGRAM], ids=["guide", "program"])
def test_a_task_without_the_operator(
    mailjet: Mailjet, run: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Each try of it goes on where the one before it stood."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.01, prepare_seconds=0.0, import_seconds=0.0)
    monkeypatch.setenv("MJ_API_URL", mailjet.url)
    while 42 not in mailjet.emulator.lists:
        mailjet.emulator.create_list("one of many")
    mailjet.emulator.fault(POST, Fault.answer(403, "{}"), after=2)
    counts = run(code)
    assert (counts["accepted"], counts["rejected"], counts["complete"]) == (40, 1, True)
    assert mailjet.emulator.count(POST) == 4 + 1
