"""Benchmarks made ready, from archives in small that a server on this machine hands out."""

import hashlib
import shutil
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annlib.data import prepare as prepare_module
from annlib.data.classes import PUBLISHED_PICTURES, VOC12AUG
from annlib.data.folders import LISTS, find_pairs
from annlib.data.io import read_labels
from annlib.data.prepare import BY_HAND, prepare
from annlib.data.synthetic import MARK, mimic

SIZE = (32, 48)


@dataclass
class Server:
    """A folder that is handed out, and what was asked for."""

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    served = Server(tmp_path / "served")
    served.folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            served.asked.append(self.path)

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served.folder)))
    served.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield served
    http.shutdown()
    http.server_close()


def offer(server: Server, source: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packs VOC or SBD as it is published, and has it fetched from here."""
    archive: prepare_module.Archive = getattr(prepare_module, name)
    path = server.folder / archive.file
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        folder = archive.folder.partition("/")[0]
        tar.add(source / folder, folder)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(
        prepare_module, name, archive._replace(url=f"{server.url}/{path.name}", md5=md5)
    )


@pytest.fixture
def originals(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VOC and SBD in small, offered by the server; five pictures to train on, two for val."""
    pytest.importorskip("scipy")
    mimic("voc12aug", tmp_path / "originals", 5, 2, SIZE, originals=True)
    for name in ("VOC", "SBD"):
        offer(server, tmp_path / "originals", name, monkeypatch)
    monkeypatch.setitem(PUBLISHED_PICTURES, "voc12aug", {"train": 5, "val": 2})
    return tmp_path / "originals"


def ignore(what: str, done: int, total: int | None) -> None:
    pass


def ready(root: Path) -> dict[str, list[list[int]]]:
    """The labels of every training picture as they are used, by name."""
    images, labels, _ = find_pairs(root, VOC12AUG, "train")
    return {i.stem: read_labels(p).tolist() for i, p in zip(images, labels, strict=True)}


def test_voc_and_sbd_are_fetched_unpacked_and_joined(originals: Path, tmp_path: Path) -> None:
    seen = []
    counts = prepare("voc12aug", tmp_path / "voc", lambda *report: seen.append(report))
    assert counts == {"train": 5, "val": 2}
    home = tmp_path / "voc/VOCdevkit/VOC2012"
    assert len(list((home / "SegmentationClassAug").iterdir())) == 2
    assert {p.suffix for p in find_pairs(home, VOC12AUG, "train").labels} == {".png"}
    assert ready(home) == ready(originals)
    names = (home / LISTS / "trainaug.txt").read_text().split()
    assert sorted(names) == sorted(ready(originals))
    last = {what: (done, total) for what, done, total in seen}
    assert all(done == total > 0 for done, total in last.values())
    assert list(last) == [
        f"unpacking {prepare_module.VOC.file}",
        f"unpacking {prepare_module.SBD.file}",
        "writing SegmentationClassAug",
    ]


def test_second_time_does_nothing(originals: Path, server: Server, tmp_path: Path) -> None:
    root = tmp_path / "voc"
    prepare("voc12aug", root, ignore)
    for path in root.glob("*.t*"):  # archives may go, and so may what was taken from SBD
        path.unlink()
    shutil.rmtree(root / "benchmark_RELEASE")
    server.asked.clear()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert prepare("voc12aug", root, ignore) == {"train": 5, "val": 2}
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert server.asked == []


def test_interrupted_preparation_goes_on(
    originals: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, written = tmp_path / "voc", []

    def once(path: Path) -> object:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        return read_labels(path)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_module, "read_sbd", once)
        with pytest.raises(KeyboardInterrupt):
            prepare("voc12aug", root, ignore)
    home = root / "VOCdevkit/VOC2012"
    assert not (home / LISTS / "trainaug.txt").exists()
    (first,) = (home / "SegmentationClassAug").iterdir()
    before, asked = first.stat().st_mtime_ns, list(server.asked)
    prepare("voc12aug", root, ignore)
    assert (first.stat().st_mtime_ns, server.asked) == (before, asked)
    assert ready(home) == ready(originals)


def test_interrupted_unpacking_leaves_nothing_half_done(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(what: str, done: int, total: int | None) -> None:
        if what.startswith("unpacking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("voc12aug", tmp_path / "voc", interrupted)
    assert [path.name for path in (tmp_path / "voc").iterdir() if path.is_file()] == [
        prepare_module.VOC.file
    ]
    assert prepare("voc12aug", tmp_path / "voc", ignore) == {"train": 5, "val": 2}


def test_damaged_archive_is_told(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "VOC", prepare_module.VOC._replace(md5="0" * 32))
    with pytest.raises(ValueError, match=r"VOCtrainval_11-May-2012\.tar\.part is damaged or"):
        prepare("voc12aug", tmp_path / "voc", ignore)
    assert not (tmp_path / "voc/VOCdevkit").exists()


def test_missing_scipy_is_told_before_gigabytes_have_come(
    originals: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ValueError, match="Preparing VOC 2012 .* scipy"):
        prepare("voc12aug", tmp_path / "voc", ignore)
    assert server.asked == []


@pytest.mark.parametrize("list_name", ["trainaug.txt", "aug.txt"])
def test_labels_that_others_made_ready_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, list_name: str
) -> None:
    mimic("voc12aug", tmp_path / "voc", 5, 2, SIZE)
    lists = tmp_path / "voc/VOCdevkit/VOC2012" / LISTS
    (lists / "trainaug.txt").rename(lists / list_name)
    monkeypatch.setitem(sys.modules, "scipy", None)  # not needed, nor is a network
    assert prepare("voc12aug", tmp_path / "voc", ignore) == {"train": 5, "val": 2}


def packed(name: str, folder: Path) -> Path:
    """A benchmark in the archives that are fetched by hand."""
    mimic(name, folder.with_name("real"), 4, 2, SIZE)
    folder.mkdir()
    for archive in BY_HAND[name]:
        with zipfile.ZipFile(folder / archive.file, "w") as zipped:
            for path in sorted(folder.with_name("real").rglob("*.*")):
                inside = path.relative_to(folder.with_name("real"))
                if path.is_file() and inside.parts[0] == archive.folder:
                    zipped.write(path, inside)
    return folder


@pytest.mark.parametrize("name", ["cityscapes", "ade20k"])
def test_archives_that_lie_there_are_unpacked_and_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = packed(name, tmp_path / "data")
    monkeypatch.setitem(PUBLISHED_PICTURES, name, {"train": 4, "val": 2})
    for _ in range(2):
        assert prepare(name, root, ignore) == {"train": 4, "val": 2}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cityscapes", ["https://www.cityscapes-dataset.com/register/", "gtFine_trainvaltest.zip"]),
        ("ade20k", ["http://sceneparsing.csail.mit.edu", "ADEChallengeData2016.zip"]),
    ],
)
def test_steps_are_told_where_an_account_is_needed(
    tmp_path: Path, name: str, words: list[str]
) -> None:
    with pytest.raises(FileNotFoundError) as error:
        prepare(name, tmp_path / "data", ignore)
    counts = [str(count) for count in PUBLISHED_PICTURES[name].values()]
    for word in (*words, *counts, f"{tmp_path}/data", "{train,val" * (name == "cityscapes")):
        assert word in str(error.value)


