"""annlib train: trains an experiment, validates it, saves it, and resumes it."""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from annlib.cli import common
from annlib.config import Experiment, RuntimeConfig, fits, with_settings
from annlib.files import message_of
from annlib.published_experiments import ZOO

if TYPE_CHECKING:
    import torch

    from annlib.data.datasets import DatasetSplits
    from annlib.engine.trainer import Trainer

RUNTIME = ("device", "threads", "workers", "precision", "accumulate")
RUNTIME += ("compile", "cuda_graphs", "deterministic")
OPTION = dict.fromkeys(("score_every", "save_every", "patience"), int | None) | {"keep": int}
OPTION |= dict.fromkeys(("classes", "init", "backbone", "images", "files"), str | None)
OPTION |= {"data": dict | None}  # in run.json


@dataclass(frozen=True)
class Train(common.OnDevice):
    """Train an experiment and score it on its validation split.

    Ctrl-C stops after the current step: the state is saved, and the command that resumes is
    printed. It takes everything from the run's folder; only device, threads, workers, precision,
    accumulate, compile, cuda-graphs and deterministic are chosen again.
    On several GPUs: torchrun --nproc-per-node=4 -m annlib train NAME (they share every batch).
    """

    experiment: Positional[str | None] = None
    """A name that `annlib list` shows, for example photos_ann; or a TOML file:
    base = "photos_ann", then tables [model], [data], [train], [test]."""
    set: tuple[str, ...] = ()
    """Other values: train.base_lr=0.02 train.class_weights=1,1,3 data.crop_size=256,256.
    annlib/config.py lists the fields."""
    init: Path | None = None  # First weights: a checkpoint, also of other classes.
    resume: Annotated[tuple[Path, ...] | None, arg(metavar="RUN")] = None
    """Resume the run in this folder, instead of a new one."""
    data: Path | None = None  # Folder with train/ and val/. Balloon Town needs none.
    classes: str | None = None  # A built-in list (camvid) in place of classes.txt.
    out: Path | None = None  # Folder of the run; runs/NAME-seedN if not given.
    iterations: int | None = None  # Steps, if not the experiment's own.
    minutes: float | None = None  # As many steps as this machine takes in that time.
    seed: int | None = None  # Of first weights, order of the data, and all chance; else 0.
    workers: int = 0  # Processes that prepare data, of each process under torchrun.
    backbone: str | None = None
    """First weights of the backbone: reference, torchvision, none, or a file.
    Published rows start from the reference's ImageNet weights, the others from none."""
    accumulate: int = 1  # Parts of a batch, one after the other, if memory is little.
    compile: bool = False  # Let torch.compile fuse operations: slow to start.
    cuda_graphs: bool = False  # With --compile on a GPU: replay the kernels of a step.
    deterministic: bool = False
    """Refuse operations whose sums depend on the order of threads: the same machine, the same bits.
    What it costs: docs/recipes.md."""
    score_every: int | None = None  # Steps between validations; rows: a tenth of all.
    keep: int = 0  # How many validated checkpoints to keep, besides the last and the best.
    save_every: int | None = None  # Steps between checkpoints, which a kill may cost.
    patience: int | None = None  # Stop after so many validations without a better mIoU.

    def run(self) -> None:
        """Raises KeyboardInterrupt when stopped by Ctrl-C or SIGTERM, with everything saved."""
        command, experiment = self.completed()  # a misspelt name is reported before torch is loaded
        from tqdm import tqdm

        from annlib.engine.distributed import init_distributed, is_main, world_size
        from annlib.engine.inference import choose_device
        from annlib.engine.metrics import score_table

        def say(text: str) -> None:
            if is_main():
                print(text, flush=True)

        common.use_threads(self.threads)
        if self.deterministic:  # cuBLAS reads it when it is loaded
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        compiled = self.compile, self.cuda_graphs
        how = RuntimeConfig(self.precision, self.accumulate, True, *compiled, self.deterministic)
        with init_distributed(choose_device(self.device)) as device:
            how = common.able(how, device)
            with common.memory_advice(experiment, how, device, world_size()):
                trainer, splits = command.start(experiment, how, device)
                total, folder = trainer.experiment.train.iterations, trainer.folder
                default = max(1, total // 10) if experiment.name in ZOO else None
                resume = f"To go on:  {self.resume_command(folder, world_size())}"
                bar = tqdm(total=total, initial=trainer.step, disable=not is_main())
                options = {"workers": self.workers, "keep": command.keep, "bar": bar}
                options["validate_every"] = command.score_every or default
                options |= {"save_every": command.save_every, "patience": command.patience}
                try:
                    with common.interruptible() as interrupted, bar:
                        options["on_step"] = lambda step: interrupted()
                        scores = trainer.fit(splits.train, splits.val, **options)
                except OSError as error:
                    if not trainer.checkpoint.exists():
                        resume = "It has no checkpoint yet: give the same command again."
                    stopped = f"The run in {folder} stopped after step {trainer.step}."
                    text = f"{message_of(error)}\n{stopped} {resume}"
                    raise OSError(error.errno, text) from error
            if scores is None:
                say(f"Stopped after {trainer.step} of {total} steps; saved {trainer.checkpoint}")
                say(resume)
                raise KeyboardInterrupt  # as noted by `interruptible`
            if trainer.step < total:
                say(
                    f"Stopped after {trainer.step} of {total} steps: no better mIoU in "
                    f"{command.patience} validations. best.safetensors holds the best."
                )
            say(score_table(scores, splits.spec.class_names))
            say(f"Saved {trainer.checkpoint}")
            if is_main() and find_spec("matplotlib"):  # many GPU machines lack it
                from annlib.cli.runs import read_run, write_curves

                if (run := read_run(folder)).history:
                    write_curves([run], folder / "curve.png")

    def completed(self) -> tuple["Train", Experiment]:
        """This command with the folder of its run in `out`, and the run's experiment.

        A resumed run's settings come from its folder. ValueError for options that contradict them.
        """
        from annlib.experiments import find_experiment, read_experiment_file

        common.at_least_one("--accumulate", self.accumulate)
        for name in ("score_every", "save_every", "patience"):
            if (number := getattr(self, name)) is not None:
                common.at_least_one(as_options([name]), number)
        for name in ("keep", "workers"):
            if (number := getattr(self, name)) < 0:
                raise ValueError(f"{as_options([name])} is {number}: give 0 or more.")
        if self.resume is not None:
            return self.of_resumed_run()
        if self.experiment is None:
            raise ValueError("Name an experiment (`annlib list` shows them), or --resume RUN.")
        if self.experiment.endswith(".toml"):
            experiment = read_experiment_file(Path(self.experiment))
        else:
            experiment = find_experiment(self.experiment)
        experiment = with_settings(experiment, self.set)
        if self.patience and not self.score_every and experiment.name not in ZOO:
            raise ValueError("--patience counts validations: give --score-every, too.")
        if self.init and self.backbone:
            raise ValueError("--init holds the weights of the backbone, too: leave out --backbone.")
        if self.iterations is not None and (self.iterations < 1 or self.minutes is not None):
            raise ValueError("Give --iterations (at least 1) or --minutes, not both.")
        if self.minutes is not None and not 0 < self.minutes < inf:
            raise ValueError(f"--minutes is {self.minutes:g}: give a number above 0, such as 5.")
        given = [name for name in ("seed", "iterations") if getattr(self, name) is not None]
        recipe = replace(experiment.train, **{name: getattr(self, name) for name in given})
        model = experiment.model
        if self.backbone == "torchvision":  # its networks begin with one large convolution
            model = replace(model, stem="plain")
        elif self.backbone and Path(self.backbone).is_file():
            from annlib.model.hub import read_weights, stem_of

            path = Path(self.backbone)
            model = replace(model, stem=stem_of(read_weights(path), path))
        out = self.out or Path("runs") / f"{experiment.name}-seed{recipe.seed}"
        # torchrun starts a whole group again when one of its processes has died
        restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        if restarts and (out / "last.safetensors").exists():
            runtime = {name: getattr(self, name) for name in RUNTIME}
            return Train(resume=(out,), **runtime).of_resumed_run()
        return replace(self, out=out), replace(experiment, model=model, train=recipe)

    def of_resumed_run(self) -> tuple["Train", Experiment]:
        """As `completed`, for --resume RUN."""
        if self.experiment is not None or self.out is not None or len(self.resume) != 1:
            run = self.out or Path("runs") / f"{self.experiment or 'NAME'}-seed{self.seed or 0}"
            said = "A run is resumed by its folder alone, which holds its settings: annlib train "
            raise ValueError(f"{said}--resume {shlex.quote(str(run))}")
        from annlib.engine.runs import OPTIONS
        from annlib.engine.trainer import read_experiment
        from annlib.files import read_json

        (folder,) = self.resume
        experiment = read_experiment(folder)
        options, free = {"data": None}, {"data", "classes", "score_every", "keep", "save_every"}
        try:
            if (folder / OPTIONS).exists():  # not in runs of version 0.1
                options, free = read_json(folder / OPTIONS), set()
                for key, value in options.items():
                    if not fits(value, OPTION.get(key)) or type(value) is int and value < 0:
                        raise ValueError(f"{key} is {value!r}"[:80])
                options = {k: v for k, v in options.items() if k not in ("images", "files")}
            places = [Path(options["data"][key]) for key in ("path", "given") if options["data"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{folder / OPTIONS} was changed, or is of another version ({error}). Delete it, "
                "and give with --resume what it held: --data, --classes, --score-every, --keep."
            ) from error
        found = [place for place in places if place.is_dir()]
        if places and not found:
            free = {"data"}  # moved
            if self.data is None:
                moved = f"The data of the run in {folder} are no longer in {places[0]}"
                raise FileNotFoundError(f"{moved}: give their new folder by --data.")
        given = {f.name for f in fields(self) if getattr(self, f.name) != f.default}
        if refused := sorted(given - {"resume", *RUNTIME, *free}):
            said = f"--resume takes all settings from {folder}: leave out {as_options(refused)}. "
            raise ValueError(f"{said}Only {as_options(RUNTIME)} may be given beside it.")
        if found and places[1].resolve() == places[0]:
            found = [places[1]]  # as it was given
        recorded = options | {"data": found[0] if found else self.data, "out": folder}
        return replace(self, **recorded), experiment

    def start(
        self, experiment: Experiment, runtime: RuntimeConfig, device: "torch.device"
    ) -> tuple["Trainer", "DatasetSplits"]:
        """The run, new or read from its folder, and its data."""
        from annlib.data.datasets import checksum, open_data
        from annlib.engine.distributed import is_main
        from annlib.engine.runs import record_options
        from annlib.engine.trainer import Trainer, fit_classes

        splits = open_data(experiment.data, self.data, self.classes)
        if not self.resume:
            experiment = fit_classes(experiment, splits)
        if self.minutes is not None:
            from annlib.course.profiler import pace

            seconds = pace(experiment, splits.train, device, self.workers, runtime).seconds
            iterations = max(1, int(60 * self.minutes / seconds))
            if is_main():
                plan = f"{iterations} steps in {self.minutes:g} minutes"
                print(f"{1000 * seconds:.0f} ms a step: {plan}", flush=True)
            experiment = replace(experiment, train=replace(experiment.train, iterations=iterations))
        trainer = Trainer(experiment, splits.spec, self.out, device, bool(self.resume), runtime)
        default = "reference" if experiment.name in ZOO and not self.init else "none"
        source = self.backbone or default
        if source != "none" and not self.resume:
            from annlib.model.hub import load_backbone

            load_backbone(trainer.model, source)
        told = []
        if self.init and not self.resume:
            from annlib.engine.predictor import network_of
            from annlib.model.checkpoint import initialise, load

            weights, own = load(self.init), splits.spec.class_names
            theirs = network_of(weights).spec.class_names if "classes" in weights.notes else own
            fresh = initialise(trainer.model, weights, theirs != own)
            why = f". Its classes are others: {', '.join(theirs)[:60]}" if theirs != own else ""
            told.append(f"Weights of {self.init}; random: {', '.join(fresh) or 'none'}{why}")
        elif source == "none" and experiment.model.depth >= 50 and not self.resume:
            told.append("All weights begin random. ImageNet's: --backbone reference")
        recipe = experiment.train
        if recipe.warmup >= recipe.iterations and not self.resume:
            share = recipe.iterations / (recipe.warmup + 1)
            told.append(
                f"Warm-up takes {recipe.warmup} steps, so that {recipe.iterations} steps reach "
                f"{100 * share:.0f} % of the rate: --set train.warmup={recipe.iterations // 10}"
            )
        if is_main():
            print("".join(f"{line}\n" for line in told), end="", flush=True)
            others = {"save_every": self.save_every, "patience": self.patience}
            others |= {"init": self.init and str(self.init), "backbone": self.backbone}
            files = checksum(splits.train) + checksum(splits.val)
            places = self.data, self.classes
            record_options(self.out, *places, self.score_every, self.keep, files, **others)
        return trainer, splits

    def resume_command(self, folder: Path, processes: int) -> str:
        """The command that resumes the run, with the runtime options of this one."""
        words = ["annlib", "train", "--resume", str(folder)]
        if processes > 1:
            words = ["torchrun", f"--nproc-per-node={processes}", "-m", *words]
        for name in RUNTIME:
            value = getattr(self, name)
            if value != getattr(Train(), name):
                words += [as_options([name])] if value is True else [as_options([name]), str(value)]
        return shlex.join(words)


def as_options(names: Iterable[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
