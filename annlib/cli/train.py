"""annlib train: trains an experiment, with progress, validation and resume."""

import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tyro.conf import Positional

from annlib.cli.common import (
    Device,
    able,
    at_least_one,
    choose_device,
    interruptible,
    memory_advice,
    message_of,
    use_threads,
)
from annlib.config import Precision, RuntimeConfig

if TYPE_CHECKING:
    from tqdm import tqdm

    from annlib.config import Experiment
    from annlib.data.datasets import DatasetSplits
    from annlib.engine.metrics import Scores
    from annlib.engine.runs import EventLog
    from annlib.engine.train import Step
    from annlib.engine.trainer import Training


@dataclass(frozen=True)
class Following:
    """Takes a training to its end, or to a stop after which it can go on.

    score_every: steps between two looks at the validation half, None for the last step only.
    way_on: the command that goes on after a stop. Only the first of several processes prints.
    """

    training: "Training"
    halves: "DatasetSplits"
    workers: int
    score_every: int | None
    keep: int
    way_on: str

    def run(self) -> None:
        """Raises KeyboardInterrupt when stopped by Ctrl-C, with everything saved."""
        try:
            finished = self.follow()
        except OSError as error:
            raise self.with_the_way_on(error) from error
        if not finished:
            raise KeyboardInterrupt  # as noted in `follow`, which has saved everything since

    def follow(self) -> bool:
        """Trains with a progress bar. False when it was interrupted before the end."""
        from annlib.engine.distributed import any_rank
        from annlib.engine.metrics import summary_line
        from annlib.engine.trainer import SAVE_EVERY

        training, total = self.training, self.training.experiment.train.iterations
        with interruptible() as interrupted, self.watched() as (bar, events):
            for step in training.steps(self.halves.train, self.workers):
                bar.update()
                if step.number % 10 == 0:
                    loss = float(step.loss)
                    bar.set_postfix(loss=f"{loss:.3f}", lr=f"{step.lr:.1e}")
                    events.scalars(step.number, {"loss": loss, "lr": step.lr})
                if step.number % SAVE_EVERY == 0:
                    events.flush()  # earlier steps are not taken again after a kill
                if self.is_time_to_score(step):
                    self.say(f"\nstep {step.number}: {summary_line(self.look(events))}")
                if any_rank(interrupted()):
                    break
            training.save()
            if training.step == total:
                self.report(self.look(events))
        if training.step < total:
            self.say(f"Stopped after {training.step} of {total} steps; saved {training.checkpoint}")
            self.say(f"To go on:  {self.way_on}")
        return training.step >= total

    @contextmanager
    def watched(self) -> "Iterator[tuple[tqdm, EventLog]]":
        """A progress bar and curves for TensorBoard, by the first of the processes."""
        from tqdm import tqdm

        from annlib.engine.distributed import is_main
        from annlib.engine.runs import EventLog, record_start

        training = self.training
        if is_main():
            record_start(training.folder, training.step, training.device, training.compute)
        events = EventLog(training.folder if is_main() else None, training.step)
        total = training.experiment.train.iterations
        bar = tqdm(total=total, initial=training.step, disable=not is_main())
        with closing(events), bar:
            yield bar, events

    def is_time_to_score(self, step: "Step") -> bool:
        """Not at the last step, which is scored in any case."""
        last = self.training.experiment.train.iterations
        return bool(self.score_every) and step.number % self.score_every == 0 != last - step.number

    def look(self, events: "EventLog") -> "Scores":
        """Scores on the validation half, kept with the checkpoint, the records and the curves."""
        from annlib.engine.distributed import is_main
        from annlib.engine.runs import record_validation
        from annlib.engine.trainer import keep, score

        training = self.training
        scores = score(training, self.halves.val)
        if is_main():  # first: a record without its checkpoint is made again, not so the reverse
            record_validation(training.folder, training.step, scores)
        training.save({"miou": scores.miou, "iou": scores.iou.tolist()})
        if is_main():
            keep(training.folder, training.checkpoint, training.step, scores.miou, self.keep)
        events.scalars(training.step, {"val/miou": scores.miou})
        events.flush()
        return scores

    def report(self, scores: "Scores") -> None:
        """The scores of the trained network, class by class, and its learning curve."""
        from annlib.cli.runs import write_curve
        from annlib.engine.distributed import is_main
        from annlib.engine.metrics import score_table
        from annlib.engine.runs import read_history, read_run

        self.say(score_table(scores, self.halves.spec.class_names))
        self.say(f"Saved {self.training.checkpoint}")
        folder = self.training.folder
        if is_main() and read_history(folder) and find_spec("matplotlib"):
            write_curve(read_run(folder))  # without matplotlib, as on many GPU machines, no curve

    def with_the_way_on(self, error: OSError) -> OSError:
        """The same error, with the folder of the run and what to do next."""
        way = "It has no checkpoint yet: give the same command again."
        if self.training.checkpoint.exists():
            way = f"To go on:  {self.way_on}"
        stopped = f"The run in {self.training.folder} stopped after step {self.training.step}."
        return OSError(error.errno, f"{message_of(error)}\n{stopped} {way}")

    def say(self, text: str) -> None:
        from annlib.engine.distributed import is_main

        if is_main():
            print(text, flush=True)


