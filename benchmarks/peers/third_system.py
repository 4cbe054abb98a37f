"""A function as the third system's: the whole photo decoded, `ImageOps.fit`, one session.

    uvicorn benchmarks.peers.third_system:app

Its normalisation needs no code here: the shipped model has it inside.
"""

import io
import json
import os

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(os.environ["FIELDMARK_MODEL"])
labels = [
    each["label"]
    for each in json.loads(session.get_modelmeta().custom_metadata_map["card"])["labels"]
]
size = session.get_inputs()[0].shape[1]
app = FastAPI()


@app.post("/classify")
async def classify(request: Request) -> dict:
    """Name the bird in the body."""
    return await run_in_threadpool(answer, await request.body())


def answer(data: bytes) -> dict:
    """Decode, fit, predict, and take the five best."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    pixels = np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))
    (probability,) = session.run(["probability"], {"photo": pixels[None]})
    best = (-probability[0]).argsort()[:5]
    return {labels[index]: float(probability[0, index]) for index in best}
