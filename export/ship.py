"""Put a run's model file where the function finds it; the run has passed the gate already."""

import argparse
import shutil
import sys
from pathlib import Path

from birds.classifier import Classifier, ModelError

SHIPPED = Path("azure_function/model")
FILES = ("birds.onnx", "birds.safetensors", "split.csv", "recipe.yaml")


def ship(run: Path, to: Path = SHIPPED) -> str:
    """Copy a run's files, after the model has shown that it loads; return its version.

    Raises ModelError for a model that doesn't load, FileNotFoundError for a file that is missing.
    """
    card = Classifier(run / "birds.onnx").card
    missing = [name for name in FILES if not (run / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{run} lacks {', '.join(missing)}: `make train` writes them.")
    to.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        partial = to / f"{name}.partial"
        shutil.copyfile(run / name, partial)
        partial.replace(to / name)
    return f"{card['name']} {card['version']}"


def main() -> int:
    """Ship one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    try:
        print(f"{ship(parser.parse_args().run)} is in {SHIPPED}; `make app` serves it.")
    except (ModelError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
