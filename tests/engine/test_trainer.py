"""A run can stop anywhere and resume as if it had not, bit for bit; compiling is optional."""

import errno
import fcntl
import gc
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import repeat
from pathlib import Path

import pytest
import small_town
import torch
from tiny import TINY
from torch import nn
from torch.utils.data import Dataset, Subset

from annlib import __main__
from annlib.config import Experiment, RuntimeConfig, TrainConfig
from annlib.data.classes import BALLOON_TOWN
from annlib.data.datasets import open_data
from annlib.engine import runs as runs_module
from annlib.engine import trainer
from annlib.engine.metrics import ConfusionMatrix
from annlib.engine.optimization import Step, make_optimizer, possible, train
from annlib.engine.results import differences
from annlib.engine.runs import HISTORY, read_history
from annlib.engine.trainer import Trainer, prepare_model, read_experiment, wrap_model
from annlib.model.ann import ANN
from annlib.model.checkpoint import Checkpoint, load
from annlib.seeds import seeded

CPU = torch.device("cpu")
STEPS = 16
SGD = TrainConfig(iterations=STEPS, seed=3)
ADAMW = replace(SGD, optimizer="adamw", clip_norm=5.0, warmup=4, label_stride=4)
TOWN = replace(small_town.LAPTOP["balloon_ann"], train=ADAMW)


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    """Random scale, crop, mirror and colours."""
    return Subset(open_data(TOWN.data, None).train, range(7))


@pytest.fixture(autouse=True)
def small_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(trainer, "RECORD_EVERY", 2)
    monkeypatch.setattr(trainer, "SAVE_EVERY", 4)
    torch.manual_seed(int(torch.randint(99, ())))  # what the caller draws must not matter
    yield


def begin(folder: Path, experiment: Experiment = TOWN, resume: bool = False) -> Trainer:
    return Trainer(experiment, BALLOON_TOWN, folder, CPU, resume)


def train_until(run: Trainer, scenes: Dataset, until: int = STEPS, workers: int = 0) -> list[float]:
    """Trains until that step, and stops as by Ctrl-C.  -> the losses"""
    losses = []

    def note(step: Step) -> bool:
        losses.append(float(step.loss))
        return step.number == until

    run.fit(scenes, workers=workers, on_step=note)
    return losses


class Killed(BaseException):
    """As by SIGKILL: nothing is saved."""


def kill_at(run: Trainer, scenes: Dataset, number: int) -> None:
    def die(step: Step) -> None:
        if step.number == number:
            raise Killed

    with pytest.raises(Killed):
        run.fit(scenes, on_step=die)


def same(first: Checkpoint, second: Checkpoint) -> bool:
    """Weights, running statistics, all optimiser state and rates, bit for bit."""
    ours, theirs = (c.optimizer["state"] for c in (first, second))
    pairs = [(first.model, second.model), *((ours[i], theirs[i]) for i in ours)]
    tensors_equal = all(torch.equal(a[key], b[key]) for a, b in pairs for key in a)
    groups_equal = first.optimizer["param_groups"] == second.optimizer["param_groups"]
    return tensors_equal and groups_equal and ours.keys() == theirs.keys()


