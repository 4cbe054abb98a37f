"""The API keeps to its own OpenAPI document, whatever Schemathesis makes of it."""

import warnings

import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as some

from birds import api, drawn
from birds.http.settings import Settings
from tests.birds.test_photo import KINDS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own, while it is imported
    import schemathesis
    from schemathesis import GenerationMode, checks

pytestmark = pytest.mark.soak

PHOTOS = [data for data, _ in KINDS.values()] + [
    drawn.encode_photo(drawn.draw_bird("Night_Inkling"))
]
photos = some.one_of(some.binary(max_size=400), some.sampled_from(PHOTOS))
for kind in ("image/*", "image/jpeg", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, photos)


@pytest.fixture
def document(model):
    app = api.create_app(model, Settings(key="a-long-key"))
    return schemathesis.openapi.from_asgi("/api/openapi.json", app)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_answer_is_outside_the_document(document, share, figures, mode):
    """Every check of Schemathesis but one: not all bytes that the document allows are photos."""
    found = {}

    def ask(case):
        response = case.call_and_validate(
            headers={"x-functions-key": "a-long-key"},
            excluded_checks=[checks.positive_data_acceptance],
        )
        found[response.status_code] = found.get(response.status_code, 0) + 1

    settings = hypothesis.settings(
        max_examples=max(5, int(1000 * share)),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    operations = [each.ok() for each in document.get_all_operations()]
    if mode is GenerationMode.NEGATIVE:  # a route without a parameter can't be asked wrongly
        operations = [each for each in operations if each.method == "post"]
    for operation in operations:
        cases = operation.as_strategy(generation_mode=mode)
        settings(hypothesis.given(case=cases)(ask))()
    figures[f"schemathesis, {mode.value}"] = found
    assert sum(found.values()) >= 10
    assert set(found) <= {200, 400, 401, 413, 415, 422}
