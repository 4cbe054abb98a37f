"""Photos of one camera that follow each other closely are one event with one answer."""

import os
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from birds.api import create_app
from birds.identifier import Identifier
from birds.prediction import encode_outputs
from birds.same_bird import combine_outputs
from fieldmark.bulk.classify import BatchClassifier
from fieldmark.bulk.event_answers import ANSWER
from fieldmark.bulk.events import find_events, write_events
from fieldmark.bulk.job import describe_job
from fieldmark.bulk.results import Results, ResultsError
from fieldmark.bulk.rows import SCHEMA
from fieldmark.bulk.sparse_predictions import SparsePredictions
from fieldmark.errors import UserError
from fieldmark.files import write_json
from tests.bulk.sample_results import LABELS, write_sample_results
from tests.command_line import run_command

NAMES = [label["label"] for label in LABELS]


@pytest.fixture
def results(tmp_path):
    return Results(write_sample_results(tmp_path / "results", 200))


def change_rows(results: Results, change) -> Results:
    """Replace the rows of results by the result of a function, in one file."""
    rows = change(results.read_table().to_pylist())
    for file in results.rows_folder.glob("*.parquet"):
        file.unlink()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), results.rows_folder / "part-000000.parquet")
    return Results(results.folder)


def group_slowly(rows: list[dict], interval: float) -> list[list[dict]]:
    """Group the rows of readable photos by folder and time, one after the other."""
    groups = []
    for row in sorted(rows, key=lambda row: (os.path.dirname(row["path"]), row["taken"])):
        last = groups[-1][-1] if groups else None
        is_same = last and os.path.dirname(last["path"]) == os.path.dirname(row["path"])
        if is_same and (row["taken"] - last["taken"]).total_seconds() <= interval:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def answer_slowly(group: list[dict], card: dict) -> dict:
    """Combine the rows of one event with the code of the function."""
    probability = np.zeros((len(group), len(NAMES)), np.float32)
    for number, row in enumerate(group):
        for each in row["predictions"]:
            probability[number, NAMES.index(each["label"])] = each["probability"]
    unknown = np.array([row["unknown_score"] for row in group], np.float32)
    return encode_outputs(*combine_outputs(probability, unknown), card, len(NAMES))


@pytest.mark.parametrize("interval", [0, 5, 6, 1800, 1e9])
def test_events_are_photos_of_a_folder_with_short_gaps_and_answer_as_the_function(
    results, interval
):
    rows = [row for row in results.read_table().to_pylist() if not row["error"]]
    expected = group_slowly(rows, interval)
    found = find_events(results, interval)
    assert (found.photos, found.broken, found.undated) == (196, 4, 0)
    events = found.table.to_pylist()
    assert [event["paths"] for event in events] == [[r["path"] for r in g] for g in expected]
    for event, group in zip(events, expected, strict=True):
        assert (event["event"], event["photos"]) == (group[0]["path"], len(group))
        assert (event["start"], event["end"]) == (group[0]["taken"], group[-1]["taken"])
        if len(group) == 1:
            assert {key: event[key] for key in ANSWER.names} == {
                key: group[0][key] for key in ANSWER.names
            }
            continue
        encoded = answer_slowly(group, results.manifest)
        assert event["kind"] == encoded["answer"]["kind"]
        assert event["shortlist"] == encoded["answer"]["labels"]
        assert event["text"] == encoded["answer"]["text"]
        assert event["label"] == encoded["predictions"][0]["label"]
        assert event["probability"] == pytest.approx(encoded["predictions"][0]["probability"])
        assert event["unknown_score"] == pytest.approx(encoded["answer"]["unknown_score"])


def test_the_order_of_the_rows_does_not_matter(results):
    expected = find_events(results, 6).table
    assert expected["photos"].to_pylist().count(2) > 20
    generator = np.random.default_rng(0)
    shuffled = change_rows(
        results, lambda rows: [rows[i] for i in generator.permutation(len(rows))]
    )
    assert find_events(shuffled, 6).table.equals(expected)


def test_photos_without_a_time_are_events_of_their_own_and_counted(results):
    undated = change_rows(
        results,
        lambda rows: [row | ({"taken": None} if i % 2 else {}) for i, row in enumerate(rows)],
    )
    found = find_events(undated, 1e9)
    assert found.undated == sum(event["start"] is None for event in found.table.to_pylist()) > 90
    assert {e["photos"] for e in found.table.to_pylist() if e["start"] is None} == {1}


