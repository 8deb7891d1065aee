"""The OpenAPI document, and whether the routes keep to it."""

import asyncio
from importlib import import_module
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from sites import backend, site
from support import extra

from mjbulk.testing import Emulator, Knobs

ROUTES = {
    ("/imports/", "post"),
    ("/imports/", "get"),
    ("/imports/options", "get"),
    ("/imports/plan", "post"),
    ("/imports/{run_id}", "get"),
    ("/imports/{run_id}", "delete"),
    ("/imports/{run_id}/events", "get"),
    ("/imports/{run_id}/rejections", "get"),
    ("/imports/{run_id}/rejections.csv", "get"),
    ("/imports/{run_id}/resume", "post"),
    ("/imports/{run_id}/stop", "post"),
}
FIELDS = (
    "run_id state complete cause rows accepted rejected superseded unknown not_sent held jobs rate eta waiting_for "
    "list action name created seconds"
)

LAW = hypothesis.settings(max_examples=10, deadline=None, derandomize=True, database=None)
CONFORMANCE = ("status_code", "content_type", "response_schema")


@pytest.mark.real_time
async def test_the_document(tmp_path: Path) -> None:
    """Each route is in it, with the form of its answers and errors."""
    async with site(tmp_path) as it:
        document = await it.get("/openapi.json")
    found = {(path, method) for path, of in document["paths"].items() for method in of}
    assert found == ROUTES
    schemas = document["components"]["schemas"]
    assert list(schemas["RunView"]["properties"]) == FIELDS.split()
    assert "HTTPValidationError" not in schemas
    submit = document["paths"]["/imports/"]["post"]
    assert set(submit["requestBody"]["content"]) == {"text/csv", "application/x-ndjson", "multipart/form-data"}
    assert "202" in submit["responses"]
    assert submit["responses"]["409"]["content"]["application/json"]["schema"]["$ref"].endswith("/ProblemView")


@pytest.mark.extra
@pytest.mark.real_time
async def test_whatever_is_asked(tmp_path: Path) -> None:
    """No request that a generator makes of the document crashes a route, or gets an answer of another form."""
    schemathesis: Any = extra("schemathesis")
    async with Emulator(Knobs(queue_seconds=0.0, import_seconds=0.05)) as emulator, backend(tmp_path, emulator) as it:
        import_module("schemathesis.checks").load_all_checks()
        schema = await asyncio.to_thread(schemathesis.openapi.from_url, f"{it.url}/openapi.json")
        wanted = [
            schemathesis.checks.CHECKS.get_one(name)
            for name in ("not_a_server_error", *(f"{what}_conformance" for what in CONFORMANCE))
        ]

        def ask(operation: Any) -> None:
            @hypothesis.settings(LAW, suppress_health_check=list(hypothesis.HealthCheck))
            @hypothesis.given(case=operation.as_strategy())
            def once(case: Any) -> None:
                case.call_and_validate(headers={"x-tenant": "a", "X-Mjbulk": "1"}, checks=wanted)

            once()

        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) == len(ROUTES)
        for operation in operations:
            await asyncio.to_thread(ask, operation)
