"""The shipped model has the same outputs with the oldest packages that the function allows."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from birds import drawn
from birds.classifier import OUTPUTS, Classifier
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

FUNCTION = ROOT / "azure_function"
MODEL = FUNCTION / "model/birds.onnx"
PACKAGES = ("onnxruntime", "numpy")
SCRIPT = """
import json, sys
import numpy, onnxruntime
from birds import drawn
from birds.classifier import Classifier
classifier = Classifier(sys.argv[1])
files = drawn.awkward_photos().values()
photos = numpy.stack([classifier.prepare_photo(data).pixels for data in files])
outputs = classifier.predict(photos)._asdict()
computed = {name: value.tolist() for name, value in outputs.items()}
print(json.dumps(computed | {name: sys.modules[name].__version__ for name in sys.argv[2:]}))
"""


def oldest_versions() -> dict[str, str]:
    """Return the oldest versions that Azure may install."""
    text = (FUNCTION / "requirements.in").read_text(encoding="utf-8")
    return {name: re.search(rf"^{name}>=([\d.]+)", text, re.MULTILINE)[1] for name in PACKAGES}


def pip(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "--retries", "1", "--disable-pip-version-check"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def oldest(tmp_path_factory):
    """Install the oldest versions into a separate folder."""
    if pip("index", "versions", PACKAGES[0]).returncode:
        pytest.skip("pip cannot download packages here")
    folder = tmp_path_factory.mktemp("oldest")
    wanted = [f"{name}=={version}" for name, version in oldest_versions().items()]
    done = pip("install", "--no-deps", "--only-binary", ":all:", "--target", str(folder), *wanted)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_shipped_model_has_the_same_outputs_with_the_oldest_packages(oldest):
    path = os.pathsep.join([str(oldest), str(FUNCTION)])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(MODEL), *PACKAGES],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    computed = json.loads(done.stdout)
    for name, version in oldest_versions().items():
        assert f"{computed[name]}.".startswith(f"{version}.")
    classifier = Classifier(MODEL)
    photos = np.stack(
        [classifier.prepare_photo(data).pixels for data in drawn.awkward_photos().values()]
    )
    for name, here in zip(OUTPUTS, classifier.predict(photos), strict=True):
        assert np.allclose(computed[name], here, atol=1e-4), name
