"""Photos are listed in folders, globs, addresses and tables, each once, and read within limits."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from birds import photo
from fieldmark.bulk import addresses
from fieldmark.bulk.sources import list_photos, read_bytes
from fieldmark.errors import UserError
from tests.bulk.photo_trees import PHOTOS, write_tree
from tests.conftest import ROOT


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    write_tree(tmp_path / "trap")
    return "trap"


@pytest.fixture
def memory():
    """Return the address of a folder in memory with the photos of `tree`."""
    files = fsspec.filesystem("memory")
    for name, content in PHOTOS.items():
        files.pipe(f"/trap/{name}", content)
    yield "memory://trap"
    files.rm("/trap", recursive=True)


def below(root, *names):
    return [f"{root}/{name}" for name in names]


LISTED = "a.JPG", "b/1.jpg", "b/2.png", "b/deep/er/3.jpeg", "broken.jpg", "z.jpg", "ç d/4.webp"


def test_a_folder_is_searched_at_any_depth_in_the_order_of_names(tree, memory):
    assert list(list_photos([tree])) == below(tree, *LISTED)
    assert list(list_photos([f"./{tree}/"])) == below(tree, *LISTED)
    assert (
        list(list_photos([memory])) == list(list_photos([f"{memory}/"])) == below(memory, *LISTED)
    )


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ("broken.jpg", "z.jpg")),
        ("**/*.jpg", ("b/1.jpg", "broken.jpg", "z.jpg")),
        ("?", LISTED[1:4]),
        ("*", LISTED),
        ("b/[12].*", ("b/1.jpg", "b/2.png")),
    ],
)
def test_a_glob_matches_photos_and_folders(pattern, names, tree, memory):
    for root in (tree, memory):
        assert list(list_photos([f"{root}/{pattern}"])) == below(root, *names)


def test_a_photo_is_listed_once_and_whatever_its_name(tree, memory):
    sources = [f"{tree}/z.jpg", f"~/{tree}/b", tree, f"{tree}/notes.txt", f"{memory}/z.jpg", memory]
    listed = list(list_photos(sources))
    assert listed[0] == f"{tree}/z.jpg"
    assert listed[1:4] == below(Path.cwd() / tree, *LISTED[1:4])
    assert len(listed) == len(set(listed)) == 3 + len(LISTED) + 1 + len(LISTED)


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tree):
    Path(f"{tree}/z [1].jpg").write_bytes(b"1")
    assert list(list_photos([f"{tree}/z [1].jpg"])) == [f"{tree}/z [1].jpg"]


def test_an_address_of_a_local_file_needs_no_fsspec(tree):
    address = f"file://{Path.cwd()}/{tree}/b"
    assert list(list_photos([address])) == below(Path.cwd() / tree, *LISTED[1:4])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_file_lists_paths_relative_to_its_folder(separator, tree):
    cells = ["b/1.jpg", str(Path.cwd() / "x.jpg"), "memory://trap/z.jpg", "", '"z, old.jpg"']
    rows = ["site#file"] + [f"1#{cell}" for cell in cells]
    text = "".join(f"{row.replace('#', separator)}\r\n" for row in rows)
    Path(f"{tree}/list.csv").write_text(text, encoding="utf-8-sig", newline="")
    expected = [f"{tree}/b/1.jpg", cells[1], cells[2], f"{tree}/z, old.jpg"]
    assert list(list_photos([f"{tree}/list.csv"], "file")) == expected


def test_a_parquet_file_lists_paths_relative_to_its_folder(tree, memory):
    table = pa.table({"n": [1, 2, 3], "path": ["b/1.jpg", None, f"{memory}/z.jpg"]})
    pq.write_table(table, f"{tree}/list.parquet")
    expected = [f"{tree}/b/1.jpg", f"{memory}/z.jpg"]
    assert list(list_photos([f"{tree}/list.parquet"])) == expected
    fsspec.filesystem("memory").put(f"{tree}/list.parquet", "/trap/list.parquet")
    expected = [f"{memory}/b/1.jpg", f"{memory}/z.jpg"]
    assert list(list_photos([f"{memory}/list.parquet"])) == expected


def test_what_cannot_be_listed_is_an_error_that_says_what_to_do(tree, memory, monkeypatch):
    Path("latin.csv").write_bytes("path\né.jpg\n".encode("latin-1"))
    Path("text.parquet").write_text("no Parquet")
    Path("empty.csv").write_text("")
    pq.write_table(pa.table({"n": [1]}), "numbers.parquet")
    for sources, column, message in (
        (["nowhere"], None, "nowhere does not exist. Give a photo, a folder"),
        ([f"{tree}/*.tif"], None, r"Nothing matches trap/\*\.tif"),
        ([f"{memory}/nowhere"], None, "memory://trap/nowhere does not exist"),
        ([f"{memory}/*.tif"], None, "Nothing matches memory://"),
        ([f"{memory}/list.csv"], None, "memory://trap/list.csv does not exist"),
        ([tree], "file", "no table for the column file in trap"),
        (["numbers.parquet"], "file", "numbers.parquet has no column file. It has n: choose"),
        (["empty.csv"], None, "empty.csv has no column path. It has none"),
        (["latin.csv"], None, "latin.csv is not a CSV file in UTF-8"),
        (["text.parquet"], None, "text.parquet is not a Parquet file"),
        (["gs://bucket/photos"], None, r"needs a package.*make \.venv/bulk"),
        (["nothing://photos"], None, "nothing://photos cannot be read: Protocol not known"),
        (["zip://*.jpg::file.zip"], None, "Unpack"),
    ):
        with pytest.raises(UserError, match=message):
            list_photos([tree, *sources], column)


def test_a_folder_that_may_not_be_read_is_an_error(tree, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="trap cannot be read: Permission denied"):
        list(list_photos([tree]))


def test_the_bytes_of_a_file_and_of_an_address_are_the_same(tree, memory):
    for name in LISTED:
        assert read_bytes(f"{tree}/{name}") == read_bytes(f"{memory}/{name}") == PHOTOS[name]


def test_a_photo_that_is_empty_or_too_large_is_not_read(tree, memory, monkeypatch):
    monkeypatch.setattr(addresses.Location, "read_file", None)
    for root in (tree, memory):
        with fsspec.open(f"{root}/empty.jpg", "wb"):
            pass
        with pytest.raises(photo.EmptyPhoto):
            read_bytes(f"{root}/empty.jpg")
    with open(f"{tree}/huge.jpg", "wb") as file:
        file.truncate(photo.MAX_BYTES + 1)
    with pytest.raises(photo.PhotoTooLarge):
        read_bytes(f"{tree}/huge.jpg")


def test_a_photo_that_cannot_be_read_is_an_oserror_with_a_reason(tree, memory):
    for path in (f"{tree}/none.jpg", f"{memory}/none.jpg"):
        with pytest.raises(FileNotFoundError) as caught:
            read_bytes(path)
        assert caught.value.strerror == "No such file or directory"
    with pytest.raises(OSError, match="directory"):
        read_bytes(tree)


def test_local_photos_are_listed_where_only_the_function_is_installed(tree):
    code = "import sys\n"
    for name in ("fsspec", "ray", "pandas", "torch"):
        code += f"sys.modules[{name!r}] = None\n"
    code += (
        "from fieldmark.bulk.sources import list_photos; print(*list_photos(['trap']), sep='\\n')"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/azure_function"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.splitlines() == below(tree, *LISTED), done.stderr
