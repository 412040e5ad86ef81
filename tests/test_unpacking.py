"""Archives are unpacked whole or not at all, and never outside the folder meant."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from annlib.data import prepare
from annlib.data.prepare import unpack

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


def ignore(done: int, total: int | None) -> None:
    pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("folder", ["a", "a/b"])
def test_folder_is_unpacked_into_its_place(tmp_path: Path, kind: str, folder: str) -> None:
    seen = []
    archive = pack(tmp_path / f"x.{kind}", FILES)
    unpack(archive, tmp_path, folder, lambda done, total: seen.append((done, total)))
    there = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / "a").rglob("*.txt")}
    assert there == {name for name in FILES if name.startswith(f"{folder}/")}
    assert all((tmp_path / name).read_bytes() == FILES[name] for name in there)
    assert seen == sorted(seen)
    assert 0 < seen[-1][0] <= seen[-1][1]


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("x."))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../outside.txt", "a/../../outside.txt", "/tmp/annlib_outside"])
def test_nothing_is_written_outside(tmp_path: Path, kind: str, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    archive = pack(root / f"x.{kind}", {"a/b.txt": b"", name: b"!"})
    if kind != "zip" and name.startswith("/"):  # tarfile takes the slash away instead
        unpack(archive, root, "a", ignore)
    else:
        with pytest.raises(ValueError, match="outside"):
            unpack(archive, root, "a", ignore)
        assert left_over(root) == []
    assert not (tmp_path / "outside.txt").exists()
    assert not Path("/tmp/annlib_outside").exists()


def test_link_that_leads_outside_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        link = tarfile.TarInfo("a/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(ValueError, match=r"x\.tar cannot be unpacked"):
        unpack(tmp_path / "x.tar", tmp_path, "a", ignore)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
def test_archive_that_is_cut_off_is_told_and_nothing_stays(
    tmp_path: Path, kind: str, share: float
) -> None:
    archive = pack(tmp_path / f"x.{kind}", {"a/b": bytes(range(256)) * 400})
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"x\.{kind} cannot be unpacked .*: delete it, fetch"):
        unpack(archive, tmp_path, "a", ignore)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_another_archive_is_told(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ValueError, match=r"holds no folder leftImg8bit: it is another archive"):
        unpack(pack(tmp_path / f"x.{kind}", FILES), tmp_path, "leftImg8bit", ignore)
    assert left_over(tmp_path) == []


def test_full_disk_is_told_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(archive: Path, folder: Path, progress: object) -> None:
        (folder / "a").mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare, "extract_zip", full)
    with pytest.raises(OSError, match=r"No space left on device\); what .* removed. Make room"):
        unpack(pack(tmp_path / "x.zip", FILES), tmp_path, "a", ignore)
    assert left_over(tmp_path) == []


def test_folder_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FileExistsError, match=r"/a is there already, but not all .* x\.tar puts"):
        unpack(pack(tmp_path / "x.tar", FILES), tmp_path, "a", ignore)
    assert left_over(tmp_path) == ["a"]


def test_older_folders_beside_stay(tmp_path: Path) -> None:
    (tmp_path / "VOCdevkit" / "VOC2007").mkdir(parents=True)
    archive = pack(tmp_path / "x.tar", {"VOCdevkit/VOC2012/a.txt": b"a"})
    unpack(archive, tmp_path, "VOCdevkit/VOC2012", ignore)
    assert left_over(tmp_path / "VOCdevkit") == ["VOC2007", "VOC2012"]
    shutil.rmtree(tmp_path / "VOCdevkit")
