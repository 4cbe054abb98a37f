"""The HTTP API: an answer for every photo, a problem document for everything else."""

import hmac
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from birds import api, drawn, photo, process
from birds.http.schema import Answer
from birds.http.settings import Settings
from tests.birds.test_photo import KINDS, QUARTERS, bomb, png

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def client(model):
    return TestClient(api.create_app(model))


def problem(response, status: int, kind: str) -> str:
    """Check that a response is a problem document; return its sentence."""
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (response.status_code, body["status"]) == (status, status)
    assert body["type"] == f"urn:fieldmark:{kind}"
    assert body["title"]
    assert body["detail"].endswith(".")
    return body["detail"]


PHOTOS = drawn.awkward_photos() | {kind: data for kind, (data, _) in KINDS.items()}
PHOTOS |= {f"EXIF {number}": drawn.encode_rotated(number, QUARTERS) for number in range(2, 9)}


@pytest.mark.parametrize("name", PHOTOS)
def test_every_awkward_photo_gets_an_answer(client, name):
    response = client.post("/api/classify", content=PHOTOS[name], headers=JPEG)
    assert response.status_code == 200
    assert len(response.json()["predictions"]) == 5


def test_the_answer_says_all_that_the_contract_names(client):
    data = drawn.encode_photo(drawn.draw_bird("Night_Inkling", 0, 120, 90))
    response = client.post("/api/classify?top=2&heatmap=true", content=data)
    body = response.json()
    assert set(body) == {
        *("predictions", "answer", "photo", "heatmap", "model", "milliseconds"),
    }
    first, second = body["predictions"]
    assert set(first) == {"label", "common_name", "scientific_name", "probability"}
    assert first["probability"] >= second["probability"] > 0
    assert body["answer"]["kind"] == "species"
    assert body["answer"]["labels"] == [first["label"]]
    assert body["answer"]["text"].startswith(first["common_name"])
    assert body["answer"]["unknown_score"] == pytest.approx(1 - first["probability"])
    assert body["photo"] == {"width": 120, "height": 90, "crop": [15, 0, 90, 90]}
    heatmap = body["heatmap"]
    assert len(heatmap["values"]) == heatmap["width"] * heatmap["height"]
    assert max(heatmap["values"]) in (pytest.approx(1), 0)
    assert min(heatmap["values"]) >= 0
    assert set(body["milliseconds"]) == {"prepare", "model", "total"}


@pytest.mark.parametrize(("top", "count"), [(0, 1), (-3, 1), (1, 1), (6, 6), (1000, 6)])
def test_top_is_clamped_to_the_labels(client, top, count):
    body = client.post(f"/api/classify?top={top}", content=png(QUARTERS)).json()
    assert len(body["predictions"]) == count
    if count == 6:
        assert sum(p["probability"] for p in body["predictions"]) == pytest.approx(1, abs=1e-5)


def test_there_is_no_heat_map_unless_asked_for(client):
    assert client.post("/api/classify", content=png(QUARTERS)).json()["heatmap"] is None


@pytest.mark.parametrize(
    ("data", "status", "kind"),
    [
        pytest.param(b"", 400, "empty-photo", id="empty body"),
        pytest.param(b"Dear bird,", 415, "not-a-photo", id="text"),
        pytest.param(drawn.encode_photo(QUARTERS)[:500], 422, "damaged-photo", id="truncated JPEG"),
        pytest.param(bomb(), 413, "photo-too-large", id="bomb"),
        pytest.param(bytes(photo.MAX_BYTES + 1), 413, "photo-too-large", id="over the limit"),
    ],
)
def test_bad_input_is_told_and_the_server_goes_on(client, data, status, kind):
    problem(client.post("/api/classify", content=data, headers=JPEG), status, kind)
    assert client.post("/api/classify", content=png(QUARTERS)).status_code == 200


def test_a_body_of_another_type_is_told_what_to_send(client):
    headers = {"content-type": "application/json"}
    response = client.post("/api/classify", content=b"{}", headers=headers)
    assert "image/jpeg" in problem(response, 415, "not-a-photo")


def test_a_query_that_is_no_number_is_told(client):
    response = client.post("/api/classify?top=many", content=png(QUARTERS))
    assert "top" in problem(response, 422, "invalid-query")


def test_a_parameter_that_is_not_there_is_told_with_those_that_are(client):
    response = client.post("/api/classify?headmap=true", content=png(QUARTERS))
    said = problem(response, 422, "invalid-query")
    assert "'headmap'" in said
    assert "top and heatmap" in said


def test_a_key_in_the_query_as_azures_callers_may_send_it_is_no_mistake(client):
    response = client.post("/api/classify?code=a-key&clientId=mine&top=1", content=png(QUARTERS))
    assert response.status_code == 200


def test_unknown_routes_and_methods_are_problems_too(client):
    problem(client.get("/api/nothing"), 404, "http-error")
    response = client.get("/api/classify")
    problem(response, 405, "http-error")
    assert response.headers["allow"] == "POST"


