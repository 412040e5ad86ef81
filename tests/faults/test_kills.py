"""SIGKILL at random moments: whatever is half done, the same command finishes it, and equally.

The moments are drawn over the length of an uninterrupted run, with the seed FAULT_SEED (0 if not
set), which `make faults` prints. Processes are forked from this one, which has imported torch
already. In `make test` the tests of runs, evaluations, sweeps and grading hold one kill each.
"""

import itertools
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import nbformat
import pytest
import small_town
import torch
from file_server import Files, serving
from forked import Call, Child, annlib, forked, ranks, started_by
from small_pictures import save_tiny, write_pictures

from annlib.data import prepare as prepare_module
from annlib.download import download
from annlib.engine import trainer
from annlib.model.checkpoint import load

pytestmark = [pytest.mark.all, pytest.mark.timeout(3000)]
STEPS, SEED = 24, int(os.environ.get("FAULT_SEED", "0"))


def tries(few: int, many: int) -> pytest.MarkDecorator:
    """The test's argument `tries`: few in the usual suites, many under `all`."""
    return pytest.mark.parametrize("tries", [few, pytest.param(many, marks=pytest.mark.all)])


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Small experiments and frequent checkpoints."""
    for module, name, value in small_town.CHANGES:
        patch.setattr(module, name, value)
    patch.setattr(trainer, "SAVE_EVERY", 2)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """A fork is safe where no thread works."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def moments(seconds: float, tries: int) -> list[float]:
    """Random times within a run of so many seconds."""
    drawn = random.Random(f"{SEED} {tries}")
    return [drawn.uniform(0.0, seconds) for _ in range(tries)]


# Training


def train(folder: Path, *others: object) -> tuple[object, ...]:
    words = ("train", "balloon_ann", "--iterations", STEPS, "--score-every", 6, "--out", folder)
    return (*words, *others)


def has_checkpoint(folder: Path) -> bool:
    """Whether the run has one; all that are there must be whole."""
    for path in folder.glob("*.safetensors"):
        load(path)
    return (folder / "last.safetensors").exists()


def go_on(folder: Path, *others: object) -> tuple[object, ...]:
    """The command that the user gives after a kill."""
    start = ("train", "--resume", folder) if has_checkpoint(folder) else train(folder)
    return (*start, *others)


def done(folder: Path) -> bool:
    return has_checkpoint(folder) and load(folder / "last.safetensors").step == STEPS


