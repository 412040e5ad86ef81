"""Checkpoints: everything comes back, nothing is executed, replaced whole or not at all."""

import errno
import os
import pickle
import random
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import disk_with_room_for
from safetensors.torch import save_file
from some_runs import save_checkpoint
from tiny import TINY, wake
from torch import Tensor

from annlib.config import TrainConfig
from annlib.engine.optimization import make_optimizer, train
from annlib.model import build
from annlib.model import checkpoint as checkpoint_module
from annlib.model.ann import ANN
from annlib.model.build import build_model, load_model, shipped_model
from annlib.model.checkpoint import load, read_header, restore, save, write_atomically

RECIPES = [TrainConfig(9), TrainConfig(9, optimizer="adamw", clip_norm=5.0)]
each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.optimizer)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 17, 25, generator=generator)
    return images, torch.randint(5, (2, 17, 25), generator=generator)


def trained(recipe: TrainConfig, steps: int) -> tuple[ANN, torch.optim.Optimizer]:
    """A network in the memory layout of real training, after some steps."""
    torch.manual_seed(0)
    model = ANN(TINY).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, recipe)
    go_on(model, optimizer, recipe, 0, steps)
    return model, optimizer


def go_on(model: ANN, optimizer: torch.optim.Optimizer, recipe: TrainConfig, a: int, b: int):
    for _ in train(model, optimizer, [batch()] * (b - a), recipe, start=a):
        pass


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A checkpoint with optimiser."""
    save(tmp_path / "a.safetensors", *trained(RECIPES[1], 2), 2, {"seed": 7})
    return tmp_path / "a.safetensors"


@each_recipe
def test_weights_and_optimizer_come_back_bit_for_bit(tmp_path: Path, recipe: TrainConfig) -> None:
    model, optimizer = trained(recipe, 3)
    save(tmp_path / "a.safetensors", model, optimizer, 3)
    checkpoint = load(tmp_path / "a.safetensors")
    assert same(checkpoint.model, model.state_dict())
    state = optimizer.state_dict()["state"]
    assert len(state) == len(list(model.parameters()))
    assert all(same(checkpoint.optimizer["state"][i], state[i]) for i in state)


@each_recipe
def test_training_goes_on_as_if_never_saved(tmp_path: Path, recipe: TrainConfig) -> None:
    model, optimizer = trained(recipe, 3)
    save(tmp_path / "a.safetensors", model, optimizer, 3)
    other, other_optimizer = trained(recipe, 1)
    restore(load(tmp_path / "a.safetensors"), other, other_optimizer)
    go_on(model, optimizer, recipe, 3, 9)
    go_on(other, other_optimizer, recipe, 3, 9)
    assert same(other.state_dict(), model.state_dict())


def test_optimizer_state_gets_the_memory_layout_of_its_weights(path: Path) -> None:
    """Fused AdamW reads both by address: moments in another order belong to other weights."""
    model, optimizer = trained(RECIPES[1], 1)
    restore(load(path), model, optimizer)
    for parameter in model.parameters():
        assert optimizer.state[parameter]["exp_avg"].stride() == parameter.stride()


def test_config_step_and_notes_come_back(path: Path) -> None:
    checkpoint = load(path)
    assert (checkpoint.config, checkpoint.step, checkpoint.notes) == (TINY, 2, {"seed": 7})


@pytest.mark.parametrize("head", ["ann", "apnb", "nonlocal", "ppm", "fcn"])
def test_loaded_model_predicts_the_same(tmp_path: Path, head: str) -> None:
    model = wake(build_model(replace(TINY, head=head))).eval()
    save(tmp_path / "a.safetensors", model)
    loaded, images = load_model(tmp_path / "a.safetensors"), batch()[0]
    assert torch.equal(loaded(images).main, model(images).main)


def test_header_of_any_length_is_accepted(tmp_path: Path) -> None:
    """A header of 128, 384, ... bytes begins like a pickle: one file of 32 does."""
    starts = set()
    for length in range(0, 256, 8):
        save(tmp_path / "a.safetensors", ANN(TINY), notes={"note": "x" * length})
        starts.add((tmp_path / "a.safetensors").read_bytes()[0])
        assert load(tmp_path / "a.safetensors").notes["note"] == "x" * length
    assert 0x80 in starts


class Planted:
    """What an attacker would pickle: unpickling it leaves a trace."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_is_refused_unopened(tmp_path: Path, protocol: int) -> None:
    path, trace = tmp_path / "a.pkl", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Planted(trace), protocol))
    with pytest.raises(ValueError, match=r"a\.pkl is (a pickle|damaged)"):
        load(path)
    assert not trace.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_file_is_refused_with_the_way_to_convert_it(tmp_path: Path, zipped: bool) -> None:
    path, trace = tmp_path / "a.pth", tmp_path / "trace"
    torch.save(Planted(trace), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"is a pickle .* weights import .*weights_only=True"):
        load(path)
    assert not trace.exists()


