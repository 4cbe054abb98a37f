"""Photos in which the finder misses the bird, or crops it so that the answer changes."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from birds.photo import decode_upright
from fieldmark.data.found_birds import load_finder, locate_finder
from fieldmark.evaluation.galleries import COLUMNS, show_photo
from fieldmark.evaluation.predictor import Predictor
from fieldmark.evaluation.proposals import Proposals
from fieldmark.evaluation.search import search_photos
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.plotting import BLUE, GREY, ORANGE, RED, styled
from fieldmark.recipe.renamed import rename_keys
from fieldmark.statistics import wilson_interval

MAX_PHOTOS = 600  # the finder and the model take a CPU about 40 ms for each
NO_BOX, SPOILT, MENDED, FINE = "no box", "crop spoils", "crop mends", ""
MEANINGS = {
    NO_BOX: "the finder finds no bird, so the middle square is classified",
    SPOILT: "the whole photo is right, the first crop wrong",
    MENDED: "the whole photo is wrong, the first crop right",
}
NO_FINDER = (
    "There is no finder, so no photo can be searched. Set FIELDMARK_FINDER to its file; "
    "`fieldmark describe` lists the one that a model was calibrated with."
)
CROPPED = (
    "The photos of this run were cropped before it was trained, so the finder would search its own "
    "crops. The run's crops.csv lists the photos in which it found no bird, and figures/crops.png "
    "shows them."
)


def find_missed(explained: ExplainedRun, seed: int = 0) -> tuple[pd.DataFrame, str]:
    """Return the table of `tabulate_missed` and what it says.

    The table is empty without a finder, and for a run whose photos were cropped before training.
    """
    if rename_keys(explained.run.card["recipe"]).get("crop", "none") != "none":
        return pd.DataFrame(columns=["path", "fault"]), CROPPED
    proposals = search_run(explained, seed)
    if proposals is None:
        return pd.DataFrame(columns=["path", "fault"]), NO_FINDER
    table = tabulate_missed(explained, proposals)
    return table, describe_missed(table)


def search_run(
    explained: ExplainedRun, seed: int = 0, max_photos: int = MAX_PHOTOS
) -> Proposals | None:
    """Return the finder's crops of a run's photos, with the model's predictions; None without one.

    They are the photos of `calibration` and `valid` and a sample of `train`, `max_photos` at most.
    """
    if not (file := locate_finder()) or not file.is_file():
        return None
    shuffled = explained.photos.sample(frac=1, random_state=seed)
    held_out = shuffled["split"] != "train"
    photos = pd.concat([shuffled[held_out], shuffled[~held_out]]).head(max_photos).sort_index()
    predictor = Predictor.of_file(explained.classifier)
    return search_photos(photos, explained.folder, load_finder(), predictor)


def tabulate_missed(explained: ExplainedRun, proposals: Proposals) -> pd.DataFrame:
    """Return the first crop of each photo, and what is wrong with it; the worst, then unsure ones.

    Columns: `path`, `label`, `split`, `fault` (a key of MEANINGS, or empty), the predictions for
    the `whole` photo's middle square and for the first crop, with the probabilities of the label,
    the `score` of the best box, the box, and the crop's `left`, `top` and `side`, in pixels of the
    upright photo.
    """
    first = proposals.crops.select(proposals.starts)
    whole = explained.predictions.select(list(proposals.photos["path"]))
    names = np.array(explained.labels, object)
    fault = np.select(
        [~proposals.found, whole.correct & ~first.correct, ~whole.correct & first.correct],
        [NO_BOX, SPOILT, MENDED],
        FINE,
    )
    squares = [proposals.squares[row] for row in proposals.starts]
    boxes = [crop.box or [np.nan] * 5 for crop in squares]
    places = [[*crop[:3], *box] for crop, box in zip(squares, boxes, strict=True)]
    columns = ["left", "top", "side", "box_left", "box_top", "box_width", "box_height", "score"]
    table = proposals.photos[["path", "label", "split"]].reset_index(drop=True)
    table = table.assign(
        fault=fault,
        whole=names[whole.predicted],
        crop=names[first.predicted],
        whole_probability=whole.probability_of_label,
        crop_probability=first.probability_of_label,
    ).join(pd.DataFrame(places, columns=columns))
    order = pd.Series({NO_BOX: 0, SPOILT: 1, MENDED: 2, FINE: 3})[fault].to_numpy()
    doubt = table["score"].where(table["fault"] == FINE, table["crop_probability"])
    table = table.assign(order=order, doubt=doubt).sort_values(["order", "doubt"], kind="stable")
    return table.drop(columns=["order", "doubt"]).reset_index(drop=True)


def describe_missed(table: pd.DataFrame) -> str:
    """Return the share of the `calibration` photos with each fault, with Wilson intervals."""
    judged = table[table["split"] == "calibration"]
    lines = []
    for fault, meaning in MEANINGS.items():
        count = int((judged["fault"] == fault).sum())
        figure = wilson_interval(count, len(judged))
        low, high = (f"{100 * end:.1f}" for end in figure["interval"])
        lines.append(
            f"{fault}: {count} of {len(judged)} calibration photos, {100 * figure['value']:.1f} % "
            f"({low} to {high}): {meaning}."
        )
    lines.append(f"Searched with those of other splits: {len(table)} photos.")
    return "\n".join(lines)


@styled
def show_missed(table: pd.DataFrame, folder: Path, count: int = 12) -> Figure:
    """Show photos with a fault, then those with the lowest scores.

    The first crop is blue, the finder's box orange.
    """
    rows = table.head(count)
    height = max(-(-len(rows) // COLUMNS), 1)
    figure = Figure(figsize=(3 * COLUMNS, 3.3 * height if len(rows) else 0.6), layout="constrained")
    title = "Where the finder misses the bird, its crop changes the answer, or it is least sure"
    figure.suptitle(title if len(rows) else "No photos were searched", x=0, ha="left")
    for position, row in enumerate(rows.to_dict("records"), 1):
        axes = figure.add_subplot(height, COLUMNS, position)
        decoded = decode_upright((Path(folder) / row["path"]).read_bytes())
        show_photo(axes, decoded.pixels)
        axes.images[0].set_extent((0, decoded.width, decoded.height, 0))
        square = (row["left"], row["top"], row["side"], row["side"])
        found = [row[f"box_{key}"] for key in ("left", "top", "width", "height")]
        for (left, top, width, high), colour in ((square, BLUE), (found, ORANGE)):
            if np.isfinite(left):
                place = Rectangle((left, top), width, high, fill=False, color=colour, lw=2)
                axes.add_patch(place)
        text = f"{row['label']}\nwhole: {row['whole']}\ncrop: {row['crop']}"
        fault = row["fault"] or f"score {row['score']:.2f}"
        axes.set_title(
            f"{fault}\n{text}", size=8, loc="center", color=RED if row["fault"] else GREY
        )
    return figure
