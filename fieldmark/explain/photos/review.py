"""A widget in which a person decides about doubtful labels, one after the other."""

import html
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from PIL import Image

from birds import drawn
from birds.photo import decode_upright
from fieldmark.data.label_decisions import COLUMNS, read_decisions, write_decisions
from fieldmark.data.subclasses import class_names
from fieldmark.errors import UserError
from fieldmark.explain.explained_run import ExplainedRun

STATIC = (
    "The buttons need a kernel: run this notebook in JupyterLab, or fill in the column "
    "<code>decision</code> of <code>to_decide.csv</code>."
)


class LabelReview(widgets.VBox):
    """Photos with a doubtful label, one at a time, and buttons to keep, relabel or remove them.

    `errors` are rows of `find_label_errors`, `typical` is of `find_typical_photos`. Each decision
    is written to the CSV `file` at once; those that are in it already are shown as decided and
    stay, also those of other photos and those that somebody adds meanwhile. Without a kernel a
    table is shown. Raises DatasetError for a file that cannot be read.
    """

    def __init__(
        self, explained: ExplainedRun, errors: pd.DataFrame, typical: dict[str, str], file: Path
    ):
        self.explained, self.typical, self.file = explained, typical, Path(file)
        self.rows = errors.to_dict("records")
        self.undone: list[tuple[str, dict]] = []  # the rows that decisions replaced
        self.position = 0
        images = {"width": 300, "layout": {"object_fit": "contain"}}
        self.images = [widgets.Image(format="jpeg", **images) for _ in range(3)]
        self.captions = [widgets.HTML() for _ in range(3)]
        classes = sorted(set(class_names(explained.photos)))
        self.species = widgets.Dropdown(options=classes, description="relabel to")
        self.note = widgets.Text(placeholder="note, if you like")
        self.status = widgets.HTML()
        actions = {name: partial(self.decide, name) for name in ("keep", "relabel", "remove")}
        actions |= {"undo": self.undo, "skip": self.skip}
        self.buttons = {name: widgets.Button(description=name) for name in actions}
        for name, action in actions.items():
            self.buttons[name].on_click(partial(self.react, action))
        columns = zip(self.captions, self.images, strict=True)
        photos = widgets.HBox([widgets.VBox(column) for column in columns])
        buttons = widgets.HBox(list(self.buttons.values()))
        choices = widgets.HBox([self.species, self.note])
        super().__init__([self.status, photos, choices, buttons])
        self.show_next(0)

    def react(self, action: Callable[[], None], _: widgets.Button) -> None:
        """Do what a button says, or show why that is not possible, such as a half-edited file."""
        try:
            action()
        except (UserError, OSError) as error:
            self.status.value = f"<b>Not done.</b> {html.escape(str(error))}"

    def decide(self, decision: str) -> None:
        """Write a decision about the photo that is shown, and show the next undecided one."""
        path = self.rows[self.position]["path"]
        label = self.species.value if decision == "relabel" else ""
        row = {"path": path, "decision": decision, "label": label, "note": self.note.value}
        self.undone.append((path, self.store(path, row)))
        self.show_next(self.position + 1)

    def undo(self) -> None:
        """Take back the last decision of this session, and show its photo again."""
        if self.undone:
            path, before = self.undone[-1]
            self.store(path, before)
            self.undone.pop()
            self.show([row["path"] for row in self.rows].index(path))

    def skip(self) -> None:
        """Show the next undecided photo, and leave this one undecided."""
        self.show_next(self.position + 1)

    def store(self, path: str, row: dict) -> dict:
        """Change the row of a photo in the file, and return the old one; {} is no row.

        Other rows stay, and other columns of the row. Raises DatasetError or OSError if the file
        cannot be changed.
        """
        table = self.read_rows()
        is_row = table["path"] == path
        before = next(iter(table[is_row].to_dict("records")), {})
        new = pd.DataFrame([before | row] if row else [], dtype=object)
        write_decisions(self.file, pd.concat([table[~is_row], new]).fillna(""))
        return before

    def read_rows(self) -> pd.DataFrame:
        """Return the rows of the file with at least COLUMNS, none if there is no file yet."""
        if not self.file.is_file():
            return pd.DataFrame(columns=COLUMNS, dtype=object)
        table = read_decisions(self.file).drop(columns="line")
        return table if "note" in table else table.assign(note="")

    def decided(self) -> dict[str, str]:
        """Return the decision about each photo that the file decides."""
        table = self.read_rows().query("decision != ''")
        return dict(zip(table["path"], table["decision"], strict=True))

    def show_next(self, start: int) -> None:
        """Show the first undecided photo from a position on, else from the beginning."""
        decided = self.decided()
        count = len(self.rows)
        following = [*range(start, count), *range(min(start, count))]
        undecided = [row for row in following if self.rows[row]["path"] not in decided]
        self.show(undecided[0] if undecided else None)

    def show(self, position: int | None) -> None:
        """Show a photo beside typical ones of its label and of the suggestion; None: the end."""
        decided = self.decided()
        done = sum(row["path"] in decided for row in self.rows)
        self.status.value = f"{done} of {len(self.rows)} decided, in {html.escape(str(self.file))}"
        for name, button in self.buttons.items():
            button.disabled = position is None and name != "undo"
        if position is None:
            self.status.value += ". All are decided: set <code>label_decisions</code> to this file."
            return
        row = self.rows[position]
        paths = [row["path"], self.typical[row["label"]], self.typical[row["suggested"]]]
        photos = [encode_photo(self.explained.folder / path) for path in paths]
        self.position = position  # once its photos could be read: a decision is about what is shown
        self.species.value, self.note.value = row["suggested"], ""
        captions = [
            f"{position + 1}. {row['path']}: what is it?",
            f"labelled {row['label']} ({row['self_confidence']:.0%}), for example:",
            f"perhaps {row['suggested']} ({row['suggested_probability']:.0%}), for example:",
        ]
        for photo, caption, image, text in zip(
            photos, captions, self.images, self.captions, strict=True
        ):
            image.value = photo
            text.value = html.escape(caption)

    def static_table(self) -> str:
        """Return the doubtful labels and their decisions as an HTML table."""
        table = pd.DataFrame(self.rows)[["path", "label", "suggested", "self_confidence"]]
        decided = self.decided()
        table["decision"] = [decided.get(path, "") for path in table["path"]]
        return f"<p>{STATIC}</p>{table.to_html(index=False, float_format='{:.1%}'.format)}"

    def _repr_mimebundle_(self, **options):
        """Return the widget, and a table for where no kernel answers."""
        bundle = super()._repr_mimebundle_(**options)
        return bundle | {"text/html": self.static_table()} if bundle else bundle


def encode_photo(file: Path, side: int = 480) -> bytes:
    """Return an upright photo as a JPEG of at most `side` pixels, whatever its format is."""
    image = Image.fromarray(decode_upright(file.read_bytes()).pixels)
    image.thumbnail((side, side))
    return drawn.encode_photo(image, quality=90)
