"""What a Triton model repository says of itself."""

README = """\
# {name} {version} for Triton

`birds` takes the bytes of a photo and returns `answer`, the JSON of `POST /api/classify`, and
`probability`, `unknown` and `crop`: left, top, width and height in the upright photo. A photo that
cannot be read fails its own request. It calls {graphs}.

In NVIDIA's container (not tried with it; `<image>` is one of its `tritonserver` images, 25.10-py3
or later):

```sh
docker run --rm --shm-size=512m -p 8000-8002:8000-8002 -v "$PWD":/models:ro \\
  <image> \\
  sh -c "pip install -r /models/requirements.txt && tritonserver --model-repository=/models"
```

The configurations are for {cpus} CPUs, where the server takes 1.1 GB of memory. `count` of
`instance_group` should be the number of CPUs in `species` and `finder`, and twice that in `birds`.

Photos are decoded in processes with limits on memory and time. Triton limits neither who sends
requests nor how large they are: put a proxy before it that does, and passes only requests for
`/v2/health` and `/v2/models/birds/infer`.
"""
