"""Pasted birds: edges, masks and places."""

import numpy as np
import pytest
from PIL import Image

from fieldmark.finder.pasting import EDGES, Place, edge_mask, paste, random_place

WHITE = Image.new("RGB", (120, 80), "white")
BLACK = Image.new("RGB", (50, 50))


@pytest.mark.parametrize("edge", EDGES)
def test_a_pasted_photo_stays_inside_its_place_and_the_ground_is_not_changed(edge):
    place = Place(30, 10, 40, 60)
    pasted = np.asarray(paste(WHITE, BLACK, place, edge)).min(2)
    assert pasted[40, 50] == 0
    left, top, right, bottom = place.corners
    pasted_outside = pasted.copy()
    pasted_outside[top:bottom, left:right] = 255
    assert (pasted_outside == 255).all()
    assert np.asarray(WHITE).min() == 255


def test_a_hard_edge_fills_the_place_a_feathered_one_nearly_and_an_ellipse_fades_inside():
    hard, feathered, ellipse = (edge_mask(60, 40, edge).mean() / 255 for edge in EDGES)
    assert hard == 1
    assert 0.8 < feathered < 0.9
    assert 0.45 < ellipse < 0.6
    for edge in ("feathered", "ellipse"):
        mask = edge_mask(60, 40, edge)
        assert mask[20, 30] == 255
        assert mask[0].max() < 64
        assert (mask == mask[::-1, ::-1]).all()


def test_random_places_have_their_share_and_aspect_and_reach_every_border():
    rng = np.random.default_rng(0)
    for aspect, size in ((1.0, (25, 25)), (0.5, (12, 25)), (2.0, (25, 12))):
        places = [random_place(rng, 80, 50, 0.5, aspect) for _ in range(400)]
        assert {place[2:] for place in places} == {size}
        corners = np.array([place.corners for place in places])
        assert corners[:, :2].min(0).tolist() == [0, 0]
        assert corners[:, 2:].max(0).tolist() == [80, 50]


def test_a_place_of_the_whole_ground_is_the_ground():
    assert random_place(np.random.default_rng(0), 50, 80, 1.0).corners[::2] == (0, 50)
