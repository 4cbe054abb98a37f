"""Tests that results open in the tools that ecologists use, and that their validators can fail."""

import csv
import json
from pathlib import Path

import frictionless
import pyarrow.parquet as pq
import pytest
from frictionless.resources import TableResource
from megadetector.postprocessing.validate_batch_results import validate_batch_results
from typer.testing import CliRunner

from commands.main import app
from fieldmark.bulk.outputs import camtrap_dp, package, tables
from fieldmark.bulk.outputs.megadetector import write_megadetector
from fieldmark.bulk.results import Results, ResultsError
from fieldmark.files import write_json
from tests.bulk.sample_results import write_sample_results

SCHEMAS = Path(__file__).parent / "camtrap_dp_1_0_2"
GEOJSON = Path(frictionless.__file__).parent / "assets/profiles/geojson.json"
METADATA = package.TEMPLATE
TABLES = ("deployments", "media", "observations")


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return Results(write_sample_results(tmp_path_factory.mktemp("job") / "results"))


@pytest.fixture
def published(monkeypatch):
    """Let frictionless read the published schemas from this folder instead of the network."""
    retrieve = frictionless.Metadata.metadata_retrieve.__func__  # pyright: ignore

    def read(cls, descriptor, **options):
        if isinstance(descriptor, str) and "://" in descriptor:
            assert descriptor.startswith((package.ADDRESS, "https://specs.", "http://json."))
            if descriptor.endswith("/data-package.json"):
                return {}  # which frictionless checks by itself
            name = descriptor.rsplit("/", 1)[-1]
            descriptor = str(GEOJSON if name == "geojson.json" else SCHEMAS / name)
        return retrieve(cls, descriptor, **options)

    monkeypatch.setattr(frictionless.Metadata, "metadata_retrieve", classmethod(read))


@pytest.fixture
def written(results, published, tmp_path) -> Path:
    lacking = camtrap_dp.write_camtrap_dp(results, tmp_path / "package", METADATA)
    assert lacking == 4  # of 200 photos, those that cannot be read
    return tmp_path / "package"


def errors_of(folder: Path) -> list[str]:
    with frictionless.system.use_context(trusted=True):
        try:
            report = frictionless.Package(str(folder / "datapackage.json")).validate()
        except frictionless.FrictionlessException as error:
            return [error.error.message, *(reason.message for reason in error.reasons)]
    return [error[0] for error in report.flatten(["message"])]


def read_table(folder: Path, name: str) -> list[dict]:
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_camtrap_dp_package_is_valid_and_opens(written):
    assert errors_of(written) == []
    with frictionless.system.use_context(trusted=True):
        opened = frictionless.Package(str(written / "datapackage.json"))
        counts = {}
        for name in TABLES:
            resource = opened.get_resource(name)
            assert isinstance(resource, TableResource)
            counts[name] = len(resource.read_rows())
    assert counts == {"deployments": 3, "media": 196, "observations": 196}
    described = {taxon["scientificName"] for taxon in opened.custom["taxonomic"]}
    found = {row["scientificName"] for row in read_table(written, "observations")}
    assert described == found - {""}


def test_every_photo_is_observed_once_as_its_row_says(written, results):
    rows = {row["path"]: row for row in tables.read_rows(results)}
    for observation in read_table(written, "observations"):
        row = rows.pop(observation["mediaID"])
        assert observation["eventStart"] == f"{row['taken'].isoformat()}+02:00"
        assert observation["classificationMethod"] == "machine"
        assert observation["classifiedBy"] == "drawn 1"
        assert float(observation["bboxX"]) == pytest.approx(210 / 640, abs=1e-5)
        expected = row["scientific_name"] if row["kind"] == "species" else "Aves"
        assert observation["scientificName"] == expected  # without taxa of shortlists
        assert (observation["classificationProbability"] == "") == (row["kind"] == "unknown")
    assert all(row["error"] for row in rows.values())


