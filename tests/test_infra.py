"""What `azd up` reads, parsed: nothing here runs on Azure."""

import json
import subprocess
import sys

import pytest
import tree_sitter_bicep
import yaml
from tree_sitter import Language, Parser

from tests.conftest import ROOT

PARSER = Parser(Language(tree_sitter_bicep.language()))


def parse(name: str):
    return PARSER.parse((ROOT / "infra" / name).read_bytes()).root_node


def value_of(node):
    """Convert a Bicep value: objects to dicts, plain literals to Python's, the rest to its text."""
    text = node.text.decode()
    match node.type:
        case "object":
            return properties(node)
        case "string":
            return text.strip("'")
        case "number":
            return int(text)
        case "boolean":
            return text == "true"
    return text


def properties(node) -> dict:
    """Return an object's properties, and the bodies of the resources in it by their symbols."""
    found = {}
    for child in node.children:
        if child.type == "object_property":
            first, last = child.children[0], child.children[-1]
            if first.type == "resource_declaration":
                found[first.children[1].text.decode()] = value_of(first.children[-1])
            else:
                found[first.text.decode()] = value_of(last)
    return found


def declared(root, kind: str) -> dict:
    """Return the declarations of a kind by symbol: the last part is a default value or a body."""
    nodes = [node for node in root.children if node.type == f"{kind}_declaration"]
    return {node.children[1].text.decode(): value_of(node.children[-1]) for node in nodes}


def parameters(root) -> dict:
    """Return parameters with their default values, None without one."""
    nodes = [node for node in root.children if node.type == "parameter_declaration"]
    return {
        node.children[1].text.decode(): value_of(node.children[-1])
        if any(child.type == "=" for child in node.children)
        else None
        for node in nodes
    }


MAIN, FUNCTION = parse("main.bicep"), parse("function.bicep")
RESOURCES = declared(FUNCTION, "resource")
DEFAULTS = parameters(FUNCTION)


@pytest.mark.parametrize("root", [MAIN, FUNCTION], ids=["main", "function"])
def test_the_templates_are_valid_bicep(root):
    assert not root.has_error
    assert PARSER.parse(root.text.replace(b"}", b"", 1)).root_node.has_error


def test_each_template_gets_the_parameters_that_it_declares_without_a_default():
    file = json.loads((ROOT / "infra/main.parameters.json").read_text())
    assert set(file["parameters"]) == {k for k, v in parameters(MAIN).items() if v is None}
    module = declared(MAIN, "module")["function"]
    assert set(module["params"]) == {k for k, v in DEFAULTS.items() if v is None}


def test_azd_finds_the_function_and_its_folder():
    services = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"]
    assert list(services) == ["function"]
    service = services["function"]
    assert (service["host"], service["language"]) == ("function", "python")
    assert (ROOT / service["project"] / "host.json").is_file()
    assert "'azd-service-name': 'function'" in RESOURCES["app"]["tags"]


def test_azd_builds_the_page_before_it_packages_the_function(tmp_path):
    service = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"]["function"]
    for hook in service["hooks"]["prepackage"].values():
        _, script, output = hook["run"].split()
        assert output == "birds/page"
        command = [sys.executable, (ROOT / service["project"] / script).resolve()]
        subprocess.run([*command, tmp_path / "page"], check=True)
        assert (tmp_path / "page/index.html").read_text().startswith("<!doctype html>")


def test_the_plan_has_a_bounded_size_and_the_function_its_settings():
    assert RESOURCES["plan"]["sku"]["tier"] == "FlexConsumption"
    config = RESOURCES["app"]["properties"]["functionAppConfig"]
    assert config["runtime"] == {"name": "python", "version": "pythonVersion"}
    scale = config["scaleAndConcurrency"]
    assert scale["instanceMemoryMB"] == "instanceMemory"
    assert scale["maximumInstanceCount"] == "maximumInstances"
    assert scale["triggers"]["http"]["perInstanceConcurrency"] == "photosInFlight"
    assert DEFAULTS["pythonVersion"] == "3.11"
    assert DEFAULTS["instanceMemory"] == 2048
    assert DEFAULTS["maximumInstances"] <= 10
    settings = RESOURCES["app"]["settings"]["properties"]
    assert settings["FIELDMARK_IN_FLIGHT"] == "string(photosInFlight)"
    assert (settings["FIELDMARK_CORS"], settings["FIELDMARK_PAGE"]) == ("origins", "page")


def test_nothing_uses_a_shared_key_or_plain_http():
    storage, app = RESOURCES["storage"]["properties"], RESOURCES["app"]
    assert storage["allowSharedKeyAccess"] is False
    assert storage["allowBlobPublicAccess"] is False
    assert RESOURCES["insights"]["properties"]["DisableLocalAuth"] is True
    assert app["properties"]["httpsOnly"] is True
    assert app["identity"]["type"] == "SystemAssigned"
    deployment = app["properties"]["functionAppConfig"]["deployment"]["storage"]
    assert deployment["authentication"]["type"] == "SystemAssignedIdentity"
    settings = app["settings"]["properties"]
    assert settings["AzureWebJobsStorage__accountName"] == "storage.name"
    assert settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"] == "Authorization=AAD"
    assert b"listKeys" not in FUNCTION.text


def test_the_function_may_write_its_storage_and_its_metrics_and_nothing_else():
    roles = {
        body["scope"]: body["properties"]["roleDefinitionId"]
        for body in RESOURCES.values()
        if "roleDefinitionId" in body.get("properties", {})
    }
    assert set(roles) == {"storage", "insights"}
    assert "blobOwner" in roles["storage"]
    assert "metricsPublisher" in roles["insights"]


def test_the_host_file_logs_every_request_and_adds_no_route_prefix():
    host = json.loads((ROOT / "azure_function/host.json").read_text())
    assert host["extensions"]["http"]["routePrefix"] == ""  # the routes have their own /api
    sampling = host["logging"]["applicationInsights"]["samplingSettings"]
    assert set(sampling["excludedTypes"].split(";")) == {"Request", "Trace"}
