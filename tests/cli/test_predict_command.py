"""annlib predict: what it takes, what it writes, what it refuses."""

import io
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from failing import failure
from PIL import Image
from tiny import TINY, wake

from annlib.cli.predict import RESULTS, output_names
from annlib.config import TestConfig
from annlib.data.classes import CAMVID
from annlib.experiments import photos
from annlib.model.ann import ANN
from annlib.model.checkpoint import save

BOX = (24, 32)  # that the network of these tests was trained at


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with untrained weights of the name that is the default."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = wake(ANN(replace(TINY, num_classes=11)))
    experiment = asdict(replace(photos("ann"), test=TestConfig(base_size=BOX)))
    notes = {"classes": asdict(CAMVID), "experiment": experiment}
    save(folder / "streets_ann.safetensors", model, notes=notes)
    return folder


@pytest.fixture(autouse=True)
def working(shipped: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("annlib.engine.predictor.SHIPPED", shipped)
    monkeypatch.delenv("ANNLIB_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)


def photo(path: str, size: tuple[int, int] = (30, 40), seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return Path(path)


def written(folder: str = "predictions") -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.labels.png")}


def typed(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_on_standard_input_names_the_files(
    annlib, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    photo("a.png"), photo("day 1/ä.png")
    lines = 'a.png \r\n"day 1/ä.png"\r\n\r\ngone.png\r\n'
    monkeypatch.setattr(sys, "stdin", typed(lines.encode(encoding)))
    with pytest.raises(SystemExit, match=r"1 could not be segmented:\n.*gone.png"):
        annlib("predict", "-")
    assert written() == {"a.labels.png", "ä.labels.png"}
    monkeypatch.setattr(sys, "stdin", typed(b""))
    with pytest.raises(SystemExit, match="at least one image"):
        annlib("predict", "-")


def test_a_list_in_another_encoding_is_told_with_its_line(
    annlib, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", typed("a.png\nä.png\n".encode("latin-1")))
    assert "line 2, byte 6: invalid" in failure(annlib, "predict", "-")


def test_images_of_a_folder_that_cannot_be_read_are_counted(annlib) -> None:
    photo("day/a.png")
    for name in ("b.heic", "c.HEIC", "notes.txt", ".hidden.heic"):
        Path("day", name).touch()
    with pytest.raises(SystemExit, match=r"1 could not be segmented:\n.*2 \.heic in day cannot"):
        annlib("predict", "day")
    assert written() == {"a.labels.png"}


def test_without_weights_a_photo_gets_the_classes_of_a_street(annlib) -> None:
    photo("a.png")
    printed = annlib("predict", "a.png")
    assert "30 x 40 pixels, scaled to 24 x 32 (--base-size none keeps the size)" in printed
    said = json.loads(Path("predictions/a.json").read_text())
    with Image.open("predictions/a.labels.png") as file:
        labels = np.array(file)
    values, counts = np.unique(labels, return_counts=True)
    expected = {CAMVID.class_names[v]: n / 1200 for v, n in zip(values, counts, strict=True)}
    assert said["shares"] == expected and list(said["shares"].values())[0] == max(counts) / 1200
    assert all(Path(f"predictions/a{suffix}").is_file() for suffix in RESULTS)


def test_native_size_is_seen_in_windows_of_the_trained_size(annlib) -> None:
    photo("a.png", (60, 32))
    printed = annlib("predict", "a.png", "--base-size", "none")
    assert "60 x 32 pixels, seen at this size in 6 windows of 32 x 24" in printed
    assert "scaled" not in printed
    printed = annlib("predict", "a.png", "--base-size", "none", "--mode", "whole", "--overwrite")
    assert "seen at this size\n" in printed


def test_options_of_the_test_change_it(annlib) -> None:
    photo("a.png", (60, 80))
    words = ("--base-size", 48, 64, "--scales", 0.5, 1, "--flip", "--mode", "slide")
    windows = ("--window", 24, 24, "--stride", 12, 12)
    assert "scaled to 48 x 64 x 0.5, 1 in " in annlib("predict", "a.png", *words, *windows)
    assert "add --mode slide" in failure(annlib, "predict", "a.png", "--out", "o", *windows)
    told = failure(annlib, "predict", "a.png", "--out", "o", "--base-size", 0, 5)
    assert "--base-size is (0, 5)" in told


def test_bad_files_are_told_last_and_the_others_are_done(annlib, capsys) -> None:
    photo("in/a.png")
    photo("in/c.png", seed=1)
    Path("in/b.jpg").write_bytes(b"no image")
    Path("in/notes.txt").write_text("left out")
    told = failure(annlib, "predict", "in", "missing.png")
    assert "2 could not be segmented:" in told and "notes" not in told
    assert "in/b.jpg cannot be read as an image" in told
    assert "There is no file missing.png" in told
    assert written() == {"a.labels.png", "c.labels.png"}
    assert "in/c.png: " in capsys.readouterr().out


def test_a_single_bad_file_is_told_as_it_is(annlib) -> None:
    assert failure(annlib, "predict", "x.png") == "annlib: There is no file x.png."
    assert ") in x*.png. Folders" in failure(annlib, "predict", "x*.png")
    Path("empty").mkdir()
    assert ") in empty, which holds nothing. Folders" in failure(annlib, "predict", "empty")
    Path("empty/a.heic").touch()
    assert ") in empty, which holds a.heic. Folders" in failure(annlib, "predict", "empty")


def test_equal_names_in_different_folders_keep_their_folders(annlib) -> None:
    photo("day/a/x.png")
    photo("day/b/x.png", seed=1)
    photo("day/b/c/y.png")
    annlib("predict", "day/**/*.png", "day/a/x.png", "--out", "out")  # one of them twice
    assert written("out") == {"a/x.labels.png", "b/x.labels.png", "b/c/y.labels.png"}


def test_names_of_results_differ_whenever_files_do() -> None:
    assert output_names([Path("a/x.jpg"), Path("b/y.jpg")]) == ["x", "y"]
    assert output_names([Path("a/x.jpg"), Path("b/x.jpg")]) == ["a/x", "b/x"]
    assert output_names([Path("a/x.jpg"), Path("a/x.png")]) == ["x.jpg", "x.png"]
    assert output_names([Path("a/x.1.jpg"), Path("a/x.2.jpg")]) == ["x.1", "x.2"]


def test_results_are_replaced_only_when_asked(annlib) -> None:
    photo("a.png")
    annlib("predict", "a.png")
    before = Path("predictions/a.labels.png").read_bytes()
    photo("a.png", (24, 32), seed=1)
    told = failure(annlib, "predict", "a.png")
    assert "predictions/a.overlay.png and 3 more exist already" in told
    assert Path("predictions/a.labels.png").read_bytes() == before
    annlib("predict", "a.png", "--overwrite")
    assert Path("predictions/a.labels.png").read_bytes() != before


def test_results_in_a_folder_are_not_segmented_again(annlib) -> None:
    photo("in/a.png")
    annlib("predict", "in", "--out", "in")
    annlib("predict", "in", "--out", "in", "--overwrite")
    assert written("in") == {"a.labels.png"}


def test_unknown_network_is_told_with_the_shipped_ones(annlib) -> None:
    photo("a.png")
    told = failure(annlib, "predict", "a.png", "--weights", "street_ann")
    assert "No network 'street_ann'. Nearest: streets_ann" in told


def test_video_without_its_reader_is_told_with_the_remedy(annlib, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    Path("clip.mp4").write_bytes(b"frames")
    assert "pip install -e '.[video]'" in failure(annlib, "predict", "clip.mp4")
    assert not Path("predictions").exists()


def test_every_frame_of_a_video_is_segmented_as_an_image(annlib) -> None:
    av = pytest.importorskip("av")
    with av.open("clip.mp4", "w") as file:
        stream = file.add_stream("mpeg4", rate=5, width=64, height=48, pix_fmt="yuv420p")
        for grey in (0, 80, 160, 240):
            frame = np.full((48, 64, 3), grey, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    with av.open("clip.mp4") as file:
        for index, frame in enumerate(file.decode(video=0)):
            frame.to_image().save(f"{index}.png")
    Path("bad.mp4").write_bytes(b"no video")
    told = failure(annlib, "predict", "clip.mp4", "bad.mp4")
    assert "bad.mp4 cannot be read as a video" in told
    annlib("predict", *(f"{index}.png" for index in range(4)))
    said = json.loads(Path("predictions/clip.json").read_text())
    images = [json.loads(Path(f"predictions/{i}.json").read_text()) for i in range(4)]
    assert said["frames"] == [image["shares"] for image in images]
    assert said["frames_a_second"] == 5
    with av.open("predictions/clip.overlay.mp4") as file:
        frames = list(file.decode(video=0))
    assert len(frames) == 4 and frames[0].height > 48  # the legend
    assert sorted(Path("predictions").glob(".*")) == []