def test_something_unknown_that_was_not_found_is_unknown_and_not_blank():
    row = {"kind": "unknown", "boxes": [], "crop_from": "center", "scientific_name": "A b"}
    assert camtrap_dp.observation_type(row) == "unknown"
    assert camtrap_dp.observed_taxon(row) is None


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("observations", "observationType", "bird", "enum"),
        ("observations", "deploymentID", "elsewhere", "foreign"),
        ("media", "timestamp", "2026-05-01 05:00", "type"),
        ("deployments", "latitude", "", "required"),
    ],
)
def test_a_broken_package_is_not_valid(written, table, column, value, message):
    rows = read_table(written, table)
    rows[0][column] = value
    with (written / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert message in " ".join(errors_of(written))


def test_a_package_without_a_required_property_is_not_valid(written):
    content = json.loads((written / "datapackage.json").read_text())
    del content["project"]["samplingDesign"]
    write_json(written / "datapackage.json", content)
    assert "samplingDesign" in " ".join(errors_of(written))


def rewrite(folder: Path, **changes) -> Results:
    """Return sample results with some columns set to a value in all rows."""
    results = Results(write_sample_results(folder, 20))
    for file in results.rows_folder.glob("*.parquet"):
        table = pq.read_table(file)
        rows = [row | changes for row in table.to_pylist()]
        pq.write_table(type(table).from_pylist(rows, table.schema), file)
    return results


def test_what_photos_do_not_tell_is_asked_for(tmp_path, published):
    deployments, target = tmp_path / "d.csv", tmp_path / "package"

    results = rewrite(tmp_path / "r", utc_offset=None, latitude=None, longitude=None)
    with pytest.raises(ResultsError, match=r"name, contributors, project, .*--metadata FILE"):
        camtrap_dp.write_camtrap_dp(results, target, {})
    with pytest.raises(ResultsError, match=r"no offset from UTC.*--timezone"):
        camtrap_dp.write_camtrap_dp(results, target, METADATA)
    arguments = ["convert", str(results.folder), "--camtrap-dp", str(target)]
    write_json(tmp_path / "m.json", METADATA)
    arguments += ["--metadata", str(tmp_path / "m.json"), "--timezone", "Europe/Brussels"]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, "requires the latitude" in done.output) == (2, True)
    lines = ["deploymentID,latitude,longitude,deploymentStart,habitat"]
    lines += [f"photos/camera{n},50.{n},4,2026-04-30T12:00,wood" for n in range(3)]
    lines += ["empty,51,4,2026-04-30T12:00,"]
    deployments.write_text("\n".join(lines))
    done = CliRunner().invoke(app, [*arguments, "--deployments", str(deployments)])
    assert (done.exit_code, "requires the deploymentEnd" in done.output) == (2, True)
    deployments.write_text("\n".join(lines[:-1]))
    done = CliRunner().invoke(app, [*arguments, "--deployments", str(deployments)])
    assert done.exit_code == 0, done.output
    assert errors_of(target) == []
    assert read_table(target, "deployments")[1]["deploymentStart"] == "2026-04-30T12:00:00+02:00"
    deployments.write_text("deploymentID,lat\nphotos/camera0,1\n")
    done = CliRunner().invoke(app, [*arguments, "--deployments", str(deployments)])
    assert (done.exit_code, "does not have: lat" in done.output) == (2, True)


def test_results_without_times_are_refused(tmp_path):
    with pytest.raises(ResultsError, match="predict --exif"):
        camtrap_dp.write_camtrap_dp(
            rewrite(tmp_path / "r", taken=None), tmp_path / "package", METADATA
        )
    assert not list(tmp_path.glob("package/*"))


def test_megadetector_json_is_valid(results, tmp_path):
    write_megadetector(results, tmp_path / "md.json")
    content = json.loads((tmp_path / "md.json").read_text())
    report = validate_batch_results(content)["validation_results"]
    assert (report["errors"], report["warnings"]) == ([], [])
    assert content["info"]["format_version"] == "1.6"
    rows = {row["path"]: row for row in tables.read_rows(results)}
    for image in content["images"]:
        row = rows.pop(image["file"])
        if row["error"]:
            assert image["failure"] == row["error"]
            continue
        (found,) = image["detections"]
        assert found["bbox"] == pytest.approx([210 / 640, 120.5 / 480, 200 / 640, 0.375], abs=1e-5)
        assert ("classifications" in found) == (row["kind"] != "unknown")
        if row["kind"] != "unknown":
            category, _ = found["classifications"][0]
            assert content["classification_categories"][category] == row["label"]
    assert not rows
    content["images"][0]["detections"][0]["category"] = "7"
    assert validate_batch_results(content)["validation_results"]["errors"]


def test_csv_json_and_parquet_have_every_row(results, tmp_path):
    files = [tmp_path / name for name in ("a.csv", "a.json", "a.parquet")]
    options = [x for file in files for x in (f"--{file.suffix[1:]}", str(file))]
    assert CliRunner().invoke(app, ["convert", str(results.folder), *options]).exit_code == 0
    with files[0].open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    objects = sorted(json.loads(files[1].read_text()), key=lambda row: row["path"])
    expected = results.read_table().to_pylist()
    assert pq.read_table(files[2]).sort_by("path").to_pylist() == expected
    assert [row["path"] for row in rows] == [row["path"] for row in expected]
    for row, text, item in zip(expected, rows, objects, strict=True):
        assert text["shortlist"] == "; ".join(row["shortlist"] or [])
        found = item["predictions"] and [
            {key: each[key] for key in ("label", "probability")} for each in item["predictions"]
        ]
        assert found == row["predictions"]
        assert text["taken"] == (item["taken"] or "")


def test_convert_asks_for_a_file_to_write(results):
    done = CliRunner().invoke(app, ["convert", str(results.folder)])
    assert (done.exit_code, "--csv" in done.output) == (2, True)
