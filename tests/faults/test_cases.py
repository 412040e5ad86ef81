"""One small input of each kind that people reported for other tools, and what is right for it."""

import asyncio
import struct
import zlib
from pathlib import Path

import nbformat
import numpy as np
import pytest
from failing import failure
from grader.in_process import in_process
from PIL import Image

from annlib.course.assignments.a1 import A1
from annlib.course.sweeping import make_grid, read_grid
from annlib.data.io import read_image, read_labels
from annlib.grader.intake import collect, parsed
from annlib.grader.release import edition
from annlib.grader.worker import Shell

pytestmark = pytest.mark.fault("input of a kind that gave a silent wrong number elsewhere")
ROOT = Path(__file__).parents[2]
FILES = Path(__file__).parent / "cases"
NAMES = ("road", "sky", "tree")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of one pair in each split: three classes in stripes."""
    root = tmp_path / "data"
    for number, split in enumerate(("train", "val")):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / split / "images/p.png")
        write_labels(root / split / "labels/p.png", stripes())
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return root


def stripes(values: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    return np.array(values, np.uint8)[np.arange(24) * len(values) // 24][:, None].repeat(32, 1)


def write_labels(path: Path, values: np.ndarray, **options: object) -> None:
    Image.fromarray(values).save(path, **options)


def each_label(data: Path) -> list[Path]:
    return [data / split / "labels/p.png" for split in ("train", "val")]


def test_files_that_macos_adds_are_left_out(annlib, data: Path) -> None:
    for path in [*data.rglob("p.png")]:
        path.with_name("._p.png").write_bytes(b"\0\5\x16\7" + bytes(100))
    assert "Problems: none" in annlib("data", "check", "folder", data)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_are_the_values_in_the_file(tmp_path: Path, bits: int) -> None:
    values = stripes(tuple(range(2**bits)))
    (tmp_path / "few.png").write_bytes(grey_png(values, bits))
    assert np.array_equal(read_labels(tmp_path / "few.png").numpy(), values)


def grey_png(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of few bits, which Pillow does not write (PNG specification, section 11)."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    height, width = values.shape
    parts = [
        values[:, place :: 8 // bits] << (8 - bits * (place + 1)) for place in range(8 // bits)
    ]
    rows = np.pad(sum(parts).astype(np.uint8), ((0, 0), (1, 0))).tobytes()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    image = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + image + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_label_files_in_a_lossy_format_are_refused_by_their_content(
    annlib, data: Path, form: str
) -> None:
    for path in each_label(data):
        write_labels(path, stripes(), format=form)
    for words in (
        ("data", "check", "folder", data),
        ("train", "photos_ann", "--iterations", 1, "--data", data),
    ):
        assert "Problems: none" not in failure(annlib, *words)


def test_two_images_for_one_label_file_are_a_problem(annlib, data: Path) -> None:
    image = data / "train/images/p.png"
    Image.open(image).save(image.with_suffix(".jpg"))
    assert "problems" in failure(annlib, "data", "check", "folder", data)
    assert "2 images for the label file" in failure(
        annlib, "train", "photos_ann", "--iterations", 1, "--data", data
    )


def test_masks_of_0_and_255_are_told_before_training(annlib, data: Path) -> None:
    (data / "classes.txt").write_text("background\npolyp\n")
    for path in each_label(data):
        write_labels(path, stripes((0, 255, 0)))
    said = failure(annlib, "train", "photos_ann", "--iterations", 1, "--data", data)
    assert "class 'polyp' never occurs" in said and "255 covers 33.3 %" in said
    assert "`255=1`" in said  # the cure, which works:
    (data / "classes.txt").write_text("background\npolyp\n255=1\n")
    assert "Problems: none" in annlib("data", "check", "folder", data)


def test_palette_in_another_order_than_the_class_list_is_told(annlib, data: Path) -> None:
    colours = {"road": (9, 9, 9), "sky": (0, 0, 200), "tree": (0, 200, 0)}
    lines = [f"{name} {' '.join(map(str, colour))}\n" for name, colour in colours.items()]
    (data / "classes.txt").write_text("".join(lines))

    def paint(*names: str) -> None:
        for path in each_label(data):
            image = Image.fromarray(stripes(), "L").convert("P")
            image.putpalette(sum((colours[name] for name in names), ()))
            image.save(path)

    paint("road", "sky", "tree")
    assert "Problems: none" in annlib("data", "check", "folder", data)
    paint("sky", "road", "tree")
    said = failure(annlib, "train", "photos_ann", "--iterations", 1, "--data", data)
    assert "the value 0 is road" in said and "the colour of sky" in said


def test_sweep_values_are_brought_to_one_form_before_twins_are_looked_for(tmp_path: Path) -> None:
    parameters = 'pool_scales = "1,3,6,8"\nseed = 0\nlr = 0.1\nbins = [1, 3]\n'
    cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "job.ipynb")

    def grid(**values: list) -> list[dict]:
        made = make_grid(tmp_path / "job.ipynb", values)
        return [one.parameters for one in made.combinations]

    for twins in ({"pool_scales": ["1,3", [1, 3]]}, {"pool_scales": ["1,3", "1, 3"]}):
        with pytest.raises(ValueError, match="are the same"):
            grid(**twins)
    for twins in ({"seed": [1, 1.0]}, {"lr": [1, 1.0]}, {"pool_scales": [6, "6"]}):
        with pytest.raises(ValueError, match="are the same"):
            grid(**twins)
    assert grid(pool_scales=[[1, 3], [1, 6]])[0]["pool_scales"] == "1,3"
    for wrong in ({"seed": ["0"]}, {"seed": [True]}, {"seed": [0.5]}, {"lr": [float("nan")]}):
        with pytest.raises(ValueError, match="has to be of the type"):
            grid(**wrong)


def test_sixteen_bits_look_the_same_in_the_explorer_and_to_predict(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 128 * 192).reshape(128, 192).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    from annlib.course.widgets.explorer import attention_explorer
    from annlib.data.balloon_town.dataset import make_scene
    from annlib.model.build import shipped_model

    explorer = attention_explorer(shipped_model("balloon_ann"), make_scene(0))
    explorer.add_photo("ramp.png", (tmp_path / "ramp.png").read_bytes())
    shown = explorer.subjects[explorer.image].image
    assert abs(shown.mean() - 127.5) < 0.5
    assert np.array_equal(shown, read_image(tmp_path / "ramp.png").permute(1, 2, 0).numpy())


def test_predict_says_that_it_took_the_first_of_several_images(annlib, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (48, 32), colour) for colour in ("red", "blue", "green")]
    for name in ("a.gif", "b.tiff"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        said = annlib("predict", tmp_path / name, "--weights", "balloon_ann")
        assert "the first of 3 images in the file" in said


# The files of each case, as they were found


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("D1/data", ""),
        ("D3/data", ""),
        ("D3/data_loud", ""),
        ("D4/data", "is compressed as JPEG"),
        ("D6/data", "2 images for the label file"),
        ("D8/data", "the class 'polyp' never occurs"),
    ],
)
def test_the_data_of_a_case_are_taken_or_refused_before_training(annlib, case, said: str) -> None:
    folder = FILES / case
    if said:
        assert "problems" in failure(annlib, "data", "check", "folder", folder)
        words = ("train", "photos_fcn", "--iterations", 1, "--data", folder)
        assert said in failure(annlib, *words)
        return
    assert annlib("data", "check", "folder", folder).count("Problems: none") == 2
    (label,) = (path for path in folder.glob("train/labels/*.png") if path.name[0] != ".")
    drawn = {"D1/data": [0, 1, 2], "D3/data": [0, 3], "D3/data_loud": [0, 1, 2, 3]}
    assert read_labels(label).unique().tolist() == drawn[case]


def test_the_grid_and_the_grey_image_of_a_case_are_read_as_they_should() -> None:
    with pytest.raises(ValueError, match="Combinations 1 and 2 are the same"):
        read_grid(FILES / "P1/twins.json")
    assert read_image(FILES / "W3/ramp16.png").float().mean() == 127.5


@pytest.mark.parametrize("case", ["G1", "G2", "G3", "grading"])
def test_the_submissions_of_a_case_get_all_their_points(case: str, capsys) -> None:
    folder = FILES / case / "subs" if case != "grading" else FILES / case
    for found in collect(folder, A1):
        assert not found.problem and found.open_answers["measured-ratio"]
        short = [cell for cell in found.cells if "perf_counter" not in cell]  # these take minutes
        marks, failures = in_process(short, A1)
        assert failures == [] and not any(mark.misconception for mark in marks)
    answers = {one.student: one.open_answers["measured-ratio"] for one in collect(folder, A1)}
    if case == "G1":
        both = "First half: the ratio is 12.\n\nSecond half: because of the convolutions."
        assert answers["11_open_split_in_two"] == both


# The grader


def notebook(cells: list[tuple[str, str, list[str]]]) -> bytes:
    made = [
        getattr(nbformat.v4, f"new_{kind}_cell")(source, metadata={"tags": tags})
        for kind, source, tags in cells
    ]
    return nbformat.writes(nbformat.v4.new_notebook(cells=made)).encode()


def test_an_open_answer_in_two_cells_reaches_the_reader_whole() -> None:
    question = A1.questions[0].name
    content = notebook(
        [
            ("markdown", "First piece.", [f"open:{question}"]),
            ("markdown", "Second piece.", [f"open:{question}"]),
            ("markdown", "A new cell below.", []),
        ]
    )
    _, answers = parsed(content, "A1.ipynb", A1)
    assert answers == {question: "First piece.\n\nSecond piece.\n\nA new cell below."}


@pytest.mark.parametrize(
    "source",
    ["    def f(x):\n        return x + 1", "import asyncio\nawait asyncio.sleep(0)\nf = abs"],
)
def test_an_indented_cell_and_await_at_top_level_run_as_in_jupyter(source: str) -> None:
    names, loop = {}, asyncio.new_event_loop()
    Shell(names, loop).run_cell(source)
    loop.close()
    assert callable(names["f"])


def test_the_filled_notebook_is_graded_and_the_untouched_one_is_noted(tmp_path: Path) -> None:
    folder = tmp_path / "subs/anna"
    folder.mkdir(parents=True)
    (folder / "A1.ipynb").write_text(edition(ROOT, A1, "learner"), encoding="utf-8")
    (folder / "A1 (1).ipynb").write_text(edition(ROOT, A1, "solution"), encoding="utf-8")
    (found,) = collect(folder.parent, A1)
    assert not found.problem
    assert found.note == "A1 (1).ipynb was graded; not graded: A1.ipynb."
