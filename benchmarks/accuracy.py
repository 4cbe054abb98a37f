"""Measure the accuracy of a model file on a folder of photos with one folder a species.

    python -m benchmarks.accuracy FOLDER [--model birds.onnx] [--split split.csv] [--scale 0.6]

With a split only its `calibration` photos count. The same photos are also measured with the bird at
`--scale` of its size on a plain ground, as visitors' photos may show it.
"""

import io
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from PIL import Image, ImageStat

from benchmarks.results import FIGURE, MODEL, Save, percent, report
from birds import drawn
from birds.classifier import Classifier
from fieldmark.data.datasets import list_class_folders
from fieldmark.evaluation.metrics import accuracy_metrics
from fieldmark.evaluation.predictions import predict_with_file

NAMES = {"accuracy": "first prediction right", "top_5": "right species among the first five"}


def main(
    folder: Annotated[Path, typer.Argument(help="Folder with one folder a species.")],
    model: Path = MODEL / "birds.onnx",
    split: Path | None = None,
    scale: float = 0.6,
    save: Save = False,
) -> None:
    """Print top-1 and top-5 accuracy."""
    classifier, photos = Classifier(model), select_photos(folder, split)
    data = {path: (folder / path).read_bytes() for path in photos["path"]}
    rows = []
    for title in ("as they are", f"the bird at {scale} of its size on a plain ground"):
        figures = accuracy_metrics(predict_with_file(classifier, photos, data))
        for name, figure in figures.items():
            rows.append([f"{NAMES[name]}, {title}", percent(figure), f"{figure['n']:,}"])
        data = {path: shrink_bird(photo, scale) for path, photo in data.items()}
    command = "python -m benchmarks.accuracy PHOTOS --split azure_function/model/split.csv"
    report("accuracy", command, FIGURE, rows, save)


def select_photos(folder: Path, split: Path | None) -> pd.DataFrame:
    """Return the photos to measure, with paths relative to the folder."""
    if not split:
        return list_class_folders(folder)
    table = pd.read_csv(split, dtype=str, keep_default_na=False)
    return table[table["split"] == "calibration"]


def shrink_bird(data: bytes, scale: float) -> bytes:
    """Return a photo in the middle of a larger one of its mean colour."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    ground = tuple(int(value) for value in ImageStat.Stat(image).mean)
    width, height = (round(side / scale) for side in image.size)
    larger = Image.new("RGB", (width, height), ground)
    larger.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return drawn.encode_photo(larger, "PNG")


if __name__ == "__main__":
    typer.run(main)
