"""Several photos of one bird have one answer."""

import itertools

import numpy as np
import pytest

from birds import drawn
from birds.same_bird import combine_groups, combine_outputs
from tests.birds.problems import check_problem

PHOTOS = [
    drawn.encode_photo(drawn.draw_bird(name, seed))
    for name in list(drawn.SPECIES)[:2]
    for seed in (1, 2)
]


def classify(client, photos, query="same_bird=true"):
    files = [("photo", (f"{number}.jpg", data)) for number, data in enumerate(photos)]
    response = client.post(f"/api/classify?top=6&{query}", files=files)
    assert response.status_code == 200, response.text
    return response.json()


def test_the_order_of_the_photos_does_not_matter():
    generator = np.random.default_rng(0)
    probability = generator.dirichlet(np.ones(7), 5).astype(np.float32)
    unknown = generator.normal(size=5).astype(np.float32)
    expected, score = combine_outputs(probability, unknown)
    assert expected.sum() == pytest.approx(1)
    for order in map(list, itertools.permutations(range(5))):
        combined, other_score = combine_outputs(probability[order], unknown[order])
        assert np.array_equal(combined, expected)
        assert other_score == score


def test_groups_are_combined_as_each_of_them_alone():
    generator = np.random.default_rng(0)
    probability = generator.dirichlet(np.ones(4), 6).astype(np.float32)
    unknown = generator.normal(size=6).astype(np.float32)
    combined, scores = combine_groups(probability, unknown, [0, 1, 4])
    for number, rows in enumerate((slice(0, 1), slice(1, 4), slice(4, 6))):
        alone, score = combine_outputs(probability[rows], unknown[rows])
        assert np.allclose(combined[number], alone, atol=1e-7)
        assert scores[number] == pytest.approx(score)
    assert np.array_equal(combined[0], probability[0])


def test_one_photo_has_the_answer_that_it_has_alone(client):
    response = classify(client, PHOTOS[:1])
    (result,) = response["results"]
    assert response["combined"] == {
        "predictions": result["predictions"],
        "answer": result["answer"],
        "photos": 1,
    }


def test_the_combined_probability_is_the_mean_of_the_photos(finding_client):
    response = classify(finding_client, PHOTOS)

    def probabilities(answer):
        return {each["label"]: each["probability"] for each in answer["predictions"]}

    alone = [probabilities(result) for result in response["results"]]
    combined = response["combined"]
    for label, probability in probabilities(combined).items():
        assert probability == pytest.approx(np.mean([each[label] for each in alone]), abs=1e-6)
    scores = [result["answer"]["unknown_score"] for result in response["results"]]
    assert combined["answer"]["unknown_score"] == pytest.approx(np.mean(scores), abs=1e-6)
    assert classify(finding_client, PHOTOS[::-1])["combined"] == combined


def test_broken_photos_are_left_out(client):
    response = classify(client, [b"no photo", PHOTOS[0], PHOTOS[2][:500]])
    assert [result.get("status") for result in response["results"]] == [415, None, 422]
    assert response["combined"] == classify(client, PHOTOS[:1])["combined"]
    assert classify(client, [b"no photo"])["combined"] is None


def test_without_the_parameter_there_is_no_combined_answer(client):
    assert classify(client, PHOTOS[:2], "").keys() == {"results"}
    assert classify(client, PHOTOS[:2], "same_bird=false").keys() == {"results"}


def test_a_single_photo_outside_a_form_is_refused(client):
    response = client.post("/api/classify?same_bird=true", content=PHOTOS[0])
    check_problem(response, 422, "invalid-query")
