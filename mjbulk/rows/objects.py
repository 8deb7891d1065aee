"""Rows as people have them: whatever has named fields is taken by these, and a bare address as what it is.

One table says what is known about which class, by what the class itself has. No library is imported for it, and each
class is looked at once. The order of the table has a meaning: an object of SQLModel is a mapped object and a model of
pydantic, and only the first knows that it has to be loaded again after a commit.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields as dataclass_fields
from operator import attrgetter
from typing import Any
from weakref import WeakKeyDictionary

from mjbulk.models import Contact
from mjbulk.rows.addresses import EMAIL
from mjbulk.rows.block import EXCLUDED, NAME, PROPERTIES, Given
from mjbulk.rows.values import ColumnFault, RowFault

Take = Callable[[Any], Given]


class Nameless(ColumnFault):
    """A row has no named fields. The first row of a source that is so refuses the source."""

    def __init__(self, row: Any) -> None:
        super().__init__("row.nameless", None, _remedy(row))


def take_apart(row: Any) -> Given:
    """Take a row apart. Raises Nameless if it has no named fields, RowFault if they cannot be read."""
    kind = type(row)
    if kind is dict:
        return Given(tuple(row), tuple(row.values()))
    take = _KNOWN.get(kind)
    if take is None:
        take = _KNOWN[kind] = _taker(kind)
    try:
        return take(row)
    except RowFault:
        raise
    except Exception as why:  # noqa: BLE001  # a user's row may raise anything when it is taken apart
        message = f"the fields of this {kind.__name__} cannot be read ({type(why).__name__})"
        raise RowFault("row.unreadable", None, message) from None


_KNOWN: WeakKeyDictionary[type, Take] = WeakKeyDictionary()


def _taker(kind: type) -> Take:
    """Say how rows of a class are taken apart."""
    return next((take(kind) for fits, take in _KINDS if fits(kind)), _refused)


def _with(*names: str) -> Callable[[type], bool]:
    """Make a test whether a class has attributes; a name may lead through several."""

    def fits(kind: type) -> bool:
        try:
            for name in names:
                attrgetter(name)(kind)
        except Exception:  # noqa: BLE001  # a user's class may raise anything when it is looked at
            return False
        return True

    return fits


def _address(row: str) -> Given:
    return Given((EMAIL,), (row,))


def _contact(row: Contact) -> Given:
    names = [EMAIL, PROPERTIES]
    values: list[Any] = [row.email, row.properties]
    for name, value in ((NAME, row.name), (EXCLUDED, row.excluded)):
        if value is not None:
            names.append(name)
            values.append(value)
    return Given(tuple(names), tuple(values))


def _mapping(row: Any) -> Given:
    names = tuple(row.keys())
    hash(names)
    return Given(names, tuple(row[name] for name in names))


def _refused(row: Any) -> Given:
    raise Nameless(row)


def _always(take: Take) -> Callable[[type], Take]:
    return lambda _: take


def _by_names(names: Sequence[str]) -> Take:
    """Take the attributes of these names."""
    known = tuple(names)
    if not known:
        return _refused
    if len(known) == 1:
        return lambda row: Given(known, (getattr(row, known[0]),))
    values = attrgetter(*known)
    return lambda row: Given(known, values(row))


def _fields_of_dataclass(kind: Any) -> Take:
    return _by_names([field.name for field in dataclass_fields(kind)])


def _fields_of_attrs(kind: Any) -> Take:
    return _by_names([field.name for field in kind.__attrs_attrs__])


def _fields_of_struct(kind: Any) -> Take:
    return _by_names(kind.__struct_fields__)


def _mapped(kind: Any) -> Take:
    """Take the columns of a mapped object that are loaded, or all of them where a commit has unloaded it."""
    names = [column.key for column in kind.__mapper__.column_attrs if not column.deferred]

    def take(row: Any) -> Given:
        state = row._sa_instance_state  # noqa: SLF001  # `sqlalchemy.inspect` gives the same
        loaded = names if state.expired else [name for name in names if name in vars(row)]
        return Given(tuple(loaded), tuple(getattr(row, name) for name in loaded))

    return take


def _result_row(row: Any) -> Given:
    """Take a Row of SQLAlchemy; one that has nothing but a mapped object is that object."""
    if len(row) == 1 and hasattr(type(row[0]), "__mapper__"):
        return take_apart(row[0])
    return Given(tuple(row._fields), tuple(row))


def _named_tuple(row: Any) -> Given:
    return Given(row._fields, tuple(row))


def _model(row: Any) -> Given:
    """Take a model of pydantic as it dumps itself: with its own serializers, and without what it leaves out."""
    dumped = row.model_dump()
    return take_apart(dumped) if type(dumped) is dict else _refused(row)


def _of_django(kind: Any) -> Take:
    """Take the fields of an object of Django that are loaded: a query for one more could block the loop."""
    names = [field.attname for field in kind._meta.concrete_fields]  # noqa: SLF001  # it is documented

    def take(row: Any) -> Given:
        own = vars(row)
        loaded = tuple(name for name in names if name in own)
        return Given(loaded, tuple(map(own.__getitem__, loaded)))

    return take


def _of_peewee(row: Any) -> Given:
    return take_apart(dict(row.__data__))


def _is_numpy_record(kind: type) -> bool:
    return any((base.__module__, base.__name__) == ("numpy", "void") for base in kind.__mro__)


def _numpy_record(row: Any) -> Given:
    """Take an element of a structured array of numpy."""
    names = row.dtype.names
    return Given(names, tuple(row[name] for name in names)) if names else _refused(row)


def _remedy(row: Any) -> str:
    """Say what a row without names is, and what helps."""
    kind = type(row).__name__
    if not isinstance(row, tuple | list):
        return f"a row is of type {kind}, which has no named fields: give dicts, or objects with fields"
    if len(row) == 2 and type(row[1]).__name__ == "Series":
        return "a row is what iterrows() gives: give the frame itself"
    return (
        f"a row is a {kind}, whose values have no names: give dict(zip(names, row)), or what has the names, such as "
        "the cursor or the frame itself; in the place of csv.reader(), csv_source() or csv.DictReader()"
    )


_KINDS: Sequence[tuple[Callable[[type], bool], Callable[[Any], Take]]] = (
    (lambda kind: issubclass(kind, str), _always(_address)),
    (lambda kind: issubclass(kind, Contact), _always(_contact)),
    (_with("keys", "__getitem__"), _always(_mapping)),
    (_with("__mapper__.column_attrs"), _mapped),
    (_with("_meta.concrete_fields"), _of_django),
    (_with("_meta.sorted_field_names"), _always(_of_peewee)),
    (_with("model_dump", "model_fields"), _always(_model)),
    (_with("__struct_fields__"), _fields_of_struct),
    (_with("__dataclass_fields__"), _fields_of_dataclass),
    (_with("__attrs_attrs__"), _fields_of_attrs),
    (_is_numpy_record, _always(_numpy_record)),
    (_with("_fields", "_asdict", "_mapping"), _always(_result_row)),
    (_with("_fields", "_asdict"), _always(_named_tuple)),
)
"""What a class has to have, and what then takes its objects apart."""
