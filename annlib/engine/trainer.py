"""A training run: train, validate, save, resume."""

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from annlib.config import Experiment, RuntimeConfig, experiment_from
from annlib.data.check import training_problem
from annlib.data.classes import DatasetSpec
from annlib.data.datasets import DatasetSplits, SegmentationFolder, class_balance, label_pixels
from annlib.data.loader import ResumableBatchSampler, make_loader, worker_errors
from annlib.engine import distributed, runs
from annlib.engine.distributed import is_main, sum_over_ranks, wait_for_all, world_size
from annlib.engine.inference import check_test, make_label_predictor
from annlib.engine.metrics import ConfusionMatrix, Scores, evaluate_labels, summary_line
from annlib.engine.optimization import Step, make_optimizer, train
from annlib.engine.results import same_settings, to_json
from annlib.files import read_json
from annlib.model.build import build_model
from annlib.model.checkpoint import load, read_header, restore, save, write_atomically
from annlib.model.fused import fuse_for_training
from annlib.seeds import seeded

LOG_EVERY = 10  # steps between two points of a TensorBoard curve
RECORD_EVERY = 20  # steps between two lines of history
SAVE_EVERY = 200  # steps between two checkpoints


def prepare_model(model: nn.Module, device: torch.device, compute: RuntimeConfig) -> nn.Module:
    """The model on the device, in the memory format, with batch norm shared between processes."""
    # Channels last: convolutions read a pixel's channels together, which suits CPUs and GPUs.
    layout = torch.channels_last if compute.channels_last else torch.contiguous_format
    return distributed.share_statistics(model, device).to(device, memory_format=layout)


def wrap_model(model: nn.Module, device: torch.device, compute: RuntimeConfig) -> nn.Module:
    """The prepared model, compiled, in DistributedDataParallel; it shares the model's parameters.

    The first calls of a compiled model take a minute or more, and so do those with another image
    size. CUDA graphs replay the kernels of a call, which pays where a GPU waits for launches.
    """
    if compute.compile:
        model = torch.compile(model, mode="reduce-overhead" if compute.cuda_graphs else "default")
    if world_size() > 1:
        model = DistributedDataParallel(model, [device.index] if device.type == "cuda" else None)
    return model


def batches(
    experiment: Experiment, dataset: Dataset, device: torch.device, workers: int, start: int = 0
) -> DataLoader:
    """This process's share of the training batches of an experiment, from step `start` on."""
    seed, share = experiment.train.seed, (distributed.rank(), world_size())
    options = {"start": start, "workers": workers, "pin_memory": device.type == "cuda"}
    return make_loader(dataset, experiment.data.batch_size, True, seed, share=share, **options)


def fit_classes(experiment: Experiment, splits: DatasetSplits) -> Experiment:
    """Adapts the photos_* experiments to the classes of a folder, and to how often each occurs.

    Raises ValueError for a data set with another number of classes than a published row, and for
    labels that nothing can be learned from, see `training_problem`.
    """
    model, recipe, spec = experiment.model, experiment.train, splits.spec
    is_folder = experiment.data.dataset == "folder"
    if model.num_classes != spec.num_classes and not is_folder:
        said = f"{experiment.name} has {model.num_classes} classes, the data set {spec.name} "
        raise ValueError(f"{said}{spec.num_classes}. For a folder of your own: photos_ann.")
    if is_folder:
        model = replace(model, num_classes=spec.num_classes)
    if recipe.class_weights and len(recipe.class_weights) != spec.num_classes:
        said = f"train.class_weights has {len(recipe.class_weights)} values, but {spec.name} has "
        raise ValueError(f"{said}{spec.num_classes} classes: {', '.join(spec.class_names)}.")
    if is_folder or experiment.data.balance_classes:
        pixels = label_pixels(splits.train)
        if problem := training_problem(pixels, spec):
            raise ValueError(f"{spec.name} cannot be trained on: {problem}")
        if experiment.data.balance_classes:
            recipe = replace(recipe, class_weights=class_balance(pixels, spec))
    return replace(experiment, model=model, train=recipe)