def test_number_of_pictures_that_is_not_the_published_one_is_told(tmp_path: Path) -> None:
    root = packed("cityscapes", tmp_path / "data")
    message = r"not whole \(2 problems\).* train: 4 pictures, but cityscapes has 2975 \(All of them"
    with pytest.raises(ValueError, match=message):
        prepare("cityscapes", root, ignore)


def test_labels_of_another_kind_are_found(tmp_path: Path) -> None:
    mimic("ade20k", tmp_path / "data", 4, 2, SIZE)
    for path in (tmp_path / "data").rglob("annotations/*/*.png"):
        Image.fromarray(np.full(read_labels(path).shape, 251, np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"not whole \(6 problems\).*holds the label 251"):
        prepare("ade20k", tmp_path / "data", ignore)


def test_archive_that_is_missing_is_named(tmp_path: Path) -> None:
    root = packed("cityscapes", tmp_path / "data")
    (root / "gtFine_trainvaltest.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"\nNot there yet: gtFine_trainvaltest\.zip$"):
        prepare("cityscapes", root, ignore)
    assert (root / "leftImg8bit").is_dir()


def test_folder_itself_may_be_named(tmp_path: Path) -> None:
    mimic("ade20k", tmp_path / "data", 4, 2, SIZE)
    (tmp_path / "data/ADEChallengeData2016").rename(tmp_path / "ade")
    (tmp_path / "data" / MARK).rename(tmp_path / MARK)
    assert prepare("ade20k", tmp_path / "ade", ignore) == {"train": 4, "val": 2}
