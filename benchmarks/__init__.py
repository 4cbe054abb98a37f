"""Commands that measure what the documents state."""

import birds as birds  # first, since it switches off the telemetry of onnxruntime
