"""Errors whose message is annlib's own and names the true cause."""

import errno
import gzip
import json
import os
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from failing import failure
from PIL import Image
from safetensors.torch import save_file
from tiny import TINY

from annlib.config import TrainConfig
from annlib.course.lesson import open_job
from annlib.course.running import release
from annlib.data.io import open_whole
from annlib.data.loader import worker_errors
from annlib.engine.optimization import make_optimizer, train
from annlib.model.build import build_model
from annlib.model.checkpoint import load, read_header
from annlib.model.convert import read_weights

pytestmark = pytest.mark.fault("input that gave torch's own or a false message elsewhere")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n"
PAGE = b"\n<!DOCTYPE html><html><title>Sign in</title></html>"


ARRAYS, H5 = BytesIO(), b"\x89HDF\r\n\x1a\n" + bytes(88)
np.savez(ARRAYS, weight=np.zeros(4, np.float32))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POINTER, "git lfs pull"),
        (PAGE, "web page"),
        (ARRAYS.getvalue(), r"numpy arrays \(\.npz\)"),
        (H5, r"HDF5 file \(\.h5\)"),
    ],
    ids=["pointer", "page", "npz", "h5"],
)
@pytest.mark.parametrize("reader", [load, read_weights, open_whole])
def test_pointers_and_web_pages_are_recognised(tmp_path: Path, reader, content, said) -> None:
    (tmp_path / "file.bin").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        reader(tmp_path / "file.bin")


def zipped_weights() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.safetensors", bytes(400))
    return file.getvalue()


INDEX = b'{"metadata": {"total_size": 9}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}'
OTHERS_WEIGHTS = [
    ("weights.pth.gz", gzip.compress(bytes(400)), "packed .gzip.: unpack it"),
    ("weights.zip", zipped_weights(), "packed .ZIP.: unpack it"),
    ("model.safetensors.index.json", INDEX, "index of weights in several files"),
    ("model.onnx", b"\x08\x08\x12\x07pytorch\x1a\x032.1:", "ONNX network"),
    ("model.bin", b"\x08\x08\x12\x07pytorch\x1a\x032.1:" + bytes(300), "ONNX network"),
    ("model.ckpt-9.index", bytes(200), "TensorFlow"),
    ("model.ckpt-9.data-00000-of-00001", bytes(200), "TensorFlow"),
    ("saved_model.pb", b"\x08\x01\x12" + bytes(200), "TensorFlow"),
]