Whole = tuple[Trainer, list[float]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, scenes: Dataset) -> dict[str, Whole]:
    """Trained without a stop, with either optimizer, and their losses."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "RECORD_EVERY", 2)
        for name, recipe in (("sgd", SGD), ("adamw", ADAMW)):
            run = begin(tmp_path_factory.mktemp(name), replace(TOWN, train=recipe))
            found[name] = run, train_until(run, scenes)
    return found


@pytest.fixture
def whole(runs: dict[str, Whole]) -> Whole:
    return runs["adamw"]


@pytest.mark.parametrize(
    ("recipe", "stop", "workers"), [("sgd", 10, 0), ("adamw", 1, 0), ("adamw", 10, 2)]
)
def test_stopped_and_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, scenes: Dataset, runs: dict[str, Whole], recipe: str, stop: int, workers: int
) -> None:
    expected, losses = runs[recipe]
    before = train_until(begin(tmp_path, expected.experiment), scenes, stop)
    second = begin(tmp_path, expected.experiment, resume=True)
    assert second.step == len(before) == stop
    assert before + train_until(second, scenes, workers=workers) == losses
    assert same(load(second.checkpoint), load(expected.checkpoint))
    assert read_history(second.folder) == read_history(expected.folder)


def test_killed_run_resumes_from_its_last_checkpoint(
    tmp_path: Path, scenes: Dataset, whole: Whole
) -> None:
    expected, losses = whole
    kill_at(begin(tmp_path, expected.experiment), scenes, 11)  # saved at 4 and 8
    with (tmp_path / HISTORY).open("a") as file:
        file.write('{"step": 30, "lo')  # a line that was cut off
    second = begin(tmp_path, expected.experiment, resume=True)
    assert second.step == 8
    assert train_until(second, scenes) == losses[8:]
    assert same(load(second.checkpoint), load(expected.checkpoint))
    assert read_history(second.folder) == read_history(expected.folder)


def test_another_seed_trains_another_network(tmp_path: Path, scenes: Dataset) -> None:
    other = begin(tmp_path / "b", replace(TOWN, train=replace(ADAMW, seed=4)))
    assert train_until(begin(tmp_path / "a"), scenes, 2) != train_until(other, scenes, 2)


def test_history_holds_the_losses(whole: Whole) -> None:
    run, losses = whole
    assert [line["step"] for line in read_history(run.folder)] == [*range(2, STEPS + 1, 2)]
    for line in read_history(run.folder):
        assert line["loss"] == pytest.approx(losses[line["step"] - 1], abs=1e-6)


def test_resuming_a_finished_run_trains_no_step(whole: Whole, scenes: Dataset) -> None:
    expected, _ = whole
    assert train_until(begin(expected.folder, expected.experiment, resume=True), scenes) == []


def test_other_settings_are_listed_with_both_values(whole: Whole) -> None:
    run, _ = whole
    experiment = replace(run.experiment, train=replace(run.experiment.train, seed=8, power=1.0))
    message = r"train\.power was 0\.9, is 1\.0, train\.seed was 3, is 8\. A resumed"
    with pytest.raises(ValueError, match=message):
        begin(run.folder, experiment, resume=True)


def test_other_classes_are_other_settings(whole: Whole) -> None:
    run, _ = whole
    spec = replace(BALLOON_TOWN, class_names=tuple("abcdefghij"))
    with pytest.raises(ValueError, match="class_names was"):
        Trainer(run.experiment, spec, run.folder, CPU, resume=True)


def test_data_may_have_moved(whole: Whole) -> None:
    run, _ = whole
    Trainer(run.experiment, replace(BALLOON_TOWN, name="moved"), run.folder, CPU, resume=True)


def test_run_is_not_overwritten(whole: Whole) -> None:
    run, _ = whole
    before = {path: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(FileExistsError, match=r"holds a run already.*--resume.*--out"):
        begin(run.folder, run.experiment)
    assert {path: path.read_bytes() for path in run.folder.iterdir()} == before


def test_run_without_a_checkpoint_may_begin_again(tmp_path: Path, scenes: Dataset) -> None:
    kill_at(begin(tmp_path), scenes, 3)
    again = begin(tmp_path)
    assert read_history(again.folder) == []


HOLDER = """
import os, sys, time
from pathlib import Path
from annlib.engine.runs import lock_folder

