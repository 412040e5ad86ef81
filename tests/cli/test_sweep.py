"""annlib sweep: grids that mean what they say, runs that are kept, failures that stay visible."""

import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from annlib.__main__ import read_command
from annlib.cli.sweep import Sweep
from annlib.course import sweeping
from annlib.course.sweeping import (
    Combination,
    Grid,
    Outcome,
    cells,
    collected,
    index_page,
    make_grid,
    notebook_of,
    outcome_of,
    read_grid,
    report,
    result_in,
    run_one,
    summary_table,
    sweep,
    write_all,
)

PARAMETERS = 'head = "ann"\nbins = [1, 3]\nseed = 0\n'
CODE = """
from annlib.course.sweeping import show_result
if head == "broken":
    raise RuntimeError("this head never works")
with open("ran.txt", "a") as file:
    file.write(f"{head}{seed} ")
show_result({"miou": len(head) + seed, "cells": sum(b * b for b in bins)})
"""


def write_notebook(path: Path, code: str = CODE) -> Path:
    cells_ = [
        nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells_), path)
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return write_notebook(tmp_path / "job.ipynb")


@pytest.fixture
def grid(notebook: Path) -> Grid:
    return make_grid(notebook, {"head": ["fcn", "broken"], "seed": [0, 1]})


def test_grid_is_every_combination_and_the_extra_runs(notebook: Path) -> None:
    grid = make_grid(
        notebook, {"seed": [0, 1], "head": ["a", "b"]}, {"bins": [6]}, [{"head": "c", "seed": 7}]
    )
    found = [(one.parameters["head"], one.parameters["seed"]) for one in grid.combinations]
    assert found == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("c", 7)]
    assert {tuple(one.parameters["bins"]) for one in grid.combinations} == {(6,)}
    assert grid.varied == ("head", "seed")  # the seed last, whatever the file's order
    assert len({one.name for one in grid.combinations}) == 5


@pytest.mark.parametrize(
    "text",
    [
        '{"notebook": 5}',
        '{"notebook": "job.ipynb", "base": [1]}',
        '{"notebook": "job.ipynb", "grid": null}',
        '{"notebook": "job.ipynb", "runs": {"seed": 1}}',
        '{"notebook": "job.ipynb", "runs": [1]}',
        "[]",
    ],
)
def test_grid_whose_parts_have_other_types_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "grid.json").write_text(text)
    with pytest.raises(ValueError, match=r"grid.json must hold .*\.ipynb"):
        read_grid(tmp_path / "grid.json")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", '{"error": null}', "[1]", "[" * 100_000, '{"error": 5, "seconds": 1}'),
        *('{"error": null, "seconds": "1"}', '{"error": null, "seconds": 1, "error": "x"}'),
        f'{{"error": null, "seconds": {10**400}}}',
    ],
    ids=lambda text: text[:40],
)
def test_note_of_a_run_that_was_damaged_is_named(tmp_path: Path, text: str) -> None:
    combination = Combination(1, "one", "one", {})
    notebook = notebook_of(tmp_path, combination)
    notebook.parent.mkdir(parents=True, exist_ok=True)
    notebook.touch()
    notebook.with_suffix(".run.json").write_text(text)
    told = outcome_of(tmp_path, combination)
    assert told.failed and "one.run.json is not as a run writes it" in told.reason


