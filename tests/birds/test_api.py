"""The HTTP API: an answer for every photo, a problem document for every error."""

import hmac
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from birds import drawn, photo, process
from birds.api import create_app
from birds.http import schema
from birds.http.settings import Settings
from birds.workers.decoder import Decoder
from birds.workers.pool import WorkerPool
from tests.birds.photos import PNG
from tests.birds.problems import check_problem
from tests.decoders import InlineDecoder


def test_the_answer_has_all_documented_fields(client):
    data = drawn.encode_photo(drawn.draw_bird("Night_Inkling", 0, 120, 90))
    body = client.post("/api/classify?top=2&heatmap=true", content=data).json()
    assert set(body) == set(schema.Answer.model_fields)
    first, second = body["predictions"]
    assert set(first) == set(schema.Prediction.model_fields)
    assert first["probability"] >= second["probability"] > 0
    assert set(body["answer"]) == set(schema.Decision.model_fields)
    assert body["answer"]["kind"] == "species"
    assert body["answer"]["labels"] == [first["label"]]
    assert first["common_name"] in body["answer"]["text"]
    assert body["answer"]["unknown_score"] == pytest.approx(1 - first["probability"])
    crop = {"crop": [15, 0, 90, 90], "crop_from": "center"}
    assert body["photo"] == {"width": 120, "height": 90} | crop
    assert body["birds"] is None  # they were not requested
    heatmap = body["heatmap"]
    assert len(heatmap["values"]) == heatmap["width"] * heatmap["height"]
    assert max(heatmap["values"]) in (pytest.approx(1), 0)
    assert min(heatmap["values"]) >= 0
    assert set(body["milliseconds"]) == {"prepare", "find", "model", "total"}


@pytest.mark.parametrize(("top", "count"), [(0, 1), (-3, 1), (1, 1), (6, 6), (1000, 6)])
def test_top_is_clamped_to_the_number_of_labels(client, top, count):
    body = client.post(f"/api/classify?top={top}", content=PNG).json()
    assert len(body["predictions"]) == count
    if count == 6:
        assert sum(p["probability"] for p in body["predictions"]) == pytest.approx(1, abs=1e-5)
    assert body["heatmap"] is None  # it was not requested


def test_a_body_of_another_type_is_refused(client):
    headers = {"content-type": "application/json"}
    response = client.post("/api/classify", content=b"{}", headers=headers)
    assert "application/json" in check_problem(response, 415, "not-a-photo")


@pytest.mark.parametrize(
    ("query", "named"), [("top=many", ["top"]), ("headmap=true", ["'headmap'", "top", "heatmap"])]
)
def test_a_wrong_parameter_is_refused_and_named(client, query, named):
    detail = check_problem(client.post(f"/api/classify?{query}", content=PNG), 422, "invalid-query")
    assert all(name in detail for name in named)


def test_a_key_in_the_query_is_accepted_as_azure_does(client):
    response = client.post("/api/classify?code=a-key&clientId=mine&top=1", content=PNG)
    assert response.status_code == 200


def test_unknown_routes_and_methods_are_problems_too(client):
    check_problem(client.get("/api/nothing"), 404, "http-error")
    response = client.get("/api/classify")
    check_problem(response, 405, "http-error")
    assert response.headers["allow"] == "POST"


