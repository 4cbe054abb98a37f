"""List what the function and the page consist of: a CycloneDX SBOM of each in runs/sbom/.

make sbom

Each lock is installed into an environment of its own, which cyclonedx-py describes: packages,
versions, licences, dependencies. Added to that are the shared libraries that wheels contain, what
the wheels' own SBOMs say, and the model file. The same locks on the same platform give the same
file.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cyclonedx.schema import OutputFormat, SchemaVersion  # pyright: ignore[reportMissingImports]
from cyclonedx.validation import (  # pyright: ignore[reportMissingImports]
    make_schemabased_validator,
)

from supply_chain.licences import locked_versions, normalize

ROOT = Path(__file__).parents[1]
OUT = ROOT / "runs/sbom"
LOCKS = {
    "function": ("azure_function/requirements.txt", "azure_function/server.txt"),
    "page": ("requirements.txt",),
}
CORE = ROOT / "azure_function"
MODEL = CORE / "model/birds.onnx"
SHARED_LIBRARIES = ("*.libs/*", "*/.dylibs/*")  # where auditwheel and delocate put them


def run(*command: str | Path) -> None:
    """Run a module of the tools' environment."""
    subprocess.run([sys.executable, "-m", *map(str, command)], cwd=ROOT, check=True)


def sha256(path: Path) -> dict:
    """Return a file's hash as CycloneDX writes it."""
    return {"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}


def contents_of(name: str, site_packages: Path) -> list[dict]:
    """Return what a package contains: shared libraries, and the components of its own SBOMs."""
    found = []
    for path in sorted(file for glob in SHARED_LIBRARIES for file in site_packages.glob(glob)):
        folder = path.relative_to(site_packages).parts[0]
        if normalize(folder.removesuffix(".libs")) == name:
            file = path.relative_to(site_packages).as_posix()
            found.append({"type": "file", "name": file, "hashes": [sha256(path)]})
    for path in sorted(site_packages.glob("*.dist-info/sboms/*.json")):
        if normalize(path.parts[-3].split("-")[0]) == name:
            inner = json.loads(path.read_text(encoding="utf-8")).get("components", [])
            keys = ("type", "name", "version", "purl", "licenses")
            found += [{key: part[key] for key in keys if key in part} for part in inner]
    return found


def model_component(path: Path, environment: Path) -> dict:
    """Return the model file, with the name and version that `/api/model` reports."""
    code = "import json, sys; from birds.classifier import Classifier; "
    code += "print(json.dumps(Classifier(sys.argv[1]).version))"
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    output = subprocess.check_output([python, "-c", code, path], cwd=CORE)
    name, version = json.loads(output).values()
    return {
        "type": "machine-learning-model",
        "bom-ref": f"{name}=={version}",
        "name": name,
        "version": version,
        "description": path.relative_to(ROOT).as_posix(),
        "hashes": [sha256(path)],
        "licenses": [{"license": {"name": "azure_function/model/LICENSE.md"}}],
    }


def describe(locks: tuple[str, ...], environment: Path) -> dict:
    """Install locks, and return the SBOM of what is then installed."""
    run("uv", "venv", "--quiet", environment)
    options = ["--quiet", "--python", environment, "--require-hashes"]
    run("uv", "pip", "install", *options, *(word for lock in locks for word in ("-r", lock)))
    out = environment / "sbom.json"
    run("cyclonedx_py", "environment", "--output-reproducible", environment, "-o", out)
    bom = json.loads(out.read_text(encoding="utf-8"))
    (site_packages,) = environment.glob("[Ll]ib/**/site-packages")
    locked = {k: v for lock in locks for k, v in locked_versions(ROOT / lock).items()}
    for component in bom["components"]:
        name = normalize(component["name"])
        if locked.get(name) != component["version"]:
            raise SystemExit(f"{name} {component['version']} is not in {' or '.join(locks)}.")
        if contents := contents_of(name, site_packages):
            component["components"] = contents
    return bom


def main() -> None:
    """Write the SBOM of each deployable."""
    OUT.mkdir(parents=True, exist_ok=True)
    validator = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6)
    for deployable, locks in LOCKS.items():
        with tempfile.TemporaryDirectory() as folder:
            bom = describe(locks, environment := Path(folder) / "environment")
            if deployable == "function":
                bom["components"].append(model_component(MODEL, environment))
        bom["metadata"]["component"] = {
            "type": "application",
            "bom-ref": deployable,
            "name": f"fieldmark {deployable}",
        }
        text = json.dumps(bom, indent=2)
        if error := validator.validate_str(text):
            raise SystemExit(f"The SBOM of the {deployable} is not valid CycloneDX: {error}")
        (OUT / f"{deployable}.cdx.json").write_text(f"{text}\n", encoding="utf-8")
        print(f"runs/sbom/{deployable}.cdx.json: {len(bom['components'])} components")


if __name__ == "__main__":
    main()
