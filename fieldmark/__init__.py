"""Train, evaluate and describe networks that name birds."""

import warnings

import birds as birds  # first, since it switches off the telemetry of onnxruntime

# fastai triggers this on import and for each change of hue; a user cannot act on it
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