@dataclass(frozen=True)
class Train:
    """Train an experiment and score it on its validation half.

    Ctrl-C stops after the current step: the state is saved, and the command to go on is printed.
    On several GPUs: torchrun --nproc-per-node=4 -m annlib train NAME (the batch is shared out).
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
    """Processes that prepare data beside the training (of each process, under torchrun)."""
    backbone: str | None = None
    """First weights of the backbone: reference, torchvision, none, or a file. Published rows begin
    with the reference's ImageNet weights, the others with none."""
    precision: Precision = "fp32"
    """Of convolutions and products; with bf16 and fp16 most maps take 2 bytes a number, not 4."""
    accumulate: int = 1
    """Parts that a batch is worked through in, for a device that cannot hold it whole."""
    compile: bool = False
    """Let torch.compile fuse operations: slow to start (gain: benchmarks/README.md)."""
    cuda_graphs: bool = False
    """With --compile, on a GPU: record the kernels of a step, and replay them."""
    score_every: int | None = None
    """Steps between two looks at the validation half; published rows: a tenth of the steps."""
    keep: int = 0
    """How many checkpoints of such looks to keep, besides the last and the best."""

    def run(self) -> None:
        experiment = self.wanted()  # first: a misspelt name is told before torch is loaded
        from annlib.engine.distributed import init_distributed

        use_threads(self.threads)
        with init_distributed(choose_device(self.device)) as device:
            self.train(experiment, device)

    def train(self, experiment: "Experiment", device: "torch.device") -> None:
        """In this process, together with the others if torchrun started several."""
        from annlib.data.datasets import open_data
        from annlib.engine.distributed import was_restarted, world_size
        from annlib.engine.profiler import seconds_per_step
        from annlib.engine.trainer import Training, fit_classes, fit_minutes

        folder = self.out or Path("runs") / f"{experiment.name}-seed{experiment.train.seed}"
        resume = self.resume or (was_restarted() and (folder / "last.safetensors").exists())
        if resume:
            experiment = self.begun(folder)
        halves = open_data(experiment.data, self.data, self.classes)
        if not resume:
            experiment = fit_classes(experiment, halves)
        wanted = RuntimeConfig(
            self.precision, self.accumulate, True, self.compile, self.cuda_graphs
        )
        compute = able(wanted, device)
        with memory_advice(experiment, compute, device, world_size()):
            if self.minutes is not None and not resume:
                seconds = seconds_per_step(experiment, halves.train, device, self.workers, compute)
                experiment = fit_minutes(experiment, self.minutes, seconds)
            training = Training(experiment, halves.spec, folder, device, resume, compute)
            if not resume:
                self.begin_with(training)
            every = self.looks(experiment)
            way_on = self.way_on(folder)
            Following(training, halves, self.workers, every, self.keep, way_on).run()

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
        model = experiment.model
        if self.backbone == "torchvision":  # its networks begin with one large convolution
            model = replace(model, stem="plain")
        return replace(experiment, model=model, train=recipe)

    def check_budget(self) -> None:
        """Raises ValueError for steps or minutes that are none, or that contradict each other."""
        if self.iterations is not None and (self.iterations < 1 or self.minutes is not None):
            raise ValueError("Give --iterations (at least 1) or --minutes, not both.")
        at_least_one("--accumulate", self.accumulate)
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
        from annlib.engine.trainer import read_experiment

        experiment, wanted = read_experiment(folder), self.wanted().name
        if experiment.name != wanted:
            raise ValueError(f"{folder} holds a run of {experiment.name}, not of {wanted}.")
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

    def begin_with(self, training: "Training") -> None:
        """Gives the backbone its first weights."""
        from annlib.model.hub import load_backbone
        from annlib.zoo import ZOO

        source = self.backbone or ("reference" if training.experiment.name in ZOO else "none")
        if source != "none":
            load_backbone(training.model, source)

    def looks(self, experiment: "Experiment") -> int | None:
        """Steps between two looks at the validation half."""
        from annlib.zoo import ZOO

        if self.score_every is not None:
            at_least_one("--score-every", self.score_every)
            return self.score_every
        return max(1, experiment.train.iterations // 10) if experiment.name in ZOO else None

    def way_on(self, folder: Path) -> str:
        """The command that goes on with the run after a stop."""
        from annlib.engine.distributed import world_size

        words = ["annlib", "train", self.experiment, "--resume", "--out", str(folder)]
        if world_size() > 1:
            words = ["torchrun", f"--nproc-per-node={world_size()}", "-m", *words]
        for option, value in (
            ("--data", self.data),
            ("--classes", self.classes),
            ("--threads", self.threads),
            ("--workers", self.workers or None),
            ("--device", None if self.device == "auto" else self.device),
            ("--precision", None if self.precision == "fp32" else self.precision),
            ("--accumulate", None if self.accumulate == 1 else self.accumulate),
            ("--score-every", self.score_every),
            ("--keep", self.keep or None),
        ):
            words += [] if value is None else [option, str(value)]
        return shlex.join([*words, "--compile"] if self.compile else words)
