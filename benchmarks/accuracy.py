"""Judge a model file, as it is served, by a folder of photos with one folder a species.

    python -m benchmarks.accuracy FOLDER [--model birds.onnx] [--split split.csv] [--farther 0.6]

With a split only its `calibration` photos count. `--farther` also judges the same photos with the
bird at that scale on a plain ground, as a visitor's photo may show it.
"""

import argparse
import io
import platform
from datetime import date
from pathlib import Path

import pandas as pd
from PIL import Image, ImageStat

from birds import drawn
from birds.classifier import Classifier
from fieldmark.statistics import wilson_interval

MODEL = Path("azure_function/model/birds.onnx")


def main() -> None:
    """Print top-1 and top-5 accuracy with 95 % intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--farther", type=float, default=0.6)
    asked = parser.parse_args()
    classifier = Classifier(asked.model)
    paths = chosen(asked.folder, asked.split)
    print(f"{classifier.card['name']} {classifier.card['version']}, {len(paths)} photos,")
    print(f"{platform.machine()} {platform.system()}, {date.today()}, accuracy (95 % interval):")
    for name, scale in (
        ("as they are", 1.0),
        (f"at {asked.farther} of their scale", asked.farther),
    ):
        ranks = [rank(classifier, asked.folder / path, scale) for path in paths]
        for title, k in (("top-1", 1), ("top-5", 5)):
            found = wilson_interval(sum(r < k for r in ranks), len(ranks))
            low, high = found["interval"]
            print(f"  {name}: {title} {found['value']:.1%} ({low:.1%} to {high:.1%})")


def chosen(folder: Path, split: Path | None) -> list[str]:
    """List the photos to judge by, relative to the folder."""
    if split:
        table = pd.read_csv(split)
        return list(table[table["split"] == "calibration"]["path"])
    return sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.*"))


def rank(classifier: Classifier, path: Path, scale: float) -> int:
    """Return the place of the true label among the answers, 0 for the first."""
    data = path.read_bytes() if scale == 1 else farther(path, scale)
    probability = classifier.predict(classifier.prepare_photo(data).pixels[None]).probability[0]
    truth = classifier.labels.index(path.parent.name.replace("_", " "))
    return int((probability > probability[truth]).sum())


def farther(path: Path, scale: float) -> bytes:
    """Put a photo in the middle of a larger one of its mean colour."""
    image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    ground = tuple(int(value) for value in ImageStat.Stat(image).mean)
    larger = Image.new("RGB", tuple(round(side / scale) for side in image.size), ground)
    middle = (larger.width - image.width) // 2, (larger.height - image.height) // 2
    larger.paste(image, middle)
    return drawn.encode_photo(larger, "PNG")


if __name__ == "__main__":
    main()
