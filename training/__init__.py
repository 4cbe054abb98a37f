"""What train.ipynb calls: photos, DataLoaders, Learner, fit, judgement."""

import export  # noqa: F401  its filter of warnings, before fastai is imported
