"""annlib evaluate: its options, its messages, and real processes that are stopped and started."""

import json
import os
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import forked
import numpy as np
import pytest
from failing import failure
from forked import Call, Child, ranks
from PIL import Image
from small_pictures import SPEC, pictures, save_tiny, tiny_model, tiny_segmenter, write_pictures
from tiny import TINY

from annlib.config import TestConfig
from annlib.data.classes import CITYSCAPES, VOC12AUG
from annlib.engine.evaluate import Evaluation
from annlib.engine.metrics import score_table
from annlib.model.ann import ANN
from annlib.model.checkpoint import save
from annlib.published_experiments import ROWS

SLIDE = "--mode slide --window 13 15 --stride 7 9"
MULTI_SCALE = "--scales 0.5 0.75 1.0 1.25 1.5 1.75"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network, tiny.safetensors, and pictures, data."""
    folder = tmp_path_factory.mktemp("material")
    save_tiny(folder / "tiny.safetensors")
    write_pictures(folder / "data")
    return folder


@pytest.fixture
def evaluate(annlib, material: Path):
    """annlib evaluate with these options.  -> what it printed"""
    words = ("evaluate", material / "tiny.safetensors", "--data", material / "data")
    return lambda options="": annlib(*words, *options.split())


def table_of(material: Path, test: TestConfig, precision: str = "fp32") -> str:
    evaluation = Evaluation(tiny_segmenter(test=test, precision=precision), pictures(material))
    list(evaluation.steps())
    return score_table(evaluation.finish(), SPEC.class_names) + "\n"


@pytest.mark.parametrize(
    ("options", "test"),
    [
        ("", TestConfig()),
        (SLIDE, TestConfig("slide", (13, 15), (7, 9))),
        ("--flip", TestConfig(flip=True)),
        ("--scales 0.5 1.5", TestConfig(scales=(0.5, 1.5))),
        (
            f"{SLIDE} --multi-scale --flip",
            TestConfig("slide", (13, 15), (7, 9), (0.5, 0.75, 1.0, 1.25, 1.5, 1.75), True),
        ),
        ("--workers 1", TestConfig()),
    ],
)
def test_options_choose_the_way_of_testing(evaluate, material, options: str, test) -> None:
    assert evaluate(options) == table_of(material / "data", test)


def test_ways_of_testing_differ(evaluate) -> None:
    options = ("", SLIDE, "--flip", "--multi-scale", "--precision bf16")
    assert len({evaluate(option) for option in options}) == len(options)


def test_multi_scale_stands_for_the_six_published_scales(evaluate) -> None:
    assert evaluate("--multi-scale") == evaluate(MULTI_SCALE)


def test_last_line_has_the_three_published_numbers(evaluate) -> None:
    table, line = evaluate("--json scores.json").split("\n\n")
    scores = json.loads(Path("scores.json").read_text())
    numbers = [scores[key] for key in ("miou", "mean_accuracy", "pixel_accuracy")]
    expected = "mIoU {:.2f}  mAcc {:.2f}  aAcc {:.2f}".format(*(100 * n for n in numbers))
    assert line == f"{expected}\nSaved scores.json\n"
    assert [row.split()[1] for row in table.splitlines()[2:]] == [*SPEC.class_names, "mean"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--window 9 9", "say how windows slide: add --mode slide"),
        ("--mode slide", "needs window and stride, e.g. (769, 769) and (513, 513): --window"),
        ("--mode slide --window 9 9 --stride 9 10", "Windows of (9, 9) with the stride (9, 10)"),
        ("--scales 1 --multi-scale", "not both"),
        ("--scales 0", "must be numbers above 0"),
        ("--save-pictures", "add --out DIR"),
        ("--threads 0", "--threads is 0"),
    ],
)
def test_options_that_contradict_each_other_are_told(evaluate, options, message) -> None:
    assert message in failure(evaluate, options)


def test_same_command_again_repeats_the_result(evaluate) -> None:
    first = evaluate("--out done --save-pictures")
    assert first.endswith("Saved done\n")
    written = {path: path.read_bytes() for path in Path("done").rglob("*.jsonl")}
    assert evaluate("--out done --save-pictures") == first
    assert {path: path.read_bytes() for path in written} == written
    assert {path.name for path in Path("done").iterdir()} == {
        *("settings.json", "images.jsonl", "scores.json", "worst.md", "colours", "labels")
    }


@pytest.mark.parametrize(
    ("options", "differing"),
    [
        ("--flip", "test.flip was False, is True"),
        ("--precision bf16", "precision was fp32, is bf16"),
        ("--save-pictures", "save_pictures was False, is True"),
    ],
)
def test_other_settings_do_not_go_on(evaluate, options: str, differing: str) -> None:
    evaluate("--out done")
    assert differing in failure(evaluate, f"--out done {options}")


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ("", "Nothing was kept; with --out DIR the same command would go on."),
        ("--out out", "out keeps what is done (2 of 5 images): the same command goes on with"),
        ("--out out --workers 2", "out keeps what is done (2 of 5 images): the same command"),
    ],
)
def test_unreadable_picture_is_told_with_the_next_command(
    annlib, material: Path, options: str, hint: str
) -> None:
    write_pictures(Path("data"))
    whole = Path("data/images/p2.png").read_bytes()
    Path("data/images/p2.png").write_bytes(whole[:50])
    words = ("evaluate", material / "tiny.safetensors", "--data", "data", *options.split())
    told, way = failure(annlib, *words).splitlines()
    assert told.startswith("annlib: data/images/p2.png cannot be read as an image")
    assert way.startswith(hint)
    Path("data/images/p2.png").write_bytes(whole)
    assert annlib(*words).splitlines()[:8] == annlib(*words[:4]).splitlines()[:8]


def test_folder_of_other_classes_is_refused_with_both_names(annlib, material: Path) -> None:
    write_pictures(Path("data"))
    Path("data/classes.txt").write_text("sky\nroad\nbus\ntree\nhouse\n")
    words = ("evaluate", material / "tiny.safetensors", "--data", "data")
    assert "They differ at 2: car / bus (network / folder)" in failure(annlib, *words)


def test_labels_of_another_data_set_are_told(annlib, material: Path) -> None:
    write_pictures(Path("data"))
    Image.new("L", (25, 17), 250).save("data/labels/p0.png")
    words = ("evaluate", material / "tiny.safetensors", "--data", "data")
    assert "p0.png holds the label 250" in failure(annlib, *words)


def cityscapes(folder: Path) -> None:
    """Two pictures in the layout of the data set; nobody has labelled anything but road and sky."""
    for number, label_id in enumerate((7, 23)):
        name = f"ulm/ulm_00000{number}_000019"
        for kind, pixels in (
            ("leftImg8bit", np.full((24, 48, 3), 40 * number, np.uint8)),
            ("gtFine", np.full((24, 48), label_id, np.uint8)),
        ):
            ending = {"leftImg8bit": "leftImg8bit", "gtFine": "gtFine_labelIds"}[kind]
            path = folder / kind / "val" / f"{name}_{ending}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def test_published_row_is_evaluated_by_its_name(annlib, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ANN(replace(TINY, num_classes=19)).eval()
    fetched = []
    monkeypatch.setattr(
        "annlib.model.hub.load_published", lambda name: fetched.append(name) or model
    )
    name = ROWS[0].experiment.name
    assert "cityscapes is not shipped with annlib" in failure(annlib, "evaluate", name)
    assert fetched == []  # 180 MB are not fetched for a folder that is not there
    cityscapes(Path("city"))
    printed = annlib("evaluate", name, "--data", "city", "--out", "out", "--save-pictures")
    assert fetched == [name]
    assert "| traffic light |" in printed
    assert json.loads(Path("out/settings.json").read_text())["test"]["base_size"] == [1024, 2048]
    names = {path.name for path in Path("out/labels").iterdir()}
    assert names == {f"ulm_00000{i}_000019_leftImg8bit.png" for i in (0, 1)}
    with Image.open("out/labels/ulm_000000_000019_leftImg8bit.png") as image:
        assert set(np.unique(image)) <= set(CITYSCAPES.label_values)


def test_photograph_is_segmented_by_a_published_row(annlib, monkeypatch) -> None:
    model = ANN(replace(TINY, num_classes=21)).eval()
    monkeypatch.setattr("annlib.model.hub.load_published", lambda name: model)
    Image.new("RGB", (48, 24)).save("photo.jpg")
    printed = annlib("predict", "photo.jpg", "--weights", ROWS[-1].experiment.name)
    shares = printed.splitlines()[0].removeprefix("photo.jpg: ").split(", ")
    assert {share.rsplit(" ", 2)[0] for share in shares} <= set(VOC12AUG.class_names)


def test_network_that_names_other_classes_than_it_has_is_refused(annlib) -> None:
    save(Path("a.safetensors"), tiny_model(), notes={"classes": asdict(CITYSCAPES)})
    told = failure(annlib, "evaluate", "a.safetensors")
    assert "a.safetensors has 5 classes, but its list has the 19 of cityscapes" in told


# Processes that are stopped, and several together. They are forked; torchrun: test_distributed.py

NUM_PICTURES = 100


def command(data: Path, *words: object) -> Call:
    """The evaluation of the images of a folder, with the network beside it."""
    known = ("evaluate", data.parent / "tiny.safetensors", "--data", data)
    return forked.annlib(*known, "--device", "cpu", "--threads", 1, *words)


def start(processes: int, data: Path, *words: object) -> list[Child]:
    call = command(data, *words)
    return [Child(call)] if processes == 1 else ranks(processes, call)


def run(processes: int, data: Path, *words: object) -> str:
    """What the command prints, taken to its end."""
    started = start(processes, data, *words)
    assert [one.code() for one in started] == processes * [0], [one.output() for one in started]
    return "".join(one.printed() for one in started)


def stop(number: int, processes: int, data: Path, out: Path, *words: object) -> tuple[int, str]:
    """Sends a signal to all processes once some pictures are done.  -> exit code, output"""
    started = start(processes, data, "--out", out, *words)
    deadline = time.monotonic() + 100
    while num_done(out) < 5:
        assert started[0].wait(0) is None, started[0].output()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    for one in started:
        os.killpg(one.pid, number)
    codes = [one.code() for one in started]
    return codes[0], started[0].printed()


def num_done(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in out.glob("images*.jsonl"))


@pytest.fixture(scope="module")
def many(one_thread: None, material: Path) -> Path:
    """Pictures enough to be stopped among them; `one` beside them is what one process made."""
    write_pictures(material / "many", NUM_PICTURES)
    output = run(1, material / "many", "--out", material / "one")
    (material / "one.txt").write_text(output.replace(str(material / "one"), "OUT"))
    return material / "many"


def assert_same(many: Path, out: Path, output: str) -> None:
    one = many.parent / "one"
    assert output.replace(str(out), "OUT") == one.with_suffix(".txt").read_text()
    for name in ("images.jsonl", "worst.md", "settings.json"):
        assert (out / name).read_bytes() == (one / name).read_bytes()
    assert not list(out.glob("images-*.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.all), 2])
def test_interrupted_evaluation_says_how_to_go_on_and_does(many, tmp_path, workers) -> None:
    out = tmp_path / "out"
    code, output = stop(signal.SIGINT, 1, many, out, "--workers", workers)
    assert code == 130
    done = num_done(out)
    assert output.startswith(f"Stopped. {out} keeps what is done ({done} of {NUM_PICTURES} images)")
    assert_same(many, out, run(1, many, "--out", out))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.all)])
def test_killed_evaluation_goes_on_with_another_number_of_processes(
    many: Path, tmp_path: Path, before: int, after: int
) -> None:
    out = tmp_path / "out"
    stop(signal.SIGKILL, before, many, out)
    assert 5 <= num_done(out) < NUM_PICTURES
    assert_same(many, out, run(after, many, "--out", out))


@pytest.mark.slow
def test_two_processes_say_and_write_what_one_does(many: Path, tmp_path: Path) -> None:
    assert_same(many, tmp_path / "out", run(2, many, "--out", tmp_path / "out"))


@pytest.mark.slow
def test_two_processes_without_a_folder_say_what_one_does(one_thread: None, material: Path) -> None:
    assert run(2, material / "data") == table_of(material / "data", TestConfig())


@pytest.mark.slow
def test_unreadable_picture_ends_all_processes_and_loses_nothing(
    one_thread: None, tmp_path: Path
) -> None:
    save_tiny(tmp_path / "tiny.safetensors")
    data, out = write_pictures(tmp_path / "data", 9), tmp_path / "out"
    damaged = data / "images/p7.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:50])
    first, second = start(2, data, "--out", out)
    assert second.code() == 1
    assert f"annlib: {damaged} cannot be read as an image" in second.errors()
    assert first.code() != 0, "it would wait for the other"
    assert num_done(out) >= 3  # 1, 3, 5 came before 7
    damaged.write_bytes(whole)
    assert run(1, data, "--out", out) == table_of(data, TestConfig()) + f"Saved {out}\n"


@pytest.mark.parametrize("shift", [1, 3])
def test_labels_of_a_folder_are_read_by_its_own_class_list(annlib, evaluate, shift: int) -> None:
    """The same labels, stored as other numbers, give the same table."""
    write_pictures(Path("data"))
    for path in Path("data/labels").iterdir():
        stored = np.array(Image.open(path))
        moved = np.where(stored == 255, 77, (stored.astype(int) + shift) % 5).astype(np.uint8)
        Image.fromarray(moved).save(path)
    lines = [f"{(index + shift) % 5}={index}" for index in range(5)]
    Path("data/classes.txt").write_text("\n".join([*SPEC.class_names, *lines, "ignore 77"]))
    table, _, _ = evaluate().rpartition("Saved")
    assert evaluate("--data data").startswith(table)