@pytest.mark.parametrize(
    "value", [None, True, "3", float("nan"), float("inf"), 10**400, [1], {}], ids=repr
)
def test_a_result_that_was_changed_into_no_number_fails_its_run_alone(
    notebook: Path, tmp_path: Path, value: object
) -> None:
    grid = make_grid(notebook, {"seed": [0, 1]})
    for one in grid.combinations:
        shown = {"miou": value if one.number == 1 else 0.5}
        output = nbformat.v4.new_output("display_data", {sweeping.RESULT: shown})
        target = notebook_of(tmp_path, one)
        target.parent.mkdir(exist_ok=True)
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
        nbformat.write(content, target)
        target.with_suffix(".run.json").write_text('{"error": null, "seconds": 1.0}')
    (cell,) = cells(grid, collected(grid, tmp_path))
    assert tuple(cell["numbers"].loc["miou", ["mean", "n"]]) == (0.5, 1) and cell["num_failed"] == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"cells": [3]}', '{"cells": null}', "[" * 100_000, "\udcff"]
)
def test_an_executed_notebook_that_was_damaged_fails_its_run_alone(
    grid: Grid, tmp_path: Path, text: str
) -> None:
    for one in grid.combinations[:1]:
        target = notebook_of(tmp_path, one)
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, errors="surrogateescape")
        target.with_suffix(".run.json").write_text('{"error": null, "seconds": 1.0}')
    (outcome,) = collected(grid, tmp_path)
    assert f"{target} is damaged" in outcome.reason
    write_all(grid, [outcome], tmp_path, "annlib sweep grid.json")


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"grid": {"haed": ["a"]}}, "Did you mean 'head'"),
        ({"base": {"sed": 1}}, "Did you mean 'seed'"),
        ({"grid": {"seed": [0, 0]}}, "are the same"),
        ({"grid": {"seed": 3}}, "list of values"),
        ({"grid": {"seed": []}}, "list of values"),
        ({"gird": {}}, "Did you mean 'grid'"),
        ({"grid": {"seed": [0]}, "runs": [{}]}, "are the same"),
        ({"runs": [{"steps": 3}]}, "no parameter 'steps'"),
    ],
)
def test_what_would_have_no_effect_is_refused_before_anything_runs(
    notebook: Path, where: dict, words: str
) -> None:
    path = notebook.with_name("grid.json")
    path.write_text(json.dumps({"notebook": "job.ipynb"} | where))
    with pytest.raises(ValueError, match=words):
        read_grid(path)


def test_broken_json_and_missing_notebook_are_told(tmp_path: Path) -> None:
    path = tmp_path / "grid.json"
    path.write_text('{"notebook": "none.ipynb",}')
    with pytest.raises(ValueError, match="comma"):
        read_grid(path)
    path.write_text('{"notebook": "none.ipynb"}')
    with pytest.raises(FileNotFoundError, match="none.ipynb"):
        read_grid(path)


def test_another_notebook_or_value_is_another_run(notebook: Path) -> None:
    before = make_grid(notebook, {"seed": [0]}).combinations[0].name
    assert make_grid(notebook, {"seed": [1]}).combinations[0].name != before
    write_notebook(notebook, CODE + "\n# changed")
    assert make_grid(notebook, {"seed": [0]}).combinations[0].name != before


def test_spread_is_that_of_a_sample_and_unknown_for_one_run(notebook: Path) -> None:
    grid = make_grid(notebook, {"head": ["two", "one"], "seed": [0, 1]})
    scores = {1: 1.0, 2: 3.0, 3: 1.0}
    outcomes = [
        Outcome(number, "", {}, 1.0, {"miou": score}) for number, score in scores.items()
    ] + [Outcome(4, "", {}, 1.0, {}, "stopped")]
    two, one = cells(grid, outcomes)
    assert tuple(two["numbers"].loc["miou"]) == (2.0, pytest.approx(2**0.5), 2)
    assert one["numbers"].loc["miou", "n"] == 1 and one["num_failed"] == 1
    write_all(grid, outcomes, notebook.parent, "annlib sweep grid.json")
    stored = json.loads((notebook.parent / "results.json").read_text())
    plain = [cell["numbers"]["miou"]["sd"] for cell in stored["cells"]]
    assert plain == [pytest.approx(2**0.5), None]
    lines = summary_table(grid, outcomes).splitlines()
    assert "2.000 ±1.414 (2)" in lines[2] and "1.000 (1)" in lines[3]


