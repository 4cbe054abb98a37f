"""From a Learner to a model file that has shown that it answers alike."""

import warnings

# fastai's own, on import and for each change of hue; whoever trains can't do anything about it
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
