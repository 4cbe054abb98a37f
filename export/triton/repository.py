"""Write a Triton model repository from a run's model file and its finder."""

import shutil
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import onnx

import birds
from birds import finder, model_file
from birds.classifier import Classifier
from birds.finder import Finder, default_finder, describe_mismatch
from export.triton.config import (
    CPUS,
    GRAPH_BATCH,
    LABELS_FILE,
    Backend,
    Graph,
    birds_config,
    graph_config,
)
from export.triton.readme import README
from fieldmark.errors import ExportError, RunError
from fieldmark.files import format_json
from fieldmark.locking import LOCK_FILE
from fieldmark.replacement import EXPORTED, complete_replacement, replaced_by_export
from fieldmark.run import Run

CODE = Path(__file__).with_name("python_backend")
MODELS = ("birds", "species", "finder")
MARK = "fieldmark.json"  # in every repository that this module wrote
LEFT_OUT = ("api.py", "http", "server", "page", "__pycache__")  # of `birds`: the HTTP API
PACKAGES = ("onnxruntime", "pebble", "pi-heif", "pillow")  # of the rest, beside numpy


class Exported(NamedTuple):
    """The card of the species model in a repository, and a warning about its finder, if any."""

    card: dict
    warning: str | None


def export_repository(
    run_folder: Path, folder: Path, backend: Backend = Backend.ONNXRUNTIME
) -> Exported:
    """Write a model repository into a folder that is new, empty, or a repository of this function.

    Raises RunError for a run without a model file that passed the gate, ExportError for a folder
    with other files, ModelError for a file that does not load.
    """
    file = Run(run_folder).model_file
    if not file.is_file():
        raise RunError(
            f"{run_folder} has no {file.name}. Give the folder of a species model's run."
        )
    classifier, finder_file = Classifier(file, 1), default_finder(file)
    if not classifier.card.get("gate"):
        raise RunError(f"{file} has not passed the gate. Run `fieldmark export {run_folder}`.")
    found = Finder(finder_file, 1) if finder_file else None
    complete_replacement(folder)
    check_folder(folder)
    with replaced_by_export(folder, MODELS) as scratch:
        write_birds(scratch / "birds", classifier, found)
        write_graph(scratch / "species", file, classifier, model_file.OUTPUTS, backend)
        if found and finder_file:
            write_graph(scratch / "finder", finder_file, found, finder.OUTPUTS, backend)
        write_descriptions(scratch, classifier, found, backend)
    return Exported(classifier.card, describe_mismatch(classifier.card, found))


def check_folder(folder: Path) -> None:
    """Raise ExportError if a folder has other files than those of a repository."""
    if not folder.is_dir() or (folder / MARK).is_file():
        return
    for path in sorted(folder.iterdir()):
        if path.name not in (EXPORTED, LOCK_FILE):
            raise ExportError(
                f"{folder} contains {path.name}, and is no model repository of Fieldmark. Give "
                "an empty or a new folder."
            )


def write_graph(
    folder: Path,
    file: Path,
    model: Classifier | Finder,
    outputs: Iterable[str],
    backend: Backend,
) -> None:
    """Write the model that computes the graph of a model file."""
    graph = read_graph(file, outputs)
    config = graph_config(folder.name, graph, backend, model.version)
    labels = model.labels if isinstance(model, Classifier) else ()
    version = write_model(folder, config, labels)
    shutil.copyfile(file, version / "model.onnx")
    if backend == Backend.PYTHON:
        shutil.copyfile(CODE / "graph_model.py", version / "model.py")


def read_graph(file: Path, outputs: Iterable[str]) -> Graph:
    """Return the axes of a model file's input and of some of its outputs."""
    graph = onnx.load(file, load_external_data=False).graph
    axes = {
        value.name: [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim[1:]]
        for value in (*graph.input, *graph.output)
    }
    return Graph(axes["photo"], {name: axes[name] for name in outputs})


def write_birds(folder: Path, classifier: Classifier, finder: Finder | None) -> None:
    """Write the model that takes the bytes of photos, with the package that it runs."""
    parameters = classifier.version | {"graph_batch": str(GRAPH_BATCH)}
    if finder:
        parameters["finder_sha256"] = finder.sha256
    config = birds_config(len(classifier.labels), parameters)
    version = write_model(folder, config, classifier.labels)
    shutil.copyfile(CODE / "photo_model.py", version / "model.py")
    package = Path(birds.__file__).parent
    shutil.copytree(package, version / "birds", ignore=shutil.ignore_patterns(*LEFT_OUT))
    (version / "card.json").write_text(format_json(classifier.card), encoding="utf-8")
    if finder:
        (version / "finder.json").write_text(format_json(finder.card), encoding="utf-8")


def write_model(folder: Path, config: str, labels: Sequence[str]) -> Path:
    """Write the configuration of a model, and its labels if any; return the folder of version 1."""
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config, encoding="utf-8")
    if labels:
        lines = "".join(f"{label}\n" for label in labels)
        (folder / LABELS_FILE).write_text(lines, encoding="utf-8")
    return folder / "1"


def write_descriptions(
    folder: Path, classifier: Classifier, finder: Finder | None, backend: Backend
) -> None:
    """Write what people and `pip` read, and the mark of a repository."""
    packages = "".join(f"{name}=={metadata.version(name)}\n" for name in PACKAGES)
    (folder / "requirements.txt").write_text(f"{packages}numpy\n", encoding="utf-8")
    graphs = "`species` and `finder`" if finder else "`species`"
    text = README.format(**classifier.version, graphs=graphs, cpus=CPUS)
    (folder / "README.md").write_text(text, encoding="utf-8")
    mark = {
        "model": classifier.version,
        "finder": finder.version if finder else None,
        "backend": backend.value,
    }
    (folder / MARK).write_text(format_json(mark), encoding="utf-8")
