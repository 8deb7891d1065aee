"""What goes to the workers: it is checked early, can be pickled, and has no secret in it."""

import os
import pickle
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import mjbulk
from mjbulk.partition import PartitionSpec

SECRET = "hush"


def spec_of(**said: Any) -> PartitionSpec:
    return PartitionSpec(**{"run_id": "r", "lists": {1: "addnoforce"}, "journal": "imports.db", **said})


def keys() -> mjbulk.Credentials:
    return mjbulk.Credentials("public", SECRET)


def no_keys() -> Any:
    return SECRET


def test_it_survives_a_pickle() -> None:
    """All that was said is there in the worker, and paths are absolute."""
    spec = spec_of(
        lists={1: "addforce", "News": mjbulk.Action.UNSUB}, credentials=keys, rejections="rejected", nulls="unassign"
    )
    there: PartitionSpec = pickle.loads(pickle.dumps(spec))
    assert there == spec
    assert there.lists == {1: "addforce", "News": "unsub"}
    assert (there.journal, there.rejections) == (str(Path("imports.db").absolute()), str(Path("rejected").absolute()))
    assert (there.run_id, there.terms, there.keys()) == ("r", {"nulls": "unassign"}, keys())
    assert spec_of(lists=None).lists is None


def test_no_secret_is_in_its_pickle_or_its_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and passwords are looked up in the worker."""
    for name in ("MJ_APIKEY_PUBLIC", "MJ_APIKEY_PRIVATE", "DB_PASSWORD", "REDIS_PASSWORD"):
        monkeypatch.setenv(name, SECRET)
    spec = spec_of(
        journal="postgresql://me:$DB_PASSWORD@host/db", quota="redis://:${REDIS_PASSWORD}@host/0", max_rate=20
    )
    assert spec.keys() == mjbulk.Credentials(SECRET, SECRET)
    assert spec.journal_place() == f"postgresql://me:{SECRET}@host/db"
    assert spec.shared_quota() is not None
    for one in (spec, spec_of(credentials=keys)):
        assert SECRET.encode() not in pickle.dumps(one)
        assert SECRET not in repr(one)
    assert repr(spec) == "<PartitionSpec of run 'r'>"


def test_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password is quoted for its URL, and a whole URL is taken unchanged. A path may have a dollar in it."""
    monkeypatch.setenv("SOME", "p@ss/word")
    monkeypatch.setenv("WHOLE", "postgresql://me:p%40ss@host/db")
    assert spec_of(journal="postgresql://me:$SOME@host/db").journal_place() == "postgresql://me:p%40ss%2Fword@host/db"
    assert (
        spec_of(journal="postgresql:///db?password=$SOME").journal_place() == "postgresql:///db?password=p%40ss%2Fword"
    )
    assert spec_of(journal="$WHOLE").journal_place() == os.environ["WHOLE"]
    assert spec_of(journal="/tmp/$SOME.db").journal_place() == "/tmp/$SOME.db"
    with pytest.raises(mjbulk.UsageError) as caught:
        spec_of(journal="$GONE").journal_place()
    assert "journal= names the variable GONE, which the environment of this worker does not have" in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        {"journal": f"postgresql://me:{SECRET}@host/db"},
        {"journal": f"postgresql:///db?password={SECRET}"},
        {"journal": f"postgresql:///db?sslpassword={SECRET}"},
        {"journal": f"postgresql://me:{SECRET}@[host/db"},
        {"journal": f"postgresql://me:{SECRET}/7@host/db"},
        {"journal": f"postgresql://me:$X#{SECRET}@host/db"},
        {"journal": f"postgresql://me:?{SECRET}@host/db"},
        {"quota": f"redis://:{SECRET}#7@host/0", "max_rate": 1},
        {"rejections": f"simplecache::s3://me:{SECRET}/7@bucket/folder"},
        {"quota": f"redis://:{SECRET}@host/0", "max_rate": 1},
        {"quota": f"redis://:{SECRET}$X@host/0", "max_rate": 1},
        {"rejections": f"s3://me:{SECRET}@bucket/folder"},
        {"credentials": partial(mjbulk.Credentials, "public", SECRET)},
        {"credentials": mjbulk.Credentials("public", SECRET)},
        {"credentials": lambda: mjbulk.Credentials("public", SECRET)},
    ],
)
def test_a_secret_is_refused_and_not_repeated(said: Any) -> None:
    """Neither the error nor the variables of its frames have it."""
    with pytest.raises(mjbulk.UsageError) as caught:
        spec_of(**said)
    assert SECRET not in str(caught.value)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    ours = [frame for frame in frames if frame.f_globals["__name__"].startswith("mjbulk")]
    assert ours
    assert not [frame for frame in ours if SECRET in repr(frame.f_locals)]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"timeout": 3}, "a partition has no timeout="),
        ({"run_id": ""}, "run_id= is the name of the run"),
        ({"run_id": "a\0"}, "without control characters"),
        ({"lists": {}}, "lists= is empty"),
        ({"via": "fax"}, "via= is one of json, csv"),
        ({"journal": ""}, "journal= is a path or a URL"),
        ({"journal": None}, "journal= is a path or a URL"),
        ({"max_rate": 0}, "max_rate is a number above 0"),
        ({"quota": "redis://h"}, "a quota= that workers share needs max_rate="),
        ({"credentials": "profile"}, "credentials= is a function that is called in the worker"),
    ],
)
def test_what_is_wrong_is_refused_before_a_worker_has_it(said: Any, sentence: str) -> None:
    """As an import would refuse it."""
    with pytest.raises(mjbulk.UsageError) as caught:
        spec_of(**said)
    assert sentence in str(caught.value)


def test_credentials_that_are_none() -> None:
    """A function that gives something else is named, without what it gave."""
    with pytest.raises(mjbulk.UsageError) as caught:
        spec_of(credentials=no_keys).keys()
    assert str(caught.value) == "credentials= has to give Credentials, and gave a str; nothing was sent"
    assert spec_of(credentials=partial(mjbulk.Credentials.load, "x")).credentials is not None


def test_a_rate_without_a_quota_is_for_this_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one it is for all workers together, and the settings are those of the worker."""
    monkeypatch.setenv("MJBULK_MAX_RATE", "7")
    assert (spec_of(max_rate=3).settings().max_rate, spec_of(max_rate=3).shared_quota()) == (3, None)
    shared = spec_of(max_rate=3, quota="redis://host")
    quota = shared.shared_quota()
    assert quota is not None
    assert (shared.settings().max_rate, quota.max_rate) == (7, 3)
    assert spec_of().settings().max_rate == 7
