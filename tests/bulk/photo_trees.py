"""Write a folder of drawn birds as a camera trap leaves it, with files that are no photos."""

from pathlib import Path

from birds import drawn

NAMES = "a.JPG", "b/1.jpg", "b/2.png", "b/deep/er/3.jpeg", "ç d/4.webp", "z.jpg"
SPECIES = list(drawn.SPECIES)
PHOTOS = {
    name: drawn.encode_photo(drawn.draw_bird(SPECIES[number % len(SPECIES)], number))
    for number, name in enumerate(NAMES)
} | {"broken.jpg": b"no photo"}  # bytes decide the format, not names
OTHERS = "notes.txt", "b/._1.jpg", ".trash/5.jpg", "b/Thumbs.db"


def write_tree(folder: Path) -> Path:
    """Write PHOTOS, and files that no listing of a folder holds; return the folder."""
    for name, content in (PHOTOS | dict.fromkeys(OTHERS, b"not a photo")).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