def test_a_camera_is_what_exif_states_or_the_folder(results):
    def name_camera(rows):
        return [
            row | {"camera": None if "camera0" in row["path"] else "Drawn 1", "taken": datetime.min}
            for row in rows
        ]

    found = find_events(change_rows(results, name_camera), 0, "exif").table
    assert found["camera"].to_pylist() == ["Drawn 1", "photos/camera0"]
    assert sum(found["photos"].to_pylist()) == 196


def test_what_a_row_leaves_out_is_spread_over_the_other_labels():
    type = SCHEMA.field("predictions").type
    rows = [
        [{"label": "b", "probability": 0.5}, {"label": "c", "probability": 0.3}],
        [{"label": "d", "probability": 1.0}],
    ]
    predictions = SparsePredictions("abcd")
    for row in rows:
        predictions.append(pa.array([row], type))
    predictions.finish()
    expected = [[0, 0, 0, 1], [0.1, 0.5, 0.3, 0.1]]
    assert np.allclose(predictions.dense(np.array([1, 0])), expected, atol=1e-7)


def test_the_function_gives_the_same_answer_for_the_same_photos(
    options, photos, run, finder_file, tmp_path
):
    files = [*sorted(photos.glob("bird*.jpg"))[:4], photos / "letter.jpg"]
    table = BatchClassifier(options)([str(file) for file in files])
    times = pa.array([None if e else datetime(2026, 5, 1) for e in table["error"].to_pylist()])
    place = table.schema.get_field_index("taken")
    table = table.set_column(place, SCHEMA.field("taken"), times.cast(pa.timestamp("s")))
    identifier = Identifier.load(options.model, options.finder)
    (tmp_path / "photos").mkdir()
    pq.write_table(table, tmp_path / "photos/part-000000.parquet")
    write_json(tmp_path / "job.json", describe_job(identifier, options, ["photos"]))
    (event,) = find_events(Results(tmp_path)).table.to_pylist()

    client = TestClient(create_app(run / "birds.onnx", finder=finder_file))
    form = [("photo", (file.name, file.read_bytes())) for file in files]
    response = client.post("/api/classify?same_bird=true&top=6", files=form)
    combined = response.json()["combined"]
    assert event["photos"] == combined["photos"] == 4
    assert (event["kind"], event["shortlist"]) == (
        combined["answer"]["kind"],
        combined["answer"]["labels"],
    )
    assert event["text"] == combined["answer"]["text"]
    assert event["unknown_score"] == pytest.approx(combined["answer"]["unknown_score"], abs=1e-5)
    expected = {each["label"]: each["probability"] for each in combined["predictions"]}
    for each in event["predictions"]:
        assert each["probability"] == pytest.approx(expected[each["label"]], abs=1e-3)


def test_the_command_writes_csv_and_parquet(results, tmp_path):
    done = run_command("events", results.folder)
    assert "4 photos could not be read" in done.stderr
    text = pyarrow.csv.read_csv(results.folder / "events.csv")
    run_command("events", results.folder, "--out", tmp_path / "events.parquet")
    table = pq.read_table(tmp_path / "events.parquet")
    assert text.column_names == [name for name in table.column_names if name != "predictions"]
    assert text["paths"].to_pylist() == ["; ".join(paths) for paths in table["paths"].to_pylist()]
    with pytest.raises(UserError, match="xlsx"):
        write_events(table, tmp_path / "events.xlsx")


def test_results_without_a_readable_photo_have_no_events(results):
    broken = [dict.fromkeys(SCHEMA.names) | {"path": "a.jpg", "error": "Broken."}]
    with pytest.raises(ResultsError, match="No photo"):
        find_events(change_rows(results, lambda _: broken))


def test_gaps_are_between_neighbours_so_that_a_long_visit_is_one_event(results):
    start = datetime(2026, 5, 1)

    def walk(rows):
        return [
            row | {"path": f"a/{i:03}.jpg", "taken": start + timedelta(seconds=50 * i)}
            for i, row in enumerate(row for row in rows if not row["error"])
        ]

    (event,) = find_events(change_rows(results, walk)).table.to_pylist()
    assert event["photos"] == 196
