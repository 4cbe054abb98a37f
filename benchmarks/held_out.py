"""The shipped model's predictions for photos that did not train it, as they are and pasted."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from birds.classifier import Classifier
from birds.finder import Finder
from export.held_out import hold_out_grounds
from fieldmark.data.run_photos import find_run_photos
from fieldmark.errors import UserError
from fieldmark.evaluation.predictions import PhotoSource
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.proposals import Proposals
from fieldmark.evaluation.search import search_photos
from fieldmark.evaluation.uncertainty import UncertaintyOptions, list_unfamiliar
from fieldmark.finder.field_photos import FieldPhotos
from fieldmark.run import Run


class HeldOutModel(NamedTuple):
    """A model with its finder, its photos, and photos without a bird that pasted ones may use."""

    card: dict[str, Any]
    predictor: Predictor
    finder: Finder
    split: pd.DataFrame
    folder: Path
    grounds: list[Path]

    @classmethod
    def of_run(cls, folder: Path) -> "HeldOutModel":
        """Load the model of a folder with birds.onnx and split.csv; raises UserError."""
        run = Run(folder)
        classifier = Classifier(run.model_file)
        card = classifier.card
        if not all((card.get("thresholds") or {}).get(key) for key in ("shortlist", "unknown")):
            raise UserError("The card of this model has no thresholds. Export it with more photos.")
        options = UncertaintyOptions.from_recipe(card["recipe"], card.get("open_set_run"))
        if not options.finder:
            raise UserError("There is no finder. Set FIELDMARK_FINDER to its file.")
        unfamiliar = list_unfamiliar(run.split, hold_out_grounds(options))
        grounds = [Path(path) for path in unfamiliar["path"][unfamiliar["is_ground"]]]
        finder, predictor = Finder(options.finder), Predictor.of_file(classifier)
        return cls(card, predictor, finder, run.split, find_run_photos(run), grounds)

    def search(self, photos: pd.DataFrame, source: PhotoSource) -> Proposals:
        """Predict the crops that the finder proposes in photos."""
        return search_photos(photos, source, self.finder, self.predictor)

    def photos_of(self, split: str) -> pd.DataFrame:
        """Return the rows of one split."""
        return self.split[self.split["split"] == split].reset_index(drop=True)

    def search_field_photos(self, split: str) -> Proposals:
        """Predict the photos of a split as they are and pasted, as for the card's thresholds."""
        field = FieldPhotos(self.photos_of(split), self.folder, self.grounds)
        return self.search(field.table, field)
