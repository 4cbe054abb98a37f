"""The schema of the parameters of explain.ipynb: which run is explained, and how thoroughly."""

from functools import partial
from typing import ClassVar

from fieldmark.recipe.recipe_file import MANY, RecipeFile, parameter

option = partial(parameter, retrain=False)  # nothing is trained here


class ExplainRecipe(RecipeFile):
    """The parameters cell of explain.ipynb, in its order."""

    command: ClassVar[str] = "explain"

    run: str = option("Run", "runs/quick", "folder of a finished run")
    photos: str = option("Run", "", "folder of its photos; default: its recipe's")
    weights: str = option(
        "Run", "", "backbone before it saw the labels; default: what the run started from"
    )
    seed: int = option("Run", 0, "seed of samples, folds and images", 0, MANY)

    shown_photos: int = option(
        "Attribution", 3, "photos shown with every method, of right and of wrong answers", 1, 100
    )
    scored_photos: int = option(
        "Attribution", 16, "photos on which the methods are compared by number", 2, MANY
    )
    image_steps: int = option("Features", 128, "optimisation steps of a synthetic image", 1, MANY)
    image_size: int = option("Features", 128, "pixels per side of a synthetic image", 32, 1024)
    folds: int = option("Photos", 5, "folds in which each photo is judged by the others", 2, 100)
    repeats: int = option(
        "Photos", 3, "random samples of photos for a point of a learning curve", 1, 100
    )
    unlabelled: str = option("Photos", "", "folder of photos without labels, to rank for labelling")
    facts: str = option("Mistakes", "", "CSV of facts of photos: path, and columns such as `pose`")
    pairs: int = option("Mistakes", 4, "most confused pairs that are explained", 1, 100)
    out: str = option("Run", "runs/explain/notebook", "folder of figures and tables")
