"""annlib train: an experiment from its name to its scores."""

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.commands.devices import Device, choose_device, use_threads

if TYPE_CHECKING:
    import torch

    from annlib.config import Experiment
    from annlib.data.datasets import DatasetSpec
    from annlib.data.sources import Halves
    from annlib.engine.training import Training


@dataclass(frozen=True)
class Train:
    """Train an experiment and score it on its validation half.

    Ctrl-C stops after the current step: the state is saved, and the command to go on is printed.
    """

    experiment: Positional[str]
    """A name that `annlib list` shows, for example balloon_ann or photos_ann."""
    data: Path | None = None
    """Folder with train/ and val/, each holding images/ and labels/. Balloon Town needs none."""
    classes: str | None = None
    """Name of a built-in class list (camvid), instead of a file classes.txt in the data folder."""
    out: Path | None = None
    """Folder of the run; runs/NAME-seedN if not given."""
    resume: bool = False
    """Go on with the run in that folder."""
    iterations: int | None = None
    """Steps, if not the experiment's own."""
    minutes: float | None = None
    """Choose the steps so that training takes about this long on this machine."""
    seed: int = 0
    """Of the first weights, the order of the data, and all chance in training."""
    device: Device = "auto"
    """auto takes a GPU if there is one."""
    threads: int | None = None
    """CPU threads of one operation; with other work on the machine, fewer are faster."""
    workers: int = 0
    """Processes that prepare data beside the training."""

    def run(self) -> None:
        experiment = self.wanted()  # first: a misspelt name is told before torch is loaded
        from annlib.data.sources import open_data
        from annlib.engine.training import Training

        use_threads(self.threads)
        device = choose_device(self.device)
        folder = self.out or Path("runs") / f"{experiment.name}-seed{self.seed}"
        if self.resume:
            experiment = self.begun(folder)
        halves = open_data(experiment.data, self.data, self.classes)
        if not self.resume:
            experiment = fit_classes(experiment, halves)
        if self.minutes is not None and not self.resume:
            experiment = self.fit_minutes(experiment, halves, device)
        training = Training(experiment, halves.spec, folder, device, self.resume)
        if not self.follow(training, halves):
            raise KeyboardInterrupt  # as noted in `follow`, which has saved everything since
        report(training, halves)

    def wanted(self) -> "Experiment":
        """The experiment of that name with the settings of this command line."""
        from annlib.experiments import find_experiment

        experiment = find_experiment(self.experiment)
        recipe = replace(experiment.train, seed=self.seed)
        if self.iterations is not None:
            if self.iterations < 1 or self.minutes is not None:
                raise ValueError("Give --iterations (at least 1) or --minutes, not both.")
            recipe = replace(recipe, iterations=self.iterations)
        return replace(experiment, train=recipe)

    def begun(self, folder: Path) -> "Experiment":
        """The experiment of the run to go on with: its settings hold, and are not given again."""
        from annlib.engine.training import read_experiment

        experiment = read_experiment(folder)
        if experiment.name != self.experiment:
            raise ValueError(
                f"{folder} holds a run of {experiment.name}, not of {self.experiment}."
            )
        if self.seed not in (Train.seed, experiment.train.seed):
            raise ValueError(
                f"The run in {folder} has the seed {experiment.train.seed}: it cannot go on with "
                f"{self.seed}."
            )
        if self.iterations not in (None, experiment.train.iterations):
            raise ValueError(
                f"The run in {folder} has {experiment.train.iterations} steps, and its learning "
                f"rate was planned for them: it cannot become one of {self.iterations}."
            )
        return experiment

    def fit_minutes(
        self, experiment: "Experiment", halves: "Halves", device: "torch.device"
    ) -> "Experiment":
        """As many steps as fit, by the time of a few steps on a network that is thrown away."""
        from annlib.engine.training import seconds_per_step

        seconds = seconds_per_step(experiment, halves.train, device, self.workers)
        iterations = max(1, int(60 * self.minutes / seconds))
        print(f"{1000 * seconds:.0f} ms a step: {iterations} steps in {self.minutes:g} minutes")
        return replace(experiment, train=replace(experiment.train, iterations=iterations))

    def follow(self, training: "Training", halves: "Halves") -> bool:
        """Trains with a progress bar. False when it was interrupted before the end."""
        from tqdm import tqdm

        total = training.experiment.train.iterations
        with interruptible() as interrupted, tqdm(total=total, initial=training.step) as bar:
            for step in training.steps(halves.train, self.workers):
                bar.update()
                if step.number % 10 == 0:
                    bar.set_postfix(loss=f"{float(step.loss):.3f}", lr=f"{step.lr:.1e}")
                if interrupted():
                    break
        training.save()
        if training.step < total:
            print(f"Stopped after {training.step} of {total} steps; saved {training.checkpoint}")
            print(f"To go on:  {self.command_to_go_on(training.folder)}")
        return training.step >= total

    def command_to_go_on(self, folder: Path) -> str:
        words = ["annlib", "train", self.experiment, "--resume", "--out", str(folder)]
        for option, value in (
            ("--data", self.data),
            ("--classes", self.classes),
            ("--threads", self.threads),
            ("--workers", self.workers or None),
            ("--device", None if self.device == "auto" else self.device),
        ):
            words += [] if value is None else [option, str(value)]
        return shlex.join(words)


def fit_classes(experiment: "Experiment", halves: "Halves") -> "Experiment":
    """Fits the photos_* experiments to the classes of a folder, and to how often each occurs."""
    from annlib.data.datasets import class_balance

    check_classes(experiment, halves.spec)
    model, recipe = experiment.model, experiment.train
    if experiment.data.dataset == "folder":
        model = replace(model, num_classes=halves.spec.num_classes)
    if experiment.data.balance_classes:
        recipe = replace(recipe, class_weights=class_balance(halves.train))
    return replace(experiment, model=model, train=recipe)


def check_classes(experiment: "Experiment", spec: "DatasetSpec") -> None:
    """Raises ValueError for a data set with another number of classes than a published row."""
    if experiment.model.num_classes != spec.num_classes and experiment.data.dataset != "folder":
        raise ValueError(
            f"{experiment.name} has {experiment.model.num_classes} classes, the data set "
            f"{spec.name} {spec.num_classes}. For a folder of your own there are the photos_* "
            "experiments."
        )


def report(training: "Training", halves: "Halves") -> None:
    """Scores the trained network, keeps the scores with it, and prints them."""
    from annlib.engine.tables import score_table
    from annlib.engine.training import score

    scores = score(training, halves.val)
    training.save({"miou": scores.miou, "iou": scores.iou.tolist()})
    print(score_table(scores, halves.spec.class_names))
    print(f"Saved {training.checkpoint}")


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C (or SIGTERM) is noted instead of raised; a second Ctrl-C stops at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        print("\nStopping after this step ...", file=sys.stderr)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
