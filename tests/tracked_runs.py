"""Tiny runs that trackers log, interrupted or not, and what TensorBoard has of them."""

from fastai.vision.all import Callback, set_seed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from fieldmark import plotting as plots
from fieldmark.data import loaders as data
from fieldmark.run import Run
from fieldmark.training.fit import fit_phase
from fieldmark.training.learner import embed_splits, head_learner, layer_learning_rates
from fieldmark.training.tracking.tracking import Tracking
from tests.conftest import create_learner

# files of one second are sorted by their writers' numbers as text, where 10 is before 9
event_file_writer._global_uid = event_file_writer.AtomicCounter(1000)
RECIPE = {"arch": "test_efficientnet", "learning_rate": 0.01, "teacher": {}, "track": []}


class PowerCutAtStep(Callback):
    """End the process after some steps, as a power cut does."""

    order = 90
    run_valid = False

    def __init__(self, steps):
        self.steps_left = steps

    def after_batch(self):
        self.steps_left -= 1
        if not self.steps_left:
            raise KeyboardInterrupt


def log_plot(tracking, name):
    """Plot a figure, save it and log it, as the notebook does."""
    figure, ((axes,),) = plots.create_axes(2, 2)
    axes.plot([1, 2])
    saved = plots.save_figure(figure, tracking.run.figures, name)
    assert tracking.log_figure(name, saved) is figure


class PowerCutBeforeCheckpoint(Callback):
    """End the process when trackers have an epoch that the checkpoint does not have yet."""

    order = 79

    def after_epoch(self):
        if self.epoch == 1:
            raise KeyboardInterrupt


def train_tracked(table, folder, settings, weights, out, cbs=(), track=("tensorboard",)):
    """Train in two phases as the notebook does; return Learner, Tracking and Checkpoints."""
    set_seed(0)
    dls = data.make_dataloaders(table, folder, **settings, batch_size=8)
    learn, run, checkpoints = create_learner(dls, weights), Run(out), {}
    tracking = Tracking(list(track), run, RECIPE)
    log_plot(tracking, "early")
    run.begin(RECIPE, table)
    tracking.start(checkpoints)
    head = head_learner(learn, embed_splits(learn, folder))
    with learn.no_bar(), learn.no_logging(), head.no_bar(), head.no_logging():
        callbacks = tracking.callbacks(learn)
        checkpoints["frozen"] = fit_phase(head, run, "frozen", 2, 0.01, cbs=callbacks)
        learn.unfreeze()
        rates = layer_learning_rates(learn, 0.01, 0.5)
        callbacks = [*tracking.callbacks(learn), *cbs]
        checkpoints["fine-tuning"] = fit_phase(learn, run, "fine-tuning", 3, rates, cbs=callbacks)
    log_plot(tracking, "late")
    return learn, tracking, checkpoints


def read_events(out) -> EventAccumulator:
    """Read everything that TensorBoard would show."""
    sizes = dict.fromkeys(("scalars", "histograms", "images", "tensors"), 0)
    return EventAccumulator(str(out / "tensorboard"), size_guidance=sizes).Reload()


def read_curve(events: EventAccumulator, tag: str) -> dict[int, float]:
    """Return the values of a curve by step, none of which may occur twice."""
    points = events.Scalars(tag)
    curve = {point.step: point.value for point in points}
    assert len(curve) == len(points)
    return curve
