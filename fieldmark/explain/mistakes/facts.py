"""Facts of photos that somebody knows, such as pose, sex or season: a CSV with a column `path`."""

from pathlib import Path

import pandas as pd

from fieldmark.errors import DatasetError

SHOWN = 3  # paths that a message names


def load_facts(file: Path | str, paths: pd.Series) -> pd.DataFrame:
    """Load a CSV of facts; return a row for each of `paths`, missing where nothing is known.

    Raises DatasetError if the file is missing, is no table, has no column `path`, lists a photo
    twice, or lists photos that are not in `paths`.
    """
    table = read_table(Path(file))
    if "path" not in table:
        columns = ", ".join(f"`{name}`" for name in table.columns)
        raise DatasetError(
            f"{file} has no column `path`, but {columns}. Name the column with the paths of the "
            "photos, as in split.csv of the run, `path`."
        )
    unknown = table.loc[~table["path"].isin(set(paths)), "path"].astype(str)
    if len(unknown):
        raise DatasetError(
            f"{len(unknown)} of {len(table)} paths in {file} are no photos of the run, such as "
            f"{', '.join(unknown[:SHOWN])}. Write paths as in split.csv of the run, and remove "
            "photos that it did not train or judge with."
        )
    if (repeated := table["path"].duplicated()).any():
        raise DatasetError(
            f"{file} lists {int(repeated.sum())} photos twice, such as "
            f"{table.loc[repeated, 'path'].iloc[0]}. Keep one row of each."
        )
    return table.set_index("path").reindex(paths).reset_index(drop=True)


def read_table(file: Path) -> pd.DataFrame:
    """Read a CSV; raises DatasetError if it is missing or no table."""
    try:
        return pd.read_csv(file, dtype={"path": str})
    except FileNotFoundError as error:
        raise DatasetError(
            f"{file} does not exist. Set `facts` to a CSV with a column `path`, or leave it empty."
        ) from error
    except (ValueError, OSError) as error:  # pandas' errors of parsing are ValueErrors
        raise DatasetError(
            f"{file} cannot be read as a table: {error}. Save it as a CSV in UTF-8."
        ) from error
