"""Measure how fast training gets to which accuracy, beside what one would do instead.

    FIELDMARK_PHOTOS=... FIELDMARK_WEIGHTS=... FIELDMARK_TEACHER=... python -m benchmarks.train

Each way runs in a process of its own, one after the other, on the same photos, weights, split and
seed: fastai as its documents have it; the same with a body that is really frozen; a linear probe;
this project's recipe for some numbers of epochs, with its teacher and without; its quickest; and
one that begins with a body that knows birds. Photos of `calibration` judge after each epoch while
the clock stands still. Writes JSON and a plot to `--out`.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

import pandas as pd
import torch
from fastai.vision.all import (
    BnFreeze,
    Callback,
    ImageDataLoaders,
    Pipeline,
    Resize,
    accuracy,
    aug_transforms,
    set_seed,
    vision_learner,
)
from matplotlib.figure import Figure

from export.exporter import export_model
from fieldmark.data import loaders as data
from fieldmark.data.cache import build_cache
from fieldmark.data.datasets import load_dataset
from fieldmark.data.quality import remove_bad_photos
from fieldmark.data.splits import split_photos
from fieldmark.data.survey import survey_photos
from fieldmark.environment import cpu_name
from fieldmark.network.network import Network
from fieldmark.network.preparation import Preparation
from fieldmark.network.probe import fit_probe
from fieldmark.network.weights import resolve_weights
from fieldmark.recipe import Recipe
from fieldmark.run import Run
from fieldmark.statistics import wilson_interval
from fieldmark.training.create_teacher import VARIABLE, create_teacher
from fieldmark.training.distillation import Distillation
from fieldmark.training.fit import fit_phase
from fieldmark.training.learner import (
    embed_splits,
    head_learner,
    layer_learning_rates,
    make_learner,
)
from fieldmark.training.mixed_precision import mixed_precision_callbacks

RECIPES = {
    "quickest": Path("recipes/cub100-quickest.yaml"),
    "nearer": Path("recipes/cub100-mobilenetv2-birds.yaml"),
}
WAYS = ("documented", "really frozen", "linear probe", "ours", "ours, no teacher", *RECIPES)
NAMES = {
    "documented": "fastai as documented",
    "really frozen": "fastai, the body really frozen",
    "linear probe": "linear probe on the frozen body",
    "quickest": "the quickest recipe",
    "nearer": "a body that knows birds",
    "ours": "this recipe",
    "ours, no teacher": "this recipe without its teacher",
}
REACHED = (0.8, 0.85, 0.9, 0.92, 0.94)


class Clock(Callback):
    """Stop the time of a way: all of it but judging, and of training by what it is spent on."""

    order = -100

    def __init__(self):
        self.begun, self.stood = time.perf_counter(), 0.0
        self.points, self.stages, self.parts, self.spent = [], [], {}, {}

    def seconds(self) -> float:
        """Return the seconds since the way began, but for those it was judged."""
        return time.perf_counter() - self.begun - self.stood

    def lap(self, part: str) -> None:
        """Note the seconds since the last lap, but for those it was judged, as those of a part."""
        self.parts[part] = self.seconds() - sum(self.parts.values())

    def judge(self, model, loader) -> None:
        """Note when a model named how many photos right."""
        paused, at, right = time.perf_counter(), self.seconds(), []
        with torch.no_grad():
            for photos, labels in loader:
                right.append((model.eval()(photos).argmax(1) == labels).cpu())
        self.points.append((at, torch.cat(right).float().mean().item()))
        self.stood += time.perf_counter() - paused

    def mark(self, name: str) -> None:
        """Count what has passed since the last mark."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.spent[name] = self.spent.get(name, 0) + now - self.last
        self.last = now

    def before_train(self):
        """Begin to count an epoch."""
        self.last, self.spent, self.photos = time.perf_counter(), {}, 0
        if not isinstance(self.dls.train.after_batch, Timed):
            self.dls.train.after_batch = Timed(self.dls.train.after_batch)
        self.dls.train.after_batch.spent = 0

    def before_batch(self):
        """Count what it took to get a batch."""
        if self.training:
            self.photos += len(self.x)
            self.mark("data")

    def after_pred(self):
        """Count the forward pass."""
        if self.training:
            self.mark("forward")

    def before_backward(self):
        """Count the loss, the teacher's answers among it."""
        self.mark("loss")

    def before_step(self):
        """Count the backward pass."""
        self.mark("backward")

    def after_step(self):
        """Count the optimizer."""
        self.mark("step")

    def after_train(self):
        """Keep what an epoch was spent on, in milliseconds a photo."""
        self.spent["augment"] = self.dls.train.after_batch.spent
        self.spent["data"] -= self.spent["augment"]
        self.stages.append({k: 1000 * each / self.photos for k, each in self.spent.items()})