class Trainer:
    """A training run that can stop after any step and resume as if it had not stopped.

    folder: gets experiment.json, history.jsonl and last.safetensors, written by rank 0; no other
    process can train into it while this object exists. None keeps nothing. model: None builds the
    experiment's, with first weights from its seed.
    Raises FileExistsError for a folder that holds another run or is in use, ValueError for an
    experiment that differs from the one to resume.
    """

    def __init__(
        self,
        experiment: Experiment,
        spec: DatasetSpec,
        folder: Path | None,
        device: torch.device,
        resume: bool = False,
        compute: RuntimeConfig = RuntimeConfig(),
        model: nn.Module | None = None,
    ):
        check_test(experiment.test)  # or it would be told when the training is over
        self.experiment, self.spec, self.device, self.compute = experiment, spec, device, compute
        self.folder = None if folder is None else Path(folder)
        self.step, self.seconds, self.events = 0, 0.0, None  # seconds of training alone
        if model is None:
            with seeded("model", experiment.train.seed):
                model = build_model(experiment.model)
        self.model = prepare_model(fuse_for_training(model), device, compute)
        self.optimizer = make_optimizer(self.model, experiment.train)
        self.scaler = GradScaler(device.type, enabled=compute.precision == "fp16")
        if self.folder is None:
            return
        self.checkpoint, problem = self.folder / "last.safetensors", None
        if is_main() and (self.folder.is_dir() or not resume):
            try:
                self.held = runs.lock_folder(self.folder)
            except FileExistsError as error:
                problem = error
        if distributed.any_rank(problem is not None):
            raise problem or FileExistsError(f"{self.folder} is in use, see the message of rank 0.")
        if resume:
            self.resume()
        elif any(self.folder.glob("*.safetensors")) or (self.folder / "best.json").exists():
            raise FileExistsError(
                f"{self.folder} holds a run already. Resume it (annlib train --resume "
                f"{self.folder}), or choose another folder (--out): nothing is overwritten."
            )
        else:
            wait_for_all()  # until every process has looked, and before rank 0 writes
            if is_main():
                write_atomically(self.folder / "experiment.json", to_json(asdict(self.experiment)))
                runs.forget_after(self.folder, 0)  # of a run that ended before its first checkpoint

    def resume(self) -> None:
        if not self.checkpoint.exists():
            kept = sorted(self.folder.glob("*.safetensors"), key=lambda one: one.stat().st_mtime)
            copied = f"last.safetensors is gone. Copy {kept[-1].name} to it" if kept else None
            way = copied or "start it again without --resume"
            raise FileNotFoundError(f"{self.folder} holds no checkpoint: {way}.")
        checkpoint = load(self.checkpoint)
        if not {"experiment", "classes"} <= checkpoint.notes.keys():
            raise ValueError(f"{self.checkpoint} is not of a run: start from it by --init.")
        first = experiment_from(checkpoint.notes["experiment"])  # fills in newer fields
        names = checkpoint.notes["classes"]["class_names"]
        now = asdict(self.experiment) | {"class_names": self.spec.class_names}
        before = asdict(first) | {"class_names": names}
        same_settings(before, now, f"{self.checkpoint} was", "A resumed run")
        restore(checkpoint, self.model, self.optimizer)
        if state := checkpoint.notes.get("scaler"):
            self.scaler.load_state_dict(state)
        self.step, self.seconds = checkpoint.step, checkpoint.notes.get("seconds", 0.0)
        if is_main():
            write_atomically(self.folder / "experiment.json", to_json(asdict(self.experiment)))
            runs.forget_after(self.folder, self.step)  # those steps will be taken again

    @worker_errors()
    def fit(
        self,
        train_data: Dataset,
        val_data: Dataset | None = None,
        *,
        workers: int = 0,
        validate_every: int | None = None,
        keep: int = 0,
        save_every: int | None = None,
        patience: int | None = None,
        on_step: Callable[[Step], bool | None] | None = None,
        bar: tqdm | None = None,
    ) -> Scores | None:
        """Trains to the last step, or until on_step returns True in any process; saves the state.

        val_data is scored every `validate_every` steps and after the last one; `keep` of these
        checkpoints are kept besides the best. patience: stops after so many validations in a row
        without a better mIoU. bar: shows steps and validations. Returns the last
        scores, None if there are none.
        Raises FloatingPointError, with the images of the batch, for a loss that is not finite.
        """
        recipe = self.experiment.train
        if self.folder is not None and is_main():
            runs.record_start(self.folder, self.step, self.device, self.compute)
            self.events = runs.open_event_log(self.folder, self.step)
        loader = batches(self.experiment, train_data, self.device, workers, self.step)
        model = wrap_model(self.model, self.device, self.compute)
        total, anywhere = recipe.iterations, distributed.any_rank if world_size() > 1 else bool
        is_own = self.folder is not None
        mious = [line["miou"] for line in runs.read_validations(self.folder)] if is_own else []
        steps = train(model, self.optimizer, loader, recipe, self.step, self.compute, self.scaler)
        try:
            started = time.perf_counter()
            for step in steps:
                self.step = step.number
                self.seconds += time.perf_counter() - started
                if self.events is not None and step.number % LOG_EVERY == 0:
                    self.events.add_scalar("loss", float(step.loss), step.number)
                    self.events.add_scalar("lr", step.lr, step.number)
                if self.folder is not None and step.number % RECORD_EVERY == 0 and is_main():
                    line = {"step": step.number, "loss": round(float(step.loss), 6), "lr": step.lr}
                    runs.append_line(self.folder / runs.HISTORY, line)
                if step.number % (save_every or SAVE_EVERY) == 0:
                    self.save()
                is_due = validate_every and step.number % validate_every == 0
                if val_data is not None and is_due and step.number < total:
                    scores = self.validate(val_data, keep)
                    if bar is not None and is_main():
                        bar.write(f"step {step.number}: {summary_line(scores)}")
                    mious.append(scores.miou)
                    if patience and max(mious[:-patience], default=-1) >= max(mious[-patience:]):
                        return scores
                if bar is not None:
                    bar.update()
                    if step.number % LOG_EVERY == 0:
                        bar.set_postfix(loss=f"{float(step.loss):.3f}", lr=f"{step.lr:.1e}")
                if anywhere(bool(on_step and on_step(step))):
                    break
                started = time.perf_counter()
            self.save()
            is_done = self.step == total and val_data is not None
            return self.validate(val_data, keep) if is_done else None
        except FloatingPointError as error:
            size = self.experiment.data.batch_size  # of all processes together
            draws = next(iter(ResumableBatchSampler(len(train_data), size, recipe.seed, self.step)))
            is_folder = isinstance(train_data, SegmentationFolder)
            names = [train_data.images[i].name if is_folder else f"number {i}" for i, _ in draws]
            said = f"{error} The batch held the images {', '.join(names)}: look at them first."
            raise FloatingPointError(said) from error
        except RuntimeError as error:
            if "to be equal size" not in str(error):
                raise
            said = "The images of a batch differ in size: give data.crop_size, or "
            raise ValueError(f"{said}data.batch_size=1.") from error
        finally:
            if self.events is not None:
                self.events.close()
            self.events = None

    def save(self, scores: dict[str, Any] | None = None) -> None:
        """Replaces the checkpoint by the present state and its provenance."""
        if self.folder is not None and is_main():
            notes = {
                "experiment": asdict(self.experiment),
                "classes": asdict(self.spec),
                "compute": asdict(self.compute),
                "scaler": self.scaler.state_dict(),
                "seconds": self.seconds,
                "versions": {"python": platform.python_version(), "torch": torch.__version__},
                "scores": scores or {},
            }
            save(self.checkpoint, self.model, self.optimizer, self.step, notes)
        if self.events is not None:
            self.events.flush()  # a run that is killed later resumes from here
        wait_for_all()

    def evaluate(self, dataset: Dataset, batch_size: int = 1) -> ConfusionMatrix:
        """Compares predictions with labels; processes share the images, and get the same sum."""
        share = Subset(dataset, range(distributed.rank(), len(dataset), world_size()))
        label = make_label_predictor(self.model, self.experiment.test)
        loader = make_loader(share, batch_size, training=False)
        matrix = evaluate_labels(label, loader, self.experiment.model.num_classes)
        matrix.counts = sum_over_ranks(matrix.counts.to(self.device)).cpu()
        return matrix

    def validate(self, val_data: Dataset, keep: int = 0) -> Scores:
        """Scores the validation split, and saves and records the scores with the checkpoint."""
        scores, writes = self.evaluate(val_data).scores(), self.folder is not None and is_main()
        if writes:  # before saving: a record without its checkpoint is made again
            runs.record_validation(self.folder, self.step, scores)
        if self.events is not None:
            self.events.add_scalar("val/miou", scores.miou, self.step)
        self.save({"miou": scores.miou, "iou": scores.iou.tolist()})
        if writes:
            runs.keep_checkpoint(self.checkpoint, self.step, scores.miou, keep)
        return scores


def read_experiment(folder: Path) -> Experiment:
    """The experiment of the run in a folder. Raises FileNotFoundError when it holds no run."""
    path, saved = Path(folder) / "experiment.json", Path(folder) / "last.safetensors"
    if not path.is_file() and not saved.is_file():
        raise FileNotFoundError(f"There is no run in {folder}: {path} is missing.")
    if not path.exists():
        return experiment_from(read_header(saved).notes.get("experiment"))
    try:
        return experiment_from(read_json(path))
    except ValueError as error:
        way = f"Or delete {path}: {saved.name} holds the settings, too." * saved.is_file()
        raise ValueError(f"{error} {way or f'({path})'}") from error
