"""What is installed to serve is locked by hash, licensed, and named in the documents."""

import re
from importlib import metadata
from pathlib import Path

import pi_heif
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply_chain import licences, lock
from tests.conftest import ROOT

LOCKS = [name.replace(".in", ".txt") for name in (*lock.RANGES, lock.TOOLS)]
INSTALLED = LOCKS[:-1]  # by `make`, into one environment
LICENCES = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


def requirements(name: str) -> list[str]:
    """Return the requirements of a file with their options, each on one line."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def locked(name: str) -> dict[str, Requirement]:
    """Return the requirements of a lock by name."""
    found = [Requirement(line.split("--hash")[0]) for line in requirements(name)[1:]]
    return {requirement.name: requirement for requirement in found}


def version(requirement: Requirement) -> str:
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


def applies(requirement: Requirement) -> bool:
    """Return whether a requirement is meant for this platform and Python."""
    return not requirement.marker or requirement.marker.evaluate({"extra": ""})


@pytest.mark.parametrize("name", LOCKS)
def test_each_lock_pins_by_hash_satisfies_its_ranges_and_names_no_index(name):
    only_wheels, *lines = requirements(name)
    assert only_wheels == "--only-binary :all:"
    for line in lines:
        pinned, *hashes = line.split("--hash=")
        assert version(Requirement(pinned))
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value.strip()) for value in hashes), line
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted", text)
    pins = locked(name)
    for line in requirements(name.replace(".txt", ".in")):
        wanted = Requirement(line)
        assert wanted.specifier.contains(version(pins[canonicalize_name(wanted.name)])), line


def test_the_locks_agree_and_are_what_is_installed_here():
    pins = [requirement for name in INSTALLED for requirement in locked(name).values()]
    versions = {requirement.name: version(requirement) for requirement in pins}
    assert {(pin.name, version(pin)) for pin in pins} == set(versions.items())
    here = {pin.name for pin in pins if applies(pin)}
    assert {name: metadata.version(name) for name in here} == {
        name: versions[name] for name in here
    }


@pytest.mark.parametrize("name", INSTALLED)
def test_a_lock_contains_all_that_its_packages_need(name):
    pins = locked(name)
    for pin in filter(applies, pins.values()):
        for line in metadata.requires(pin.name) or []:
            needed = Requirement(line)
            if applies(needed):
                found = pins[canonicalize_name(needed.name)]
                assert needed.specifier.contains(version(found), prereleases=True), (pin.name, line)


def test_every_locked_package_of_function_and_page_has_its_licence_in_the_document():
    table = LICENCES.split("<!-- packages -->")[1].split("<!-- end -->")[0]
    rows = re.findall(r"^\| (\S+) \| (\S+) \| ([^|]+) \|", table, re.MULTILINE)
    pins = [pin for name in licences.LOCKS for pin in locked(name).values()]
    assert {row[:2] for row in rows[1:]} == {(pin.name, version(pin)) for pin in pins}
    assert all(licence.strip() for _, _, licence in rows)
    installed = {pin.name for pin in pins if applies(pin)}
    for name, _, licence in rows[1:]:
        if name in installed:
            assert licence == licences.licence_of(metadata.distribution(name))


def test_every_library_inside_a_locked_package_is_in_the_document():
    table = LICENCES.split("## Libraries inside the packages")[1].splitlines()
    pins = [pin for name in licences.LOCKS for pin in locked(name).values()]
    found = 0
    for name in (pin.name for pin in pins if applies(pin)):
        rows = [line for line in table if re.match(rf"\| [^|]*\b{name}\b", line)]
        for file in metadata.files(name) or []:
            if re.search(r"\.(libs|dylibs)/", str(file)):
                library = re.split(r"-[0-9a-f]{8}|\.so|\.\d", Path(file).name)[0].rstrip("-")
                assert any(library in row for row in rows), (name, library)
                found += 1
    assert found > 10
    decoder = pi_heif.libheif_info()["decoders"]["libde265"].split()[-1]
    assert f"libheif {pi_heif.libheif_version()} | LGPL-3.0" in LICENCES
    assert f"libde265 {decoder} | LGPL-3.0" in LICENCES


def test_images_actions_and_hooks_are_pinned_by_digest_or_commit():
    images = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(set(images)) == 1
    assert re.fullmatch(r"python:3\.11-slim@sha256:[0-9a-f]{64}", images[0])
    (install,) = re.findall(r"pip install [^\n]+", (ROOT / "Dockerfile").read_text())
    assert "--require-hashes" in install
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] == {"contents": "read"}
        for action in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), (path.name, action)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    revisions = [repository["rev"] for repository in hooks["repos"] if "rev" in repository]
    assert revisions
    assert all(re.fullmatch("[0-9a-f]{40}", revision) for revision in revisions)
