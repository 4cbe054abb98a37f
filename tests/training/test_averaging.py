"""The weights before and after a fine-tuning are averaged, and shares compared by folds."""

import pandas as pd
import pytest
import torch
from fastai.vision.all import Learner

from benchmarks import averaging
from fieldmark.errors import RecipeError
from fieldmark.recipe import Recipe
from fieldmark.training.averaging import average_states
from fieldmark.training.cross_validation import cross_validate
from fieldmark.training.fold_predictions import WHOLE


def test_shares_of_0_and_1_are_exactly_the_weights_after_and_before():
    start, trained = ({"a": torch.randn(9), "n": torch.tensor(n)} for n in (1, 2))
    for share, state in ((0.0, trained), (1.0, start)):
        averaged = average_states(start, trained, share)
        assert torch.equal(averaged["a"], state["a"])
        assert averaged["n"] == 2


def test_an_average_of_different_networks_is_refused():
    with pytest.raises(RecipeError, match="different `arch`"):
        averaging.load_recipes(Recipe(), Recipe(arch="resnet18"))


def test_shares_are_cross_validated_on_the_training_photos(
    recipe_file, tmp_path, monkeypatch, capsys
):
    field = tmp_path / "field.yaml"
    changes = "start_weights_share: 0.5\nshrink_share: 0.9\n"
    values = recipe_file.read_text().replace("frozen_epochs: 1", "frozen_epochs: 0")
    field.write_text(f"{values}{changes}".replace(str(Recipe.load(recipe_file).weights), "none"))
    options = {"share": [0.5, 1, 0], "folds": 2, "settings": ["head_init=probe"], "set_base": []}
    options |= {"set_field": ["learning_rate=0.01"], "out": tmp_path / "out"}

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:  # after both trainings of the first fold
        interrupted.setattr(averaging, "average_networks", stop)
        with pytest.raises(KeyboardInterrupt):
            averaging.main(recipe_file, field, **options)
    fits, fit = [], Learner.fit
    monkeypatch.setattr(Learner, "fit", lambda *args, **kw: fits.append(1) or fit(*args, **kw))
    averaging.main(recipe_file, field, **options)
    assert len(fits) == 3  # head, all, and again: of the second fold
    printed = capsys.readouterr().out
    assert printed.count("FIELD alone") == printed.count("BASE alone") == 2
    out = tmp_path / "out"
    predictions = pd.read_csv(out / "predictions.csv", keep_default_na=False)
    assert predictions.groupby("share")["path"].nunique().to_dict() == {0: 48, 0.5: 48, 1: 48}
    predicted = predictions.groupby("share")["predicted"]
    assert len({tuple(names) for _, names in predicted}) == 3
    assert not list(out.glob("fold-*/"))
    settings = {"head_init": "probe"}
    base = pd.concat(cross_validate(Recipe.load(recipe_file, settings), tmp_path / "base", 2))
    alone = predictions[predictions["share"] == 1].drop(columns="share")
    assert alone.astype(str).values.tolist() == base.values.tolist()
    compared = pd.read_csv(out / "comparison.csv").set_index(["share", "against", "view"])
    whole = predictions[predictions["view"] == WHOLE]
    right = (whole["label"] == whole["predicted"]).groupby(whole["share"]).mean()
    points = 100 * (right[0.5] - right[0])
    assert compared.loc[(0.5, "FIELD alone", WHOLE), "points"] == pytest.approx(points, abs=0.0051)
    summary = pd.read_csv(out / "summary.csv").set_index(["share", "view"])["accuracy"]
    assert summary[0.5, WHOLE] == pytest.approx(right[0.5], abs=0.0001)