def same_run(folder: Path, whole: Path) -> None:
    ours, theirs = (load(place / "last.safetensors") for place in (folder, whole))
    assert ours.step == theirs.step == STEPS
    assert all(torch.equal(ours.model[key], theirs.model[key]) for key in theirs.model)
    assert (folder / "history.jsonl").read_bytes() == (whole / "history.jsonl").read_bytes()
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An uninterrupted run, and the seconds that the faster of two took."""
    folders = [tmp_path_factory.mktemp("whole") / name for name in ("first", "second")]
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        return folders[0], min(forked(annlib(*train(folder)))[1] for folder in folders)


@pytest.mark.fault("kill -9 of training")
@tries(2, 100)
def test_training_killed_at_random_moments_equals_the_uninterrupted_run(
    tmp_path: Path, record_property: Callable, whole: tuple[Path, float], tries: int
) -> None:
    inside = 0
    for number, moment in enumerate(moments(whole[1], tries)):
        folder = tmp_path / f"run{number}"
        finished, _ = forked(annlib(*train(folder)), moment)
        inside += not finished
        before = has_checkpoint(folder)
        if not finished:  # a second kill, in the resumed part
            forked(annlib(*go_on(folder)), moment / 2)
            assert has_checkpoint(folder) or not before
            assert forked(annlib(*go_on(folder)))[0]  # of a whole run: scores it again
        same_run(folder, whole[0])
        shutil.rmtree(folder)
    record_property("tries", tries)
    assert tries < 10 or inside > tries / 2, "most of the moments must lie inside the run"


def dies_in_write(number: int, place: str, words: tuple[object, ...]) -> Call:
    """A command that kills itself in its write of that number: half way, or around the rename."""
    writes, plain_fsync, plain_replace = itertools.count(), os.fsync, os.replace

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fsync(file: int) -> None:
        if next(writes) == number:
            os.ftruncate(file, os.fstat(file).st_size // 2)
            die()
        plain_fsync(file)

    def replace(source: object, target: object) -> None:
        is_now = next(writes) == number
        if is_now and place == "before the rename":
            die()
        plain_replace(source, target)
        if is_now:
            die()

    def call() -> None:
        if place == "half of it":
            os.fsync = fsync
        else:
            os.replace = replace
        annlib(*words)()

    return call


@pytest.mark.fault("kill -9 inside a checkpoint write")
@pytest.mark.parametrize("place", ["half of it", "before the rename", "after the rename"])
@tries(1, 10)
def test_training_killed_inside_a_write_equals_the_uninterrupted_run(
    tmp_path: Path, record_property: Callable, whole: tuple[Path, float], place: str, tries: int
) -> None:
    for number in random.Random(f"{SEED} {place}").sample(range(2, 24), tries):
        folder = tmp_path / f"run{number}"
        assert not forked(dies_in_write(number, place, train(folder)))[0]
        assert forked(annlib(*go_on(folder)))[0]
        same_run(folder, whole[0])
        shutil.rmtree(folder)
    record_property("tries", tries)


def without_its_worker(words: tuple[object, ...], moment: float) -> Call:
    """A command whose data worker is killed after so many seconds, if it lives then.

    Exits with 0 if the command ended, or stopped with a message that says how to go on.
    """

    def call() -> None:
        main = os.getpid()
        if os.fork() == 0:
            time.sleep(moment)
            for child in {*started_by(main)} - {os.getpid()}:
                os.kill(child, signal.SIGKILL)
            os._exit(0)
        try:
            annlib(*words)()
        except SystemExit as stop:
            assert "data worker" in stop.code, stop.code
            assert "To go on" in stop.code or "the same command again" in stop.code, stop.code

    return call


@pytest.mark.fault("kill -9 of the data worker")
@tries(2, 20)
def test_run_whose_data_worker_is_killed_says_how_to_go_on_and_equals_the_others(
    tmp_path: Path, record_property: Callable, whole: tuple[Path, float], tries: int
) -> None:
    for number, moment in enumerate(moments(whole[1], tries)):
        folder = tmp_path / f"run{number}"
        forked(without_its_worker(train(folder, "--workers", 1), moment))
        if not done(folder):
            assert forked(annlib(*go_on(folder, "--workers", 1)))[0]
        same_run(folder, whole[0])
        shutil.rmtree(folder)
    record_property("tries", tries)


def together(words: tuple[object, ...], victim: int = 0, moment: float | None = None) -> float:
    """Both processes of a run; one is killed after so many seconds.  -> seconds in all"""
    both = ranks(2, annlib(*words, "--device", "cpu"))
    if moment is None:
        assert [one.wait() for one in both] == [0, 0], both[0].output() + both[1].output()
    elif both[victim].wait(moment) is None:
        both[victim].kill()
        other = both[1 - victim]  # torchrun would end it, too
        if other.wait(moment + 0.5) is None:
            other.kill()
    else:
        both[1 - victim].wait()
    return time.perf_counter() - both[0].started


@pytest.mark.fault("kill -9 of one DDP rank")
@tries(1, 12)
def test_run_of_two_processes_goes_on_after_the_death_of_either(
    tmp_path: Path, record_property: Callable, tries: int
) -> None:
    seconds = together(train(tmp_path / "two"))
    for number, moment in enumerate(moments(seconds, tries)):
        folder = tmp_path / f"run{number}"
        together(train(folder), number % 2, moment)
        if not done(folder):
            together(go_on(folder))
        same_run(folder, tmp_path / "two")
        shutil.rmtree(folder)
    record_property("tries", tries)


# Evaluation, data, downloads


@pytest.mark.fault("kill -9 of an evaluation")
@tries(2, 30)
def test_evaluation_killed_at_random_moments_ends_with_the_same_scores(
    tmp_path: Path, record_property: Callable, tries: int
) -> None:
    save_tiny(tmp_path / "tiny.safetensors")
    write_pictures(tmp_path / "data", 40)
    words = ("evaluate", tmp_path / "tiny.safetensors", "--data", tmp_path / "data", "--out")
    _, seconds = forked(annlib(*words, tmp_path / "whole", "--save-pictures"))

    def result(folder: Path) -> dict[str, object]:
        scores = json.loads((folder / "scores.json").read_text())
        del scores["made"]
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {"scores": scores} | {
            str(path.relative_to(folder)): path.read_bytes()
            for path in files
            if path.name != "scores.json" and not path.name.endswith(".part")
        }

    for number, moment in enumerate(moments(seconds, tries)):
        folder = tmp_path / f"out{number}"
        forked(annlib(*words, folder, "--save-pictures"), moment)
        assert forked(annlib(*words, folder, "--save-pictures"))[0]
        assert result(folder) == result(tmp_path / "whole")
    record_property("tries", tries)


@pytest.mark.fault("kill -9 of data prepare")
@tries(2, 40)
def test_camvid_prepared_after_kills_is_whole(
    tmp_path: Path, record_property: Callable, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    source, sums = tmp_path / "source", []
    for split in ("train", "val", "test"):
        for kind, folder in (("images", split), ("labels", f"{split}annot")):
            (source / folder).mkdir(parents=True)
            for number in range(60):
                content = f"{split} {kind} {number}".encode() * 3000
                (source / folder / f"{number}.png").write_bytes(content)
                sums.append(f"{sha256(content).hexdigest()}  {split}/{kind}/{number}.png\n")
    (tmp_path / "sums.txt").write_text("".join(sums))
    monkeypatch.setattr(prepare_module, "CAMVID_CHECKSUMS", tmp_path / "sums.txt")

    def prepared(root: Path) -> Call:
        def call() -> None:
            root.mkdir(exist_ok=True)
            prepare_module.prepare_camvid(root, source)

        return call

    _, seconds = forked(prepared(tmp_path / "whole"))
    names = sorted(str(p.relative_to(tmp_path / "whole")) for p in (tmp_path / "whole").rglob("*"))
    for number, moment in enumerate(moments(seconds, tries)):
        root = tmp_path / f"root{number}"
        forked(prepared(root), moment)
        for split in ("train", "val", "test"):  # a split that is there is whole
            if (root / split).exists():
                assert len([*(root / split).rglob("*.png")]) == 120
        assert forked(prepared(root))[0]
        found = [path for path in root.rglob("*") if ".preparing-" not in str(path)]
        assert sorted(str(path.relative_to(root)) for path in found) == names
    record_property("tries", tries)


@pytest.mark.fault("kill -9 of a download")
@tries(5, 100)
def test_download_killed_at_random_moments_ends_whole(
    tmp_path: Path, record_property: Callable, tries: int
) -> None:
    content = bytes(range(256)) * 2**17  # 32 MiB
    digest = f"sha256:{sha256(content).hexdigest()}"
    reader, writer = os.pipe()

    def serve() -> None:
        with serving(Files({"/a.bin": content})) as files:
            os.write(writer, files.url.encode())
            time.sleep(2000)

    server = Child(serve)
    try:
        url = f"{os.read(reader, 100).decode()}/a.bin"
        _, seconds = forked(lambda: download(url, tmp_path / "whole", digest))
        for moment in moments(seconds, tries):
            path = tmp_path / "a.bin"
            forked(lambda path=path: download(url, path, digest), moment)
            assert not path.exists() or path.read_bytes() == content
            assert forked(lambda path=path: download(url, path, digest))[0]
            assert path.read_bytes() == content
            path.unlink()
    finally:
        server.kill()
    record_property("tries", tries)


# Notebooks and grading


def write_job(path: Path) -> Path:
    """A notebook of five cells that need some time, for a lesson's run and for a sweep."""
    codes = ("mode = 'learn'\nseed = 0", *["import time\ntime.sleep(0.1)\nprint(seed)"] * 3)
    show = "from annlib.course.sweeping import show_result\nshow_result({'miou': seed + 1})"
    cells = [nbformat.v4.new_code_cell(code) for code in (*codes, show)]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def no_half_file(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.suffix in (".ipynb", ".json") and path.name[0] != ".":
            json.loads(path.read_text())


def printed(path: Path) -> list[object]:
    cells = nbformat.read(path, 4).cells
    return [[out.get("text") or out["data"] for out in cell.outputs] for cell in cells]


@pytest.mark.all
@pytest.mark.fault("kill -9 of lesson runs")
@tries(1, 8)
def test_lesson_runs_killed_at_random_moments_end_with_the_same_outputs(
    tmp_path: Path, record_property: Callable, tries: int
) -> None:
    from annlib.course.running.execute import run_all

    lessons = [write_job(tmp_path / f"{name}.ipynb") for name in "ab"]

    def run_into(folder: Path) -> Call:
        def call() -> None:
            ended = run_all(dict.fromkeys(lessons, folder), {"mode": "quick"}, resume=True)
            assert not any(one.error for one in ended), ended

        return call

    _, seconds = forked(run_into(tmp_path / "whole"))
    for number, moment in enumerate(moments(seconds, tries)):
        folder = tmp_path / f"out{number}"
        forked(run_into(folder), moment, group=False)
        no_half_file(folder)
        assert forked(run_into(folder))[0]
        for lesson in lessons:
            assert printed(folder / lesson.name) == printed(tmp_path / "whole" / lesson.name)
    record_property("tries", tries)


@pytest.mark.all
@pytest.mark.fault("kill -9 of a sweep")
@tries(1, 8)
def test_sweep_killed_at_random_moments_ends_with_the_same_table(
    tmp_path: Path, record_property: Callable, tries: int
) -> None:
    write_job(tmp_path / "job.ipynb")
    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps({"notebook": "job.ipynb", "grid": {"seed": [0, 1, 2]}}))
    words = ("sweep", grid, "--out")
    _, seconds = forked(annlib(*words, tmp_path / "whole"))
    for number, moment in enumerate(moments(seconds, tries)):
        folder = tmp_path / f"out{number}"
        forked(annlib(*words, folder), moment, group=False)
        no_half_file(folder)
        assert forked(annlib(*words, folder))[0]
        both = [(place / "results.csv").read_bytes() for place in (folder, tmp_path / "whole")]
        assert both[0] == both[1]
    record_property("tries", tries)


