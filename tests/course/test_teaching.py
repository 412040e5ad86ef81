"""notebooks/teaching: the exam's numbers, computed again, and links that lead somewhere."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool1d

from annlib.config import TrainConfig
from annlib.engine.inference import times_covered, window_starts
from annlib.engine.metrics import ConfusionMatrix
from annlib.engine.optimization import poly_lr

FOLDER = Path(__file__).parents[2] / "notebooks/teaching"
EXAM = (FOLDER / "exam.md").read_text(encoding="utf-8")
QUESTIONS, SOLUTIONS = EXAM.split("## Solutions and marking scheme")
LINKS = [
    (path, target)
    for path in sorted(FOLDER.glob("*.md"))
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("path", "target"), LINKS, ids=lambda part: str(part).split("/")[-1])
def test_link_leads_to_a_file(path: Path, target: str) -> None:
    assert (FOLDER / target).exists()


def solution(number: int) -> str:
    """With line breaks as blanks."""
    found = re.search(
        rf"^\*\*{number}\.\*\* (.*?)(?=^\*\*|\Z)", SOLUTIONS, re.MULTILINE | re.DOTALL
    )
    return " ".join(found[1].split())


def test_points_of_questions_and_of_their_solutions_agree() -> None:
    points = [int(n) for n in re.findall(r"^\*\*\d+\. .+?\((\d+) points", QUESTIONS, re.MULTILINE)]
    assert len(points) == 12
    assert f"{sum(points)} points" in QUESTIONS
    assert f"{sum(points[:9])} points in 70" in QUESTIONS
    for number, stated in enumerate(points, 1):
        given = re.findall(r"\((\d)(?:[;:][^()]*(?:\([^)]*\)[^()]*)*)?\)", solution(number))
        assert sum(map(int, given)) == stated, number


def test_scores_of_the_first_question() -> None:
    rows = re.findall(r"^\| \*\*\w+\*\* \| (\d+) \| (\d+) \| (\d+) \|$", QUESTIONS, re.MULTILINE)
    matrix = ConfusionMatrix(3)
    counts = np.array(rows, dtype=int)
    labels, predictions = (
        np.repeat(axis, counts.ravel()) for axis in np.indices((3, 3)).reshape(2, 9)
    )
    matrix.update(torch.tensor(predictions), torch.tensor(labels))
    scores = matrix.scores()
    assert f"mIoU {scores.miou:.3f}" in solution(1)
    assert f"accuracy {100 * scores.pixel_accuracy:.0f} %" in solution(1)
    for iou in scores.iou:
        assert f"{iou:.3f}" in solution(1)


def test_attention_of_the_third_question() -> None:
    keys = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]])
    weights = (keys @ torch.tensor([2.0, 0, 0, 2]) / math.sqrt(4)).softmax(0)
    assert "Weights " + ", ".join(f"{weight:.3f}" for weight in weights) in solution(3)
    assert f"Output {float(weights @ torch.tensor([10.0, 20, 30])):.1f}" in solution(3)


def test_cells_of_the_fourth_question() -> None:
    # Which cells a position changes: pooling of one-hot lines.
    pooled = adaptive_avg_pool1d(torch.eye(6)[None], 4)[0] > 0
    cells = [torch.nonzero(pooled[:, cell]).flatten().tolist() for cell in range(4)]
    assert "Cells: " + ", ".join(f"{cell[0]}-{cell[-1]}" for cell in cells) in solution(4)
    twice = [place for place in range(6) if pooled[place].sum() == 2]
    assert "Positions {} and {} belong to two".format(*twice) in solution(4)


def test_memory_of_the_fifth_question() -> None:
    positions = 1024 // 8 * 2048 // 8
    assert f"= {positions}$" in solution(5)
    assert f"{positions**2 * 4 / 2**30:.0f} GiB" in solution(5)
    assert f"{110 * positions * 4 / 1e6:.1f} MB or {110 * positions * 4 / 2**20} MiB" in solution(5)


def test_loss_and_rate_of_the_eighth_question() -> None:
    assert f"{1.4 * math.log(19):.2f}" in solution(8)
    assert f"{poly_lr(500, TrainConfig(1000)):.4f}" in solution(8)


def test_interval_of_the_tenth_question() -> None:
    from scipy.stats import t, ttest_1samp

    differences = [0.5, 1.5, -0.5, 1.0, 0.5]
    low, high = ttest_1samp(differences, 0).confidence_interval(0.95)
    assert f"interval from {low:.2f} to {high:.2f}" in solution(10)
    assert f"t = {t.ppf(0.975, 4):.2f}" in QUESTIONS


def test_windows_of_the_eleventh_question() -> None:
    rows, columns = (window_starts(side, 769, 513) for side in (1025, 2049))
    assert "Columns {}, {}, {} and {}".format(*columns) in solution(11)
    assert "rows {} and {}".format(*rows) in solution(11)
    assert f"{len(rows) * len(columns)} windows" in solution(11)
    windows = times_covered(rows, 769, 1025)[512] * times_covered(columns, 769, 2049)[1024]
    assert f": {windows:.0f} windows" in solution(11)
