"""The command line: documented, quick to start, and errors without tracebacks."""

import shutil
import subprocess
import sys

import pytest

from commands import main
from tests.command_line import run_command
from tests.conftest import ROOT

NAMES = [command.__name__.replace("_", "-") for command in main.COMMANDS]


def test_help_lists_every_command_without_loading_heavy_packages():
    code = "import sys; from commands.main import app\n"
    code += "try:\n    app(['--help'])\nexcept SystemExit as stop:\n    assert not stop.code\n"
    code += "heavy = {'torch', 'fastai', 'timm', 'onnxruntime', 'pandas'} & set(sys.modules)\n"
    code += "assert not heavy, heavy"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_each_command_has_an_example(name):
    result = run_command(name, "--help")
    assert result.exit_code == 0
    assert f"fieldmark {name} " in result.stdout.split("Example")[1]


def test_completion_can_be_installed():
    assert "--install-completion" in run_command("--help").stdout


def test_a_user_error_is_a_message_on_standard_error_and_exit_status_2(tmp_path):
    result = run_command("describe", tmp_path / "none.onnx")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none.onnx" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_package_that_is_not_installed_is_named():
    code = "import sys; sys.modules['pandas'] = None\n"
    code += "from commands.main import app; app(['compare'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    assert "pandas" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_is_described_with_the_finder_beside_it(model, finder_file, tmp_path):
    shutil.copy(model, tmp_path)
    shutil.copy(finder_file, tmp_path)
    result = run_command("describe", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.startswith("tiny ")
    for text in (
        "6 species",
        "blobs 1\nfinder.onnx",
        "threshold: 0.4",
        "calibrated with no finder",
    ):
        assert text in result.stdout
