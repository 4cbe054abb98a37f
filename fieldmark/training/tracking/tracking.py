"""All trackers of a run together: figures, the start, resuming, and the end."""

import warnings

from fastai.vision.all import Callback, Learner
from matplotlib.figure import Figure

from fieldmark.replacement import remove_entry
from fieldmark.run import Run
from fieldmark.training.checkpoint import Checkpoint
from fieldmark.training.tracking.callback import TrackingCallback
from fieldmark.training.tracking.registry import open_tracker
from fieldmark.training.tracking.tracker import Tracker

LOST = {  # what a tracker lacks when a method of it fails
    "resume": "could not continue where the run resumes, and may show steps twice",
    "log_scalars": "lacks points of curves",
    "log_histograms": "lacks histograms",
    "log_figure": "lacks a figure, which is in the run's folder `figures`",
    "flush": "does not have the curves of this epoch yet",
    "finish": "lacks metrics, files or the model of the finished run; only its folder has them all",
}


class TrackingWarning(UserWarning):
    """A tracker failed while the run went on."""


class Tracking:
    """The trackers of a run, by their names in `track`.

    They open at `start`; figures that are logged earlier wait until then.
    """

    def __init__(self, track: list[str], run: Run, recipe: dict):
        self.track, self.run, self.recipe = list(dict.fromkeys(track)), run, recipe
        self.trackers: list[Tracker] = []
        self.checkpoints: dict[str, Checkpoint] = {}
        self.waiting_figures = []
        self.step = 0
        self.failed: set[tuple[str, str]] = set()  # trackers and methods
        self.has_later_steps = False

    def start(self, checkpoints: dict[str, Checkpoint]) -> None:
        """Open the trackers; unless the run resumes, remove what an earlier run logged.

        `checkpoints` is to be filled with the Checkpoint of each phase that has been fitted. The
        trackers of a resumed run have the earlier figures already.
        """
        if not self.run.resumes:
            for entry in self.run.tracker_files:
                remove_entry(entry)
        self.trackers = [open_tracker(name, self.run, self.recipe) for name in self.track]
        self.checkpoints = checkpoints
        self.has_later_steps = self.run.resumes
        figures, self.waiting_figures = self.waiting_figures, []
        for file in [] if self.run.resumes else figures:
            self.log("log_figure", self.step, file)

    def log(self, method: str, *arguments) -> None:
        """Call a method of every tracker; one that fails gives a warning, and training goes on.

        It is called again, since an outage ends, and gives one warning for each method.
        """
        for tracker in self.trackers:
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:
                name = type(tracker).__name__
                if (name, method) not in self.failed:
                    self.failed.add((name, method))
                    warnings.warn(f"{name} {LOST[method]}: {error}", TrackingWarning, stacklevel=2)

    def resume(self, phase: str = "", steps: int = 0) -> None:
        """Continue after so many steps of a phase, and all steps of the other phases."""
        others = [
            len(checkpoint.learning_rates)
            for name, checkpoint in self.checkpoints.items()
            if name != phase
        ]
        self.step, self.has_later_steps = sum(others) + steps, False
        self.log("resume", self.step)

    def callbacks(self, learn: Learner) -> list[Callback]:
        """Return the callback that logs a fit of this Learner, or of its head alone."""
        return [TrackingCallback(self, learn)] if self.track else []

    def log_figure(self, name: str, figure: Figure) -> Figure:
        """Log a figure that the run has saved by this name, and return it.

        A figure after the last step is logged as of the next one: if the run is interrupted there
        and resumes, trackers discard the figure and no curve.
        """
        file = self.run.figures / f"{name}.png"
        if self.has_later_steps:  # every phase was finished before the interruption
            self.resume()
        if self.trackers:
            self.step = sum(len(c.learning_rates) for c in self.checkpoints.values())
            self.log("log_figure", self.step + 1, file)
        else:
            self.waiting_figures.append(file)
        return figure

    def finish(self, metrics: dict) -> None:
        """Log the metrics and the files of the run, and close the trackers."""
        run = self.run
        files = [run.model_file, run.recipe_file, run.split_file, *run.result_files]
        values = {name: metric["value"] for name, metric in metrics.items()}
        self.log("finish", self.step, values, [file for file in files if file.is_file()])
        self.trackers = []
