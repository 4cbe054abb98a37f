"""Folders in the layouts of the supported data sets, filled with drawn birds."""

from functools import cache
from pathlib import Path

from birds import drawn

SPECIES = list(drawn.SPECIES)
BOX = (8.0, 12.0, 80.0, 64.0)  # left, top, width and height, roughly around a drawn bird


@cache
def draw_photo(species: str, seed: int) -> bytes:
    return drawn.encode_photo(drawn.draw_bird(species, seed))


def write_birds(folder: Path, species: str, seeds: range) -> list[Path]:
    """Write one photo of a species per seed into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{seed:03}.jpg" for seed in seeds]
    for file, seed in zip(files, seeds, strict=True):
        file.write_bytes(draw_photo(species, seed))
    return files


def write_lines(file: Path, lines) -> None:
    """Write lines of words; the first word numbers the line."""
    file.write_text("".join(" ".join(map(str, words)) + "\n" for words in lines), "utf-8")


def make_class_folders(path: Path, count: int = 6) -> Path:
    """Create a folder per class."""
    for species in SPECIES:
        write_birds(path / species, species, range(1, count + 1))
    return path


def make_birds_400(path: Path, train: int = 8, valid: int = 2, test: int = 3) -> Path:
    """Create train, valid and test with a folder per class in each, named in capitals."""
    for species in SPECIES:
        first = 1
        for name, count in (("train", train), ("valid", valid), ("test", test)):
            folder = path / name / species.replace("_", " ").upper()
            write_birds(folder, species, range(first, first + count))
            first += count
    return path


def make_cub(path: Path, train: int = 8, test: int = 4) -> Path:
    """Create CUB-200-2011: numbered class folders in `images`, and files that list them."""
    classes = {n: f"{n:03}.{species}" for n, species in enumerate(SPECIES, 1)}
    return write_lists(path, classes, classes, train, test)


def make_nabirds(path: Path, train: int = 8, test: int = 4) -> Path:
    """Create NABirds: as CUB, but photos have long numbers and classes have ancestors."""
    classes = {800 + n: species.replace("_", " ") for n, species in enumerate(SPECIES)}
    folders = {number: f"{number:04}" for number in classes}
    write_lists(path, classes, folders, train, test, "{:08x}-21dc-4d0c-bfe1-4cae3c85c829")
    ancestors = {0: "Birds", 1: "Inklings", 2: "Bright Inklings", 3: "Dull Inklings"}
    write_lines(path / "classes.txt", (ancestors | classes).items())
    parents = {1: 0, 2: 1, 3: 1} | {n: 2 if n < 803 else 3 for n in classes}
    write_lines(path / "hierarchy.txt", parents.items())
    return path


def write_lists(path: Path, classes, folders, train: int, test: int, name: str = "{}") -> Path:
    """Write `train` and `test` photos per class, and list them with their boxes."""
    files, labels, splits = [], [], []
    for (number, folder), species in zip(folders.items(), SPECIES, strict=True):
        for file in write_birds(path / "images" / folder, species, range(1, train + test + 1)):
            photo = name.format(len(files) + 1)
            files.append((photo, file.relative_to(path / "images").as_posix()))
            labels.append((photo, number))
            splits.append((photo, int(int(file.stem) <= train)))
    write_lines(path / "images.txt", files)
    write_lines(path / "image_class_labels.txt", labels)
    write_lines(path / "train_test_split.txt", splits)
    write_lines(path / "bounding_boxes.txt", [(photo, *BOX) for photo, _ in files])
    write_lines(path / "classes.txt", classes.items())
    return path


def make_competition(path: Path, train: int = 8, test: int = 12) -> Path:
    """Create a competition: numbered class folders, names.txt, and a test folder without labels."""
    for number, species in enumerate(SPECIES):
        write_birds(path / "train" / str(number), species, range(1, train + 1))
    (path / "names.txt").write_text("\n".join(SPECIES) + "\n")
    (path / "test" / "0").mkdir(parents=True)
    for number in range(test):
        photo = draw_photo(SPECIES[number % len(SPECIES)], 100 + number)
        (path / "test" / "0" / f"{number:02}.jpg").write_bytes(photo)
    return path
