"""Fill the tables of docs/licences.md from the metadata of installed packages."""

import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/licences.md"
LOCKS = {  # lock -> where its packages are installed
    "azure_function/requirements.txt": "function",
    "azure_function/server.txt": "server",
    "requirements.txt": "page",
}
SPDX = {  # what older packages call their licence -> its SPDX identifier
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "ISC license": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def normalize(name: str) -> str:
    """Return a package's name as locks write it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_versions(lock: Path) -> dict[str, str]:
    """Return the version of each package in a lock."""
    text = lock.read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", text, re.MULTILINE))


def licence_of(distribution: metadata.Distribution) -> str:
    """Return a package's licence: its SPDX expression, or what its older metadata say."""
    fields: dict = distribution.metadata.json
    if expression := fields.get("license_expression"):
        return expression
    classifiers = [name for name in fields.get("classifier", []) if "License ::" in name]
    first_line = (fields.get("license") or "UNKNOWN").splitlines()[0]
    names = [first_line, *(name.split(" :: ")[-1] for name in classifiers)]
    stated = [str(name) for name in names if not name.startswith("Copyright")]
    found = {SPDX.get(name, name) for name in stated}
    found -= {"UNKNOWN"}
    if len(found) > 1:  # the other name is more exact
        found -= {"BSD", "LGPL"}
    return " and ".join(sorted(found)) or "see its licence file"


def packages_table(folders: list[Path]) -> str:
    """Return a Markdown table of all locked packages, found in folders of installed packages."""
    licences = {
        normalize(distribution.metadata["Name"]): licence_of(distribution)
        for distribution in metadata.distributions(path=[str(folder) for folder in folders])
    }
    versions, places = {}, {}
    for lock, place in LOCKS.items():
        for name, version in locked_versions(ROOT / lock).items():
            versions[name] = version
            places.setdefault(name, []).append(place)
    rows = [
        f"| {name} | {versions[name]} | {licences[name]} | {', '.join(places[name])} |"
        for name in sorted(versions)
    ]
    return "\n".join(["| package | version | licence | part of |", "|---|---|---|---|", *rows])


def fill_document(folders: list[Path]) -> None:
    """Replace the table between the two comments of docs/licences.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    start, end = "<!-- packages -->\n", "\n<!-- end -->"
    before, rest = text.split(start)
    after = rest.split(end)[1]
    DOCUMENT.write_text(f"{before}{start}{packages_table(folders)}{end}{after}", encoding="utf-8")
