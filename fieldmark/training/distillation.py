"""Learn from the predictions of a teacher network as well as from the labels."""

import torch
from fastai.callback.mixup import MixHandler
from fastai.vision.all import Normalize, TensorImage
from torch import nn
from torch.nn import functional

from fieldmark.data.distance import Shrink
from fieldmark.training.callbacks import StatefulCallback
from fieldmark.training.distributed import average_gradients, share_weights
from fieldmark.training.process_loader import ProcessLoader


class Distillation(StatefulCallback):
    """Add the divergence from a teacher's predictions to the loss (Hinton et al. 2015).

    `teacher` returns logits of the labels [n, C] and of its own classes [n, K] for a batch of the
    Learner. `weight` is the weight of the divergence from the first; the labels have the rest. An
    auxiliary head, discarded after training, learns the second with the weight `auxiliary_weight`,
    so that the backbone keeps features that the labels alone do not need. Logits of both are
    divided by `temperature`. The teacher, perhaps not trained for small birds, sees photos before
    `Shrink` and later transforms change them; mixed photos it sees as the network does.
    """

    run_valid = False

    def __init__(
        self,
        teacher: nn.Module,
        weight: float,
        auxiliary_weight: float = 0.0,
        temperature: float = 2.0,
    ):
        self.teacher, self.weight, self.temperature = teacher, weight, temperature
        self.auxiliary_weight = auxiliary_weight

    def before_fit(self):
        """Move the teacher to the Learner's device and create the auxiliary head."""
        self.teacher.eval().to(self.dls.device)
        self.auxiliary_weight = self.auxiliary_weight if self.teacher.num_classes else 0.0
        if not self.auxiliary_weight:
            return
        linear = self.model[1][-1]
        self.auxiliary_head = nn.Linear(linear.in_features, self.teacher.num_classes)
        self.auxiliary_head.to(self.dls.device)
        share_weights(self.auxiliary_head)
        self.optimizer = torch.optim.AdamW(
            self.auxiliary_head.parameters(), weight_decay=self.learn.wd
        )
        if self.saved_state:
            self.auxiliary_head.load_state_dict(self.saved_state["auxiliary_head"])
            self.optimizer.load_state_dict(self.saved_state["optimizer"])

        def keep_input(_: nn.Module, inputs: tuple[torch.Tensor]):
            self.embedding = inputs[0]

        # a function and not a method: a copy of the model would copy this callback with it
        self.hook = linear.register_forward_pre_hook(keep_input)

    def after_loss(self):
        """Combine the losses."""
        with torch.no_grad():
            logits, own_logits = self.teacher(self.teacher_photos())
        divergence = self.divergence(self.pred, logits)
        loss = (1 - self.weight) * self.loss_grad + self.weight * divergence
        if self.auxiliary_weight:
            auxiliary = self.divergence(self.auxiliary_head(self.embedding), own_logits)
            loss = loss + self.auxiliary_weight * auxiliary
        self.learn.loss_grad = loss
        self.learn.loss = loss.clone()

    def teacher_photos(self) -> torch.Tensor:
        """Return the photos of the batch as the teacher sees them."""
        loader = self.dls.train
        loader = loader.whole if isinstance(loader, ProcessLoader) else loader
        transforms = {type(transform): transform for transform in loader.after_batch.fs}
        before = getattr(transforms.get(Shrink), "last_input", None)
        is_mixed = any(isinstance(cb, MixHandler) for cb in self.learn.cbs)
        if before is None or is_mixed:
            return self.x
        return transforms[Normalize](TensorImage(before), split_idx=0)

    def divergence(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the Kullback-Leibler divergence of softened logits [n, K] from a target."""
        student, teacher = (
            functional.log_softmax(values.float() / self.temperature, 1)
            for values in (logits, target)
        )
        divergence = functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return divergence * self.temperature**2

    def after_step(self):
        """Step the auxiliary head at the head's learning rate.

        fastai calls this also when float16 overflowed and its own step was skipped: so is this one.
        """
        if not self.auxiliary_weight:
            return
        average_gradients(self.auxiliary_head)
        self.optimizer.param_groups[0]["lr"] = float(self.opt.hypers[-1]["lr"])
        if all(p.grad.isfinite().all() for p in self.auxiliary_head.parameters()):
            self.optimizer.step()
        self.optimizer.zero_grad()

    def after_fit(self):
        """Remove the hook."""
        if self.auxiliary_weight:
            self.hook.remove()

    def state(self) -> dict | None:
        """Return the auxiliary head and its optimizer."""
        if not self.auxiliary_weight:
            return None
        return {
            "auxiliary_head": self.auxiliary_head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
