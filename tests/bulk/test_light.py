"""Jobs on many photos load no training code."""

import subprocess
import sys

from tests.conftest import ROOT
from tests.test_imports import modules_of


def test_no_module_of_jobs_loads_torch_or_fastai():
    modules = ", ".join(modules_of("fieldmark.bulk"))
    code = f"import sys, {modules}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "fastai", "timm"} & set(done.stdout.split())
