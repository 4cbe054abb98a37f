"""Fit a network with fastai: schedules, checkpoints, callbacks, distillation, tracking."""
