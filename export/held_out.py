"""The photos that a model is calibrated, verified and measured with, as they are served."""

from collections import ChainMap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from birds.classifier import Classifier
from birds.finder import Finder
from export.predictions import drawn_photos
from fieldmark.evaluation.predictions import Predictions, concatenate, predict
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.proposals import Proposals, propose_middle
from fieldmark.evaluation.search import search_photos
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.finder.field_photos import COPIES, FieldPhotos
from fieldmark.finder.grounds import split_grounds
from fieldmark.network.network import Network
from fieldmark.statistics import wilson_interval


class HeldOut:
    """Photos of `valid` and `calibration`, and the eight awkward drawn ones (split `drawn`).

    With a finder there are pasted copies of the former too, on `grounds`, and the crops that are
    proposed in all of them. `middle` lists the photos, `versions` the copies too; `source` has the
    bytes of all.
    """

    def __init__(
        self,
        photos: pd.DataFrame,
        folder: Path,
        finder: Finder | None = None,
        grounds: Sequence[Path] = (),
    ):
        drawn, drawn_bytes = drawn_photos()
        field = FieldPhotos(photos, folder, grounds, COPIES if finder else 0)
        self.finder = finder
        self.middle = pd.concat([photos, drawn], ignore_index=True)
        self.versions = pd.concat([field.table, drawn], ignore_index=True)
        self.source = ChainMap(drawn_bytes, field)  # pyright: ignore[reportArgumentType]

    def sample_versions(self, count: int) -> dict[str, bytes]:
        """Return about `count` photos, pasted copies among them, for a finder to search."""
        paths = self.versions["path"][self.versions["split"] != "drawn"]
        return {
            path: self.source[path] for path in paths.sample(min(count, len(paths)), random_state=0)
        }

    def look_at_middle(self, network: Network, predictions: Predictions) -> Proposals:
        """Return predictions for the middle squares, given those of `valid` and `calibration`."""
        (of_drawn,) = predict([network], self.middle[self.middle["split"] == "drawn"], self.source)
        return propose_middle(self.middle, concatenate([predictions, of_drawn]))

    def search(self, predictor: Predictor) -> Proposals:
        """Return predictions for the crops that the finder proposes in all versions."""
        return search_photos(self.versions, self.source, self.finder, predictor)

    def search_by_file(self, file: Path) -> tuple[Proposals, Proposals]:
        """Return predictions of a file for the middle squares, and for the proposed crops."""
        predictor = Predictor.of_file(Classifier(file))
        middle = search_photos(self.middle, self.source, None, predictor)
        return middle, self.search(predictor) if self.finder else middle


def describe_finder(finder: Finder | None, proposals: Proposals) -> dict | None:
    """Return the entry `finder` of a card, None without one.

    `found` says in how many held-out photos it proposed a box, `crops` which crops are proposed in
    the drawn photos: other ones reveal a change of the code or the file.
    """
    if not finder:
        return None
    is_drawn = (proposals.photos["split"] == "drawn").to_numpy()
    is_pasted, found = ~np.isnan(proposals.share), proposals.found
    kinds = {"as they are": ~is_pasted & ~is_drawn, "pasted": is_pasted}
    drawn = proposals.select(is_drawn)
    ends = zip(drawn.photos["path"], drawn.starts, drawn.starts + drawn.counts, strict=True)
    return {
        **finder.version,
        "sha256": finder.sha256,
        "found": {
            kind: wilson_interval(int(found[mask].sum()), int(mask.sum()))
            for kind, mask in kinds.items()
        },
        "crops": {
            path.removeprefix("drawn: "): [list(crop.square) for crop in drawn.squares[start:end]]
            for path, start, end in ends
        },
    }


def hold_out_grounds(options: UncertaintyOptions) -> UncertaintyOptions:
    """Return options without the photos on which training pastes birds, of any model."""
    kinds = {kind: split_grounds(paths)[1] for kind, paths in options.ood_photos.items()}
    return replace(options, ood_photos=kinds)


def search_kinds(
    unfamiliar: pd.DataFrame, folder: Path, finder: Finder | None, predictor: Predictor
) -> dict[str, Proposals]:
    """Search photos of each kind, given in `split`, as those of known birds are searched."""
    return {
        str(kind): search_photos(rows, folder, finder, predictor)
        for kind, rows in unfamiliar.groupby("split", sort=False)
    }