def test_a_fault_of_ours_is_told_without_a_traceback(client, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(photo, "prepare_photo", fail)
    response = client.post("/api/classify", content=png(QUARTERS))
    assert "secret" not in problem(response, 500, "internal-error")


def test_the_key_is_asked_for_where_one_is_set(model):
    client = TestClient(api.create_app(model, Settings(key="a-long-key")))
    assert client.get("/api/health").status_code == 200
    for headers in ({}, {"x-functions-key": "another"}, {"x-functions-key": "schlüssel".encode()}):
        response = client.post("/api/classify", content=png(QUARTERS), headers=headers)
        problem(response, 401, "key-missing")
    right = {"x-functions-key": "a-long-key"}
    assert client.post("/api/classify", content=png(QUARTERS), headers=right).status_code == 200


def test_keys_are_compared_in_constant_time(model, monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *keys: compared.append(keys))
    client = TestClient(api.create_app(model, Settings(key="a-long-key")))
    response = client.post("/api/classify", content=b"x", headers={"x-functions-key": "a-guess"})
    problem(response, 401, "key-missing")
    assert compared == [(b"a-long-key", b"a-guess")]


def test_without_a_model_every_route_answers_and_health_says_why(tmp_path):
    client = TestClient(api.create_app(tmp_path / "birds.onnx"))
    response = client.get("/api/health")
    assert "birds.onnx" in problem(response, 503, "model-not-loaded")
    assert response.headers["retry-after"] == "60"
    assert str(tmp_path) not in response.text
    visitor = problem(client.post("/api/classify", content=b"x"), 503, "model-not-loaded")
    assert "try again" in visitor
    problem(client.get("/api/model"), 503, "model-not-loaded")
    assert client.get("/api/docs").status_code == 200


def test_the_model_card_is_public_but_for_what_only_the_loader_checks(client):
    card = client.get("/api/model").json()
    assert {"name", "version", "labels", "trained_on", "licence", "metrics", "gate"} <= set(card)
    assert "drawn_photo" not in card


def test_health_tells_ready_from_alive(client, tmp_path):
    body = client.get("/api/health").json()
    assert body["model"] == client.app.state.classifier.version
    assert body["uptime_seconds"] >= 0
    assert 30e6 < body["resident_bytes"] < 30e9
    assert body["in_flight"] == 0
    without = TestClient(api.create_app(tmp_path / "birds.onnx"))
    assert without.get("/api/health").status_code == 503
    assert without.get("/api/health/alive").json()["status"] == "alive"


def test_where_the_system_does_not_tell_the_memory_health_says_null(client, monkeypatch):
    monkeypatch.setattr(process, "STATM", Path("/nowhere"))
    assert client.get("/api/health").json()["resident_bytes"] is None


@pytest.mark.parametrize("origins", [("https://birds.example",), ("*",)])
def test_a_page_of_an_allowed_origin_may_ask_with_the_key_header(model, origins):
    client = TestClient(api.create_app(model, Settings(key="k", origins=origins)))
    ask = {
        "origin": "https://birds.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-functions-key, content-type",
    }
    answer = client.options("/api/classify", headers=ask)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in ("https://birds.example", "*")
    refused = client.post("/api/classify", headers={"origin": "https://birds.example"})
    assert "access-control-allow-origin" in refused.headers  # or the page couldn't read why


def test_a_fault_of_ours_can_be_read_by_a_page_too(model, monkeypatch):
    client = TestClient(api.create_app(model, Settings(origins=("*",))))
    monkeypatch.setattr(photo, "prepare_photo", lambda *_: 1 / 0)
    response = client.post("/api/classify", content=b"x", headers={"origin": "https://a.example"})
    problem(response, 500, "internal-error")
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origins", [(), ("https://birds.example",)])
def test_pages_of_other_origins_are_not_let_in(model, origins):
    client = TestClient(api.create_app(model, Settings(origins=origins)))
    ask = {"origin": "https://other.example", "access-control-request-method": "POST"}
    assert client.options("/api/classify", headers=ask).status_code in (400, 405)
    answer = client.get("/api/health", headers={"origin": "https://other.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_the_document_lists_the_routes_with_examples(client):
    document = client.get("/api/openapi.json").json()
    routes = {"/api/classify", "/api/model", "/api/health", "/api/health/alive"}
    assert set(document["paths"]) == routes
    schemas = document["components"]["schemas"]
    answers = [*schemas["Answer"]["examples"], *schemas["Results"]["examples"][0]["results"]]
    assert [len(each) for each in answers] == [6, 6, 4]
    Answer.model_validate(answers[0])
    kinds = document["paths"]["/api/classify"]["post"]["requestBody"]["content"]
    assert set(kinds) == {"image/*", "application/octet-stream", "multipart/form-data"}


def test_the_docs_need_no_file_from_another_host(client):
    page = client.get("/api/docs").text
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) == 3
    assert "//" not in page.replace("<!-- `", "").split("<script>")[0]
    for part in parts:
        answer = client.get(f"/api/{part}")
        assert answer.status_code == 200
        assert len(answer.content) > 100
    assert "openapi.json" in page
    problem(client.get("/api/docs/main.py"), 404, "http-error")
