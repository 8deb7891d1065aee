"""The operator by itself: what a retry does, what fails a task, and what is refused."""

import asyncio
import csv
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from connection_keys import PUBLIC, SECRET

import mjbulk
from mjbulk.airflow import MailjetHook, MailjetImportOperator
from mjbulk.testing import Fault, Knobs, Mailjet

pytestmark = [pytest.mark.airflow, pytest.mark.real_time]
POST = "POST contact/managemanycontacts"


class FakeTask:
    """As much of a task instance as the operator uses."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def operator(contacts: Path, tmp_path: Path) -> Callable[..., Any]:
    def make(**said: Any) -> Any:
        journal = str(tmp_path / "imports.db")
        known = {"source": str(contacts), "lists": {1: "addnoforce"}, "run_id": "r", "journal": journal}
        return MailjetImportOperator(**{"task_id": "t", **known, **said})

    return make


Make = Callable[..., Any]


def test_a_retry_continues_the_run(mailjet: Mailjet, operator: Make, execute: Make, tmp_path: Path) -> None:
    """Each chunk is sent once; a task that is cleared gives the same counts, and writes the same rejected rows."""
    bad = tmp_path / "new" / "bad.csv"
    mailjet.emulator.fault(POST, Fault.answer(403, "{}"), after=2)
    with pytest.raises(mjbulk.ImportHalted) as halted:
        execute(operator(rejections=str(bad)))
    assert "example.org" not in str(halted.value)
    assert not bad.exists()
    counts = execute(operator(rejections=str(bad)))
    assert {
        name: counts[name] for name in ("run_id", "rows", "accepted", "rejected", "complete", "stored", "rejections")
    } == {
        "run_id": "r",
        "rows": 41,
        "accepted": 40,
        "rejected": 1,
        "complete": True,
        "stored": False,
        "rejections": str(bad),
    }
    with bad.open(newline="") as file:
        assert [(row["row"], row["email"]) for row in csv.DictReader(file)] == [("41", "nobody")]
    text, posts = bad.read_text(), mailjet.emulator.count(POST)
    assert posts == 4 + 1
    bad.unlink()
    assert execute(operator(rejections=str(bad))) == {**counts, "stored": True}
    assert (bad.read_text(), mailjet.emulator.count(POST)) == (text, posts)


def test_too_many_rejected_rows_fail_the_task(operator: Make, execute: Make, tmp_path: Path) -> None:
    """For good: a retry would find the same rows. Their counts and their file are there all the same."""
    bad, task = tmp_path / "bad.jsonl", FakeTask()
    for _ in range(2):
        with pytest.raises(AirflowFailException, match=r"^run 'r': 1 row was rejected, 0 are allowed$"):
            execute(operator(max_rejected=0, rejections=str(bad)), ti=task)
    assert task.pushed["return_value"]["rejected"] == 1
    assert '"nobody"' in bad.read_text()
    assert execute(operator(max_rejected=1))["rejected"] == 1


def test_rejected_rows_go_to_an_object_store(operator: Make, execute: Make, tmp_path: Path) -> None:
    """A URL is one of ObjectStoragePath; without a rejected row there is no file."""
    url = f"file://{tmp_path}/bad.csv"
    assert execute(operator(rejections=url))["rejections"] == url
    assert "nobody" in (tmp_path / "bad.csv").read_text()
    rows = [{"email": "a@example.org"}]
    assert execute(operator(run_id="s", source=lambda _: rows, rejections=url))["rejections"] is None


def test_a_function_gives_the_rows(operator: Make, execute: Make, mailjet: Mailjet) -> None:
    """It is called in the worker, with the context of the task; other keywords are those of an import."""
    terms = {"columns": {"who": "email", "city": "town"}, "create_properties": True}
    made = operator(source=lambda context: [{"who": f"{context['ds']}@example.org", "city": "Graz"}], **terms)
    assert execute(made, ds="monday")["accepted"] == 1
    assert mailjet.contacts["monday@example.org"].properties == {"town": "Graz"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"source": [{"email": "a@example.org"}]}, "source= is a path, or a function"),
        ({"rejections": "bad.txt"}, r"rejections= is a file that ends in \.csv"),
        ({"journal": "postgresql://me:pass@host/db"}, "journal= has a password in it"),
        ({"run_id": ""}, "run_id= is the name"),
        ({"lists": {1: "add"}}, "add"),
    ],
)
def test_what_is_refused(operator: Make, execute: Make, mailjet: Mailjet, said: dict[str, Any], why: str) -> None:
    with pytest.raises(mjbulk.UsageError, match=why) as refused:
        execute(operator(**said))
    assert "@example.org" not in str(refused.value)
    assert mailjet.requests == 0


def test_the_variables_of_an_error_have_no_row(operator: Make, execute: Make) -> None:
    """Tools show them in logs."""
    rows = [{"email": "p1@example.org", "wrong": 1}]
    with pytest.raises(mjbulk.UsageError, match="no property 'wrong'") as refused:
        execute(operator(source=lambda _: rows))
    frames = [frame for frame, _ in traceback.walk_tb(refused.value.__traceback__)]
    seen = [repr(frame.f_locals) for frame in frames if frame.f_globals["__name__"].startswith("mjbulk")]
    assert seen
    assert not [one for one in seen if "example.org" in one]


def test_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its host may be a name alone; one without keys is refused, and no error has the secret."""
    monkeypatch.setenv("AIRFLOW_CONN_EU", f"mailjet://{PUBLIC}:{SECRET}@api.us.mailjet.com:8443")
    assert "https://api.us.mailjet.com:8443" in repr(MailjetHook("eu").get_conn())
    monkeypatch.setenv("AIRFLOW_CONN_USUAL", f"mailjet://{PUBLIC}:{SECRET}@")
    assert "https://api.mailjet.com" in repr(MailjetHook("usual").get_conn())
    for wrong, why in [
        (f"mailjet://:{SECRET}@", "needs a login"),
        (f"mailjet://{PUBLIC}:{SECRET}@http%3A%2F%2Fx", "http"),
    ]:
        monkeypatch.setenv("AIRFLOW_CONN_WRONG", wrong)
        with pytest.raises(mjbulk.UsageError, match=why) as refused:
            MailjetHook("wrong").get_conn()
        assert SECRET not in str(refused.value)