@pytest.mark.parametrize("length", [0, 5, 8, 100, 0.5, 0.999])
def test_half_written_file_is_refused(path: Path, length: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: length if length > 1 else int(length * len(content))])
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged or only half written"):
        load(path)


def test_no_flipped_bit_goes_unseen(path: Path) -> None:
    whole, dice = path.read_bytes(), random.Random(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in [*range(8), *dice.sample(range(8, header), 60), *range(header, header + 12)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.safetensors"):
            load(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*a\.safetensors"):
        load(tmp_path / "a.safetensors")


def test_file_of_another_program_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors holds tensors, but no annlib config"):
        load(tmp_path / "a.safetensors")


def test_file_of_another_version_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        checkpoint_module, "asdict", lambda config: asdict(config) | {"turbo": True}
    )
    save(path, ANN(TINY))
    with pytest.raises(ValueError, match="another version of annlib .*'turbo'"):
        load(path)


def test_weights_of_another_config_are_refused_with_both_values(path: Path) -> None:
    model = ANN(replace(TINY, key_channels=9, pool_scales=(1, 2)))
    with pytest.raises(ValueError) as error:
        restore(load(path), model)
    assert "key_channels 6 there, 9 here" in str(error.value)
    assert "pool_scales (1, 2, 3) there, (1, 2) here" in str(error.value)
    assert "width" not in str(error.value)


def test_weights_alone_cannot_go_on_training(tmp_path: Path) -> None:
    model, optimizer = trained(RECIPES[0], 1)
    save(tmp_path / "a.safetensors", model)
    with pytest.raises(ValueError, match=r"weights only: good for prediction, but training"):
        restore(load(tmp_path / "a.safetensors"), model, optimizer)


def test_unknown_shipped_name_is_told_what_there_is(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(build, "SHIPPED", tmp_path)
    save(tmp_path / "balloon_ann.safetensors", ANN(TINY))
    with pytest.raises(KeyError, match="No shipped weights 'balloon_an'; there are: balloon_ann"):
        shipped_model("balloon_an")
    assert not shipped_model("balloon_ann").training


def test_header_is_that_of_the_loaded_checkpoint(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, 40, seconds=2.5)
    checkpoint = load(path)
    assert read_header(path) == (checkpoint.step, checkpoint.notes)
    assert read_header(path).notes["seconds"] == 2.5


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, 5000, -1])
def test_file_cut_anywhere_is_refused(tmp_path: Path, size: int) -> None:
    path = save_checkpoint(tmp_path, 40)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"last\.safetensors is damaged, only half written"):
        read_header(path)


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="no checkpoint of annlib"):
        read_header(tmp_path / "a.safetensors")


def test_pickle_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ValueError, match="is a pickle"):
        read_header(tmp_path / "a.pth")


def test_missing_header_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        read_header(tmp_path / "a.safetensors")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path / "a.safetensors", ANN(TINY), step=1)
    return tmp_path / "a.safetensors"


@pytest.mark.fault("full disk")
def test_full_disk_leaves_the_old_checkpoint(saved: Path) -> None:
    with pytest.raises(OSError, match="older file there is untouched"), disk_with_room_for(9000):
        save(saved, ANN(TINY), step=2)
    assert load(saved).step == 1


def test_full_disk_leaves_no_remains(saved: Path) -> None:
    with pytest.raises(OSError), disk_with_room_for(9000):
        save(saved, ANN(TINY), step=2)
    assert list(saved.parent.iterdir()) == [saved]


def test_full_disk_error_says_what_where_and_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, disk_with_room_for(9000):
        save(tmp_path / "a.safetensors", ANN(TINY))
    assert "a.safetensors (0.2 MiB): File too large. Nothing was written." in str(error.value)
    assert "Free some space or choose another folder" in str(error.value)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_error_at_the_last_moment_leaves_the_old_file(
    saved: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left on device. The older file") as error:
        save(saved, ANN(TINY), step=2)
    assert error.value.errno == errno.ENOSPC
    assert (load(saved).step, list(saved.parent.iterdir())) == (1, [saved])


def test_interrupted_write_leaves_the_old_file(saved: Path, monkeypatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(saved, ANN(TINY), step=2)
    assert (load(saved).step, list(saved.parent.iterdir())) == (1, [saved])


def test_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OSError, match=r"Could not write .*runs/a\.safetensors"):
        save(tmp_path / "runs" / "a.safetensors", ANN(TINY))


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "c", b"content")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"content"


def test_new_checkpoint_replaces_the_old(saved: Path) -> None:
    model = ANN(TINY)
    save(saved, model, step=2)
    checkpoint = load(saved)
    assert checkpoint.step == 2
    assert all(torch.equal(checkpoint.model[k], v) for k, v in model.state_dict().items())


def test_a_folder_in_place_of_a_checkpoint_is_told_with_the_file_to_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="It is a folder: name .*/last.safetensors"):
        load(tmp_path)
