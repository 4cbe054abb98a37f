"""Folders shaped as the data sets are, made of drawn birds."""

from pathlib import Path

from birds import drawn

SPECIES = list(drawn.SPECIES)
BOX = (8.0, 12.0, 80.0, 64.0)  # left, top, width and height around a drawn bird, more or less


def birds(path: Path, species: str, seeds: range) -> list[Path]:
    """Draw some birds of a species into a folder, one file a seed."""
    path.mkdir(parents=True, exist_ok=True)
    files = [path / f"{seed:03}.jpg" for seed in seeds]
    for file, seed in zip(files, seeds, strict=True):
        file.write_bytes(drawn.encode_photo(drawn.draw_bird(species, seed)))
    return files


def save(file: Path, lines) -> None:
    """Write lines of words; the first word numbers the line."""
    file.write_text("".join(" ".join(map(str, words)) + "\n" for words in lines), "utf-8")


def birds_400(path: Path, train: int = 8, valid: int = 2, test: int = 3) -> Path:
    """Make train, valid and test with a folder per class in each, its name in capitals."""
    for species in SPECIES:
        first = 1
        for name, count in (("train", train), ("valid", valid), ("test", test)):
            folder = path / name / species.replace("_", " ").upper()
            birds(folder, species, range(first, first + count))
            first += count
    return path


def cub(path: Path, train: int = 8, test: int = 4) -> Path:
    """Make CUB-200-2011: numbered class folders in `images`, and files that list them."""
    classes = {n: f"{n:03}.{species}" for n, species in enumerate(SPECIES, 1)}
    return lists(path, classes, classes, train, test)


def nabirds(path: Path, train: int = 8, test: int = 4) -> Path:
    """Make NABirds: as CUB, but photos have no plain numbers, and classes have ancestors."""
    classes = {800 + n: species.replace("_", " ") for n, species in enumerate(SPECIES)}
    folders = {number: f"{number:04}" for number in classes}
    lists(path, classes, folders, train, test, "{:08x}-21dc-4d0c-bfe1-4cae3c85c829")
    above = {0: "Birds", 1: "Inklings", 2: "Bright Inklings", 3: "Dull Inklings"}
    save(path / "classes.txt", (above | classes).items())
    parents = {1: 0, 2: 1, 3: 1} | {n: 2 if n < 803 else 3 for n in classes}
    save(path / "hierarchy.txt", parents.items())
    return path


def lists(path: Path, classes, folders, train: int, test: int, name: str = "{}") -> Path:
    """Draw `train` and `test` photos a class, and list them with their boxes."""
    files, labels, split = [], [], []
    for (number, folder), species in zip(folders.items(), SPECIES, strict=True):
        for file in birds(path / "images" / folder, species, range(1, train + test + 1)):
            photo = name.format(len(files) + 1)
            files.append((photo, file.relative_to(path / "images").as_posix()))
            labels.append((photo, number))
            split.append((photo, int(int(file.stem) <= train)))
    save(path / "images.txt", files)
    save(path / "image_class_labels.txt", labels)
    save(path / "train_test_split.txt", split)
    save(path / "bounding_boxes.txt", [(photo, *BOX) for photo, _ in files])
    save(path / "classes.txt", classes.items())
    return path


def competition(path: Path, train: int = 8, test: int = 12) -> Path:
    """Make a competition: class folders by number, names.txt, and a test folder without labels."""
    for number, species in enumerate(SPECIES):
        birds(path / "train" / str(number), species, range(1, train + 1))
    (path / "names.txt").write_text("\n".join(SPECIES) + "\n")
    (path / "test" / "0").mkdir(parents=True)
    for number in range(test):
        bird = drawn.draw_bird(SPECIES[number % len(SPECIES)], 100 + number)
        (path / "test" / "0" / f"{number:02}.jpg").write_bytes(drawn.encode_photo(bird))
    return path
