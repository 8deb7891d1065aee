"""What arrives at Mailjet of a source, and with which words a source is refused."""

from typing import Any

import pytest
from support import World, balanced

import mjbulk

ADD: dict[int, mjbulk.ActionWord] = {1: "addnoforce"}
A, B = "ann@example.org", "bob@example.org"
PROPERTIES = {"text": "str", "whole": "int", "real": "float", "flag": "bool", "born": "datetime"}
EXTRA = pytest.mark.extra


def with_properties(world: World) -> World:
    """Give a world whose account has a property of each type."""
    for name, datatype in PROPERTIES.items():
        world.emulator.create_property(name, datatype)
    return world


async def arrives(world: World, source: Any, **how: Any) -> dict[str, dict[str, Any]]:
    """Import a source of good rows, and give what each contact has then."""
    async with world.client() as client:
        report = balanced(await client.import_contacts(source, lists=ADD, **how))
    assert [rejection.message for rejection in report.rejections] == []
    return {address: dict(found.properties) for address, found in world.emulator.contacts.items()}


async def refusal(world: World, source: Any, **how: Any) -> str:
    """Import a source that is refused before anything is sent, and give the words."""
    async with world.client() as client:
        with pytest.raises(mjbulk.UsageError) as caught:
            await client.import_contacts(source, lists=ADD, **how)
    assert world.posts() == 0
    assert "example.org" not in str(caught.value)
    return str(caught.value).removesuffix("; nothing was sent")


async def rejection(world: World, source: Any, **how: Any) -> tuple[int | None, str | None, str]:
    """Import a source of which one row is refused here, and give its number, its column and the words."""
    async with world.client() as client:
        report = balanced(await client.import_contacts(source, lists=ADD, **how))
    (one,) = report.rejections
    assert one.origin == "mjbulk"
    return one.row, one.field, one.message
