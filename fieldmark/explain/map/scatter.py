"""An interactive map of photos as one HTML page that works without a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.events import DocumentReady
from bokeh.models import ColumnDataSource, CustomJS, HoverTool
from bokeh.plotting import figure
from bokeh.resources import INLINE

from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.map.colours import (
    ANSWERS,
    NO_FAMILY,
    SPLITS,
    colour_families,
    colour_species,
    list_legends,
)
from fieldmark.explain.map.thumbnails import encode
from fieldmark.files import write_text

TEMPLATE = Path(__file__).with_name("scatter.html.jinja")
SCRIPT = Path(__file__).with_name("scatter.js")
MARKERS = {"train": "circle", "valid": "square", "calibration": "diamond"}
SIZES = {"train": 6, "valid": 8, "calibration": 13}  # pixels
COLOURINGS = {
    "species": "species",
    "family": "family",
    "answer": "right or wrong",
    "split": "split",
}
TOOLTIP = """<div style="width: 11rem; font: 13px sans-serif">
<img src="@thumbnail" alt="" width="96" height="96" style="display: block; margin: 0 auto">
<b>@species</b><br>@family<br>predicted: @predicted, @percent %<br>@split photo
</div>"""


@dataclass(frozen=True)
class ScatterPage:
    """A page with a map of photos, which a notebook shows in a frame."""

    html: str
    height: int = 760

    def _repr_html_(self) -> str:
        style = f"width: 100%; height: {self.height}px; border: 0"
        source = escape(self.html)
        return f'<iframe title="map of birds" style="{style}" srcdoc="{source}"></iframe>'

    def write_file(self, file: Path) -> "ScatterPage":
        """Write the page to a file, and return it for the cell to show."""
        write_text(Path(file), self.html)
        return self


def draw_scatter(
    explained: ExplainedRun,
    rows: np.ndarray,
    projections: Mapping[str, np.ndarray],
    thumbnails: np.ndarray,
) -> ScatterPage:
    """Return a page with the photos `rows` [m] of a run at their points [m, 2].

    People choose the projection and the colouring, and highlight species or families in the
    legend. `thumbnails` are uint8 [m, S, S, 3].
    """
    table = list_points(explained, rows)
    # the last are drawn on top: photos held out, and of these the wrong ones
    order = np.lexsort([table["answer"] == "wrong", table["split"].map(list(SPLITS).index)])
    table, thumbnails = table.iloc[order], thumbnails[order]
    families = [family or NO_FAMILY for family in explained.families]
    colours = {
        "species": colour_species(explained.labels, families),
        "family": colour_families(families),
        "answer": ANSWERS,
        "split": SPLITS,
    }
    legends = list_legends(table, colours)
    columns: dict = {name: table[name].tolist() for name in table}
    for name, points in projections.items():
        for axis, values in zip("xy", points.T, strict=True):
            columns[f"{name} {axis}"] = np.asarray(values, np.float32)[order]
    first = next(iter(projections))
    columns |= {axis: columns[f"{first} {axis}"] for axis in "xy"}
    columns |= {"thumbnail": [encode(pixels) for pixels in thumbnails]}
    columns |= {"colour": table["species"].map(colours["species"]).tolist()}
    columns |= {"alpha": np.full(len(table), 0.8)}
    source = ColumnDataSource(columns)
    plot = create_figure(source)
    document = Document()
    document.add_root(plot)
    arguments = {"source": source, "plot": plot, "legends": legends}
    code = SCRIPT.read_text(encoding="utf-8")
    document.js_on_event(DocumentReady, CustomJS(args=arguments, code=code))
    html = file_html(
        document,
        INLINE,  # only those parts of Bokeh that the plot needs
        f"{explained.run.name}: a map of birds",
        template=TEMPLATE.read_text(encoding="utf-8"),
        template_variables={"projections": list(projections), "colourings": COLOURINGS},
    )
    return ScatterPage(html)


def list_points(explained: ExplainedRun, rows: np.ndarray) -> pd.DataFrame:
    """List what the page says about photos: species, family, prediction and split."""
    predictions = explained.predictions.select(rows)
    names = np.array(explained.labels, object)
    return pd.DataFrame(
        {
            "species": names[predictions.truth],
            "family": [explained.families[label] or NO_FAMILY for label in predictions.truth],
            "predicted": names[predictions.predicted],
            "percent": np.round(100 * predictions.confidence).astype(int),
            "answer": np.where(predictions.correct, "right", "wrong").astype(object),
            "split": predictions.splits.astype(object),
            "marker": [MARKERS[split] for split in predictions.splits],
            "size": [SIZES[split] for split in predictions.splits],
        }
    )


def create_figure(source: ColumnDataSource) -> figure:
    """Return a plot of the points of a source; the axes of a projection have no meaning."""
    hover = HoverTool(tooltips=TOOLTIP, limit=1)
    plot = figure(
        sizing_mode="stretch_both",
        match_aspect=True,
        tools=["pan", "wheel_zoom", "box_zoom", "reset", "tap", hover],
        toolbar_location="above",
    )
    plot.toolbar.logo = None
    plot.axis.visible = False
    plot.grid.visible = False
    points = plot.scatter(
        "x",
        "y",
        source=source,
        marker="marker",
        size="size",
        fill_color="colour",
        fill_alpha="alpha",
        line_color="white",
        line_alpha="alpha",
        line_width=0.5,
    )
    points.nonselection_glyph = None  # a chosen photo does not fade the others
    return plot
