"""The report of a GPU: parts that fail or take too long are told, the others count."""

import json
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu import Gpu, Part, parts, run_part

GOOD = Part("good", 30, ("platform",))
BAD = Part("bad", 30, ("no_such_module",))
SLOW = Part("slow", 2, ("timeit", "-n", "1", "-r", "1", "import time; time.sleep(60)"))


def test_report_tells_which_parts_failed_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "parts", lambda *options: iter((GOOD, BAD, SLOW)))
    monkeypatch.setattr(gpu, "SLOWER", 1)
    Gpu(out=tmp_path / "report", device="cpu").run()
    values = json.loads((tmp_path / "report/gpu.json").read_text())
    good, bad, slow = values["parts"]
    assert good["state"] == "done"
    assert bad["state"].startswith("failed with exit code 1")
    assert "No module named no_such_module" in bad["output"]
    assert slow["state"].startswith("stopped after 2 s") and slow["seconds"] < 20
    assert values["made"]["hardware"]["cpu"]
    text = (tmp_path / "report/gpu.md").read_text()
    assert "no_such_module" in text and "| slow" in text


def test_parts_after_the_end_of_the_time_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "parts", lambda *options: iter((SLOW, GOOD)))
    with pytest.raises(ValueError, match=r"No part has a result; .*gpu\.md"):
        Gpu(out=tmp_path, device="cpu", minutes=0.04).run()
    states = [each["state"] for each in json.loads((tmp_path / "gpu.json").read_text())["parts"]]
    assert states[0].startswith("stopped") and states[1] == "left out: the time was over"


def test_parts_cover_both_depths_and_sizes_and_fit_their_time() -> None:
    found = {part.name: part for part in parts("cuda", False, 8.0, None)}
    for depth in (50, 101):
        for size in ("512x1024", "769x769"):
            words = found[f"step R-{depth} {size}"].words
            assert f"ann_r{depth}-d8_{size}_40k_cityscapes" in words
            assert words[words.index("--crop") + 1 :][:2] == tuple(size.split("x"))
            assert "--compile" in found[f"compiled step R-{depth} {size}"].words
    last = [*found].index("train balloon_r50")
    assert sum(part.seconds for part in [*found.values()][: last + 1]) < 2 * 480
    assert all("compiled" in name for name in [*found][last + 1 :])


def test_camvid_shares_the_time_of_training(tmp_path: Path) -> None:
    found = {part.name: part for part in parts("cuda", False, 8.0, tmp_path)}
    assert {"train balloon_r50", "train photos_r50"} <= {*found}
    assert found["train photos_r50"].words[-2:] == ("--workers", "4")
    with pytest.raises(FileNotFoundError, match="annlib data prepare camvid"):
        Gpu(out=tmp_path, camvid=tmp_path, device="cpu").run()


def test_output_of_a_part_is_kept_to_its_end(tmp_path: Path) -> None:
    words = ("timeit", "-n", "1", "-r", "1", "print('x' * 9000 + 'end')")
    done = run_part(Part("long", 30, words), tmp_path, 30)
    assert done.state == "done" and "end" in done.output and len(done.output) == gpu.TAIL


@pytest.mark.all
@pytest.mark.timeout(1800)
def test_rehearsal_on_a_cpu_finishes_all_parts(tmp_path: Path) -> None:
    Gpu(out=tmp_path, device="cpu", tiny=True, minutes=30).run()
    values = json.loads((tmp_path / "gpu.json").read_text())
    assert [each["state"] for each in values["parts"]] == ["done"] * 7
    text = (tmp_path / "gpu.md").read_text()
    for expected in ("A training step on 2 x 64 x 128", "frames/s", "AFNB 8 x 16", "balloon_ann"):
        assert expected in text
