"""What a worker has to know about a run that many workers share. It can be pickled, and has no secret in it."""

import os
import pickle
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Unpack
from urllib.parse import parse_qsl, quote, urlsplit

from attrs import frozen

from mjbulk.config import Credentials, Settings
from mjbulk.discreet import discreet
from mjbulk.errors import UsageError
from mjbulk.journal.records import number_of
from mjbulk.mailjet.redis_quota import RedisQuota
from mjbulk.public import public
from mjbulk.terms import Action, ListActions, ListRef, RunSpec, RunTerms
from mjbulk.validators import POSITIVE, fits

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
"""A variable of the worker's environment."""
_USER = re.compile(r"://[^:/?#@]*:([^@]*)@")
"""A user and a password as SQLAlchemy reads them: the password may have a slash, and whatever else ends a host."""


@public
@frozen(kw_only=True, init=False, repr=False, hash=False)
class PartitionSpec:
    """What all partitions of a run have in common. It goes to the workers of any engine as a pickle, without a secret.

    ``journal`` is the URL of a PostgreSQL database, or the path of a SQLite file if all workers are on one machine. It
    makes a partition that runs twice harmless, so it has to be the same for all workers. ``quota`` is the URL of a
    Redis: ``max_rate`` is then for all workers together, and else for each partition. ``credentials`` is called in the
    worker, and gives the keys: a function of a module, or a ``functools.partial`` of one. None takes those of the
    worker's environment. ``rejections`` is a folder that gets a CSV file for each partition with rejected rows, or
    the URL of one that fsspec knows, such as ``s3://bucket/folder``. The
    other keywords are those of `mjbulk.Client.import_contacts`.

    A password in a URL is the name of a variable of the worker's environment, as in ``redis://:$REDIS_PASSWORD@host``;
    the whole URL may be one, too. Raises UsageError for a password itself, and for wrong keywords.
    """

    run_id: str
    """The name of the run."""
    lists: Mapping[ListRef, Action] | None
    """Lists with their actions; None for no list."""
    journal: str
    """The URL or path of the journal. The password in it is the name of a variable."""
    quota: str | None
    """The URL of a Redis. The password in it is the name of a variable."""
    max_rate: float | None
    """Requests a second: of all workers together with a ``quota``, of each partition without one."""
    credentials: Callable[[], Credentials] | None
    """Gives the keys in the worker."""
    rejections: str | None
    """The folder of the files with rejected rows, or its URL."""
    terms: Mapping[str, Any]
    """The other keywords."""

    @discreet
    def __init__(
        self,
        *,
        run_id: str,
        lists: ListActions | None,
        journal: str,
        quota: str | None = None,
        max_rate: float | None = None,
        credentials: Callable[[], Credentials] | None = None,
        rejections: str | None = None,
        **terms: Unpack[RunTerms],
    ) -> None:
        """Check everything that can be checked without a worker."""
        if wrong := set(terms) - set(RunTerms.__annotations__):
            raise UsageError(f"a partition has no {min(wrong)}=")
        if not run_id:
            raise UsageError("run_id= is the name of the run")
        number_of("", run_id, "")
        spec = RunSpec.of(lists, terms)
        _check_rate(max_rate, quota)
        _check_credentials(credentials)
        self.__attrs_init__(
            run_id=run_id,
            lists=None if spec.lists is None else dict(spec.lists),
            journal=_place(journal, "journal"),
            quota=None if quota is None else _place(quota, "quota"),
            max_rate=max_rate,
            credentials=credentials,
            rejections=None if rejections is None else _place(rejections, "rejections"),
            terms=dict(terms),
        )

    def __repr__(self) -> str:
        return f"<PartitionSpec of run {self.run_id!r}>"

    # In the worker

    def keys(self) -> Credentials:
        """Give the keys. Raises UsageError if there are none, and what ``credentials`` raises."""
        keys = Credentials.load() if self.credentials is None else self.credentials()
        if not isinstance(keys, Credentials):
            raise UsageError(f"credentials= has to give Credentials, and gave a {type(keys).__name__}")
        return keys

    def settings(self) -> Settings:
        """Give the settings, which come from the worker's environment. Raises UsageError."""
        alone = self.quota is None and self.max_rate is not None
        return Settings(max_rate=self.max_rate) if alone else Settings()

    def shared_quota(self) -> RedisQuota | None:
        """Give the quota in Redis, if there is one. Raises UsageError."""
        if self.quota is None or self.max_rate is None:
            return None
        return RedisQuota(_filled(self.quota, "quota"), max_rate=self.max_rate)

    @property
    def journal_is_file(self) -> bool:
        """Whether the journal is a file, as far as is known without the worker's environment."""
        return self.journal.startswith("sqlite:") or not ("://" in self.journal or _VARIABLE.fullmatch(self.journal))

    def journal_place(self) -> str:
        """Give the URL or path of the journal, with its password. Raises UsageError if that is not known here."""
        return _filled(self.journal, "journal")


def _check_rate(max_rate: float | None, quota: str | None) -> None:
    if max_rate is not None and not fits(POSITIVE, max_rate):
        raise UsageError("max_rate is a number above 0")
    if quota is not None and max_rate is None:
        raise UsageError("a quota= that workers share needs max_rate=, the requests a second of all of them together")


def _check_credentials(credentials: Any) -> None:
    """Raise UsageError for anything but a function that can be pickled, and has no keys in it."""
    if credentials is None:
        return
    function = credentials
    while isinstance(function, partial):
        function = function.func
    if not callable(function) or function is Credentials:
        raise UsageError("credentials= is a function that is called in the worker and gives the keys, not the keys")
    try:
        pickle.dumps(credentials)
    except Exception:  # noqa: BLE001  # what it holds may raise anything
        raise UsageError(
            "credentials= cannot be pickled: give a function of a module, or a functools.partial of one, such as "
            "partial(mjbulk.Credentials.load, 'PROFILE')"
        ) from None


def _place(where: str | os.PathLike[str], name: str) -> str:
    """Give a URL, the name of a variable, or an absolute path. Raises UsageError for a URL with a password in it."""
    if not isinstance(where, str | os.PathLike) or not (text := os.fspath(where)):
        raise UsageError(f"{name}= is a path or a URL")
    if "://" in text:
        _check_url(text, name)
        return text
    return text if _VARIABLE.fullmatch(text) and name != "rejections" else str(Path(text).absolute())


def _check_url(url: str, name: str) -> None:
    try:
        parts = urlsplit(url)
        secrets = [parts.password or "", *_USER.findall(url)]
    except ValueError:
        raise UsageError(f"{name}= cannot be read as a URL") from None
    secrets += (value for word, value in parse_qsl(parts.query) if "password" in word.casefold())
    if any(secret and not _VARIABLE.fullmatch(secret) for secret in secrets):
        raise UsageError(
            f"{name}= has a password in it, which would go to every worker and scheduler: name a variable of the "
            "worker's environment in its place, as in redis://:$REDIS_PASSWORD@host"
        )


@discreet
def _filled(text: str, name: str) -> str:
    """Put values of the environment in the place of their names. Raises UsageError if there is no such variable."""
    if whole := _VARIABLE.fullmatch(text):
        return _value(whole, name)
    return _VARIABLE.sub(lambda found: quote(_value(found, name), safe=""), text) if "://" in text else text


def _value(found: re.Match[str], name: str) -> str:
    variable = found[1] or found[2]
    value = os.environ.get(variable)
    if not value:
        raise UsageError(f"{name}= names the variable {variable}, which the environment of this worker does not have")
    return value
