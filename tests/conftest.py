"""Drawn birds, a tiny EfficientNet with weights in a file, and a model file made of them."""

import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of torch's own, while fastai is imported
    import timm
    import torch
    from fastai.vision.all import set_seed

from safetensors.torch import save_file

from birds import drawn
from export.exporter import export_model
from fieldmark.data import datasets as sources
from fieldmark.data import found_birds
from fieldmark.data import loaders as data
from fieldmark.data import locations as photos
from fieldmark.data import splits as parts
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from fieldmark.training.learner import make_learner
from tests.finders import write_finder

ROOT = Path(__file__).parents[1]
KEPT = ("FIELDMARK_CHROMIUM", "FIELDMARK_SHOTS")
LONGEST = (  # files that take minutes: begun last, one keeps the other test process waiting
    "commands/test_train.py",
    "training/test_distributed.py",
    "finder/test_finder_run.py",
    "test_benchmarks.py",
    "export/test_formats.py",
    "app/test_visitors.py",
    "birds/test_endurance.py",
)
ARCH, SIZE = "test_efficientnet", 64
LABELS = sorted(name.replace("_", " ") for name in drawn.SPECIES)


def pytest_addoption(parser):
    parser.addoption(
        "--fail-on-browser-skip", action="store_true", help="a skipped browser test is a failure"
    )

    parser.addoption(
        "--soak", metavar="FILE", help="run soak tests in full, and write their figures to FILE"
    )


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest."""
    files = [(ROOT / "tests" / name).resolve(strict=True) for name in LONGEST]
    ranks = {file: rank for rank, file in enumerate(files)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session")
def share(pytestconfig):
    """Return how much of a soak test is run: a hundredth, unless it is meant."""
    return 1 if pytestconfig.getoption("--soak") else 0.01


@pytest.fixture(scope="session")
def figures(pytestconfig):
    """Keep what soak tests measure, and write it to the file that --soak names."""
    found = {}
    yield found
    if file := pytestconfig.getoption("--soak"):
        Path(file).parent.mkdir(exist_ok=True)
        Path(file).write_text(json.dumps(found, indent=2) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    strict = item.config.getoption("--fail-on-browser-skip")
    if strict and report.skipped and item.get_closest_marker("browser"):
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Draw a folder of six species, twelve photos each."""
    return photos.draw_birds(tmp_path_factory.mktemp("birds"), count=12)


@pytest.fixture(scope="session")
def table(folder):
    return parts.split_photos(sources.list_photos(folder), 0.2, 0.2, seed=1)


@pytest.fixture(scope="session")
def settings():
    return asdict(Preparation.for_arch(ARCH, SIZE))


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Save a body whose running statistics come from drawn birds."""
    torch.manual_seed(0)
    model = timm.create_model(ARCH, num_classes=3)
    model.train()
    birds = torch.stack(
        [torch.from_numpy(drawn.draw_bird(name, 1, SIZE, SIZE)) for name in drawn.SPECIES]
    )
    with torch.no_grad():
        for _ in range(30):
            model((birds.permute(0, 3, 1, 2) / 255 - 0.45) / 0.225)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(model.state_dict(), path)
    return path


LEARNER_OPTIONS = {"label_smoothing", "optimizer", "weight_decay", "batch_norm"}


def create_network(weights, arch=ARCH, size=SIZE, labels=LABELS, **options) -> Network:
    """Return a new network for the drawn birds."""
    preparation = Preparation.for_arch(arch, size, **options)
    return Network.create(arch, labels, preparation, str(weights), **options)


def create_learner(dls, weights, arch=ARCH, size=SIZE, **options):
    """Return a Learner around a new network; options go to one or the other."""
    chosen = {key: options.pop(key) for key in LEARNER_OPTIONS & set(options)}
    return make_learner(
        create_network(weights, arch, size, list(dls.vocab), **options), dls, **chosen
    )


@pytest.fixture
def new_learner(table, folder, weights):
    """Return a function that creates a Learner for the drawn birds."""

    def create(start=weights, arch=ARCH, size=SIZE, **options):
        set_seed(0)
        preparation = Preparation.for_arch(arch, size)
        dls = data.make_dataloaders(table, folder, **asdict(preparation), batch_size=8)
        return create_learner(dls, start, arch, size, **options)

    return create


FACTS = {
    "name": "tiny",
    "trained_on": "drawn birds",
    "licence": "MIT",
    "architecture": ARCH,
    "recipe": {"photos": "drawn", "ood_score": "msp"},
    "weights": {"start": "random", "sha256": None},
}


def train_run(
    out, table, folder, settings, weights, batch_size=8, epochs=2, ood_score="msp"
) -> Path:
    """Train a tiny network and export it into `out`, as the notebook does; return `out`."""
    set_seed(0)
    dls = data.make_dataloaders(table, folder, **settings, batch_size=batch_size)
    learn = create_learner(dls, weights)
    with learn.no_bar(), learn.no_logging():
        learn.fit(epochs, 5e-3)
    options = UncertaintyOptions(ood_score=ood_score)
    export_model(learn.network, table, folder, FACTS, out, options)
    return out


@pytest.fixture(scope="session")
def run(tmp_path_factory, table, folder, settings, weights):
    """Publish a tiny model, and return its folder."""
    return train_run(tmp_path_factory.mktemp("run"), table, folder, settings, weights)


@pytest.fixture
def model(run):
    return run / "birds.onnx"


@pytest.fixture(scope="session")
def finder_file(tmp_path_factory):
    """Write a finder that needs no training; see tests/finders.py."""
    return write_finder(tmp_path_factory.mktemp("finder") / "finder.onnx")


@pytest.fixture(autouse=True, scope="session")
def no_settings():
    """Remove the FIELDMARK_ settings of the person who runs the tests, and the published finder.

    Models of tests are calibrated without a finder, or with that of `finder_file`.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("FIELDMARK_") and name not in KEPT:
                patch.delenv(name)
        patch.setattr(found_birds, "SHIPPED_FINDER", Path("published/finder.onnx"))
        yield
