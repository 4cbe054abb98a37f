"""Find the photos that a run was trained and evaluated on."""

from pathlib import Path

from fieldmark.data.datasets import load_dataset
from fieldmark.errors import RunError
from fieldmark.recipe.renamed import rename_keys
from fieldmark.run_folder import RunFolder


def find_run_photos(run: RunFolder, photos: str = "") -> Path:
    """Return the folder that holds the photos of a run's split, cropped as the run's recipe says.

    `photos` is a folder, or `drawn`, instead of the recipe's; FIELDMARK_PHOTOS overrides both.
    Raises RunError if a photo of the split is missing.
    """
    recipe = rename_keys(run.card["recipe"])
    folder, _ = load_dataset(photos or recipe["photos"], crop=recipe.get("crop", "none"))
    missing = [path for path in run.split["path"] if not (folder / path).is_file()]
    if missing:
        raise RunError(
            f"{len(missing)} photos of the split of {run.folder}, such as {missing[0]}, are not in "
            f"{folder}. Set FIELDMARK_PHOTOS to the folder that has them."
        )
    return folder
