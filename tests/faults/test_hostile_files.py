"""Files made to do harm, or damaged at random: one clear error, or what they hold; never more.

Each parser gets random files within a fixed budget, and what was found stays as a case of its own.
"""

import gzip
import io
import json
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_pictures import save_tiny
from tiny import TINY

from annlib.config import experiment_from
from annlib.course.running.release import lesson_page
from annlib.data import prepare as prepare_module
from annlib.data.classes import folder_spec
from annlib.data.io import read_image, read_labels, read_text
from annlib.data.prepare import unpack
from annlib.engine.predictor import network_of
from annlib.engine.runs import read_lines
from annlib.engine.trainer import read_experiment
from annlib.experiments import LAPTOP
from annlib.files import read_json
from annlib.grader.archives import Unreadable, opened_zip
from annlib.grader.intake import notebook_cells
from annlib.model.checkpoint import checksum, load, read_header
from annlib.model.convert import read_weights

pytestmark = pytest.mark.fault("hostile or damaged file")
SHARED = {"deadline": None, "derandomize": True, "database": None}
SHARED |= {"suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


def fuzz(few: int, many: int) -> Callable:
    """hypothesis with a fixed budget: few examples in the fast suite, many under `all`."""
    marks = (pytest.mark.all, pytest.mark.timeout(3000))
    return pytest.mark.parametrize("budget", [few, pytest.param(many, marks=marks)])


def each_example(strategy: st.SearchStrategy, budget: int, call: Callable[[object], None]) -> None:
    settings(max_examples=budget, **SHARED)(given(strategy)(call))()


def read_or_refuse(call: Callable[[], object], *errors: type) -> None:
    """The call succeeds or raises one of the errors that users may see."""
    try:
        call()
    except (ValueError, FileNotFoundError, *errors) as error:
        assert str(error)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save_tiny(tmp_path_factory.mktemp("c") / "a.safetensors").read_bytes()


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """The content with some bytes changed, cut out or repeated."""
    place = st.integers(0, len(content) - 1)
    changes = st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4)

    def changed(pairs: list[tuple[int, int]]) -> bytes:
        array = bytearray(content)
        for at, value in pairs:
            array[at] = value
        return bytes(array)

    cut = st.tuples(place, place).map(lambda two: content[: min(two)] + content[max(two) :])
    return st.one_of(changes.map(changed), cut, place.map(lambda at: content[:at]))


# Checkpoints