@pytest.mark.fault("kill -9 of grading")
@tries(1, 8)
def test_grading_killed_at_random_moments_ends_with_the_same_points(
    tmp_path: Path, record_property: Callable, tries: int
) -> None:
    from annlib.course.assignments.a1 import A1
    from annlib.grader.release import edition
    from annlib.grader.sandbox import started_by_root, why_not

    as_user = 65534 if started_by_root() else None
    if missing := why_not(as_user):
        pytest.skip(f"no sandbox here: {missing}")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for name, kind in (("good", "solution"), ("blank", "learner")):
        (inbox / f"{name}.ipynb").write_text(
            edition(Path(__file__).parents[2], A1, kind), encoding="utf-8"
        )
    (inbox / "damaged.ipynb").write_text("{")
    options = ("--seed", 7, "--jobs", 1) + (() if as_user is None else ("--as-user", as_user))

    def graded(folder: Path, *others: str) -> Call:
        return annlib("grade", "A1", inbox, "--out", folder, *options, *others)

    _, seconds = forked(graded(tmp_path / "whole"))
    for number, moment in enumerate(moments(seconds, tries)):
        folder = tmp_path / f"out{number}"
        forked(graded(folder), moment)
        no_half_file(folder)
        assert forked(graded(folder, "--resume") if folder.exists() else graded(folder))[0]
        for name in ("grades.csv", "report.html"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    record_property("tries", tries)