lock = lock_folder(Path(sys.argv[1]))
worker = os.fork()
if worker:
    print(worker, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the lock needs POSIX")
def test_folder_in_use_is_refused_until_its_process_dies_even_if_workers_live_on(
    tmp_path: Path, scenes: Dataset
) -> None:
    train_until(begin(tmp_path), scenes, 2)
    before = (tmp_path / HISTORY).read_text()
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        worker = int(holder.stdout.readline())
        try:
            message = rf"in use by process {holder.pid} on {re.escape(socket.gethostname())} since"
            for resume in (False, True):
                with pytest.raises(FileExistsError, match=message + ".*choose another folder"):
                    begin(tmp_path, resume=resume)
            assert (tmp_path / HISTORY).read_text() == before
            holder.kill()
            holder.wait()
            assert begin(tmp_path, resume=True).step == 2
        finally:
            holder.kill()
            os.kill(worker, signal.SIGKILL)


def test_lock_is_given_back_and_names_no_machine_afterwards(tmp_path: Path) -> None:
    run = begin(tmp_path)
    assert f"process {os.getpid()} on " in (tmp_path / runs_module.LOCK).read_text()
    del run
    gc.collect()
    assert (tmp_path / runs_module.LOCK).read_text() == ""
    with (tmp_path / runs_module.LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if it were still held


def test_only_the_first_of_several_processes_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "is_main", lambda: False)
    begin(tmp_path)
    assert not (tmp_path / runs_module.LOCK).exists()
    monkeypatch.setattr(trainer.distributed, "any_rank", lambda claim: True)  # rank 0 was refused
    with pytest.raises(FileExistsError, match="is in use, see the message of rank 0"):
        begin(tmp_path)


def test_file_system_without_locks_is_told_and_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(runs_module.fcntl, "flock", fail)
    with pytest.warns(UserWarning, match=r"cannot be locked on its file system \(No locks"):
        assert begin(tmp_path).step == 0


def test_resuming_without_a_checkpoint_says_to_begin(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint: .* again without --resume"):
        begin(tmp_path, resume=True)


def test_checkpoint_says_where_it_comes_from(whole: Whole) -> None:
    run, _ = whole
    notes = load(run.checkpoint).notes
    assert notes["experiment"] == json.loads(json.dumps(asdict(run.experiment)))
    assert notes["classes"]["class_names"] == list(BALLOON_TOWN.class_names)
    assert notes["versions"]["torch"] == torch.__version__


def test_settings_are_read_back_from_the_folder(whole: Whole, tmp_path: Path) -> None:
    run, _ = whole
    assert read_experiment(run.folder) == run.experiment
    with pytest.raises(FileNotFoundError, match=r"no run in .*experiment\.json is missing"):
        read_experiment(tmp_path)


def test_scores_are_those_of_the_confusion_matrix(whole: Whole) -> None:
    run, _ = whole
    scenes = Subset(open_data(run.experiment.data, None).val, range(2))
    matrix = ConfusionMatrix(10)
    run.model.eval()
    for image, labels in scenes:
        small = torch.nn.functional.interpolate(image[None], (48, 72), mode="bilinear")
        with torch.inference_mode():
            logits = run.model(small).main
        logits = torch.nn.functional.interpolate(logits, labels.shape, mode="bilinear")
        matrix.update(logits.argmax(1)[0], labels)
    assert torch.equal(run.evaluate(scenes).counts, matrix.counts)


def test_differences_are_found_in_depth() -> None:
    before, now = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}
    assert differences(before, now) == ["a.c was 2, is 4", "d was 3, is None", "e was None, is 5"]


@pytest.mark.parametrize("cut_off", ['{"step": 27, "lo', '{"step": 27', "\0\0\0"])
def test_history_leaves_out_a_last_line_that_was_cut_off(tmp_path: Path, cut_off: str) -> None:
    run = begin(tmp_path)
    whole = {"step": 25, "loss": 1.5, "lr": 0.1}
    (tmp_path / "history.jsonl").write_text(json.dumps(whole) + "\n" + cut_off)
    assert read_history(run.folder) == [whole]


def test_history_hides_no_damage_in_the_middle(tmp_path: Path) -> None:
    run = begin(tmp_path)
    (tmp_path / "history.jsonl").write_text('{"step": 20, "lo\n{"step": 25}\n')
    with pytest.raises(ValueError, match="its line 1 is not a JSON object"):
        read_history(run.folder)


class Broken(Dataset):
    """A sample in which a number is missing."""

    def __init__(self, dataset: Dataset, index: int):
        self.dataset, self.index = dataset, index

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, labels = self.dataset[index]
        return (image * float("nan") if index == self.index else image), labels


def test_loss_that_is_no_number_names_the_pictures_of_its_batch(
    tmp_path: Path, scenes: Dataset
) -> None:
    run = begin(tmp_path)
    with pytest.raises(FloatingPointError, match="is nan .* held the images") as caught:
        train_until(run, Broken(scenes, 4))
    assert "number 4" in str(caught.value)
    loader = trainer.batches(run.experiment, scenes, CPU, 0, run.step)
    draws = next(iter(loader.batch_sampler))
    assert [f"number {draw.index}" for draw in draws] == str(caught.value).partition(
        "held the images "
    )[2].removesuffix(": look at them first.").split(", ")


@pytest.mark.slow
def test_scale_of_half_precision_gradients_is_resumed_too(tmp_path: Path, scenes: Dataset) -> None:
    compute = RuntimeConfig("fp16")
    experiment = replace(TOWN, train=replace(ADAMW, iterations=8))
    folders = tmp_path / "whole", tmp_path / "stopped"
    whole, first = (
        Trainer(experiment, BALLOON_TOWN, folder, CPU, compute=compute) for folder in folders
    )
    for run in (whole, first):
        # Too large a scale: the first gradients overflow, and each time it is halved.
        run.scaler.load_state_dict(run.scaler.state_dict() | {"scale": 2.0**30})
    losses = train_until(whole, scenes, 8)
    before = train_until(first, scenes, 3)
    second = Trainer(experiment, BALLOON_TOWN, folders[1], CPU, True, compute)
    assert second.scaler.get_scale() == first.scaler.get_scale() < 2.0**30
    assert before + train_until(second, scenes, 8) == losses


CPU = torch.device("cpu")
CONFIG = TrainConfig(iterations=3)


def losses(compute: RuntimeConfig, dropout: float = 0.2) -> list[float]:
    with seeded("machine"):
        model = prepare_model(ANN(replace(TINY, dropout=dropout)), CPU, compute)
        batch = torch.randn(2, 3, 40, 56), torch.randint(5, (2, 40, 56))
    optimizer = make_optimizer(model, CONFIG)
    steps = train(
        wrap_model(model, CPU, compute), optimizer, repeat(batch), CONFIG, compute=compute
    )
    return [float(step.loss) for step in steps]


def test_memory_layout_changes_no_loss() -> None:
    plain = losses(RuntimeConfig(channels_last=False))
    assert losses(RuntimeConfig(channels_last=True)) == pytest.approx(plain, rel=1e-5)
    assert len(set(plain)) == 3


@pytest.mark.all
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on CPUs")
def test_compiling_changes_no_loss() -> None:
    # Without dropout: compiled code draws the random numbers of its layers in another order.
    plain = losses(RuntimeConfig(), dropout=0)
    assert losses(RuntimeConfig(compile=True), dropout=0) == pytest.approx(plain, rel=1e-5)


def test_model_keeps_its_names_however_it_is_run() -> None:
    model = ANN(TINY)
    names = list(model.state_dict())
    prepare_model(model, CPU, RuntimeConfig(channels_last=True))
    assert list(model.state_dict()) == names


CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ALL = RuntimeConfig(compile=True, cuda_graphs=True)


def no_compiler(call: Callable) -> Callable:
    """What torch.compile gives where there is none: the error comes with the first call."""

    def fail(*arguments: object) -> None:
        raise RuntimeError("No working C++ compiler found\nand more lines")

    return fail


def test_what_is_not_asked_for_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    assert possible(RuntimeConfig(), CPU) == (RuntimeConfig(), None)
    model = nn.Linear(2, 2)
    assert wrap_model(model, CPU, RuntimeConfig()) is model


def test_missing_compiler_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    compute, obstacle = possible(RuntimeConfig("bf16", compile=True), CPU)
    assert compute == RuntimeConfig("bf16")
    assert obstacle.endswith("nothing is compiled. No working C++ compiler found")


def test_cuda_graphs_go_with_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    monkeypatch.setattr(torch, "ones", lambda *size, device: None)  # there may be no GPU here
    assert possible(ALL, CUDA)[0] == RuntimeConfig()


def test_a_cpu_has_no_cuda_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda call: call)
    monkeypatch.setattr(torch, "ones", lambda *size, device: 1)  # there may be no GPU here
    compute, obstacle = possible(ALL, CPU)
    assert compute == RuntimeConfig(compile=True)
    assert obstacle == "There are no CUDA graphs on a cpu: going on without."
    assert possible(ALL, CUDA) == (ALL, None)