@pytest.mark.notebooks
def test_sweep_runs_all_keeps_failures_and_goes_on(
    grid: Grid, tmp_path: Path, without_new_processes: None
) -> None:
    folder = tmp_path / "out"
    first = list(sweep(grid, folder, jobs=2))
    assert sorted(o.number for o in first) == [1, 2, 3, 4]
    assert sorted(o.number for o in first if o.failed) == [3, 4]
    write_notebook(folder / "runs/half.ipynb")  # cut off: no record beside it
    assert len(list(sweep(grid, folder, jobs=2))) == 4
    ran = (folder / "runs/ran.txt").read_text().split()
    assert sorted(ran) == ["fcn0", "fcn1"]  # nothing that was finished ran again
    text = write_all(grid, collected(grid, folder), folder, "annlib sweep grid.json")
    assert "3.500 ±0.707 (2)" in text and "failed: RuntimeError: this head never works" in text
    stored = json.loads((folder / "results.json").read_text())
    assert stored["cells"][0]["numbers"]["miou"] == {"mean": 3.5, "sd": 0.5**0.5, "n": 2}
    assert "never works" in (folder / "index.html").read_text()


@pytest.mark.notebooks
def test_one_run_alone_and_a_table_of_what_is_there(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_one(grid.notebook, grid.number(2), tmp_path / "out")
    assert outcome.result == {"miou": 4, "cells": 10} and not outcome.failed
    assert result_in(tmp_path / "out/runs" / f"{grid.number(2).name}.ipynb") == outcome.result
    assert outcome_of(tmp_path / "out", grid.number(1)) is None
    found = cells(grid, collected(grid, tmp_path / "out"))
    assert [(c["num_failed"], c["num_missing"]) for c in found] == [(0, 1), (0, 2)]
    assert "not run" in report(grid, [outcome])
    write_all(grid, [outcome], tmp_path, "annlib sweep grid.json")
    assert (tmp_path / "results.csv").read_text().splitlines()[1:] == [
        "fcn,cells,10.0,,1,0,1",
        "fcn,miou,4.0,,1,0,1",
        "broken,,,,0,0,2",
    ]
    assert "not run" in index_page(grid, [outcome], tmp_path / "out")
    path = tmp_path / "grid.json"
    told = {"notebook": "job.ipynb", "grid": {"head": ["fcn", "broken"], "seed": [0, 1]}}
    path.write_text(json.dumps(told))
    Sweep(path, out=tmp_path / "out", only=2).run()  # finished: nothing runs
    assert "miou 4" in capsys.readouterr().out
    Sweep(path, out=tmp_path / "out", table=True).run()
    assert "not run" in (tmp_path / "out/table.md").read_text()


def test_number_outside_the_grid_is_told(grid: Grid) -> None:
    for number in (0, 5):
        with pytest.raises(ValueError, match="counted from 1"):
            grid.number(number)


def test_count_is_the_size_of_the_grid(capsys: pytest.CaptureFixture) -> None:
    path = Path(__file__).parents[2] / "notebooks/jobs/bins.json"
    Sweep(path, count=True).run()
    assert capsys.readouterr().out == "12\n"


def test_a_grid_of_the_same_name_elsewhere_does_not_replace_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, seeds in (("a", [0]), ("b", [1]), ("moved", [0])):
        Path(name).mkdir()
        write_notebook(Path(name, "job.ipynb"))
        told = {"notebook": "job.ipynb", "grid": {"seed": seeds}}
        Path(name, "grid.json").write_text(json.dumps(told))
    folder = Path("runs/sweep-grid")

    def end(grid: str) -> None:
        (one,) = read_grid(Path(grid)).combinations
        target = notebook_of(folder, one)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_suffix(".run.json").write_text('{"error": null, "seconds": 1.0}')
        data = {sweeping.RESULT: {"seed": one.parameters["seed"]}}
        output = nbformat.v4.new_output("display_data", data)
        cell = nbformat.v4.new_code_cell(outputs=[output])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), target)

    for name in ("a", "b"):
        end(f"{name}/grid.json")
    Sweep(Path("a/grid.json"), table=True).run()
    before = (folder / "results.json").read_bytes()
    for options in ({"table": True}, {"only": 1}, {}):
        with pytest.raises(ValueError, match=r"another grid, .*a/grid.json.*\(--out\)"):
            Sweep(Path("b/grid.json"), **options).run()
    assert (folder / "results.json").read_bytes() == before
    Sweep(Path("moved/grid.json"), table=True).run()  # the same runs
    told["grid"]["seed"] = [0, 1]
    Path("moved/grid.json").write_text(json.dumps(told))
    Sweep(Path("moved/grid.json"), table=True).run()  # the same grid, now longer
    stored = json.loads((folder / "results.json").read_text())
    assert [run["parameters"]["seed"] for run in stored["runs"]] == [0, 1]
    Sweep(Path("b/grid.json"), out=folder, table=True).run()  # as the message says


