"""The world of assignment A3: maps whose labels follow from balloons, runs that repeat, tables."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import torch
from in_process import ROOT, public_beside, solutions
from known import FILES, until

from annlib.course.assignments import a3, a3_tables
from annlib.course.assignments import a3_world as world
from annlib.course.assignments.a3 import A3
from annlib.course.assignments.a3_hidden import reference_run
from annlib.course.assignments.a3_tables import Table, seeds_of, table_of
from annlib.course.statistics import t_quantile
from annlib.grader.release import edition
from annlib.grader.tables import with_commas

TABLE = FILES["A3"]["a3_table.csv"]


def test_a_house_is_what_the_balloon_of_its_colour_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "NOISE", 0)
    asked = 0
    for features, labels in zip(*world.maps(3, 5), strict=True):
        colours, patterns = features[: world.COLOURS], features[world.COLOURS : -1]
        for row, column in (labels != world.IGNORE).nonzero().tolist():
            colour = int(colours[:, row, column].argmax())
            hangs = colours[colour, :6].nonzero().tolist()
            (pattern,) = {int(patterns[:, r, c].argmax()) for r, c in hangs}
            assert pattern == int(labels[row, column])
            asked += 1
    assert asked == 5 * world.THINGS * world.SIDE**2


def test_maps_of_training_are_never_scored_on() -> None:
    assert world.TEST_SEED % 1_000 > a3_tables.MOST_STEPS


def test_a_network_that_knows_nothing_guesses() -> None:
    network = world.Network(lambda variant: world.PyramidBlock(), 0)
    assert abs(world.score(network) - 1 / world.PATTERNS) < 0.02


def test_a_score_in_parts_is_that_of_all_maps_together() -> None:
    network = world.Network(lambda variant: world.PyramidBlock(), 0)
    features, labels = world.maps(world.TEST_SEED, world.TEST_COUNT)
    chances = network(features).softmax(1).gather(1, labels.clamp(max=2)[:, None])[:, 0]
    whole = chances[labels != world.IGNORE].mean().item()
    assert math.isclose(world.score(network), whole, rel_tol=1e-12)


def test_variants_with_one_seed_start_from_the_same_other_weights() -> None:
    blocks = (world.PyramidBlock, lambda: world.PyramidBlock((8,), 4))
    started = []
    for variant in range(2):
        torch.manual_seed(5)
        network = world.Network(lambda chosen: blocks[chosen](), variant)
        started.append((network.embed.weight, network.classifier.weight))
    for one, other in zip(*started, strict=True):
        assert torch.equal(one, other)


def test_everybody_has_seeds_of_their_own_and_more_of_them_keep_the_first() -> None:
    assert seeds_of(7, 3) == seeds_of(7, 9)[:3]
    all_seeds = [seed for student in range(50) for seed in seeds_of(student, 20)]
    assert len(set(all_seeds)) == len(all_seeds)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.975, 0.9995])
@pytest.mark.parametrize("df", [1, 2, 5, 30])
def test_students_get_the_quantile_that_the_course_uses(share: float, df: int) -> None:
    assert math.isclose(world.t_quantile(share, df), t_quantile(share, df), abs_tol=1e-6)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Also one of floats, as an array has them, and with a run that failed."""
    scores = torch.tensor([[0.25, math.nan, 0.5], [0.75, 0.5, 0.25]])
    rows = [
        (9.0, float(v), float(seed), 50.0, 1.0, scores[v, n])
        for n, seed in enumerate(seeds_of(9, 3))
        for v in (0, 1)
    ]
    a3_tables.write_table(tmp_path / "table.csv", rows)
    found = a3_tables.read_scores(tmp_path / "table.csv")
    assert torch.equal(found.nan_to_num(-1), scores.double().nan_to_num(-1))
    spread = (tmp_path / "table.csv").read_text().replace("\n9,", "\n9.0,")
    assert isinstance(table_of(spread), Table), "as a spreadsheet may write it"