def test_an_unexpected_error_is_a_problem_without_its_text(model, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret")

    client = TestClient(create_app(model, Settings(origins=("*",)), decoder=InlineDecoder()))
    monkeypatch.setattr(photo, "prepare_photo", fail)
    response = client.post("/api/classify", content=PNG, headers={"origin": "https://a.example"})
    assert "secret" not in check_problem(response, 500, "internal-error")
    assert response.headers["access-control-allow-origin"] == "*"  # or a page could not read it


def test_a_function_with_a_key_requires_it_for_photos_only(model):
    client = TestClient(create_app(model, Settings(key="a-long-key")))
    assert client.get("/api/health").status_code == 200
    for headers in ({}, {"x-functions-key": "another"}, {"x-functions-key": "schlüssel".encode()}):
        response = client.post("/api/classify", content=PNG, headers=headers)
        check_problem(response, 401, "key-missing")
    right = {"x-functions-key": "a-long-key"}
    assert client.post("/api/classify", content=PNG, headers=right).status_code == 200


def test_keys_are_compared_in_constant_time(model, monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *keys: compared.append(keys))
    client = TestClient(create_app(model, Settings(key="a-long-key")))
    response = client.post("/api/classify", content=b"x", headers={"x-functions-key": "a-guess"})
    check_problem(response, 401, "key-missing")
    assert compared == [(b"a-long-key", b"a-guess")]


def test_a_file_name_that_is_no_utf_8_is_reported_too(tmp_path):
    client = TestClient(create_app(f"{tmp_path}/m\udcff.onnx"))
    assert r"m\udcff.onnx" in check_problem(client.get("/api/health"), 503, "model-not-loaded")


def test_health_says_why_no_process_can_decode_photos(model, monkeypatch):
    def fail(*_):
        raise OSError("no semaphores")

    monkeypatch.setattr(WorkerPool, "schedule", fail)
    client = TestClient(create_app(model, decoder=Decoder(1)))
    detail = check_problem(client.get("/api/health"), 503, "model-not-loaded")
    assert "no semaphores" in detail
    check_problem(client.post("/api/classify", content=PNG), 503, "model-not-loaded")


def test_without_a_model_every_route_responds_and_only_health_says_why(tmp_path):
    client = TestClient(create_app(tmp_path / "birds.onnx"))
    response = client.get("/api/health")
    assert "birds.onnx" in check_problem(response, 503, "model-not-loaded")
    assert response.headers["retry-after"] == "60"
    assert str(tmp_path) not in response.text
    detail = check_problem(client.post("/api/classify", content=b"x"), 503, "model-not-loaded")
    assert "birds.onnx" not in detail
    check_problem(client.get("/api/model"), 503, "model-not-loaded")
    assert client.get("/api/docs").status_code == 200
    assert client.get("/api/health/alive").json()["status"] == "alive"


def test_the_model_card_is_public_except_for_the_outputs_that_the_loader_checks(client):
    card = client.get("/api/model").json()
    assert {"name", "version", "labels", "trained_on", "licence", "metrics", "gate"} <= set(card)
    assert "drawn_photo" not in card


def test_health_reports_the_model_uptime_and_memory(client, monkeypatch):
    body = client.get("/api/health").json()
    assert body["status"] == "ready"
    assert body["model"] == client.app.state.identifier.classifier.version
    assert body["finder"] is None
    assert body["uptime_seconds"] >= 0
    assert 30e6 < body["resident_bytes"] < 30e9
    assert body["in_flight"] == 0
    monkeypatch.setattr(process, "STATM", Path("/missing"))  # as on other systems than Linux
    assert client.get("/api/health").json()["resident_bytes"] is None


PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "x-functions-key, content-type",
}


@pytest.mark.parametrize("origins", [("https://birds.example",), ("*",)])
def test_a_page_of_an_allowed_origin_may_send_photos_and_a_key(model, origins):
    client = TestClient(create_app(model, Settings(key="k", origins=origins)))
    origin = {"origin": "https://birds.example"}
    response = client.options("/api/classify", headers=origin | PREFLIGHT)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] in ("https://birds.example", "*")
    refused = client.post("/api/classify", headers=origin)
    assert "access-control-allow-origin" in refused.headers  # or a page could not read it


@pytest.mark.parametrize("origins", [(), ("https://birds.example",)])
def test_pages_of_other_origins_are_refused(model, origins):
    client = TestClient(create_app(model, Settings(origins=origins)))
    origin = {"origin": "https://other.example"}
    assert client.options("/api/classify", headers=origin | PREFLIGHT).status_code in (400, 405)
    response = client.get("/api/health", headers=origin)
    assert "access-control-allow-origin" not in response.headers


def test_the_openapi_document_lists_the_routes_with_valid_examples(client):
    document = client.get("/api/openapi.json").json()
    routes = {"/api/classify", "/api/model", "/api/health", "/api/health/alive"}
    assert set(document["paths"]) == routes
    schemas = document["components"]["schemas"]
    for name in ("Answer", "Results", "ProblemDocument"):
        for example in schemas.get(name, {}).get("examples", []):
            getattr(schema, name).model_validate(example)
    body = document["paths"]["/api/classify"]["post"]["requestBody"]
    photos = {"image/*", "application/octet-stream", "multipart/form-data"}
    assert set(body["content"]) == photos | {"application/json"}


def test_the_docs_load_no_file_from_another_host(client):
    page = client.get("/api/docs").text
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) == 4
    assert "//" not in page
    for file in files:
        response = client.get(f"/api/{file}")
        assert response.status_code == 200
        assert len(response.content) > 100
    assert "openapi.json" in client.get("/api/docs/start.js").text
    check_problem(client.get("/api/docs/main.py"), 404, "http-error")