def test_command_line_is_read_as_documented() -> None:
    command = read_command(["sweep", "g.json", "--only", "3"])
    assert isinstance(command, Sweep) and (command.grid, command.only) == (Path("g.json"), 3)
    with pytest.raises(ValueError, match="give one"):
        Sweep(Path("g.json"), only=1, table=True).run()


TYPES = 'seed = 0\nlr = 0.1\nother = None\nids = [1, 2]\nsubject: str = "001"\nmixed = {"a": 1}\n'


def job_with(path: Path, parameters: str) -> Path:
    cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


@pytest.mark.parametrize(
    "values",
    [
        {"lr": [0.0, -0.0]},
        {"other": [1, 1.0]},
        {"ids": [[1, 2], [1.0, 2.0]]},
        {"mixed": [{"a": 1}, {"a": 1.0}]},
    ],
    ids=str,
)
def test_the_same_number_in_another_form_is_a_twin(tmp_path: Path, values: dict) -> None:
    with pytest.raises(ValueError, match="are the same"):
        make_grid(job_with(tmp_path / "job.ipynb", TYPES), values)


@pytest.mark.parametrize(
    "values", [{"other": [float("nan")]}, {"ids": [[1, float("inf")]]}, {"other": [[float("nan")]]}]
)
def test_a_value_that_is_not_finite_is_refused_in_a_list_too(tmp_path: Path, values) -> None:
    with pytest.raises(ValueError, match="it has to be of the type"):
        make_grid(job_with(tmp_path / "job.ipynb", TYPES), values)


def test_a_name_of_digits_keeps_its_zeros(tmp_path: Path) -> None:
    job = job_with(tmp_path / "job.ipynb", TYPES)
    made = make_grid(job, {"subject": ["001", "002", "2"]}).combinations
    assert [one.parameters["subject"] for one in made] == ["001", "002", "2"]


def test_a_text_and_a_number_are_not_averaged_as_two_seeds(tmp_path: Path) -> None:
    grid = make_grid(job_with(tmp_path / "job.ipynb", TYPES), {"other": ["1", 1, None, "None"]})
    outcomes = [Outcome(n, "", {}, 1.0, {"miou": float(n)}) for n in (1, 2, 3, 4)]
    found = [cell["numbers"].loc["miou"] for cell in cells(grid, outcomes)]
    assert [(row["mean"], row["n"]) for row in found] == [(1, 1), (2, 1), (3, 1), (4, 1)]


@pytest.mark.parametrize(
    "parameters", ["seed = 0\nlr = 10**-3", "%matplotlib inline\nseed = 0", "seed = int('0')"]
)
def test_parameters_that_are_not_plain_values_are_told_with_the_notebook(
    tmp_path: Path, parameters: str
) -> None:
    job = job_with(tmp_path / "job.ipynb", parameters)
    with pytest.raises(ValueError, match=r"job\.ipynb: parameters are plain, finite values"):
        make_grid(job, {"seed": [0, 1]})


def test_a_notebook_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / "job.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"job\.ipynb is damaged, or no notebook"):
        make_grid(tmp_path / "job.ipynb", {"seed": [0]})


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.float64(0.5), torch.tensor(0.5), torch.tensor([0.5])], ids=repr
)
def test_a_result_of_numpy_or_torch_is_a_number(value, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(sweeping, "display", lambda data, raw: shown.append(data))
    sweeping.show_result({"miou": value})
    assert json.loads(json.dumps(shown[0][sweeping.RESULT])) == {"miou": 0.5}
    with pytest.raises(ValueError, match="needs a number"):
        sweeping.show_result({"miou": torch.tensor(float("nan"))})
