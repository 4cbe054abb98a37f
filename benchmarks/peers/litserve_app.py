"""Serve the model file with LitServe, one worker per CPU.

    python -m benchmarks.peers.litserve_app PORT

A photo arrives as base64 in JSON, as in LitServe's examples, and is prepared by our own code: this
compares servers.
"""

import base64
import os
import sys

import litserve

from birds.classifier import Classifier
from birds.process import cpu_count


class BirdsAPI(litserve.LitAPI):
    """The model file behind LitServe."""

    def setup(self, device):
        """Load the model file; each worker has one CPU."""
        self.classifier = Classifier(os.environ["FIELDMARK_MODEL"], threads=1)

    def decode_request(self, request):
        """Return the bytes of the photo."""
        return base64.b64decode(request["photo"])

    def predict(self, data):
        """Return the probability of each label."""
        pixels = self.classifier.prepare_photo(data).pixels[None]
        return self.classifier.predict(pixels).probability[0]

    def encode_response(self, probability):
        """Return the five best labels."""
        labels = self.classifier.labels
        return {labels[index]: float(probability[index]) for index in (-probability).argsort()[:5]}


if __name__ == "__main__":
    server = litserve.LitServer(BirdsAPI(), accelerator="cpu", workers_per_device=cpu_count())
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
