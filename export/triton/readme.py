"""The text of README.md in a Triton model repository."""

README = """\
# {name} {version} for Triton

`birds` takes the bytes of a photo and returns `answer`, the JSON of `POST /api/classify`, and
`probability`, `unknown` and `crop`: left, top, width and height in the upright photo. A photo that
cannot be read fails its own request. It calls {graphs}.

In NVIDIA's container (not tried with it; `<image>` is one of its `tritonserver` images, 25.10-py3
or later):

```sh
docker run --rm --shm-size=512m -p 127.0.0.1:8000-8001:8000-8001 -v "$PWD":/models:ro \\
  -e ORT_DISABLE_TELEMETRY=1 \\
  <image> \\
  sh -c "pip install -r /models/requirements.txt && tritonserver --model-repository=/models"
```

The configurations are for {cpus} CPUs. `count` of `instance_group` should be the number of CPUs in
`species` and `finder`, and twice that in `birds`. Each instance of `birds` has two processes that
decode photos, one of them for large photos: at most 112 and 352 MB, less where the container has
less memory. At rest the server took 1.1 GB with the Python backend. Give it 3 GB.

Photos are decoded in processes with limits on memory and time. Triton limits neither who sends
requests nor how large they are: keep its ports on this computer, and put a proxy before HTTP
(8000) that does, and passes only requests for `/v2/health` and `/v2/models/birds/infer`.
"""
