"""Write the locked requirements from the ranges, and the licences of what they install.

make lock                      versions that are at least a week old
make lock COOLDOWN="0 days"    any version, for an urgent fix

Each `.in` file holds ranges; the `.txt` file beside it gets one version of every package that they
need, directly or through others, with the SHA-256 of all its files, and only wheels are installed.
One lock serves all platforms and Pythons. All locks but that of the tools are installed together,
so they agree.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from supply_chain import licences

ROOT = Path(__file__).parents[1]
RANGES = (
    "azure_function/requirements.in",
    "azure_function/server.in",
    "requirements.in",
    "commands/requirements.in",
)
TOOLS = "supply_chain/tools.in"
PYTHONS = ("3.11", "3.12")
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "windows")
MACOS = "14.0"  # the oldest that onnxruntime has wheels for


def uv(*arguments: str) -> None:
    """Run uv in the root of the repository."""
    command = [sys.executable, "-m", "uv", *arguments, "--quiet"]
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": MACOS}
    if status := subprocess.run(command, cwd=ROOT, env=environment).returncode:
        raise SystemExit(status)


def compile_ranges(ranges: list[str], lock: Path, *options: str) -> None:
    """Write the versions that satisfy files of ranges on every platform and Python."""
    common = ["--universal", "--python-version", PYTHONS[0], "--fork-strategy", "fewest"]
    wheels = ["--only-binary", ":all:", "--emit-build-options"]  # nothing is built, no code runs
    plain = ["--no-annotate", "--no-emit-index-url", "--custom-compile-command", "make lock"]
    uv("pip", "compile", *ranges, "-o", str(lock), *common, *wheels, *plain, *options)


def lock_ranges(cooldown: str, folder: Path) -> None:
    """Write all locks; `folder` is for a temporary file."""
    new = ["--upgrade", "--exclude-newer", cooldown]
    versions = folder / "versions.txt"
    compile_ranges(list(RANGES), versions, *new)
    for name in (*RANGES, TOOLS):
        agreed = ["--constraints", str(versions)] if name in RANGES else []
        lock = (ROOT / name).with_suffix(".txt")
        compile_ranges([name], lock, *new, *agreed, "--generate-hashes")


def install_elsewhere(folder: Path) -> list[Path]:
    """Install the locks for each platform, in a folder that is not run; return the folders."""
    folders = []
    locks = [argument for name in RANGES for argument in ("-r", name.replace(".in", ".txt"))]
    for platform in PLATFORMS:
        for python in PYTHONS:
            folders.append(folder / f"{platform}-{python}")
            options = ["--python-platform", platform, "--python-version", python]
            target = ["--target", str(folders[-1]), "--require-hashes"]
            uv("pip", "install", *target, *options, *locks)
    return folders


def main() -> None:
    """Lock, install the locks for all platforms, and fill the tables of docs/licences.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cooldown", default="7 days", help="youngest age of a version")
    cooldown = parser.parse_args().cooldown
    with tempfile.TemporaryDirectory() as name:
        lock_ranges(cooldown, Path(name))
        licences.fill_document(install_elsewhere(Path(name)))


if __name__ == "__main__":
    main()
