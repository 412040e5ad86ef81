"""annlib train: an experiment from its name to its scores."""

import shlex
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.commands.devices import Device, choose_device, use_threads
from annlib.commands.errors import message_of
from annlib.commands.fitting import fit_classes, fit_minutes
from annlib.commands.interrupts import interruptible

if TYPE_CHECKING:
    from annlib.config import Experiment
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
    seed: int | None = None
    """Of the first weights, the order of the data, and all chance in training; 0 if not given."""
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
        folder = self.out or Path("runs") / f"{experiment.name}-seed{experiment.train.seed}"
        if self.resume:
            experiment = self.begun(folder)
        halves = open_data(experiment.data, self.data, self.classes)
        if not self.resume:
            experiment = fit_classes(experiment, halves)
        if self.minutes is not None:
            experiment = fit_minutes(experiment, halves, device, self.workers, self.minutes)
        training = Training(experiment, halves.spec, folder, device, self.resume)
        try:
            finished = self.follow(training, halves)
            if finished:
                report(training, halves)
        except OSError as error:
            raise self.with_the_way_on(error, training) from error
        if not finished:
            raise KeyboardInterrupt  # as noted in `follow`, which has saved everything since

    def wanted(self) -> "Experiment":
        """The experiment of that name with the settings of this command line."""
        from annlib.experiments import find_experiment

        experiment = find_experiment(self.experiment)
        self.check_budget()
        recipe = experiment.train
        if self.seed is not None:
            recipe = replace(recipe, seed=self.seed)
        if self.iterations is not None:
            recipe = replace(recipe, iterations=self.iterations)
        return replace(experiment, train=recipe)

    def check_budget(self) -> None:
        """Raises ValueError for steps or minutes that are none, or that contradict each other."""
        if self.iterations is not None and (self.iterations < 1 or self.minutes is not None):
            raise ValueError("Give --iterations (at least 1) or --minutes, not both.")
        if self.minutes is None:
            return
        if not 0 < self.minutes < inf:
            raise ValueError(
                f"--minutes is {self.minutes:g}: no training takes that long. Give a number above "
                "0, for example --minutes 5."
            )
        if self.resume:
            raise ValueError(
                "--minutes with --resume: the run's own number of steps holds, since its learning "
                "rate was planned for them. Leave --minutes away."
            )

    def begun(self, folder: Path) -> "Experiment":
        """The experiment of the run to go on with: its settings hold, and are not given again."""
        from annlib.engine.training import read_experiment

        experiment = read_experiment(folder)
        if experiment.name != self.experiment:
            raise ValueError(
                f"{folder} holds a run of {experiment.name}, not of {self.experiment}."
            )
        if self.seed not in (None, experiment.train.seed):
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

    def with_the_way_on(self, error: OSError, training: "Training") -> OSError:
        """The same error, with the folder of the run and what to do next."""
        way = "It has no checkpoint yet: give the same command again."
        if training.checkpoint.exists():
            way = f"To go on:  {self.command_to_go_on(training.folder)}"
        stopped = f"The run in {training.folder} stopped after step {training.step}."
        return OSError(error.errno, f"{message_of(error)}\n{stopped} {way}")

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


def report(training: "Training", halves: "Halves") -> None:
    """Scores the trained network, keeps the scores with it, and prints them."""
    from annlib.engine.tables import score_table
    from annlib.engine.training import score

    scores = score(training, halves.val)
    training.save({"miou": scores.miou, "iou": scores.iou.tolist()})
    print(score_table(scores, halves.spec.class_names))
    print(f"Saved {training.checkpoint}")
