"""The folder of a finder's run: its files, and its network before and after export."""

import json
from pathlib import Path

import pandas as pd
import torch
import yaml
from safetensors.torch import load_file, save

from birds.finder import Finder
from fieldmark.errors import RunError, WeightsError
from fieldmark.files import write_bytes, write_json, write_text
from fieldmark.finder.detector import WEIGHTS_VARIABLE, Detector
from fieldmark.finder.sources import list_sources
from fieldmark.finder.whole_photos import read_boxes
from fieldmark.network.half import stored_weights
from fieldmark.network.weights import (
    describe_weights,
    find_weights_file,
    load_run_weights,
    resolve_weights,
)
from fieldmark.recipe import FinderRecipe
from fieldmark.replacement import complete_replacement
from fieldmark.run_folder import FORMAT_SUFFIXES, read_weights_card


class FinderRun:
    """The folder of a run, and the only place that knows the names of its files."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.model_file = self.folder / "finder.onnx"
        self.weights_file = self.folder / "finder.safetensors"
        self.recipe_file = self.folder / "recipe.yaml"
        self.boxes_file = self.folder / "boxes.csv"
        self.facts_file = self.folder / "facts.json"  # on start weights and photos
        self.history_file = self.folder / "history.csv"
        self.best_file = self.folder / "best.safetensors"  # float32, before export
        self.last_file = self.folder / "last.safetensors"
        self.metrics_file = self.folder / "metrics.json"
        self.gate_report_file = self.folder / "gate.csv"
        self.notebook_file = self.folder / "finder.ipynb"
        self.figures = self.folder / "figures"
        complete_replacement(self.folder)

    @property
    def further_files(self) -> tuple[Path, ...]:
        """The files of the finder in other formats than ONNX."""
        return tuple(self.folder / f"finder{suffix}" for suffix in FORMAT_SUFFIXES.values())

    @property
    def recipe(self) -> FinderRecipe:
        """The recipe that the run was trained by; raises RunError if there is none."""
        if not self.recipe_file.is_file():
            raise RunError(
                f"{self.folder} is not a finder's run: it has no {self.recipe_file.name}. "
                "`fieldmark train-finder` writes it."
            )
        return FinderRecipe.load(self.recipe_file)

    def begin(self, recipe: FinderRecipe, boxes: pd.DataFrame) -> None:
        """Write what is known before training: recipe, boxes of whole photos, photos and weights.

        The boxes can be used again without the teacher that found them.
        """
        values = recipe.model_dump() | {"boxes": Path(recipe.boxes).name}  # a copy is in the run
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        write_text(self.recipe_file, text)
        write_text(self.boxes_file, boxes.to_csv(index=False))
        weights = resolve_weights(recipe.weights, WEIGHTS_VARIABLE)
        kinds = list_sources(recipe, boxes).items()
        facts = {
            "weights": describe_weights(weights),
            "photos": {
                key: dict(zip(kind._fields, map(len, kind), strict=True)) for key, kind in kinds
            },
        }
        write_json(self.facts_file, facts)

    def read_boxes(self) -> pd.DataFrame:
        """Return the boxes of whole photos; an empty table without any."""
        recipe = self.recipe
        if not recipe.whole_photos:
            return pd.DataFrame(columns=["path"])
        return read_boxes(self.boxes_file, recipe.whole_photos)

    @property
    def history(self) -> pd.DataFrame:
        """The figures of each epoch, and which of them was kept."""
        return pd.read_csv(self.history_file)

    def load_best(self) -> Detector:
        """Return the network of the best epoch; raises RunError before training has ended."""
        if not self.best_file.is_file():
            raise RunError(f"{self.best_file} is missing. Run `fieldmark train-finder` to the end.")
        detector = build_detector(self.recipe)
        detector.load_state_dict(load_file(self.best_file))
        return detector.eval()


def create_detector(recipe: FinderRecipe) -> Detector:
    """Return a new network; start weights may be a backbone's, or those of another finder.

    FIELDMARK_FINDER_WEIGHTS overrides the recipe's `weights`. Raises WeightsError if they are
    missing or of another network.
    """
    weights = resolve_weights(recipe.weights, WEIGHTS_VARIABLE)
    file = find_weights_file(weights, WEIGHTS_VARIABLE)
    card = read_weights_card(file) if file else None
    torch.manual_seed(recipe.seed)
    if not file or not card or card.get("kind") != "finder":
        return Detector(recipe.arch, weights, recipe.width, **recipe.arch_options)
    detector = build_detector(recipe)
    try:
        detector.load_state_dict(load_run_weights(file))
    except RuntimeError as error:  # torch's message lists every tensor
        started = card["recipe"]
        raise WeightsError(
            f"{file} is a finder of arch `{started['arch']}` and width {started['width']}. Set "
            "`arch`, `arch_options` and `width` to those of its recipe."
        ) from error
    detector.freezes_batch_norm = True
    return detector


def load_exported_detector(model_file: Path) -> Detector:
    """Return the network of a finder's model file, from the weights beside it.

    Raises ModelError for a model file that does not load, RunError if it or its weights are
    missing, or of different runs.
    """
    if not model_file.is_file():
        raise RunError(
            f"The finder {model_file} does not exist. Set FIELDMARK_FINDER to one that does, or "
            "unset it."
        )
    model_card = Finder(model_file).card
    file = model_file.with_suffix(".safetensors")
    card = read_weights_card(file) if file.is_file() else None
    if not card or card.get("kind") != "finder":
        raise RunError(
            f"{model_file} has no weights {file.name} beside it, and files of other formats are "
            "written from these. Copy them there from the run of the finder."
        )
    if card != model_card:
        raise RunError(
            f"{model_file} and {file.name} beside it do not belong together: their cards differ. "
            "Copy both from one run of the finder."
        )
    detector = build_detector(FinderRecipe.parse(card["recipe"]))
    detector.load_state_dict(load_run_weights(file))
    return detector.eval()


def build_detector(recipe: FinderRecipe) -> Detector:
    """Return the network of a recipe with random weights, which others replace."""
    return Detector(recipe.arch, "random", recipe.width, **recipe.arch_options)


def save_weights(detector: Detector, file: Path, weights_dtype: str, card: dict | None) -> None:
    """Write a network's weights, and its card if there is one, as one safetensors file."""
    metadata = {"card": json.dumps(card)} if card else None
    write_bytes(file, save(stored_weights(detector, weights_dtype), metadata))
