"""schemathesis asks the server whatever its OpenAPI document allows, and much that it does not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from tests.served import serving

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: pip install schemathesis")


@pytest.fixture(scope="module")
def document(stand_in_model: Path) -> Iterator[Any]:
    with serving("--model", str(stand_in_model), "--threads", "1") as url:
        yield schemathesis.openapi.from_url(f"{url}openapi.json")


def test_every_answer_is_one_that_the_document_names(document: Any) -> None:
    conformance = schemathesis.specs.openapi.checks
    checks = [
        schemathesis.checks.not_a_server_error,
        conformance.status_code_conformance,
        conformance.content_type_conformance,
        conformance.response_schema_conformance,
    ]
    asked = set()
    for found in document.get_all_operations():
        operation = found.ok()
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        for mode in modes:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
            def check(case: Any) -> None:
                case.call_and_validate(checks=checks)

            try:
                check()
            except Unsatisfiable:  # there is nothing that a request without parameters could do wrong
                continue
            asked.add((operation.path, mode))
    assert ("/v1/reconstruct", modes[0]) in asked
    assert ("/v1/reconstruct", modes[1]) in asked
