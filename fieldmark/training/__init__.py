"""Train a network with fastai: phases, schedules, checkpoints, distillation and tracking."""
