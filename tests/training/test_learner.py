"""A frozen backbone does not change, layer groups have their own learning rates."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torchinfo
from fastai.vision.all import Normalize

from fieldmark.errors import NetworkError
from fieldmark.training.learner import (
    embed_splits,
    head_learner,
    layer_learning_rates,
    make_learner,
)
from tests.conftest import SIZE, create_network
from tests.training.conftest import changed_tensors, copy_state


def fit(learn, *arguments):
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(*arguments)


def test_no_tensor_of_a_frozen_backbone_changes(new_learner):
    learn = new_learner()
    backbone, head = copy_state(learn.model[0]), copy_state(learn.model[1])
    fit(learn, 1, 0.01)
    assert changed_tensors(backbone, learn.model[0]) == []
    assert len(changed_tensors(head, learn.model[1])) == len(head)


def test_a_backbone_as_fastai_freezes_it_would_change(new_learner):
    """The test above can fail: without our callback the running statistics drift."""
    learn = new_learner()
    learn.remove_cbs([cb for cb in learn.cbs if cb.name == "freeze_batch_norm"])
    backbone = copy_state(learn.model[0])
    fit(learn, 1, 0.01)
    assert any("running_mean" in name for name in changed_tensors(backbone, learn.model[0]))


def test_the_head_trains_on_embeddings_as_it_would_on_photos(new_learner, folder):
    learn = new_learner()
    backbone, head = copy_state(learn.model[0]), copy_state(learn.model[1])
    alone = head_learner(learn, embed_splits(learn, folder))
    photos, labels = learn.dls.valid.one_batch()
    embeddings, same_labels = alone.dls.valid.one_batch()
    with torch.no_grad():
        expected, logits = learn.model.eval()(photos), alone.model.eval()(embeddings)
    assert torch.allclose(logits, expected.as_subclass(torch.Tensor), atol=1e-4)
    assert torch.equal(same_labels, labels.as_subclass(torch.Tensor))
    assert len(alone.dls.train_ds) == len(learn.dls.train_ds)
    fit(alone, 1, 0.01)
    assert changed_tensors(backbone, learn.model[0]) == []
    assert len(changed_tensors(head, learn.model[1])) == len(head)


def test_the_first_layer_groups_can_stay_frozen_to_the_end(new_learner):
    learn = new_learner()
    learn.freeze_to(3)
    groups = learn.splitter(learn.model)
    before = [[parameter.clone() for parameter in group] for group in groups]
    fit(learn, 1, 0.01)
    unchanged = [all(map(torch.equal, *pair)) for pair in zip(before, groups, strict=True)]
    assert unchanged == [True] * 3 + [False] * (len(groups) - 3)


def test_an_unfrozen_backbone_changes_but_for_its_statistics(new_learner):
    learn = new_learner()
    backbone = copy_state(learn.model[0])
    learn.unfreeze()
    fit(learn, 1, np.array(layer_learning_rates(learn, 0.01, 0.75)))
    changed = changed_tensors(backbone, learn.model[0])
    assert not [name for name in changed if "running" in name]
    assert {name for name, _ in learn.model[0].named_parameters()} <= set(changed)


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"batch_norm": "frozen"}, False),
        ({"batch_norm": "train"}, True),
        ({"start": "random"}, True),
    ],
    ids=str,
)
def test_running_statistics_change_only_as_the_recipe_says(new_learner, options, changes):
    learn = new_learner(**options)
    backbone = copy_state(learn.model[0])
    fit(learn, 1, 0.01)
    changed = changed_tensors(backbone, learn.model[0])
    assert any("running_mean" in name for name in changed) == changes


def test_learning_rates_fall_from_the_head_to_the_stem(new_learner):
    learn = new_learner()
    rates = layer_learning_rates(learn, 0.01, 0.5)
    assert len(rates) == len(learn.splitter(learn.model)) > 4
    assert rates[-1] == 0.01
    assert all(high == pytest.approx(2 * low) for low, high in pairwise(rates))


def test_every_parameter_belongs_to_exactly_one_layer_group(new_learner):
    learn = new_learner()
    grouped = [id(p) for group in learn.splitter(learn.model) for p in group]
    assert sorted(grouped) == sorted(id(p) for p in learn.model.parameters())


@pytest.mark.parametrize("start", [{}, {"start": "random"}], ids=["pretrained", "random"])
def test_photos_are_normalised_exactly_once(new_learner, settings, start):
    transforms = new_learner(**start).dls.valid.after_batch.fs
    (normalize,) = [t for t in transforms if isinstance(t, Normalize)]
    assert normalize.mean.ravel().tolist() == pytest.approx(settings["mean"])


def test_a_network_for_other_labels_is_refused(new_learner):
    with pytest.raises(NetworkError, match="labels"):
        make_learner(create_network("random", labels=["jay", "wren"]), new_learner().dls)


def test_a_summary_names_backbone_and_head_and_changes_nothing(new_learner):
    learn = new_learner()
    learn.model.train()
    before = copy_state(learn.model)
    text = str(torchinfo.summary(learn.model, (1, 3, SIZE, SIZE), depth=3, verbose=0))
    assert "─Backbone: 1-1" in text
    assert f"Total params: {sum(p.numel() for p in learn.model.parameters()):,}" in text
    assert changed_tensors(before, learn.model) == []
    assert learn.model.training