class Timed(Pipeline):
    """Batch transforms that know how long they took."""

    spent = 0.0

    def __call__(self, batch):
        """Transform a batch."""
        begun = time.perf_counter()
        done = super().__call__(batch)
        self.spent += time.perf_counter() - begun
        return done


class Judge(Callback):
    """Judge after each epoch."""

    order = 100

    def __init__(self, clock: Clock, loader):
        self.clock, self.loader = clock, loader

    def after_epoch(self):
        """Judge the weights as they are."""
        self.clock.judge(self.model, self.loader)


def photos(recipe: dict) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """Return folder, survey and split of a recipe's photos."""
    folder, found = load_dataset(recipe["photos"], recipe["test_name"], recipe["crop_to_box"])
    seen = survey_photos(found, folder)
    listed, _ = remove_bad_photos(seen, recipe["allow_duplicates"], recipe["min_photos"])
    shares = recipe["valid_share"], recipe["calibration_share"]
    return folder, seen, split_photos(listed, *shares, recipe["seed"])


def documented(recipe: dict, clock: Clock, frozen: bool) -> None:
    """Train as fastai's documents have it: three epochs of the head, three of everything."""
    folder, _, listed = photos(recipe)
    clock.begun = time.perf_counter()  # these ways take the photos as they are
    used = listed[listed["split"].isin(["train", "calibration"])]
    used = used.assign(judges=used["split"] == "calibration")
    dls = ImageDataLoaders.from_df(
        used[["path", "label", "judges"]],
        folder,
        valid_col="judges",
        item_tfms=Resize(Preparation.for_arch(recipe["arch"]).size),
        batch_tfms=aug_transforms(),
        bs=recipe["batch_size"],
    )
    options = {"train_bn": False, "cbs": BnFreeze()} if frozen else {}
    file = resolve_weights(recipe["weights"])
    overlay = {} if file == "pretrained" else {"pretrained_cfg_overlay": {"file": file}}
    learn = vision_learner(dls, recipe["arch"], metrics=accuracy, **overlay, **options)
    learn.add_cbs([clock, Judge(clock, dls.valid)])
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(3, freeze_epochs=3)


def linear_probe(recipe: dict, clock: Clock) -> None:
    """Fit a logistic regression to what the frozen body makes of each photo."""
    folder, _, listed = photos(recipe)
    swapped = listed["split"].map({"train": "train", "calibration": "valid"}).fillna("unlabelled")
    preparation = asdict(Preparation.for_arch(recipe["arch"]))
    dls = data.make_dataloaders(listed.assign(split=swapped), folder, **preparation)
    preparation = Preparation.for_arch(recipe["arch"])
    weights = resolve_weights(recipe["weights"])
    learn = make_learner(Network.create(recipe["arch"], list(dls.vocab), preparation, weights), dls)
    embeddings = embed_splits(learn, folder)
    right = fit_probe(*embeddings["train"]).accuracy(*embeddings["valid"])["value"]
    clock.points.append((clock.seconds(), right))


