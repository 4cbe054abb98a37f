"""LitServe with the same model file, one worker a CPU.

    python -m benchmarks.peers.litserve_app PORT

A photo comes base64 in JSON, as LitServe's own examples have it, and is prepared as in our
function: the comparison is of servers.
"""

import base64
import os
import sys

import litserve

from birds.classifier import Classifier
from birds.process import cpu_count


class Birds(litserve.LitAPI):
    """The model file behind LitServe."""

    def setup(self, device):
        """Load the model file; each worker has one CPU."""
        self.classifier = Classifier(os.environ["FIELDMARK_MODEL"], threads=1)

    def decode_request(self, request):
        """Take the photo's bytes out of the request."""
        return base64.b64decode(request["photo"])

    def predict(self, data):
        """Prepare and predict."""
        return self.classifier.predict(
            self.classifier.prepare_photo(data).pixels[None]
        ).probability[0]

    def encode_response(self, probability):
        """Take the five best."""
        labels = self.classifier.labels
        return {labels[index]: float(probability[index]) for index in (-probability).argsort()[:5]}


if __name__ == "__main__":
    server = litserve.LitServer(Birds(), accelerator="cpu", workers_per_device=cpu_count())
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
    )
