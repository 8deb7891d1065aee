"""Rows as people have them: what has named fields is taken by these, everything else is refused with what helps."""

import gc
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple
from weakref import ref

import attrs
import pytest

from mjbulk.models import Contact
from mjbulk.rows.objects import Nameless, take_apart
from mjbulk.rows.values import RowFault

A = "ann@example.org"


class Record:
    """As a database gives rows: keys() and [], and no mapping."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def keys(self) -> Iterable[str]:
        return self.fields.keys()

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]


def shown(row: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    taken = take_apart(row)
    return taken.names, tuple(taken.values)


@pytest.mark.parametrize(
    "row",
    [
        {"email": A, "age": 7},
        OrderedDict(email=A, age=7),
        Record(email=A, age=7),
        type("Sub", (dict,), {})(email=A, age=7),
    ],
    ids=lambda row: type(row).__name__,
)
def test_rows_that_can_be_taken_apart(row: Any) -> None:
    """Anything with keys() and [] is a row."""
    assert shown(row) == (("email", "age"), (A, 7))
    assert take_apart(row).as_dict() == {"email": A, "age": 7}


def test_a_bare_address_is_a_row() -> None:
    """A text is a row of an address."""
    assert shown(A) == (("email",), (A,))


def test_contacts_are_rows() -> None:
    """A Contact gives what it was given, and nothing for what was left out."""
    assert shown(Contact(A)) == (("email", "properties"), (A, {}))
    assert shown(Contact(A, name="Ann", properties={"x": 1}, excluded=False)) == (
        ("email", "properties", "name", "isexcludedfromcampaigns"),
        (A, {"x": 1}, "Ann", False),
    )


class Liar:
    """Names a value that it does not have."""

    def keys(self) -> list[Any]:
        return ["email"]

    def __getitem__(self, key: Any) -> Any:
        raise KeyError(key)


class Short(Liar):
    """The same, as a sequence says it."""

    def __getitem__(self, key: Any) -> Any:
        raise IndexError(key)


class Unhashable(Liar):
    """Has a name that cannot be a name."""

    def keys(self) -> list[Any]:
        return [["email"]]

    def __getitem__(self, key: Any) -> Any:
        return A


@pytest.mark.parametrize("row", [Liar(), Short(), Unhashable()], ids=lambda row: type(row).__name__)
def test_rows_that_raise(row: Any) -> None:
    """A row whose fields cannot be read costs its own number; what it raised is named, not what it said."""
    with pytest.raises(RowFault) as caught:
        take_apart(row)
    assert not isinstance(caught.value, Nameless)
    assert caught.value.message.startswith(f"the fields of this {type(row).__name__} cannot be read (")


class Series:
    """As pandas names it."""


@pytest.mark.parametrize(
    ("row", "remedy"),
    [
        (None, "a row is of type NoneType, which has no named fields: give dicts, or objects with fields"),
        (7, "a row is of type int, which has no named fields"),
        (object(), "a row is of type object, which has no named fields"),
        (b"a@b.de", "a row is of type bytes, which has no named fields"),
        ((A, 7), "a row is a tuple, whose values have no names: give dict(zip(names, row)), or what has the names"),
        ([A], "a row is a list, whose values have no names"),
        ((0, Series()), "a row is what iterrows() gives: give the frame itself"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_names(row: Any, remedy: str) -> None:
    """Anything else is refused, by its type alone, and the sentence says what helps."""
    with pytest.raises(Nameless) as caught:
        take_apart(row)
    assert caught.value.field is None
    assert caught.value.message.startswith(remedy)


# Objects with fields


@dataclass
class OfDataclass:
    email: str
    age: int = 7
    KIND: ClassVar[str] = "none of the fields"


@attrs.define
class OfAttrs:
    email: str
    age: int = 7


class OfNamedTuple(NamedTuple):
    email: str
    age: int = 7


@dataclass(slots=True)
class Alone:
    email: str


@dataclass
class Empty:
    """Has no field."""


@pytest.mark.parametrize("row", [OfDataclass(A), OfAttrs(A), OfNamedTuple(A)], ids=lambda row: type(row).__name__)
def test_objects_are_taken_by_their_fields(row: Any) -> None:
    """In their order, and nothing else of the class."""
    assert shown(row) == (("email", "age"), (A, 7))


def test_objects_with_one_field_and_with_none() -> None:
    """One field is a row; without any there is nothing that could have a name."""
    assert shown(Alone(A)) == (("email",), (A,))
    with pytest.raises(Nameless):
        take_apart(Empty())


def test_a_field_that_is_not_set() -> None:
    """It cannot be read, and costs its own row."""
    row = OfDataclass(A)
    del row.email
    with pytest.raises(RowFault) as caught:
        take_apart(row)
    assert caught.value.message == "the fields of this OfDataclass cannot be read (AttributeError)"


class Nosy(type):
    looked = 0

    def __getattribute__(cls, name: str) -> Any:
        Nosy.looked += 1
        if name == "__mapper__":
            raise RuntimeError("do not touch")
        return super().__getattribute__(name)


def test_a_class_is_looked_at_once() -> None:
    """Whatever it raises then; its next rows are known. And it is not kept alive."""

    class Row(metaclass=Nosy):
        _fields = ("email",)

        def _asdict(self) -> Any: ...

        def __iter__(self) -> Any:
            return iter((A,))

    assert shown(Row()) == (("email",), (A,))
    looked = Nosy.looked
    assert shown(Row()) == (("email",), (A,))
    assert Nosy.looked == looked
    kept = ref(Row)
    del Row
    gc.collect()
    assert kept() is None


# As libraries have them: classes with what the table looks at. test_carriers.py has the real ones.


class Field:
    def __init__(self, name: str, *, deferred: bool = False) -> None:
        self.attname = self.key = name
        self.deferred = deferred


class Mapped:
    """An object of SQLAlchemy. What is not loaded is not in it."""

    class __mapper__:  # noqa: N801  # its name there
        column_attrs = (Field("email"), Field("age"), Field("photo", deferred=True))

    def __init__(self, *, expired: bool, **loaded: Any) -> None:
        vars(self).update(loaded)
        self._sa_instance_state = SimpleNamespace(expired=expired)

    def __getattr__(self, name: str) -> Any:
        return f"{name} loaded again"


class ResultRow(tuple[Any, ...]):
    __slots__ = ()
    _fields = ("email", "age")
    _mapping = _asdict = None


def test_mapped_objects() -> None:
    """What is loaded is taken; after a commit all of it is loaded again, but what is always left for later."""
    assert shown(Mapped(expired=False, age=7, email=A)) == (("email", "age"), (A, 7))
    assert shown(Mapped(expired=False, email=A)) == (("email",), (A,))
    assert shown(Mapped(expired=True)) == (("email", "age"), ("email loaded again", "age loaded again"))


def test_rows_of_a_result() -> None:
    """They have their names; one mapped object alone is the row itself, as of ``select(Person)``."""
    assert shown(ResultRow((A, 7))) == (("email", "age"), (A, 7))
    assert shown(ResultRow((Mapped(expired=False, email=A),))) == (("email",), (A,))


def test_objects_of_django_and_peewee() -> None:
    """What is loaded is taken: a query for one more field could block."""

    class OfDjango:
        _meta = SimpleNamespace(concrete_fields=(Field("email"), Field("group_id"), Field("photo")))

    class OfPeewee:
        _meta = SimpleNamespace(sorted_field_names=("email", "group"))
        __data__: ClassVar[dict[str, Any]] = {"email": A, "group": 7}

    row = OfDjango()
    vars(row).update(_state=None, group_id=7, email=A, total=3)
    assert shown(row) == (("email", "group_id"), (A, 7))
    assert shown(OfPeewee()) == (("email", "group"), (A, 7))


class Void:
    """As numpy has elements of structured arrays, and others without names."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        self.dtype = SimpleNamespace(names=tuple(fields) or None)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


Void.__module__, Void.__name__ = "numpy", "void"


def test_elements_of_structured_arrays() -> None:
    """They have names; other bytes of numpy have none."""
    assert shown(Void(email=A, age=7)) == (("email", "age"), (A, 7))
    with pytest.raises(Nameless):
        take_apart(Void())


def test_models_of_pydantic() -> None:
    """They dump themselves; one that dumps no fields has no names."""

    class Model:
        model_fields: ClassVar[dict[str, Any]] = {}

        def __init__(self, dumped: Any) -> None:
            self.dumped = dumped

        def model_dump(self) -> Any:
            return self.dumped

    assert shown(Model({"email": A})) == (("email",), (A,))
    with pytest.raises(Nameless):
        take_apart(Model([A]))


def test_structs_of_msgspec() -> None:
    """They name their fields."""

    class Struct:
        __struct_fields__ = ("email", "age")
        email, age = A, 7

    assert shown(Struct()) == (("email", "age"), (A, 7))
