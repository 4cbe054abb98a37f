"""Compare the precisions of a model file: what each costs, how right it is, and who may go out.

    FIELDMARK_PHOTOS=... python -m benchmarks.precision [RUN] [--rounds 100]

RUN is a folder with birds.safetensors and split.csv. It holds matrices that training rounded to
float16, so the fp32 here shows what storing them otherwise brings, and not what rounding cost: that
is `accuracy_before_rounding` in the card. Its `train` photos calibrate int8, `valid` and
`calibration` judge. Times are taken in turns, so those of one run
compare, whatever else the machine does.
"""

import argparse
import platform
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from scipy.special import softmax

from birds import photo
from birds.classifier import Classifier
from birds.errors import UserError
from birds.process import cpu_count
from export import drop, model_file, tolerance
from export import weights_dtype as precision
from export.graph import ExportError, Graph
from export.look import look
from export.rebuild import restore_learner
from fieldmark.errors import DatasetError
from fieldmark.evaluation import latency as speed
from fieldmark.evaluation import measure
from fieldmark.evaluation.uncertainty import Part
from fieldmark.statistics import wilson_interval

RUN = Path("azure_function/model")
THREADS = (1, 2)
COLUMNS = (
    *("precision", "MB", "ms a photo, 1 thread", "2 threads", "first answer right", "points lost"),
    *("agreement", "largest difference", "gate"),
)


def main() -> int:
    """Print a Markdown table; 2 where the photos aren't in place."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?", default=RUN)
    parser.add_argument("--rounds", type=int, default=100, help="of times, each of every file")
    asked = parser.parse_args()
    try:
        learn, photos, folder, card = restore_learner(asked.run)
    except (DatasetError, UserError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{card['name']} {card['version']}, {date.today()}, {cpu_count()} CPUs,")
    print(f"{platform.machine()} {platform.system()}, onnxruntime {onnxruntime.__version__}\n")
    with tempfile.TemporaryDirectory() as name:
        pixels = calibrating(photos, folder, card["preparation"])
        files = made(learn, card, pixels, Path(name))
        table(files, learn, card, photos, folder, timed(files, asked.rounds))
        print("\nHow far another processor may be off, by what other kernels here computed:")
        for kind, file in files.items():
            found = tolerance.tolerances(onnx.load(file), pixels[:50])
            print(f"  {kind}: " + ", ".join(f"{key} {value}" for key, value in found.items()))
    return 0


def calibrating(photos: pd.DataFrame, folder: Path, prepared: dict) -> np.ndarray:
    """Prepare the training photos that int8 is calibrated by, uint8 [n, S, S, 3]."""
    chosen = precision.calibration(photos)
    size, filter = prepared["size"], prepared["filter"]
    return np.stack([photo.prepare((folder / path).read_bytes(), size, filter) for path in chosen])


def made(learn, card: dict, pixels: np.ndarray, to: Path) -> dict[str, Path]:
    """Write a file of each precision; `unknown` is one minus the highest probability.

    A precision that the network can't be stored in is told and left out.
    """
    learn.model.cpu().float().eval()
    learn.dls.cpu()
    size = card["preparation"]["size"]
    plain = model_file.to_onnx(Graph(learn.network, card["temperature"]).eval(), size)
    files = {}
    for kind in precision.PRECISIONS:
        try:
            model = precision.stored(plain, kind, pixels)
        except ExportError as error:
            print(f"{kind}: {error}\n")
            continue
        files[kind] = to / f"{kind}.onnx"
        outputs = tolerance.drawn_outputs(model, size)
        model_file.write(model, card | {"drawn_photo": outputs, "tolerance": None}, files[kind])
    return files


def timed(files: dict[str, Path], rounds: int) -> dict[tuple[str, int], np.ndarray]:
    """Take the milliseconds of a prepared photo, [rounds], by precision and threads, in turns."""
    asked = {(kind, n): Classifier(file, n) for kind, file in files.items() for n in THREADS}
    return speed.timed(asked, rounds)


def table(files, learn, card: dict, photos: pd.DataFrame, folder: Path, spent) -> None:
    """Print a row for each precision, then why some were refused."""
    judged = photos[photos["split"].isin(["valid", "calibration"])]
    part, last = Part.of(judged, folder, list(learn.dls.vocab)), judged["split"] == "calibration"
    learner = softmax(look(learn, part.paths).logits / card["temperature"], 1)
    refusals = []
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for kind, file in files.items():
        found = measure.asked(Classifier(file, 1), part.paths).probability
        right = (found.argmax(1) == part.truth)[last]
        lost = drop.drop(learner, found, part.truth)
        try:
            drop.check(kind, learner, found, part.truth)
            passed = "passed"
        except drop.DropError as error:
            refusals.append(error)
            passed = "refused"
        cells = [kind, f"{file.stat().st_size / 1e6:.1f}"]
        cells += [f"{np.median(spent[kind, n]):.1f} ({ratio(spent, kind, n):.2f})" for n in THREADS]
        cells += [
            percent(wilson_interval(int(right.sum()), len(right))),
            points(lost["accuracy_drop"]),
        ]
        cells += [percent(lost["agreement"]), f"{lost['largest_difference']:.0e}", passed]
        print(f"| {' | '.join(cells)} |")
    print(
        f"\nIn brackets: times fp32's, 95 % intervals. Judged by {last.sum()} photos (calibration)"
    )
    print(f"for the share that is right, and by {len(judged)} (and valid) for all that compares.")
    for error in refusals:
        print(error)


def ratio(spent: dict, kind: str, threads: int) -> float:
    """Return how many times as long as fp32 in the same round, the median of the rounds."""
    return float(np.median(spent[kind, threads] / spent["fp32", threads]))


def percent(found: dict) -> str:
    """Write a share with its interval."""
    value, low, high = (100 * each for each in (found["value"], *found["interval"]))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def points(found: dict) -> str:
    """Write a difference in points with its interval."""
    value, low, high = (round(each, 2) + 0.0 for each in (found["value"], *found["interval"]))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    sys.exit(main())
