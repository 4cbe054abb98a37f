"""What train.ipynb calls: photos, DataLoaders, Learner, judgement."""
