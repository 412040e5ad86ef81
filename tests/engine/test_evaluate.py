"""An evaluation that is stopped, damaged and gone on with ends like one that nobody disturbed."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_pictures import SPEC, pictures, tiny_segmenter, write_pictures

from annlib.config import TestConfig
from annlib.data.classes import BALLOON_TOWN
from annlib.data.datasets import SegmentationFolder, labelled
from annlib.data.loader import make_loader
from annlib.engine import evaluate as evaluate_module
from annlib.engine.evaluate import Evaluation
from annlib.engine.inference import make_predictor
from annlib.engine.metrics import ConfusionMatrix, evaluate
from annlib.engine.predictor import Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny_segmenter()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SegmentationFolder:
    return pictures(write_pictures(tmp_path_factory.mktemp("pictures")))


@pytest.fixture(scope="module")
def expected(segmenter: Segmenter, data: SegmentationFolder) -> ConfusionMatrix:
    predict = make_predictor(segmenter.model, segmenter.test)
    return evaluate(predict, make_loader(data, 1, training=False), 5)


def steps(evaluation: Evaluation, count: int | None = None) -> Evaluation:
    for _ in islice(evaluation.steps(), count):
        pass
    return evaluation


def finished(evaluation: Evaluation) -> dict[str, bytes]:
    """The files of an evaluation that was taken to its end, but what says when it was made."""
    steps(evaluation).finish()
    folder = evaluation.out
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    scores = json.loads(files.pop("scores.json"))
    scores.pop("made")
    return files | {"scores.json": json.dumps(scores).encode()}


@pytest.mark.parametrize("workers", [0, 2])
def test_counts_are_those_of_the_plain_loop(segmenter, data, expected, workers: int) -> None:
    evaluation = Evaluation(segmenter, data)
    assert [score.name for score in evaluation.steps(workers)] == [f"p{i}" for i in range(5)]
    assert torch.equal(evaluation.matrix.counts, expected.counts)
    assert evaluation.finish().miou == expected.scores().miou
    assert (expected.counts.sum(0) > 0).sum() >= 3  # classes are predicted somewhere


def test_lines_add_up_to_the_scores(segmenter, data, expected, tmp_path: Path) -> None:
    evaluation = Evaluation(segmenter, data, tmp_path)
    files = finished(evaluation)
    lines = [json.loads(line) for line in files["images.jsonl"].splitlines()]
    total = ConfusionMatrix(5)
    for line in lines:
        total.add_entries(line["counts"])
    assert torch.equal(total.counts, expected.counts)
    assert json.loads(files["scores.json"])["miou"] == expected.scores().miou
    assert [line["name"] for line in lines] == evaluation.names


@pytest.mark.parametrize("done", [0, 1, 4, 5])
def test_stopped_evaluation_goes_on_as_if_it_had_not_been(
    segmenter, data, tmp_path: Path, done: int
) -> None:
    whole = finished(Evaluation(segmenter, data, tmp_path / "whole", save_pictures=True))
    steps(Evaluation(segmenter, data, tmp_path / "stopped", True), done)
    second = Evaluation(segmenter, data, tmp_path / "stopped", True)
    assert (second.num_done, len(second.share)) == (done, 5 - done)
    assert finished(second) == whole
    assert len(whole) == 4 + 2 * 5


def test_finished_pictures_are_not_predicted_again(segmenter, data, tmp_path: Path) -> None:
    steps(Evaluation(segmenter, data, tmp_path), 3)
    seen = []
    counting = segmenter._replace(label=lambda x: seen.append(1) or segmenter.label(x))
    steps(Evaluation(counting, data, tmp_path)).finish()
    steps(Evaluation(counting, data, tmp_path)).finish()
    assert len(seen) == 2


@pytest.mark.parametrize("kept", [0, 1, 40, -1])
def test_line_that_was_cut_off_is_made_again(segmenter, data, tmp_path: Path, kept: int) -> None:
    whole = finished(Evaluation(segmenter, data, tmp_path / "whole"))
    steps(Evaluation(segmenter, data, tmp_path / "cut"), 3)
    lines = tmp_path / "cut/images.jsonl"
    *first, last = lines.read_bytes().splitlines(keepends=True)
    lines.write_bytes(b"".join(first) + last[:kept])
    again = Evaluation(segmenter, data, tmp_path / "cut")
    assert again.num_done == (3 if kept == -1 else 2)  # only the line break was lost
    assert finished(again) == whole


def test_lines_of_several_processes_are_joined(segmenter, data, tmp_path: Path) -> None:
    whole = finished(Evaluation(segmenter, data, tmp_path / "whole"))
    steps(Evaluation(segmenter, data, tmp_path / "parts"), 4)
    lines = (tmp_path / "parts/images.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "parts/images.jsonl").write_bytes(lines[0] + lines[2])
    (tmp_path / "parts/images-1.jsonl").write_bytes(lines[3] + lines[0])  # one line stands twice
    (tmp_path / "parts/images-2.jsonl").write_bytes(lines[1][:20])  # cut off
    again = Evaluation(segmenter, data, tmp_path / "parts")
    assert again.share == [1, 4]
    assert finished(again) == whole


OTHERS = {
    "weights_crc32": lambda segmenter: tiny_segmenter(seed=1),
    "test.flip was False, is True": lambda segmenter: tiny_segmenter(test=TestConfig(flip=True)),
    "test.mode was whole, is slide": lambda segmenter: tiny_segmenter(
        test=TestConfig("slide", (9, 9), (5, 5))
    ),
    "test.scales was": lambda segmenter: tiny_segmenter(test=TestConfig(scales=(0.5, 1.0))),
    "precision was fp32, is bf16": lambda segmenter: tiny_segmenter(precision="bf16"),
    "label_table_crc32": lambda segmenter: segmenter._replace(
        spec=replace(SPEC, label_values=(0, 1, 2, 3, 5))
    ),
    "classes was": lambda segmenter: segmenter._replace(
        spec=replace(SPEC, class_names=("sky", "road", "bus", "tree", "house"))
    ),
}


@pytest.mark.parametrize("differing", OTHERS)
def test_other_settings_are_refused_by_name(
    segmenter, data, tmp_path: Path, differing: str
) -> None:
    steps(Evaluation(segmenter, data, tmp_path), 2)
    before = (tmp_path / "images.jsonl").read_bytes()
    with pytest.raises(ValueError, match="made with other settings: ") as error:
        Evaluation(OTHERS[differing](segmenter), data, tmp_path)
    told = str(error.value).partition("settings: ")[2].partition(". Scores")[0]
    assert told.startswith(differing)
    assert (tmp_path / "images.jsonl").read_bytes() == before


def test_other_pictures_are_refused(segmenter, data, tmp_path: Path) -> None:
    steps(Evaluation(segmenter, data, tmp_path / "out"), 2)
    fewer = pictures(write_pictures(tmp_path / "fewer", 4))
    with pytest.raises(ValueError, match="names_crc32 was .*, pictures was 5, is 4"):
        Evaluation(segmenter, fewer, tmp_path / "out")
    (tmp_path / "fewer/images/p0.png").rename(tmp_path / "fewer/images/p4.png")
    (tmp_path / "fewer/labels/p0.png").rename(tmp_path / "fewer/labels/p4.png")
    write_pictures(tmp_path / "more", 6)
    for kind in ("images", "labels"):
        (tmp_path / "more" / kind / "p0.png").unlink()
    with pytest.raises(ValueError, match="settings: names_crc32 was [0-9a-f]{8}, is [0-9a-f]{8}. "):
        Evaluation(segmenter, pictures(tmp_path / "more"), tmp_path / "out")


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_picture_or_label_that_was_changed_is_scored_again(
    segmenter, tmp_path: Path, kind: str
) -> None:
    folder, out = write_pictures(tmp_path / "data"), tmp_path / "out"
    steps(Evaluation(segmenter, pictures(folder), out), 5)
    path = folder / kind / "p3.png"
    with Image.open(path) as file:
        changed = np.array(file)
    Image.fromarray((changed + 1) % 5).save(path)
    again = Evaluation(segmenter, pictures(folder), out)
    assert again.num_done == 4
    assert [score.index for score in again.steps()] == [3]
    second = Evaluation(segmenter, pictures(folder))
    steps(second, 5)
    assert again.finish().miou == second.finish().miou


def test_same_pictures_may_have_moved(segmenter, data, tmp_path: Path) -> None:
    steps(Evaluation(segmenter, data, tmp_path / "out"), 2)
    moved = pictures(write_pictures(tmp_path / "moved"))
    assert Evaluation(segmenter, moved, tmp_path / "out").num_done == 2


def test_folder_with_other_things_is_left_alone(segmenter, data, tmp_path: Path) -> None:
    (tmp_path / "images.jsonl").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other things, but no evaluation"):
        Evaluation(segmenter, data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["images.jsonl"]


def test_damaged_settings_are_told(segmenter, data, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"weights')
    with pytest.raises(ValueError, match=r"settings\.json is damaged .*another folder"):
        Evaluation(segmenter, data, tmp_path)


CHANGED = {
    "another version": {"index": 1, "colour": 3},
    "index of another": {"index": 4},
    "index": {"index": "x"},
    "name": {"name": []},
    "share": {"miou": 10**400},
    "no counts": {"counts": []},
    "more pixels": {"counts": [[0, 0, 10**6]]},
    "another class": {"counts": [[0, 9, 5]]},
    "text": {"counts": "x"},
    "nothing": {"counts": None},
}


@pytest.mark.parametrize("change", CHANGED)
def test_lines_that_were_changed_are_scored_again(segmenter, data, tmp_path, change: str) -> None:
    whole = finished(Evaluation(segmenter, data, tmp_path / "whole"))
    steps(Evaluation(segmenter, data, tmp_path / "out"))
    path = tmp_path / "out/images.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1] |= CHANGED[change]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    again = Evaluation(segmenter, data, tmp_path / "out")
    assert again.share == [1]
    assert finished(again) == whole


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, '{"test": 1, "test": 2}'])
def test_settings_that_are_not_an_object_are_told(segmenter, data, tmp_path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=r"settings\.json is damaged .*another folder"):
        Evaluation(segmenter, data, tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["images", "labels"])
def test_picture_that_cannot_be_read_is_named_and_what_is_done_is_kept(
    segmenter, tmp_path: Path, kind: str, workers: int
) -> None:
    dataset = pictures(write_pictures(tmp_path / "data"))
    damaged = tmp_path / "data" / kind / "p2.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:60])
    evaluation = Evaluation(segmenter, dataset, tmp_path / "out")
    with pytest.raises(ValueError) as error:
        for _ in evaluation.steps(workers):
            pass
    assert str(error.value).startswith(f"{damaged} cannot be read as an image")
    assert "Traceback" not in str(error.value)
    damaged.write_bytes(whole)
    assert Evaluation(segmenter, dataset, tmp_path / "out").share == [2, 3, 4]


def test_labels_of_another_data_set_are_named(segmenter, tmp_path: Path) -> None:
    dataset = pictures(write_pictures(tmp_path))
    Image.new("L", (23, 21), 7).save(tmp_path / "labels/p1.png")
    with pytest.raises(ValueError, match=r"p1\.png holds the label 7, but pictures has 5 classes"):
        steps(Evaluation(segmenter, dataset))


def test_pictures_without_any_label_have_no_score(segmenter, tmp_path: Path) -> None:
    dataset = pictures(write_pictures(tmp_path / "data", 2))
    for path in dataset.labels:
        with Image.open(path) as image:
            image.point(lambda value: 255).save(path)
    evaluation = steps(Evaluation(segmenter, dataset, tmp_path / "out", save_pictures=True))
    with pytest.raises(ValueError, match="None of the 2 images has a pixel with a label"):
        evaluation.finish()
    assert len(list((tmp_path / "out/labels").iterdir())) == 2  # for the server that knows them


def test_full_disk_loses_no_picture_that_is_done(
    segmenter, data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finished(Evaluation(segmenter, data, tmp_path / "whole"))
    real, written = evaluate_module.append_line, []

    def full_at_the_third(path: Path, line: dict) -> None:
        if len(written) == 2:
            with path.open("a") as file:
                file.write(json.dumps(line)[:30])
            raise OSError(28, "No space left on device")
        written.append(real(path, line))

    with monkeypatch.context() as patch:
        patch.setattr(evaluate_module, "append_line", full_at_the_third)
        with pytest.raises(OSError, match="No space left"):
            steps(Evaluation(segmenter, data, tmp_path / "out"))
    again = Evaluation(segmenter, data, tmp_path / "out")
    assert again.num_done == 2
    assert finished(again) == whole


def test_picture_is_saved_before_it_counts_as_done(
    segmenter, data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluate_module, "save_prediction", full)
    with pytest.raises(OSError, match="No space left"):
        steps(Evaluation(segmenter, data, tmp_path, save_pictures=True))
    assert (tmp_path / "images.jsonl").read_bytes() == b""


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, RuntimeError])
def test_picture_too_large_for_the_memory_is_told_with_what_needs_less(
    segmenter, data, kind: type
) -> None:
    def label(images: torch.Tensor) -> torch.Tensor:
        raise kind("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    big = [(torch.zeros(1).expand(3, 1024, 2048), torch.zeros(1))]
    evaluation = Evaluation(segmenter._replace(label=label), big)
    with pytest.raises(OSError, match=r"scene-0, 1024 x 2048 pixels, in the mode 'whole' .*bf16"):
        steps(evaluation)


def test_other_errors_of_the_network_are_not_taken_for_want_of_memory(segmenter) -> None:
    pairs = [(torch.zeros(4, 9, 9), torch.zeros(9, 9))]
    with pytest.raises(RuntimeError, match="expected input"):
        steps(Evaluation(segmenter, pairs))


def test_saved_pictures_are_what_was_scored(segmenter, data, expected, tmp_path: Path) -> None:
    steps(Evaluation(segmenter, data, tmp_path, save_pictures=True)).finish()
    (tmp_path / "again/images").mkdir(parents=True)
    total = ConfusionMatrix(5)
    for path, (_, labels) in zip(data.images, data, strict=True):
        with Image.open(tmp_path / "labels" / path.name) as image:
            values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        total.update(values.view(labels.shape), labels)
    assert torch.equal(total.counts, expected.counts)


def test_pictures_of_one_name_are_not_saved_over_each_other(segmenter, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data")
    dataset = pictures(tmp_path / "data")
    dataset.images[0] = dataset.images[1].with_suffix(".bmp")
    with pytest.raises(ValueError, match="Several images are named p1: "):
        Evaluation(segmenter, dataset, tmp_path / "out", save_pictures=True)
    assert not (tmp_path / "out").exists()
    assert len(Evaluation(segmenter, dataset, tmp_path / "out").share) == 5


def test_painted_scenes_have_names(segmenter) -> None:
    names = Evaluation(segmenter, labelled(BALLOON_TOWN, None, "val")).names
    assert names[:2] == ["scene-0", "scene-1"]
    assert len(set(names)) == len(names) == 200
