"""The folder with the results of a job: `job.json`, and a row per photo in Parquet files."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from fieldmark.bulk.addresses import is_address
from fieldmark.bulk.rows import SCHEMA
from fieldmark.errors import UserError
from fieldmark.files import read_json

VERSION = 1  # of the folder's layout
BATCH = 10_000  # rows that are in memory at a time


class ResultsError(UserError):
    """A folder is not one of results, or they lack what is needed."""


class Results:
    """Results of `fieldmark predict --out FOLDER`, finished or not; raises ResultsError.

    `manifest` is the content of job.json: `version` (of the layout), `model` and `finder` (name,
    version and sha256; `finder` may be null), `labels` and `thresholds` (the model card's),
    `options`, `sources` (as given), `folder` (that relative paths start from), `started` and
    `finished` (ISO 8601 times in UTC; null while photos are missing), `photos` (how many).
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.manifest_file = self.folder / "job.json"
        self.rows_folder = self.folder / "photos"
        self.manifest = read_json(self.manifest_file)
        if not self.manifest:
            raise ResultsError(
                f"{self.folder} has no results. `fieldmark predict PHOTOS --out {self.folder}` "
                "writes them."
            )
        if self.manifest.get("version") != VERSION:
            raise ResultsError(
                f"The results in {self.folder} were written by another version of Fieldmark. "
                "Classify the photos again, into another folder."
            )

    @cached_property
    def common_names(self) -> dict[str, str]:
        """The names for people of labels."""
        labels = self.manifest["labels"]
        return {label["label"]: label.get("common_name") or label["label"] for label in labels}

    @cached_property
    def dataset(self) -> ds.FileSystemDataset:
        """The rows, as an Arrow dataset."""
        files = sorted(map(str, self.rows_folder.glob("*.parquet")))
        return ds.dataset(files, SCHEMA, format="parquet")  # pyright: ignore[reportReturnType]

    def __len__(self) -> int:
        """Return the number of rows so far."""
        return self.dataset.count_rows()

    def read_table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return some columns of all rows, sorted by path."""
        names = list(columns or SCHEMA.names)
        table = self.dataset.to_table(list(dict.fromkeys([*names, "path"])))
        return table.sort_by("path").select(names)

    def read_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield batches of rows, in no particular order, in little memory."""
        names = list(columns or SCHEMA.names)
        schema = pa.schema([SCHEMA.field(name) for name in names])
        for path in self.dataset.files:  # whose `to_batches` takes memory for every file
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(BATCH, columns=names):
                    yield batch.select(names).cast(schema)  # Parquet renames items of lists

    def locate(self, path: str) -> str:
        """Return where a photo of the results is: an address, or an absolute path."""
        return path if is_address(path) else str(Path(self.manifest["folder"]) / path)