def test_a_checkpoint_cut_at_every_64th_is_refused(tmp_path: Path, checkpoint: bytes) -> None:
    for part in range(64):
        (tmp_path / "a.safetensors").write_bytes(checkpoint[: part * len(checkpoint) // 64])
        for reader in (load, read_header):
            with pytest.raises(ValueError, match="damaged|half written|no checkpoint"):
                reader(tmp_path / "a.safetensors")


def forged(tmp_path: Path, checkpoint: bytes, **changes: object) -> Path:
    """The checkpoint with other facts, and a checksum that fits them."""
    (tmp_path / "a.safetensors").write_bytes(checkpoint)
    kept = load(tmp_path / "a.safetensors")
    tensors = {f"model.{key}": value for key, value in kept.model.items()}
    tensors |= changes.pop("tensors", {})
    facts = {"config": asdict(kept.config), "step": 3, "notes": dict(kept.notes)} | changes
    text = facts.pop("text", None) or json.dumps(facts)
    from safetensors.torch import save_file

    metadata = {"annlib": text, "crc32": checksum(text, tensors)}
    save_file(tensors, tmp_path / "forged.safetensors", metadata)
    return tmp_path / "forged.safetensors"


@pytest.mark.parametrize(
    "changes",
    [
        {"text": "[1, 2]"},
        {"text": "{" * 10},
        {"text": "[" * 100_000},
        {"config": {"depth": "9", "num_classes": 5}},
        {"config": {"depth": 9, "num_classes": 5, "turbo": True}},
        {"config": asdict(TINY) | {"hidden_channels": 10**9}},
        {"config": asdict(TINY) | {"num_classes": 10**30}},
        {"config": asdict(TINY) | {"dropout": float("nan")}},
        {"config": asdict(TINY) | {"align_corners": "no"}},
        {"config": asdict(TINY) | {"pool_scales": [1] * 5000}},
        {"step": "three"},
        {"notes": []},
        {"optimizer_keys": {"0": ["momentum_buffer"]}, "param_groups": [{}]},
        {"notes": {"classes": {"name": 3}}},
        {"notes": {"classes": {"name": "a", "class_names": ["a"] * 5, "palette": [[0, 0, 999]]}}},
        {"notes": {"classes": [], "experiment": {}}},
        {"notes": {"experiment": {"model": []}}},
        {"tensors": {"model.classifier.bias": torch.full((5,), float("nan"))}},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_checkpoint_that_lies_is_refused(tmp_path, checkpoint: bytes, changes: dict) -> None:
    path = forged(tmp_path, checkpoint, **changes)
    with pytest.raises(ValueError, match="forged.safetensors|experiment"):
        network_of(load(path)).load()


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**63]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
    ],
)
def test_a_header_that_lies_about_its_tensors_is_refused(tmp_path: Path, entry: dict) -> None:
    header = json.dumps({"a": entry}).encode()
    for length in (len(header), 2**40, 2**63):
        content = length.to_bytes(8, "little") + header + bytes(8)
        (tmp_path / "a.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.safetensors is"):
            load(tmp_path / "a.safetensors")


class Harm:
    def __reduce__(self) -> tuple:
        return (print, ("executed",))


def test_no_reader_of_weights_executes_a_pickle(tmp_path: Path, capsys) -> None:
    torch.save({"state_dict": Harm()}, tmp_path / "a.pth")
    for reader in (load, read_weights):
        with pytest.raises(ValueError, match="run any code"):
            reader(tmp_path / "a.pth")
    assert "executed" not in capsys.readouterr().out
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert "executed" in capsys.readouterr().out, "the file is what it claims to be"


@fuzz(60, 2000)
def test_random_damage_to_a_checkpoint_is_never_taken_for_weights(
    tmp_path: Path, checkpoint: bytes, budget: int
) -> None:
    path = tmp_path / "a.safetensors"

    def one(content: bytes) -> None:
        path.write_bytes(content)
        if content != checkpoint:
            with pytest.raises(ValueError, match=r"a\.safetensors"):
                load(path)

    each_example(damaged(checkpoint), budget, one)


# Images


def image_bytes(form: str, **options: object) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of 10 KB that claims 60,000 x 60,000 pixels."""
    content = bytearray(image_bytes("PNG"))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize("reader", [read_image, read_labels])
def test_a_decompression_bomb_is_refused(tmp_path: Path, reader: Callable) -> None:
    (tmp_path / "a.png").write_bytes(bomb())
    with pytest.raises(ValueError, match="cannot be read as an image"):
        reader(tmp_path / "a.png")


def test_an_animated_image_gives_its_first_frame_and_a_wrong_suffix_does_not_matter(
    tmp_path: Path,
) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.png")[:, 0, 0].tolist() == [255, 0, 0]
    (tmp_path / "b.jpg").write_bytes(image_bytes("PNG"))
    assert read_image(tmp_path / "b.jpg").shape == (3, 12, 16)


@fuzz(25, 4000)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_random_damage_to_an_image_gives_an_image_or_an_error(
    tmp_path: Path, form: str, budget: int
) -> None:
    path, content = tmp_path / "a.png", image_bytes(form)

    def one(content: bytes) -> None:
        path.write_bytes(content)
        with warnings.catch_warnings(action="ignore"):  # Pillow's, on damage that it passes over
            read_or_refuse(lambda: read_image(path))
            read_or_refuse(lambda: read_labels(path))

    each_example(damaged(content), budget, one)


# Archives


def zipped(*entries: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def tarred(*members: tuple[str, dict, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, attributes, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for key, value in attributes.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


LINK = {"type": tarfile.SYMTYPE, "linkname": "../../outside"}
HARD = {"type": tarfile.LNKTYPE, "linkname": "../outside"}
HOSTILE = {
    "up.zip": zipped(("../outside", b"x"), ("a/b", b"x")),
    "absolute.zip": zipped(("/outside", b"x"), ("a/b", b"x")),
    "up.tgz": tarred(("../outside", {}, b"x")),
    "absolute.tgz": tarred(("/tmp/outside-of-annlib", {}, b"x")),
    "link.tgz": tarred(("a", LINK, b""), ("a/b", {}, b"x")),
    "hard.tgz": tarred(("a/b", HARD, b"")),
    "device.tgz": tarred(("a/b", {"type": tarfile.CHRTYPE}, b"")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_writes_nothing_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / "deep/root"
    root.mkdir(parents=True)
    (root / name).write_bytes(HOSTILE[name])
    read_or_refuse(lambda: unpack(root / name, root, "a"), OSError)
    left = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert left == {"deep"} and not Path("/tmp/outside-of-annlib").exists()
    assert {path.name for path in root.iterdir()} <= {name, "a"}
    assert not any(path.is_symlink() for path in root.rglob("*"))


@pytest.mark.parametrize("suffix", ["zip", "tgz"])
def test_an_archive_larger_than_the_disk_is_refused_before_it_fills_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    content = bytes(10**6)
    packed = zipped(("a/b", content)) if suffix == "zip" else tarred(("a/b", {}, content))
    assert len(packed) < 10_000
    (tmp_path / f"a.{suffix}").write_bytes(packed)
    usage = prepare_module.shutil.disk_usage(tmp_path)._replace(free=10**6 - 1)
    monkeypatch.setattr(prepare_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="larger than the free space"):
        unpack(tmp_path / f"a.{suffix}", tmp_path, "a")
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{suffix}"]


@fuzz(20, 2000)
@pytest.mark.parametrize("form", ["zip", "tar", "tgz"])
def test_random_damage_to_an_archive_of_a_student_gives_its_files_or_one_error(
    form: str, budget: int
) -> None:
    def one(data: bytes) -> None:
        def read_all() -> None:
            for read in opened_zip(data).values():
                read()

        read_or_refuse(read_all, Unreadable)

    whole = tarred(("A1.ipynb", {}, b"{}"), ("b/c.csv", {}, b"1,2\n" * 20))
    data = gzip.decompress(whole)[: 5 * 512] if form == "tar" else whole
    data = zipped(("A1.ipynb", b"{}"), ("b/c.csv", b"1,2\n" * 20)) if form == "zip" else data
    each_example(damaged(data), budget, one)


# JSON and text

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@fuzz(37, 5000)
def test_an_experiment_with_any_value_in_any_place_is_built_whole_or_refused(budget: int) -> None:
    plain = json.loads(json.dumps(asdict(LAPTOP["photos_ann"])))
    places = [(part, key) for part in ("model", "data", "train", "test") for key in plain[part]]

    def one(change: tuple[tuple[str, str], object]) -> None:
        (part, key), value = change
        values = plain | {part: plain[part] | {key: value}}
        try:
            made = experiment_from(values)
        except ValueError as error:
            assert str(error)
        else:
            assert json.loads(json.dumps(asdict(made))) == values

    each_example(st.tuples(st.sampled_from(places), JSON), budget, one)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"name": 1, "name": 2}', "comes twice"),
        ("[" * 100_000, "not JSON"),
        ('{"a": 1,}', "comma"),
        ("\udcff", "not JSON"),
        ('{"name": "x"}', "another version"),
        ("3", "another version"),
    ],
)
def test_settings_of_a_run_that_were_changed_are_refused(tmp_path, text: str, said: str) -> None:
    (tmp_path / "experiment.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=said):
        read_experiment(tmp_path)


@fuzz(25, 3000)
def test_any_bytes_are_read_or_refused_by_the_readers_of_text(tmp_path: Path, budget: int) -> None:
    path = tmp_path / "classes.txt"
    lines = st.sampled_from([b"road 1 2 3\n", b"0: sky\n", b"255=1\n", b"ignore 7\n", b"a,b\n"])
    content = st.binary(max_size=40) | st.lists(lines | st.binary(max_size=6)).map(b"".join)

    def one(data: bytes) -> None:
        path.write_bytes(data)
        for reader in (read_text, read_json, read_lines):
            read_or_refuse(lambda reader=reader: reader(path))
        read_or_refuse(lambda: folder_spec(tmp_path))

    each_example(content, budget, one)


# Notebooks


def test_script_in_a_notebook_does_not_reach_the_pages_that_we_make(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    cells = [
        nbformat.v4.new_markdown_cell(f"# Title {script}\n<img src=x onerror=alert(1)>"),
        nbformat.v4.new_code_cell("1"),
    ]
    outputs = [{"text/plain": script}, {"image/png": f'x"><script>{"a" * 9}', "text/plain": "i"}]
    cells[1].outputs = [nbformat.v4.new_output("display_data", data=data) for data in outputs]
    cells[1].outputs[1].metadata = {"image/png": {"alt": f'"{script}'}}
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["title"] = f"</title>{script}"
    page = lesson_page(notebook, "lesson", tmp_path)
    assert "<script" not in page and "onerror=" not in page
    assert "&lt;script&gt;alert(1)" in page, "it is shown as text"


@fuzz(25, 3000)
def test_any_json_is_read_as_cells_or_refused(budget: int) -> None:
    cell = st.dictionaries(
        st.sampled_from(["cell_type", "source", "metadata", "outputs", "attachments"]), JSON
    )
    notebook = st.fixed_dictionaries({"cells": st.lists(cell | JSON, max_size=3)}) | JSON
    each_example(
        notebook,
        budget,
        lambda value: read_or_refuse(lambda: notebook_cells(json.dumps(value)), Unreadable),
    )


def test_a_notebook_of_brackets_is_refused() -> None:
    with pytest.raises((Unreadable, RecursionError)):
        notebook_cells("[" * 100_000)
