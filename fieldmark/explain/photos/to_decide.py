"""The CSV in which a person decides about the most doubtful labels by hand."""

from pathlib import Path

import pandas as pd

from fieldmark.data.label_decisions import read_decisions, write_decisions


def write_template(file: Path, errors: pd.DataFrame) -> pd.DataFrame:
    """Write a CSV of decisions to fill in, and return it: one row for each doubtful label.

    `errors` are rows of `find_label_errors`. The column `label` holds the suggestion, which counts
    once the decision is `relabel`; correct it, where it is another species. `suggested` holds it
    as well, and `current` is the label as it is. Rows in which a person wrote anything before are
    kept. Raises DatasetError for a file that cannot be read.
    """
    template = pd.DataFrame(
        {
            "path": errors["path"],
            "decision": "",
            "label": errors["suggested"],
            "note": "",
            "current": errors["label"],
            "suggested": errors["suggested"],
            "self_confidence": errors["self_confidence"].map("{:.4f}".format),
            "suggested_probability": errors["suggested_probability"].map("{:.4f}".format),
        },
        dtype=object,
    )
    if file.is_file():
        before = read_decisions(file).drop(columns="line")
        filled = before[find_filled(before, template.columns)]
        rest = template[~template["path"].isin(filled["path"])]
        template = pd.concat([filled, rest], ignore_index=True).fillna("")
    write_decisions(file, template)
    return template


def find_filled(table: pd.DataFrame, written: pd.Index) -> pd.Series:
    """Return which rows a person filled in: a decision, a note, another label, an own column.

    `written` are the columns of the template. A label counts as theirs if nothing was suggested.
    """
    typed = table.columns.difference(written.difference(["decision", "note"]))
    corrected = table["label"] != table.get("suggested", "")
    return corrected | (table[typed] != "").any(axis=1)
