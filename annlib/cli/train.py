"""annlib train: an experiment from its name to its scores."""

import shlex
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.commands.devices import Device, able, choose_device, use_threads
from annlib.commands.errors import at_least_one
from annlib.commands.following import Following
from annlib.commands.memory import memory_advice
from annlib.config import Compute, Precision

if TYPE_CHECKING:
    import torch

    from annlib.config import Experiment
    from annlib.engine.training import Training


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
    """Let torch.compile fuse operations: slow to start (gain: `annlib benchmark train`)."""
    cuda_graphs: bool = False
    """With --compile, on a GPU: record the kernels of a step, and replay them."""
    score_every: int | None = None
    """Steps between two looks at the validation half; published rows: a tenth of the steps."""
    keep: int = 0
    """How many checkpoints of such looks to keep, besides the last and the best."""

    def run(self) -> None:
        experiment = self.wanted()  # first: a misspelt name is told before torch is loaded
        from annlib.engine.distributed import joined

        use_threads(self.threads)
        with joined(choose_device(self.device)) as device:
            self.train(experiment, device)

    def train(self, experiment: "Experiment", device: "torch.device") -> None:
        """In this process, together with the others if torchrun started several."""
        from annlib.data.sources import open_data
        from annlib.engine.distributed import was_restarted, world_size
        from annlib.engine.fitting import fit_classes, fit_minutes
        from annlib.engine.timing import seconds_per_step
        from annlib.engine.training import Training

        folder = self.out or Path("runs") / f"{experiment.name}-seed{experiment.train.seed}"
        resume = self.resume or (was_restarted() and (folder / "last.safetensors").exists())
        if resume:
            experiment = self.begun(folder)
        halves = open_data(experiment.data, self.data, self.classes)
        if not resume:
            experiment = fit_classes(experiment, halves)
        wanted = Compute(self.precision, self.accumulate, True, self.compile, self.cuda_graphs)
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
        from annlib.engine.training import read_experiment

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
        from annlib.commands.progress import download_bar
        from annlib.model.published import load_backbone
        from annlib.zoo import ZOO

        source = self.backbone or ("reference" if training.experiment.name in ZOO else "none")
        if source != "none":
            with download_bar(source) as progress:
                load_backbone(training.model, source, progress)

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
