"""The schema of the parameters of explain.ipynb: which run is explained, and how thoroughly."""

from typing import ClassVar

from fieldmark.recipe.recipe_file import MANY, RecipeFile, parameter


class ExplainRecipe(RecipeFile):
    """The parameters cell of explain.ipynb, in its order."""

    command: ClassVar[str] = "explain"

    run: str = parameter("Run", "runs/quick", "folder of a finished run", retrain=False)
    photos: str = parameter("Run", "", "folder of its photos; default: its recipe's", retrain=False)
    weights: str = parameter(
        "Run",
        "",
        "backbone before it saw the labels; default: what the run started from",
        retrain=False,
    )
    seed: int = parameter("Run", 0, "seed of samples, folds and images", 0, MANY, retrain=False)

    shown_photos: int = parameter(
        "Attribution",
        3,
        "photos shown with every method, of right and of wrong answers",
        1,
        100,
        retrain=False,
    )
    scored_photos: int = parameter(
        "Attribution",
        16,
        "photos on which the methods are compared by number",
        2,
        MANY,
        retrain=False,
    )
    image_steps: int = parameter(
        "Features", 128, "optimisation steps of a synthetic image", 1, MANY, retrain=False
    )
    image_size: int = parameter(
        "Features", 128, "pixels per side of a synthetic image", 32, 1024, retrain=False
    )
    folds: int = parameter(
        "Photos", 5, "folds in which each photo is judged by the others", 2, 100, retrain=False
    )
    repeats: int = parameter(
        "Photos",
        3,
        "random samples of photos for a point of a learning curve",
        1,
        100,
        retrain=False,
    )
    unlabelled: str = parameter(
        "Photos", "", "folder of photos without labels, to rank for labelling", retrain=False
    )
    facts: str = parameter(
        "Mistakes", "", "CSV of facts of photos: path, and columns such as `pose`", retrain=False
    )
    pairs: int = parameter(
        "Mistakes", 4, "most confused pairs that are explained", 1, 100, retrain=False
    )
    out: str = parameter(
        "Run", "runs/explain/notebook", "folder of figures and tables", retrain=False
    )