def test_it_is_mapped(operator: Make) -> None:
    """Each file of a folder can be a task of its own, on the same terms."""
    with DAG("mapped", schedule=None):
        same = {"lists": {1: "addnoforce"}, "journal": "imports.db", "columns": ["email"], "via": "json"}
        names = [{"source": f"{n}.csv", "run_id": f"r{n}"} for n in range(2)]
        MailjetImportOperator.partial(task_id="t", **same).expand_kwargs(names)


# Deferred


def test_it_is_deferred_while_jobs_are_under_way(operator: Make, execute: Make, mailjet: Mailjet) -> None:
    """The trigger has the names of the jobs. A row of a person who is in one of them goes out after it has ended."""
    mailjet.emulator.knobs = Knobs(queue_seconds=0.6)
    rows = [*({"email": f"p{n}@example.org"} for n in range(20)), {"email": "p0@example.org"}]
    made = operator(source=lambda _: rows, deferrable=True)
    for jobs in (2, 1):
        with pytest.raises(TaskDeferred) as deferred:
            made.execute_complete({}) if jobs == 1 else execute(made)
        trigger = deferred.value.trigger
        assert [job.partition(":")[0] for job in trigger.jobs] == ["contact"] * jobs
        asyncio.run(anext(trigger.run()))
    counts = made.execute_complete({}, event={"jobs": 1})
    assert (counts["accepted"], counts["complete"], mailjet.emulator.count(POST)) == (21, True, 3)


def test_a_run_whose_jobs_end_at_once_is_not_deferred(operator: Make, execute: Make) -> None:
    assert execute(operator(deferrable=True))["accepted"] == 40


def test_jobs_that_end_while_the_run_is_stopped(
    operator: Make, execute: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is made again: what gives its rows once has none left for the file of rejected rows."""

    async def stopped(run: mjbulk.ImportRun) -> bool:
        await run.wait()
        return not (run.report and run.report.stored)

    monkeypatch.setattr("mjbulk.airflow.operator._stopped", stopped)
    bad = tmp_path / "bad.csv"
    made = operator(source=lambda _: iter([{"email": "nobody"}, {"email": "p@example.org"}]), deferrable=True)
    made.rejections = str(bad)
    assert execute(made)["accepted"] == 1
    assert "1,nobody,email" in bad.read_text()


def test_a_task_that_is_killed_can_continue(operator: Make, execute: Make, mailjet: Mailjet) -> None:
    """The run stops, and leaves its jobs where they are."""
    mailjet.emulator.knobs = Knobs(queue_seconds=1.0)
    made = operator()
    made.on_kill()  # before it has begun
    threading.Timer(0.5, made.on_kill).start()
    with pytest.raises(mjbulk.Error, match="run 'r' was stopped: a retry of the task continues it"):
        execute(made)
    assert execute(operator())["accepted"] == 40
    assert mailjet.emulator.count(POST) == 4
