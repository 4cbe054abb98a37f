"""A frozen body does not move, a validation photo is what the function sees, rates differ."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torchinfo
from fastai.vision.all import Normalize
from torch import nn

from fieldmark.errors import WeightsError
from fieldmark.network.weights import find_weights_file
from fieldmark.training.learner import features, head_learner, layer_learning_rates
from tests.conftest import SIZE


def snapshot(module) -> dict:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(before: dict, module) -> list[str]:
    now = module.state_dict()
    return [name for name, tensor in before.items() if not torch.equal(tensor, now[name])]


def fit(learn, *args):
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(*args)


def test_no_tensor_of_a_frozen_body_moves(new_learner):
    learn = new_learner()
    body, head = snapshot(learn.model[0]), snapshot(learn.model[1])
    fit(learn, 1, 0.01)
    assert moved(body, learn.model[0]) == []
    assert len(moved(head, learn.model[1])) == len(head)


def test_a_body_as_fastai_freezes_it_would_move(new_learner):
    """The test above can fail: without our callback the running statistics drift."""
    learn = new_learner()
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "keep_statistics"])
    body = snapshot(learn.model[0])
    fit(learn, 1, 0.01)
    assert any("running_mean" in name for name in moved(body, learn.model[0]))


def test_the_head_learns_from_what_the_frozen_body_saw_once(new_learner):
    learn = new_learner()
    body, head = snapshot(learn.model[0]), snapshot(learn.model[1])
    made = features(learn, learn.model[0].eval())
    mixed, _ = features(learn, learn.model[0].eval(), "bfloat16")
    assert mixed[0].dtype == torch.float32
    assert not torch.equal(mixed[0], made[0][0])
    assert torch.allclose(mixed[0], made[0][0], atol=0.05 * float(made[0][0].abs().max()))
    alone = head_learner(learn, made)
    batch, labels = learn.dls.valid.one_batch()
    seen, same_labels = alone.dls.valid.one_batch()
    with torch.no_grad():
        expected, found = learn.model.eval()(batch), alone.model.eval()(seen)
    assert torch.allclose(found, expected.as_subclass(torch.Tensor), atol=1e-4)
    assert torch.equal(same_labels, labels.as_subclass(torch.Tensor))
    assert len(alone.dls.train_ds) == len(learn.dls.train_ds)
    fit(alone, 2, 0.01)
    assert moved(body, learn.model[0]) == []
    assert len(moved(head, learn.model[1])) == len(head)


def test_the_first_stages_can_stay_frozen_to_the_end(new_learner):
    learn = new_learner()
    learn.freeze_to(3)
    stages = learn.splitter(learn.model)
    before = [[parameter.clone() for parameter in stage] for stage in stages]
    fit(learn, 1, 0.01)
    same = [
        all(torch.equal(old, new) for old, new in zip(was, now, strict=True))
        for was, now in zip(before, stages, strict=True)
    ]
    assert same == [True] * 3 + [False] * (len(stages) - 3)


def test_unfrozen_every_stage_moves_but_the_statistics_stay(new_learner):
    learn = new_learner()
    body = snapshot(learn.model[0])
    learn.unfreeze()
    fit(learn, 1, np.array(layer_learning_rates(learn, 0.01, 0.75)))
    changed = moved(body, learn.model[0])
    assert not [name for name in changed if "running" in name]
    assert {name for name, _ in learn.model[0].named_parameters()} <= set(changed)


def test_each_stage_has_its_own_rate_and_the_head_the_highest(new_learner):
    learn = new_learner()
    learn.unfreeze()
    learn.create_opt()
    learn.opt.set_hyper("lr", np.array(layer_learning_rates(learn, 0.01, 0.5)))
    used = [hyper["lr"] for hyper in learn.opt.hypers]
    assert len(used) > 4
    assert used[-1] == 0.01
    assert used == sorted(used)
    assert all(high == pytest.approx(2 * low) for low, high in pairwise(used))


def test_every_parameter_belongs_to_exactly_one_stage(new_learner):
    learn = new_learner()
    staged = [id(p) for stage in learn.splitter(learn.model) for p in stage]
    assert sorted(staged) == sorted(id(p) for p in learn.model.parameters())


def test_the_weights_of_the_file_are_in_the_body(new_learner, weights):
    loaded = new_learner().model[0].model.state_dict()
    from safetensors.torch import load_file

    for name, tensor in load_file(weights).items():
        if not name.startswith("classifier"):
            assert torch.equal(loaded[name], tensor), name


def test_the_photos_are_normalised_once_pretrained_or_not(new_learner, settings):
    for start in ("random", None):
        learn = new_learner(start) if start else new_learner()
        found = [t for t in learn.dls.valid.after_batch.fs if isinstance(t, Normalize)]
        assert len(found) == 1
        assert found[0].mean.ravel().tolist() == pytest.approx(settings["mean"])


def test_the_head_is_affine(new_learner):
    kinds = [type(layer) for layer in new_learner().model[1] if not isinstance(layer, nn.Dropout)]
    assert [kind.__name__ for kind in kinds[2:]] == ["BatchNorm1d", "Linear"]


def test_random_weights_have_nothing_to_keep(new_learner):
    learn = new_learner("random")
    assert all(parameter.requires_grad for parameter in learn.model.parameters())
    body = snapshot(learn.model[0])
    fit(learn, 1, 0.01)
    assert any("running_mean" in name for name in moved(body, learn.model[0]))


def test_a_missing_weights_file_says_what_to_do(tmp_path):
    with pytest.raises(WeightsError, match="FIELDMARK_WEIGHTS"):
        find_weights_file(str(tmp_path / "none.safetensors"))


def test_a_summary_names_body_and_head_and_moves_nothing(new_learner):
    learn = new_learner()
    learn.model.train()
    before = snapshot(learn.model)
    told = str(torchinfo.summary(learn.model, (1, 3, SIZE, SIZE), depth=3, verbose=0))
    assert "─Backbone: 1-1" in told
    assert f"Total params: {sum(p.numel() for p in learn.model.parameters()):,}" in told
    assert moved(before, learn.model) == []
    assert learn.model.training