@pytest.mark.parametrize(("name", "content", "said"), OTHERS_WEIGHTS, ids=lambda one: str(one)[:20])
@pytest.mark.parametrize("reader", [load, read_header, read_weights])
def test_weights_of_another_form_are_named_with_what_to_do(
    tmp_path: Path, reader, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        reader(tmp_path / name)
    assert "damaged" not in str(error.value)
    if "TensorFlow" in said and reader is load:
        with pytest.raises(FileNotFoundError, match=said):
            load(tmp_path)


def test_a_prefix_that_all_names_have_is_taken_off(tmp_path: Path) -> None:
    weights = {"a": torch.ones(2), "b.module.c": torch.zeros(1)}
    torch.save({f"module.{key}": value for key, value in weights.items()}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == weights.keys()
    torch.save({"module.a": torch.ones(2), "b": torch.ones(1)}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == {"module.a", "b"}


def one_step(config, images: torch.Tensor, **recipe: object) -> None:
    recipe = TrainConfig(iterations=1, **recipe)
    model = build_model(config)
    labels = torch.zeros(len(images), *images.shape[2:], dtype=torch.int64)
    batches = [(images, labels)]
    next(train(model, make_optimizer(model, recipe), batches, recipe))


@pytest.mark.parametrize("head", ["ppm", "ann"])
def test_batch_norm_over_one_value_is_told_with_the_settings_that_lead_to_it(head: str) -> None:
    scales = (1, 2, 3, 6) if head == "ppm" else TINY.pool_scales
    config = replace(TINY, head=head, pool_scales=scales)
    with pytest.raises(ValueError, match="Batch norm gets one value a channel: 1 image"):
        one_step(config, torch.randn(1, 3, 33, 41) if head == "ppm" else torch.randn(1, 3, 8, 8))
    one_step(config, torch.randn(2, 3, 33, 41))


# State that a second run respects


@pytest.mark.parametrize("change", ["another name", "another label", "fewer to validate", "values"])
def test_resuming_compares_images_and_labels(annlib, tmp_path: Path, change: str) -> None:
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / f"data/{split}/{kind}").mkdir(parents=True)
        for number in range(3):
            for kind, high in (("images", 256), ("labels", 2)):
                shape = (24, 32, 3) if kind == "images" else (24, 32)
                pixels = np.random.default_rng(number).integers(0, high, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / f"data/{split}/{kind}/{number}.png")
    (tmp_path / "data/classes.txt").write_text("a\nb\n")
    annlib("train", "photos_fcn", "--data", "data", "--iterations", 1, "--out", "run")
    annlib("train", "--resume", "run")
    for kind in ("images", "labels"):
        if change == "another name":
            (tmp_path / f"data/train/{kind}/0.png").rename(tmp_path / f"data/train/{kind}/9.png")
        elif change == "fewer to validate":
            (tmp_path / f"data/val/{kind}/0.png").unlink()
    if change == "another label":
        Image.fromarray(pixels[::-1]).save(tmp_path / "data/train/labels/1.png")
    elif change == "values":
        (tmp_path / "data/classes.txt").write_text("a\nb\n1=0\n0=1\n")
    assert "are others than when it began" in failure(annlib, "train", "--resume", "run")


def two_executed_lessons(folder: Path) -> None:
    folder.mkdir()
    for name in ("01_first", "02_second"):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {name}")])
        nbformat.write(notebook, folder / f"{name}.ipynb")
        note = {"seconds": 3.0, "error": None}
        (folder / f"{name}.run.json").write_text(json.dumps(note))


def test_the_index_has_the_lessons_of_earlier_calls(tmp_path: Path) -> None:
    two_executed_lessons(tmp_path / "solutions")
    (latest,) = release.ended_before(
        tmp_path / "solutions", [tmp_path / "solutions/01_first.ipynb"]
    )
    assert latest.run.output.name == "02_second.ipynb"
    page = release.publish([latest], tmp_path, tmp_path).read_text()
    assert "01_first.html" in page and "02_second.html" in page


@pytest.mark.parametrize("text", ["", "[]", '{"seconds": "3", "error": null}', '{"seconds": 3}'])
@pytest.mark.parametrize("damaged", ["run.json", "ipynb"])
def test_a_damaged_lesson_of_an_earlier_call_is_told_and_hides_no_other(
    tmp_path: Path, text: str, damaged: str
) -> None:
    two_executed_lessons(tmp_path / "solutions")
    (tmp_path / f"solutions/01_first.{damaged}").write_text(text)
    page = release.publish([], tmp_path, tmp_path).read_text()
    assert "02_second.html" in page and "01_first.html" not in page
    assert "Cut off or damaged, so run them again: 01_first" in page


@pytest.mark.parametrize(
    ("injected", "said"),
    [
        ("haed = 'ann'", "Did you mean 'head'"),
        ("seed = '3'", "type int"),
        ("seed = float('nan')", "This job: parameters are plain, finite values"),
    ],
)
def test_a_job_refuses_what_papermill_passed_on_in_vain(monkeypatch, injected, said) -> None:
    cells = ["", "head = 'ann'\nseed = 0", f"# Parameters\n{injected}\n"]

    class Shell:
        user_ns = {"In": cells}

    monkeypatch.setattr("annlib.course.lesson.get_ipython", Shell)
    with pytest.raises(ValueError, match=said):
        open_job()


def test_a_job_gets_values_of_the_types_of_its_defaults(monkeypatch) -> None:
    class Shell:
        cells = ["", "scales = '1,3'\nseed = 0", "# Parameters\nscales = 6\nseed = 3.0\n"]
        user_ns = {"In": cells, "scales": 6, "seed": 3.0}

    monkeypatch.setattr("annlib.course.lesson.get_ipython", Shell)
    open_job()
    values = Shell.user_ns["scales"], Shell.user_ns["seed"]
    assert values == ("6", 3) and type(values[1]) is int


CUT_OFF = [
    EOFError(),
    ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)),
    FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)),
    RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
]
OTHERS = [
    FileNotFoundError("There is no file a.png."),
    FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a.png"),
    OSError(errno.ENOENT, "Could not write run/last.safetensors"),
    RuntimeError("shape mismatch"),
]


@pytest.mark.parametrize("error", CUT_OFF, ids=repr)
def test_a_connection_that_the_death_of_a_worker_cuts_is_told_as_that(error: Exception) -> None:
    with pytest.raises(OSError, match="A data worker was killed"), worker_errors():
        raise error


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_an_error_of_a_file_is_not_taken_for_the_death_of_a_worker(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, worker_errors():
        raise error
    assert caught.value is error


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod."])
def test_the_prefix_of_a_compiled_network_is_taken_off(tmp_path: Path, prefix: str) -> None:
    torch.save({f"{prefix}{key}": torch.ones(2) for key in "ab"}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == {"a", "b"}


def test_first_weights_are_read_from_safetensors_too(tmp_path: Path) -> None:
    weights = {"conv1.weight": torch.rand(3, 2), "fc.bias": torch.rand(2)}
    save_file(weights, tmp_path / "model.safetensors")
    found = read_weights(tmp_path / "model.safetensors")
    assert {key: value.tolist() for key, value in found.items()} == {
        key: value.tolist() for key, value in weights.items()
    }
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="damaged, only half there"):
        read_weights(tmp_path / "model.safetensors")
