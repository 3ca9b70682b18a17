"""The API does what its description says, whatever is sent."""

import json
from http import HTTPStatus
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import schemathesis
from hypothesis import strategies
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.app import create_app
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from producer.client import Client

FILE = Path(__file__).parents[3] / "docs/reference/openapi.json"

_CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


#: What half of the requests are about.
_EXISTING = {"job_id": "a-job", "model": "looks", "version": 1, "alias": "prod"}
_OPERATIONS = sorted(
    operation["operationId"]
    for operations in json.loads(FILE.read_text())["paths"].values()
    for operation in operations.values()
)


@pytest.fixture
def described(deployment: Deployment, client: Client) -> schemathesis.BaseSchema:
    """The API as the file describes it, in front of a deployment with a job."""
    client.submit(np.zeros((3, 2, 2), np.uint8), model="looks", idempotency_key="a-job")
    described = schemathesis.openapi.from_path(FILE)
    described.app = create_app(deployment)
    return described


@pytest.mark.slow
@pytest.mark.parametrize("operation_id", _OPERATIONS)
def test_the_api_is_as_described(
    operation_id: str, described: schemathesis.BaseSchema, deployment: Deployment
) -> None:
    _, token = deployment.identity.api_keys.create("shop", scopes=list(Scope))
    headers = {"Authorization": f"Bearer {token}", "Host": "127.0.0.1"}
    (operation,) = described.include(operation_id=operation_id).get_all_operations()

    @hypothesis.given(case=operation.ok().as_strategy(), exists=strategies.booleans())
    @hypothesis.settings(
        max_examples=25,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def ask(case: schemathesis.Case, *, exists: bool) -> None:
        if exists:
            named = {name: _EXISTING[name] for name in case.path_parameters if name in _EXISTING}
            case.path_parameters.update(named)
        answer = case.call_and_validate(checks=_CHECKS, headers=headers)
        # A call that may take no time at all is late, rightly.
        assert HTTPStatus.INTERNAL_SERVER_ERROR != answer.status_code

    ask()
