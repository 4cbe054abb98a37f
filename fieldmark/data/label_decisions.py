"""Decisions about doubtful labels: a CSV that a person fills in, and that the next training reads.

Columns: `path`, `decision` (`keep`, `relabel` or `remove`; an empty one is undecided), `label` (to
`relabel` to), and perhaps `note` and others, which are kept and not read.
"""

import csv
import io
from pathlib import Path

import pandas as pd

from fieldmark.data.quality import report
from fieldmark.data.subclasses import class_names
from fieldmark.errors import DatasetError
from fieldmark.files import write_bytes, write_text
from fieldmark.recipe.messages import suggest

DECISIONS = ("keep", "relabel", "remove")
COLUMNS = ["path", "decision", "label", "note"]


def read_decisions(file: Path) -> pd.DataFrame:
    """Return all rows of a CSV of decisions as text, with the number of their `line`.

    Raises DatasetError for a missing or damaged file, a missing column, and an unknown decision.
    """
    if not file.is_file():
        raise DatasetError(
            f"There is no file {file}. `label_decisions` names a CSV with the columns "
            f"{', '.join(COLUMNS)}; `fieldmark explain` writes one to fill in."
        )
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
        first = text.partition("\n")[0]
        options = {"delimiter": "," if "," in first else ";", "skipinitialspace": True}
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, **options)
        rows = [row | {"line": reader.line_num} for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{file} cannot be read: {error}. Save it as CSV in UTF-8, with commas."
        ) from error
    names = list(reader.fieldnames or [])
    if missing := [name for name in COLUMNS[:3] if name not in names]:
        raise DatasetError(
            f"{file}, line 1: the column {' and '.join(f'`{name}`' for name in missing)} is "
            f"missing. Start the file with the line `{','.join(COLUMNS)}`."
        )
    for row in rows:
        if None in row or None in row.values():
            raise at_line(
                file, row, f"expected {len(names)} fields. Put a text with a comma in double quotes"
            )
    table = pd.DataFrame(rows, columns=[*names, "line"], dtype=object)
    for name in COLUMNS[:3]:
        table[name] = table[name].str.strip()
    table["decision"] = table["decision"].str.lower()
    for row in table[~table["decision"].isin(["", *DECISIONS])].to_dict("records"):
        what = f"`{row['decision']}` is not a decision.{suggest(row['decision'], DECISIONS)}"
        raise at_line(file, row, f"{what} Write {', '.join(DECISIONS)}, or nothing to decide later")
    return table


def write_decisions(file: Path, table: pd.DataFrame) -> None:
    """Write a table of decisions atomically, as `read_decisions` returns it."""
    write_text(file, table.drop(columns="line", errors="ignore").to_csv(index=False))


def apply_decisions(photos: pd.DataFrame, file: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a table of photos as decided, and the report about each photo that changed.

    `photos` is a table of `load_dataset`, `file` a CSV of decisions, or "" for none. The report has
    the columns of `remove_bad_photos`. Raises DatasetError, with the line, for a decision that is
    not possible.
    """
    if not file:
        return photos, report(photos[:0], "", "")
    path = Path(file).expanduser()
    decided = read_decisions(path).query("decision != ''")
    check_decisions(path, decided, photos)
    facts = list_class_facts(photos)
    names = class_names(photos)
    row_of = pd.Series(photos.index, photos["path"])
    changed, reports = photos.copy(), []
    for decision in decided.drop_duplicates("path").to_dict("records"):
        row, action = row_of[decision["path"]], "removed by decision"
        if decision["decision"] == "relabel":
            new = find_class(path, decision, facts)
            if new == names[row]:
                continue
            changed.loc[row, facts.columns] = facts.loc[new].array
            action = f"relabelled from {names[row]} to {new}"
        if decision["decision"] != "keep":
            problem = f"{path.name}, line {decision['line']}"
            if note := decision.get("note"):
                problem += f": {note}"
            reports.append(report(photos.loc[[row]], problem, action))
    removed = decided.loc[decided["decision"] == "remove", "path"]
    kept = changed[~changed["path"].isin(removed)].reset_index(drop=True)
    return kept, pd.concat(reports or [report(photos[:0], "", "")], ignore_index=True)


def copy_decisions(file: str, target: Path) -> None:
    """Copy a CSV of decisions, so that a run says what it was trained on; "" copies nothing."""
    if file:
        write_bytes(target, Path(file).expanduser().read_bytes())


def check_decisions(file: Path, decided: pd.DataFrame, photos: pd.DataFrame) -> None:
    """Raise DatasetError for the decision about an unknown photo, or two different ones."""
    paths = set(photos.loc[photos["label"].notna(), "path"])
    first: dict[str, dict] = {}
    for row in decided.to_dict("records"):
        path = row["path"]
        if path not in paths:
            similar = {known for known in paths if Path(known).name == Path(path).name} or paths
            what = f"`{path}` is not a photo with a label in this data set.{suggest(path, similar)}"
            raise at_line(file, row, f"{what} Correct the path, or remove the line")
        before = first.setdefault(path, row)
        keys = ("decision", "label") if row["decision"] == "relabel" else ("decision",)
        if any(before[key] != row[key] for key in keys):
            what = f"`{path}` was decided otherwise in line {before['line']}"
            raise at_line(file, row, f"{what}. Remove one of the lines")


def list_class_facts(photos: pd.DataFrame) -> pd.DataFrame:
    """Return what follows from the class of a photo, indexed by class: its label, taxonomy ..."""
    columns = [name for name in photos if name in ("label", "subclass", "class")]
    columns += [name for name in map(str, photos) if name.startswith("level_")]
    labelled = photos[photos["label"].notna()]
    facts = labelled[columns].set_axis(class_names(labelled), axis=0)
    return facts[~facts.index.duplicated()]


def find_class(file: Path, decision: dict, facts: pd.DataFrame) -> str:
    """Return the class that a row relabels to, a species or a sub-class of one.

    Raises DatasetError for an unknown one, and for a species of several sub-classes.
    """
    name = decision["label"].replace("_", " ")
    classes = list(facts.index)
    of_species = list(facts.index[facts["label"] == name])
    if name in classes or len(of_species) == 1:
        return name if name in classes else of_species[0]
    if of_species:
        what = f"`{name}` has the sub-classes {', '.join(of_species)}. Name one of them"
    else:
        similar = suggest(name, {*classes, *facts["label"]})
        what = f"`{name}` is not a species of this data set.{similar} Correct `label`"
    raise at_line(file, decision, what)


def at_line(file: Path, row: dict, what: str) -> DatasetError:
    """Return the error about a row of a file."""
    return DatasetError(f"{file}, line {row['line']}: {what}.")