def test_an_unfit_table_says_why(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(TABLE.replace("201,", "0,"))
    with pytest.raises(ValueError, match="student number missing"):
        a3_tables.read_scores(tmp_path / "table.csv")


def test_an_interruption_costs_the_last_seed_and_no_other() -> None:
    whole = table_of(TABLE)
    for runs in (1, 2):
        torn = table_of("\n".join(TABLE.splitlines()[:-runs]))
        assert torch.equal(torn.scores, whole.scores[:, :-1])


def test_a_teacher_reads_what_the_table_says() -> None:
    said = a3.note_on(FILES["A3"])
    assert said.startswith("student 201: 10 seeds, 70 steps, 0 failed; change 1: -0.0")
    assert a3.note_on({}) == ""


@pytest.mark.parametrize("kind", ["index", "sep=,", "sep=;", "Unnamed: 0", "other order"])
def test_a_table_with_more_than_its_columns_is_the_same_table_and_noted(kind: str) -> None:
    """pandas' index, Excel's first line, columns by their headings."""
    head, *lines = (line.split(",") for line in TABLE.splitlines())
    rows = [head, *lines]
    if kind == "other order":
        rows = [[*row[::-1], "mine"] for row in rows]
    elif "sep" not in kind:
        rows = [["" if kind == "index" else kind, *head]]
        rows += [[str(n), *line] for n, line in enumerate(lines)]
    mark = kind[-1] if "sep" in kind else ","
    text = "\n".join([kind] * ("sep" in kind) + [mark.join(row) for row in rows])
    files = {a3.FILE: with_commas(text)}
    found, plain = table_of(files[a3.FILE]), table_of(TABLE)
    assert found.rows == plain.rows and torch.equal(found.scores, plain.scores)
    words = {"index": "(index)", "other order": "mine"}.get(kind, kind[:4] if mark else kind)
    assert "; left out: " in a3.note_on(files) and words in a3.note_on(files)


def test_a_table_with_a_column_twice_or_without_one_is_none() -> None:
    lines = [line.split(",") for line in TABLE.splitlines()]
    for rows in ([[*row, row[-1]] for row in lines], [row[:-1] for row in lines]):
        assert table_of("\n".join(map(",".join, rows))) == "no table"


def test_a_table_of_endless_lines_is_not_read_to_its_end() -> None:
    assert table_of(TABLE.splitlines()[0] + 10**6 * "\n") == "no table"


def test_seconds_are_foretold_from_two_short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of 2 s and 10 ms a step, by a clock that only runs move."""
    now = [0.0]
    monkeypatch.setattr(world.time, "perf_counter", lambda: now[0])

    def run(variant: int, seed: int, steps: int) -> float:
        now[0] += 2 + 0.01 * steps
        return 0.5

    for steps in (5, 20, 300):
        assert world.seconds_of(run, 0, steps) == pytest.approx(2 + 0.01 * max(steps, 6))


def test_rows_may_come_in_any_order() -> None:
    head, *rows = TABLE.splitlines()
    found, turned = table_of(TABLE), table_of("\n".join([head, *rows[::-1], ""]))
    assert isinstance(found, Table) and torch.equal(found.scores, turned.scores)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("student", "Student", 1),
        lambda text: text.splitlines()[0],
        lambda text: text.replace(",0,", ",-1,", 1),
        lambda text: text.replace("201", "1e400", 1),
        lambda text: text + "1,2,3\n",
        lambda text: text + 'x" ,\x00"',
        lambda text: text.splitlines()[0] + 20_000 * "\n201,0,1,1,1,0.5",
        lambda text: text.replace("201", "9" * 5000, 1),
    ],
)
def test_text_that_is_no_table_is_no_error(change: Callable[[str], str]) -> None:
    assert table_of(change(TABLE)) == "no table"


@pytest.mark.all
def test_a_run_gives_the_same_score_with_other_threads_and_instructions() -> None:
    """A stand-in for other machines: two threads, and torch's code for the oldest processors."""
    code = (
        "import torch; torch.set_num_threads(2)\n"
        "from annlib.course.assignments.a3_hidden import reference_run\n"
        "print(repr(reference_run(11, 40)))"
    )
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "2"}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # a thread that waits takes no processor time
    done = subprocess.run(
        (sys.executable, "-c", code), env=environment, capture_output=True, text=True, check=True
    )
    assert abs(float(done.stdout) - reference_run(11, 40)) < a3.AS_STATED / 1000


@pytest.mark.slow
def test_the_table_of_the_tests_is_what_the_answers_make() -> None:
    """One run of each variant: a table of earlier answers would be found out by chance only."""
    names: dict[str, object] = {}
    with public_beside(A3):
        exec(A3.prelude + until(solutions(A3), "run"), names)
        for row in table_of(TABLE).rows[:3]:
            again = names["run"](row.variant, row.seed, row.steps)
            assert again == pytest.approx(row.score, abs=2e-6)


@pytest.mark.all
def test_papermill_makes_the_table_that_is_handed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "A3.ipynb").write_text(edition(ROOT, A3, "solution"), encoding="utf-8")
    for name, source in A3.public_modules().items():
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    import papermill

    papermill.execute_notebook(
        tmp_path / "A3.ipynb",
        tmp_path / "done.ipynb",
        parameters={
            "student": 12,
            "steps": 4,
            "most_seeds": 3,
            "budget": 600,
            "table_file": "a3_table.csv",
        },
        cwd=tmp_path,
        kernel_name="python3",
        progress_bar=False,
    )
    monkeypatch.setattr(a3_tables, "LEAST_STEPS", 4)
    monkeypatch.setattr(a3_tables, "LEAST_SCORE", 0)
    found = table_of((tmp_path / "a3_table.csv").read_text(encoding="utf-8"))
    assert isinstance(found, Table) and found.scores.shape == (3, 3)
    assert {row.steps for row in found.rows} == {4}
    assert found.rows[0].student == 12
    done = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    said = "".join(o.text for c in done.cells for o in c.get("outputs", []) if "text" in o)
    assert said.count("Right") == len(A3.tasks)
