#!/bin/sh
# An object of SQLModel is a model of pydantic and a mapped object of SQLAlchemy. A commit expires it, which empties its
# __dict__; the next attribute that is read loads all of them again. model_dump() and dict(...) read __dict__ alone, so right
# after a commit they give nothing, silently: a row without a single field. getattr(), or session.refresh(), loads it.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q sqlmodel==0.0.50 sqlalchemy==2.1.9 pydantic==2.14.4
"$folder/venv/bin/python" - <<'END'
import sys
from importlib.metadata import version

from sqlmodel import Field, Session, SQLModel, create_engine

print("versions:", *(f"{name} {version(name)}" for name in ("sqlmodel", "sqlalchemy", "pydantic")))
print("shows: what model_dump() gives of an object before and after its commit")


class Person(SQLModel, table=True):
    email: str = Field(primary_key=True)
    city: str


WHOLE = {"email": "ann@example.org", "city": "Graz"}
engine = create_engine("sqlite://")
SQLModel.metadata.create_all(engine)
seen = []
with Session(engine) as session:
    person = Person(**WHOLE)
    session.add(person)
    seen.append(("before the commit", WHOLE, person.model_dump()))
    session.commit()
    seen.append(("after the commit", {}, person.model_dump()))
    _ = person.city
    seen.append(("after an attribute was read", WHOLE, person.model_dump()))

good = True
for when, expected, given in seen:
    good &= expected == given
    print(f"{when}: expected {expected}, seen {given}:", "same" if expected == given else "CHANGED")
sys.exit(not good)
END
