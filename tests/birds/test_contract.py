"""The API keeps to its own OpenAPI document, whatever Schemathesis generates."""

import warnings

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st

from birds import api
from birds.http.settings import Settings
from tests.birds.photos import BIRD, KINDS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own warnings while it is imported
    import schemathesis
    from schemathesis import GenerationMode, checks

pytestmark = [pytest.mark.soak, pytest.mark.slow]

PHOTOS = [BIRD, *(data for data, _ in KINDS.values())]
for media_type in ("image/*", "image/jpeg", "application/octet-stream"):
    strategy = st.one_of(st.binary(max_size=400), st.sampled_from(PHOTOS))
    schemathesis.openapi.media_type(media_type, strategy)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_response_is_one_that_the_document_allows(model, finder_file, share, figures, mode):
    """All checks but one: the document cannot say which bytes are a photo."""
    app = api.create_app(model, Settings(key="a-long-key"), finder=finder_file)
    document = schemathesis.openapi.from_asgi("/api/openapi.json", app)
    statuses = {}

    def call(case):
        response = case.call_and_validate(
            headers={"x-functions-key": "a-long-key"},
            excluded_checks=[checks.positive_data_acceptance],
        )
        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1

    settings = hypothesis.settings(
        max_examples=max(5, int(1000 * share)),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    operations = [result.ok() for result in document.get_all_operations()]
    if mode is GenerationMode.NEGATIVE:  # a route without parameters has no invalid request
        operations = [operation for operation in operations if operation.method == "post"]
    for operation in operations:
        cases = operation.as_strategy(generation_mode=mode)
        settings(hypothesis.given(case=cases)(call))()
    figures[f"schemathesis, {mode.value}"] = statuses
    assert sum(statuses.values()) >= 10
    assert set(statuses) <= {200, 400, 401, 413, 415, 422}
