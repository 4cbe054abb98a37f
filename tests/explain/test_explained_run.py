"""A finished run as it is explained: its predictions, its class maps, its pretrained backbone."""

import ast

import nbformat
import numpy as np
import pytest
import torch

from fieldmark.errors import RunError, WeightsError
from fieldmark.explain.class_maps import compute_class_maps, map_features
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.folds import split_folds
from fieldmark.explain.label_logits import LabelLogits
from fieldmark.explain.pretrained import compute_pretrained_features
from fieldmark.network.head import create_head, fold_head
from fieldmark.recipe import ExplainRecipe
from tests.conftest import ROOT, create_network


def test_predictions_and_logits_are_those_that_are_served(explained):
    paths = explained.held_out.paths[:4]
    pixels = explained.prepare(paths)
    served = explained.classifier.predict(pixels)
    predicted = explained.predictions.select(paths)
    np.testing.assert_allclose(predicted.probability, served.probability, atol=1e-5)
    logits = LabelLogits(explained.network, explained.predictions.temperature)
    with torch.no_grad():
        differentiable = logits(explained.network.preparation.normalize(pixels))
    np.testing.assert_allclose(differentiable, predicted.scaled_logits, atol=1e-4)


def test_class_maps_add_up_to_logits_and_are_the_served_heat_maps(explained):
    predictions = explained.held_out.select(np.arange(4))
    pixels = explained.prepare(predictions.paths)
    maps = compute_class_maps(explained.network, pixels, predictions.predicted)
    rows = np.arange(4)
    _, bias = fold_head(explained.network.head)
    logits = predictions.logits[rows, predictions.predicted]
    np.testing.assert_allclose(
        maps.mean((1, 2)) + bias.numpy()[predictions.predicted], logits, atol=1e-4
    )
    positive = maps.clip(0)
    heat = positive / positive.max((1, 2), keepdims=True)
    np.testing.assert_allclose(explained.classifier.predict(pixels).heatmap, heat, atol=1e-4)


def test_maps_of_subclasses_are_those_of_the_likely_one_however_unlikely_the_label():
    head = create_head(2, 3, dropout=0).eval()
    with torch.no_grad():
        head[-1].weight.copy_(torch.tensor([[300.0, 0.0], [-300.0, 0.0], [-100.0, 50.0]]))
    features = torch.tensor([[[[1.0, 3.0]], [[2.0, 4.0]]]])
    weight, _ = fold_head(head)
    (values,) = map_features(features, head, np.array([0, 1, 1]), [1])
    torch.testing.assert_close(values, torch.einsum("dhw,d->hw", features[0], weight[2]))


def test_pretrained_features_are_those_of_the_start_weights(explained, weights):
    features = compute_pretrained_features(explained, str(weights))
    pixels = explained.prepare(explained.photos["path"][:4])
    _, expected = create_network(weights).forward_pixels(pixels)
    np.testing.assert_allclose(features[:4], expected, atol=1e-4)
    assert not np.array_equal(features, explained.predictions.embedding)
    with pytest.raises(WeightsError, match="saw the labels"):
        compute_pretrained_features(explained, str(explained.run.weights_file))


def test_near_duplicates_stay_in_one_fold(explained):
    pair = explained.photos["path"].iloc[[0, 40]]
    photos = explained.photos.assign(group="")
    photos.loc[pair.index, "group"] = pair.iloc[0]
    judged = []
    for train, judges in split_folds(photos, 3):
        assert len(set(pair.index) & set(judges)) in (0, 2)
        assert not set(train) & set(judges)
        judged += list(judges)
    assert sorted(judged) == list(range(len(photos)))


def test_missing_photos_are_reported(explained, tmp_path):
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"")
    with pytest.raises(RunError, match="FIELDMARK_PHOTOS"):
        ExplainedRun.load(explained.run, str(tmp_path))


def test_the_parameters_cell_of_the_notebook_is_the_schema():
    cells = nbformat.read(ROOT / "explain.ipynb", 4).cells
    (source,) = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    lines = [node for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)]
    cell = {ast.unparse(line.target): ast.literal_eval(line.value) for line in lines}
    fields = ExplainRecipe.model_fields
    assert cell == {key: field.default for key, field in fields.items()}
    comments = [line.split("  # ")[1] for line in source.splitlines() if "  # " in line]
    assert comments == [field.description for field in fields.values()]


def test_the_document_has_the_table_of_the_schema():
    document = (ROOT / "docs/explain.md").read_text(encoding="utf-8")
    assert f"\n\n{ExplainRecipe.markdown_table()}\n" in document
