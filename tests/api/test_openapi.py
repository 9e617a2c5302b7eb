"""The description of the API: complete, and true of what the API answers."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.client import fill, order

EXAMPLES_MAX = 3


def test_every_operation_is_described_with_its_problems_and_its_key(client: httpx.Client):
    schema = client.get("/openapi.json").json()
    assert {"Bearer", "X-API-Key"} <= schema["components"]["securitySchemes"].keys()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            if path.startswith("/v1/"):
                assert operation["security"], (method, path)
                assert {"401", "422"} <= operation["responses"].keys(), (method, path)
                problem = operation["responses"]["422"]["content"]["application/problem+json"]
                assert problem["schema"]["$ref"].endswith("/Problem")


def test_each_shape_has_a_name_of_its_own_and_one_name_only(client: httpx.Client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert [name for name in schemas if "__" in name] == [], "shapes of one name have their module before it"
    answers: dict[str, list[str]] = {}
    for name, schema in schemas.items():
        if schema.get("properties") and "description" not in schema:
            answers.setdefault(repr(sorted(schema["properties"].items())), []).append(name)
    assert [names for names in answers.values() if len(names) > 1] == []


def test_decimals_are_described_as_text(client: httpx.Client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    requested = schemas["OrderSubmission"]["properties"]["order_qty"]["anyOf"]
    assert {each["type"] for each in requested} == {"string", "integer"}
    assert schemas["PositionRow"]["properties"]["quantity"]["type"] == "string"
    assert '"number"' not in repr(schemas).replace("'", '"')


@pytest.mark.slow
def test_answers_are_as_described_for_any_request(desk: httpx.Client, server: str):
    desk.post("/v1/orders", json=order())
    desk.post("/v1/venue-reports", json={"reports": [fill()]})
    schema = schemathesis.openapi.from_dict(desk.get("/openapi.json").json())
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    count = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES_MAX, deadline=None, derandomize=True, database=None,
            phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def call(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=server, headers=dict(desk.headers), checks=checks)

        call()
        count += 1
    assert count > 20
