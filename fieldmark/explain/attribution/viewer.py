"""A widget to choose a photo, a method and a label, and see the evidence.

It serves the purpose of Captum Insights, which was retired after Captum 0.8 and is not part of 0.9.
"""

import base64
import io
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.figure import Figure

from fieldmark.evaluation.galleries import show_photo
from fieldmark.evaluation.predictions import Predictions
from fieldmark.explain.attribution.methods import METHODS, attribute, create_logits
from fieldmark.explain.attribution.plots import add_legend, overlay
from fieldmark.explain.attribution.scores import UNSUPPORTED
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.plotting import create_axes, styled

KINDS = {"all": None, "right": True, "wrong": False}
NO_PHOTO = "There is no photo to show."
LABELS = 5  # the most probable ones can be chosen, and the true one
WIDE = {"description_width": "60px"}


class AttributionViewer(widgets.VBox):
    """Controls `kind`, `photo`, `method` and `label`, and the `picture` that they choose.

    Overlays are computed when they are chosen, and kept. In a notebook that is read without a
    kernel, the first picture stands in place of the widget.
    """

    def __init__(self, explained: ExplainedRun, predictions: Predictions, seed: int = 0):
        self.explained, self.predictions, self.seed = explained, predictions, seed
        self.logits = create_logits(explained, predictions.temperature)
        self.pictures: dict[tuple, bytes] = {}
        self.kind = widgets.ToggleButtons(options=self.list_kinds())
        options = {"layout": widgets.Layout(width="640px"), "style": WIDE}
        self.photo = widgets.Dropdown(description="photo", **options)
        self.method = widgets.Dropdown(description="method", options=list(METHODS), **options)
        self.label = widgets.Dropdown(description="label", **options)
        self.picture = widgets.Image(format="png", width=640)
        self.message = widgets.Label()
        super().__init__(
            [self.kind, self.photo, self.method, self.label, self.picture, self.message]
        )
        self.listing = False  # while options change, their events draw nothing
        reactions = {self.kind: self.list_photos, self.photo: self.list_labels}
        reactions |= {self.method: self.draw, self.label: self.draw}
        for control, react in reactions.items():
            control.observe(lambda _, react=react: self.listing or react(), "value")
        self.list_photos()

    def list_kinds(self) -> list[str]:
        """Return the kinds of answers of which there are photos."""
        correct = self.predictions.correct
        return [kind for kind, value in KINDS.items() if value is None or (correct == value).any()]

    def list_photos(self) -> None:
        """Offer the photos of a kind, and choose the first."""
        right, table = KINDS[self.kind.value], self.predictions.table
        correct = self.predictions.correct
        shown = np.ones(len(table), bool) if right is None else correct == right
        self.offer(
            self.photo,
            [
                (f"{'✓' if row.label == row.predicted else '✗'} {row.label}: {row.path}", number)
                for number, row in enumerate(table.itertuples())
                if shown[number]
            ],
        )
        self.list_labels()

    def list_labels(self) -> None:
        """Offer the labels of the photo, and choose the first."""
        row = self.photo.value
        self.offer(self.label, [] if row is None else self.name_labels(row))
        self.draw()

    def name_labels(self, row: int) -> list[tuple[str, int]]:
        """Return the most probable labels of a photo and the true one, as options."""
        probability, truth = self.predictions.probability[row], self.predictions.truth[row]
        labels = [*np.argsort(-probability)[:LABELS], *([truth] if truth >= 0 else [])]
        return [
            (f"{self.predictions.labels[label]}, {probability[label]:.1%}", int(label))
            for label in dict.fromkeys(labels)
        ]

    def offer(self, control: widgets.Dropdown, options: list[tuple[str, int]]) -> None:
        """Set the options of a control, and choose the first, without drawing."""
        self.listing = True
        try:
            control.options = options
            control.index = 0 if options else None
        finally:
            self.listing = False

    def draw(self) -> None:
        """Show the overlay of what is chosen."""
        if self.photo.value is None:
            self.message.value = NO_PHOTO
            return
        chosen = (self.photo.value, self.method.value, self.label.value)
        try:
            if chosen not in self.pictures:
                self.pictures[chosen] = self.render(*chosen)
            self.picture.value = self.pictures[chosen]
            self.message.value = f"{self.method.value}: {METHODS[self.method.value].summary}"
        except UNSUPPORTED as error:
            self.message.value = f"{self.method.value} does not support this network: {error}"

    def render(self, row: int, method: str, label: int) -> bytes:
        """Return the photo and the overlay of a method, as PNG."""
        pixels = self.explained.prepare([self.predictions.paths[row]])
        photo = self.explained.network.preparation.normalize(pixels)
        values = attribute(method, self.logits, photo, torch.tensor([label]), self.seed)
        figure = draw_pair(pixels[0], values[0], f"{method}: {self.predictions.labels[label]}")
        with io.BytesIO() as stream:
            figure.savefig(stream, format="png", dpi=100)
            return stream.getvalue()

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Add the picture to what a notebook stores of a widget."""
        bundle: dict[str, Any] = super()._repr_mimebundle_(**options) or {}
        picture = bytes(self.picture.value)
        return {**bundle, "image/png": base64.b64encode(picture).decode()} if picture else bundle


@styled
def draw_pair(pixels: np.ndarray, values: np.ndarray, title: str) -> Figure:
    """Draw a photo and its overlay side by side."""
    figure, ((photo, evidence),) = create_axes(6.4, 3.6, 1, 2)
    show_photo(photo, pixels)
    show_photo(evidence, overlay(pixels, values))
    evidence.set_title(title, size=9)
    add_legend(figure)
    return figure