def ours(recipe: dict, clock: Clock, epochs: int, out: Path) -> None:
    """Train as train.ipynb does, and write the model file."""
    folder, seen, listed = photos(recipe)
    clock.lap("survey")
    options = recipe["arch_options"]
    settings = asdict(Preparation.for_arch(recipe["arch"], recipe["size"], **options))
    cache = build_cache(listed, seen, folder, settings["size"], settings["filter"], out / "cache")
    looks = {key: recipe[key] for key in LOOKS}
    dls = data.make_dataloaders(listed, folder, **settings, cache=cache, **looks)
    clock.lap("decode")
    options = recipe["arch_options"]
    preparation = Preparation.for_arch(recipe["arch"], recipe["size"], **options)
    weights = resolve_weights(recipe["weights"])
    network = Network.create(recipe["arch"], list(dls.vocab), preparation, weights, **options)
    learn = make_learner(network, dls)
    judges = dls.test_dl(listed[listed["split"] == "calibration"], with_labels=True)
    run = Run(out).begin(recipe, listed)
    embeddings = embed_splits(learn, folder, recipe["precision"])
    if recipe["head_init"] == "probe":
        fit_probe(*embeddings["train"]).initialize_head(network.head)
    head = head_learner(learn, embeddings)
    with head.no_bar(), head.no_logging():
        fit_phase(head, run, "frozen", recipe["frozen_epochs"], recipe["frozen_learning_rate"])
    clock.lap("frozen")
    clock.judge(learn.model, judges)
    along = [*mixed_precision_callbacks(recipe["precision"]), clock, Judge(clock, judges)]
    if recipe["teacher"]:
        teacher, _ = create_teacher(
            learn, folder, precision=recipe["precision"], **recipe["teacher"]
        )
        along.append(
            Distillation(teacher, recipe["distillation_weight"], recipe["auxiliary_weight"])
        )
        clock.lap("teacher")
    learn.freeze_to(recipe["frozen_layer_groups"])
    each = layer_learning_rates(learn, recipe["learning_rate"], recipe["layer_decay"])
    with learn.no_bar(), learn.no_logging():
        fit_phase(learn, run, "fine-tuning", epochs, each, schedule=recipe["schedule"], cbs=along)
    clock.lap("fine-tuning")
    clock.judge(learn.model, judges)  # the best epoch's weights
    facts = {"name": "benchmark", "trained_on": "", "licence": "", "architecture": recipe["arch"]}
    facts |= {"recipe": recipe, "weights": {}}
    export_model(learn.network, listed, folder, facts, out)
    clock.lap("file")
    clock.points.append((clock.seconds(), clock.points[-1][1]))


LOOKS = ("batch_size", "train_size", "min_crop_area", "min_scale", "flip", "max_rotate")
LOOKS += ("max_warp", "max_lighting")


