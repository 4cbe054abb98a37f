"""Folders of drawn photos, and the options of a job on them with tiny models."""

import os

import pytest
from PIL import ImageFile

from benchmarks.hostile_photos import lossless_webp
from birds import drawn
from fieldmark.bulk.classify import ClassifyOptions
from tests.finders import TWO_BIRDS, draw_scene


@pytest.fixture(scope="session")
def options(run, finder_file):
    return ClassifyOptions(run / "birds.onnx", finder_file)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Write photos of several kinds into a folder: whole, tight, of other formats, broken."""
    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(drawn.SPECIES):
        bird = drawn.draw_bird(name, number, 120 + 10 * number, 96)
        (folder / f"bird{number}.jpg").write_bytes(drawn.encode_photo(bird))
    (folder / "scene.jpg").write_bytes(drawn.encode_photo(draw_scene(TWO_BIRDS)))
    (folder / "scene.png").write_bytes(drawn.encode_photo(draw_scene(TWO_BIRDS[:1]), "PNG"))
    (folder / "letter.jpg").write_bytes(b"Dear bird,")
    (folder / "cut.jpg").write_bytes((folder / "scene.jpg").read_bytes()[:5000])
    (folder / "bomb.webp").write_bytes(lossless_webp())
    return folder


@pytest.fixture
def link_photos(photos, tmp_path):
    """Return a function that fills a folder with so many links to small photos."""

    def link(count: int) -> str:
        folder = tmp_path / "many"
        folder.mkdir()
        sources = sorted(photos.glob("bird*.jpg"))
        for number in range(count):
            os.link(sources[number % len(sources)], folder / f"{number:06}.jpg")
        return str(folder)

    return link


@pytest.fixture(autouse=True)
def strict_decoding(monkeypatch):
    """Undo what megadetector-utils sets for all of Pillow when it is imported."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
