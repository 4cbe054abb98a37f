"""What `azd up` reads. Nothing here runs on Azure: its grammar and what must agree are checked."""

import json
import re

import pytest
import tree_sitter_bicep
import yaml
from tree_sitter import Language, Parser

from tests.conftest import ROOT

INFRA = ROOT / "infra"
FUNCTION = (INFRA / "function.bicep").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["main.bicep", "function.bicep"])
def test_the_templates_are_bicep(name):
    parser = Parser(Language(tree_sitter_bicep.language()))
    source = (INFRA / name).read_bytes()
    assert not parser.parse(source).root_node.has_error
    assert parser.parse(source.replace(b"}", b"", 1)).root_node.has_error


def test_the_parameters_given_are_those_declared_without_a_default():
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    main = (INFRA / "main.bicep").read_text(encoding="utf-8")
    assert set(given) == set(re.findall(r"^param (\w+) \w+$", main, re.MULTILINE))
    passed = re.search(r"params: \{(.*?)\}", main, re.DOTALL)[1]
    needed = set(re.findall(r"^param (\w+) \w+$", FUNCTION, re.MULTILINE))
    assert set(re.findall(r"(\w+):", passed)) == needed


def test_azd_finds_the_function_and_its_folder():
    (name, service), *others = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"].items()
    assert not others
    assert f"'azd-service-name': '{name}'" in FUNCTION
    assert (ROOT / service["project"] / "host.json").is_file()
    assert (service["host"], service["language"]) == ("function", "python")


@pytest.mark.parametrize(
    "piece",
    [
        "tier: 'FlexConsumption'",
        "param pythonVersion string = '3.11'",
        "param instanceMemory int = 2048",
        "instanceMemoryMB: instanceMemory",
        "maximumInstanceCount: maximumInstances",
        "http: { perInstanceConcurrency: photosInFlight }",
        "FIELDMARK_IN_FLIGHT: string(photosInFlight)",
        "FIELDMARK_CORS: origins",
        "identity: { type: 'SystemAssigned' }",
        "authentication: { type: 'SystemAssignedIdentity' }",
        "AzureWebJobsStorage__accountName: storage.name",
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD'",
        "allowSharedKeyAccess: false",
        "allowBlobPublicAccess: false",
        "httpsOnly: true",
    ],
)
def test_the_function_has(piece):
    assert piece in FUNCTION


def test_the_identity_may_use_its_storage_and_report_and_no_more():
    roles = re.findall(r"name: guid\((\w+)\.id, app\.id, (\w+)\)\n  scope: (\w+)", FUNCTION)
    assert roles == [
        ("storage", "blobOwner", "storage"),
        ("insights", "metricsPublisher", "insights"),
    ]
    assert "listKeys" not in FUNCTION


def test_the_host_file_samples_no_request_away_and_sets_the_same_route_prefix():
    host = json.loads((ROOT / "azure_function/host.json").read_text())
    assert host["extensions"]["http"]["routePrefix"] == ""  # the routes have their /api themselves
    sampling = host["logging"]["applicationInsights"]["samplingSettings"]
    assert sampling["excludedTypes"] == "Request;Trace"
