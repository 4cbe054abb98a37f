"""Where the function looks: at the bird that the finder finds, the middle, or where it is told."""

import json
import logging

import pytest
from fastapi.testclient import TestClient

from birds import photo
from birds.api import create_app
from birds.crops import overlap
from birds.finder import Finder
from birds.http import schema
from tests.birds.photos import encode_png
from tests.birds.problems import check_problem
from tests.finders import TWO_BIRDS, draw_scene
from tests.surgery import change_card

SCENE = encode_png(draw_scene(TWO_BIRDS))
CENTER = [120, 0, 480, 480]


def classify(client, query: str = "", data: bytes = SCENE) -> dict:
    response = client.post(f"/api/classify?top=1&{query}", content=data)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_small_bird_is_classified_where_the_finder_finds_it(finding_client):
    place = classify(finding_client)["photo"]
    assert place["crop_from"] == "finder"
    assert max(overlap(place["crop"], bird[1:] + bird[3:]) for bird in TWO_BIRDS) > 0.5
    assert classify(finding_client, "crop=auto")["photo"] == place


def test_the_middle_square_is_classified_on_request_or_if_nothing_is_found(finding_client, client):
    even = encode_png(draw_scene([]))
    for sender, query, data in (
        (finding_client, "crop=center", SCENE),
        (finding_client, "", even),
        (client, "", SCENE),  # a function without a finder
    ):
        place = classify(sender, query, data)["photo"]
        assert (place["crop"], place["crop_from"]) == (CENTER, "center")


def test_a_requested_crop_gets_the_answer_of_that_square_alone(finding_client):
    answer = classify(finding_client, "crop=80,250,100,80")
    assert answer["photo"]["crop"] == [80, 240, 100, 100]
    assert answer["photo"]["crop_from"] == "request"
    alone = encode_png(draw_scene(TWO_BIRDS)[240:340, 80:180])
    assert answer["predictions"] == classify(finding_client, "crop=center", alone)["predictions"]


def test_all_birds_are_listed_with_the_answer_first(finding_client):
    answer = classify(finding_client, "birds=all")
    first, *others = answer["birds"]
    assert set(first) == set(schema.Bird.model_fields)
    assert 1 <= len(others) <= 4
    assert first["crop"] == answer["photo"]["crop"]
    assert [first["predictions"], first["answer"]] == [answer["predictions"], answer["answer"]]
    for bird in TWO_BIRDS:
        assert max(overlap(b["box"], bird[1:] + bird[3:]) for b in answer["birds"]) > 0.5
    (only,) = classify(finding_client, "birds=all&crop=center")["birds"]
    assert (only["box"], only["score"], only["crop"]) == (None, None, CENTER)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("crop=middle", ["'middle'", "auto, center"]),
        ("crop=1,2,3", ["left,top,width,height"]),
        ("crop=-1,0,9,9", ["left,top,width,height"]),
        ("crop=1.5,0,9,9", ["left,top,width,height"]),
        ("crop=%D9%A3,0,9,9", ["left,top,width,height"]),
        ("crop=700,0,21,9", ["700,0,21,9", "720 x 480"]),
        ("crop=0,0,0,9", ["0,0,0,9", "720 x 480"]),
        ("birds=some", ["birds", "all"]),
    ],
)
def test_another_place_is_refused_with_a_sentence(finding_client, query, named):
    response = finding_client.post(f"/api/classify?{query}", content=SCENE)
    detail = check_problem(response, 422, "invalid-query")
    assert all(name in detail for name in named)


def test_a_photo_of_a_form_that_a_crop_does_not_fit_has_a_problem_of_its_own(finding_client):
    photos = [SCENE, encode_png(draw_scene(TWO_BIRDS)[:50, :50])]
    files = [("photo", ("a.png", data)) for data in photos]
    response = finding_client.post("/api/classify?crop=100,100,90,90", files=files)
    first, second = response.json()["results"]
    assert first["photo"]["crop"] == [100, 100, 90, 90]
    assert second["type"] == "urn:fieldmark:invalid-query"


def test_only_the_finder_gets_a_whole_photo_from_the_worker(identifier):
    calls = {where: identifier.preparation(where)[0] for where in ("auto", "center", (0, 0, 9, 9))}
    assert calls.pop("auto") is photo.decode_upright
    assert set(calls.values()) == {photo.prepare_photo}


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.WARNING, "fieldmark")
    return lambda: [json.loads(str(record.msg))["message"] for record in caplog.records]


def test_a_finder_that_the_model_was_not_calibrated_with_is_reported(
    model, finder_file, tmp_path, logged
):
    finder = Finder(finder_file, 1)
    entry = finder.version | {"sha256": finder.sha256}
    fitting = change_card(model, tmp_path / "birds.onnx", lambda card: card.update(finder=entry))
    health = TestClient(create_app(fitting, finder=finder_file)).get("/api/health").json()
    assert health["finder"] == entry | {"matches": True}
    assert logged() == []
    health = TestClient(create_app(model, finder=finder_file)).get("/api/health").json()
    assert health["finder"] == entry | {"matches": False}
    health = TestClient(create_app(fitting)).get("/api/health").json()
    assert health["finder"] is None
    without, missing = logged()
    assert "calibrated with no finder, and runs with the finder blobs 1" in without
    assert "FIELDMARK_FINDER" in missing


def test_a_finder_that_cannot_be_loaded_stops_the_function_with_the_reason(model, tmp_path):
    client = TestClient(create_app(model, finder=tmp_path / "finder.onnx"))
    assert "finder.onnx" in check_problem(client.get("/api/health"), 503, "model-not-loaded")