@pytest.mark.parametrize(
    ("compute", "told"),
    [
        (RuntimeConfig(cuda_graphs=True), "give --compile"),
        (RuntimeConfig(accumulate=4, compile=True, cuda_graphs=True), "gradients of 4 parts"),
    ],
)
def test_what_contradicts_itself_is_refused(compute: RuntimeConfig, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        possible(compute, CUDA)


def test_graphs_are_what_torch_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, mode: mode)
    assert wrap_model(nn.Linear(2, 2), CPU, RuntimeConfig(compile=True)) == "default"
    assert wrap_model(nn.Linear(2, 2), CPU, ALL) == "reduce-overhead"


@pytest.mark.all
def test_training_goes_on_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    words = ["balloon_fcn", "--iterations", 1, "--compile", "--device", "cpu"]
    words += ["--out", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", ["annlib", "train", *map(str, words)])
    __main__.main()
    assert "torch.compile does not work here" in capsys.readouterr().out
    assert (tmp_path / "run" / "last.safetensors").exists()


def test_a_run_whose_checkpoints_are_gone_is_not_overwritten(tmp_path, scenes: Dataset) -> None:
    begin(tmp_path).fit(scenes, scenes)
    before = (tmp_path / "validation.jsonl").read_bytes()
    (tmp_path / "last.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"is gone. Copy best\.safetensors to it"):
        begin(tmp_path, resume=True)
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(FileExistsError, match="holds a run already"):
        begin(tmp_path)
    assert (tmp_path / "validation.jsonl").read_bytes() == before