def one(way: str, recipe: dict, epochs: int) -> dict:
    """Train in one way; return what the clock says."""
    set_seed(recipe["seed"], reproducible=True)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        if way in WAYS[:2]:
            documented(recipe, clock, frozen=way == "really frozen")
        elif way == "linear probe":
            linear_probe(recipe, clock)
        else:
            teacher = {} if way == "ours, no teacher" else recipe["teacher"]
            ours(recipe | {"teacher": teacher}, clock, epochs, Path(folder))
    return {
        "points": clock.points,
        "stages": clock.stages,
        "parts": clock.parts,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def main() -> None:
    """Run each way in a process, print the tables, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=Path("recipes/cub100-first.yaml"))
    parser.add_argument("--only-recipe", action="store_true", help="by --recipe in every way")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--epochs", type=int, nargs="*", default=[1, 6], help="of ours")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-train"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    recipe = Recipe.load(asked.recipe).model_dump()
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.one:
        found = one(asked.one, recipe, asked.epochs[0])
        (asked.out / "one.json").write_text(json.dumps(found))
        return
    results = {}
    for way in asked.ways:
        path = asked.recipe if asked.only_recipe else RECIPES.get(way, asked.recipe)
        whole = [Recipe.load(path).epochs] if way in RECIPES else [0]
        lengths = {"ours": asked.epochs, "ours, no teacher": asked.epochs[-1:]}
        for epochs in lengths.get(way, whole):
            name = NAMES[way] + (f", {epochs} epoch{'s' if epochs > 1 else ''}" if epochs else "")
            command = [sys.executable, "-m", "benchmarks.train", "--one", way]
            command += ["--recipe", str(path), "--out", str(asked.out), "--epochs", str(epochs)]
            subprocess.run(command, check=True, env=place(way))
            results[name] = json.loads((asked.out / "one.json").read_text())
            (asked.out / "train.json").write_text(json.dumps(results, indent=2) + "\n")
            print(f"{name}: {results[name]['points'][-1]}", flush=True)
    judged = (photos(recipe)[2]["split"] == "calibration").sum()
    tell(results, int(judged))
    curves(results).savefig(asked.out / "train.png", dpi=150, bbox_inches="tight")


def place(way: str) -> dict:
    """Return the environment of a way: the body that knows birds has the teacher's file."""
    environment = dict(os.environ)
    if way == "nearer":
        environment.pop(
            "FIELDMARK_WEIGHTS", None
        )  # another network's; without a file, the recipe's
        if VARIABLE in environment:
            environment["FIELDMARK_WEIGHTS"] = environment[VARIABLE]
    return environment


def tell(results: dict, judged: int) -> None:
    """Print the tables, in the form of the documents."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()
    print(f"\n{device}, {torch.get_num_threads()} threads, {platform.system()}, {date.today()}, ")
    print(f"n = {judged} photos judge\n")
    heads = [f"to {share:.0%}" for share in REACHED]
    print("| | right (95 % interval) | seconds | " + " | ".join(heads) + " | MB |")
    print("|" + "---|" * (len(heads) + 4))
    for name, found in results.items():
        right = wilson_interval(round(found["points"][-1][1] * judged), judged)
        low, high = right["interval"]
        cells = [f"{right['value']:.1%} ({low:.1%} to {high:.1%})", f"{found['points'][-1][0]:.0f}"]
        for wanted_share in REACHED:
            at = [seconds for seconds, value in found["points"] if value >= wanted_share]
            cells.append(f"{at[0]:.0f}" if at else "never")
        print(f"| {name} | " + " | ".join([*cells, f"{found['megabytes']:.0f}"]) + " |")
    kinds = ("data", "augment", "forward", "loss", "backward", "step")
    print("\nMilliseconds a photo in the last epoch, of:\n")
    print("| | " + " | ".join(kinds) + " | photos a second |\n|" + "---|" * (len(kinds) + 2))
    for name, found in results.items():
        for stage in found["stages"][-1:]:
            cells = [f"{stage.get(kind, 0):.1f}" for kind in kinds]
            print(f"| {name} | " + " | ".join([*cells, f"{1000 / sum(stage.values()):.0f}"]) + " |")
    print("\nSeconds from photos to file, by part:\n")
    kinds = ("survey", "decode", "frozen", "teacher", "fine-tuning", "file")
    print("| | " + " | ".join(kinds) + " |\n|" + "---|" * (len(kinds) + 1))
    for name, found in results.items():
        if parts := found.get("parts"):
            print(f"| {name} | " + " | ".join(f"{parts.get(k, 0):.0f}" for k in kinds) + " |")


def curves(results: dict) -> Figure:
    """Draw accuracy against seconds."""
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for name, found in results.items():
        times, values = zip(*found["points"], strict=True)
        axes.plot(times, [100 * value for value in values], marker="o", label=name)
    axes.set_xlabel("seconds from photos, without judging")
    axes.set_ylabel("first answer right, %")
    axes.set_ylim(bottom=50)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
