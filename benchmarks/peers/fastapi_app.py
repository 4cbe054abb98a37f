"""Serve the model file with FastAPI, without checks, limits or logs, as the third system did.

    uvicorn benchmarks.peers.fastapi_app:app

The whole photo is decoded, `ImageOps.fit` resizes it, and one session computes. Normalisation needs
no code here: it is inside the model file.
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
card = json.loads(session.get_modelmeta().custom_metadata_map["card"])
labels = [entry["label"] for entry in card["labels"]]
size = session.get_inputs()[0].shape[1]
app = FastAPI()


@app.post("/classify")
async def classify(request: Request) -> dict:
    """Return the five best labels for the photo in the body."""
    return await run_in_threadpool(predict, await request.body())


def predict(data: bytes) -> dict:
    """Decode, resize and classify a photo."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    pixels = np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))
    (probability,) = session.run(["probability"], {"photo": pixels[None]})
    best = (-probability[0]).argsort()[:5]
    return {labels[index]: float(probability[0, index]) for index in best}
