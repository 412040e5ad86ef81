"""Notebooks whose kernel dies, whose folder cannot be written, that run twice or side by side."""

import os
import re
from pathlib import Path

import nbformat
import pytest

from annlib.course.running import execute
from annlib.course.running.execute import run, run_all

LESSONS = Path(__file__).parents[2] / "notebooks/solutions"


def write_lesson(path: Path, *codes: str) -> Path:
    cells = [nbformat.v4.new_code_cell(code) for code in ("mode = 'learn'\nseed = 0", *codes)]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def printed(path: Path) -> str:
    cells = nbformat.read(path, 4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


@pytest.mark.all  # once: test_lesson_runs.py
@pytest.mark.notebooks
@pytest.mark.fault("kernel that dies in a lesson, beside another lesson")
def test_a_dead_kernel_is_told_with_its_cell_and_the_others_end(tmp_path: Path) -> None:
    death = "import os, signal\nprint('before')", "os.kill(os.getpid(), signal.SIGKILL)", "1 + 1"
    bad = write_lesson(tmp_path / "bad.ipynb", *death)
    good = write_lesson(tmp_path / "good.ipynb", "print('done')")
    runs = run_all(dict.fromkeys([bad, good], tmp_path / "out"), {"mode": "quick"})
    assert "stopped in code cell 3" in runs[0].error and "DeadKernelError" in runs[0].error
    assert printed(runs[0].output) == "before\n", "the notebook is kept up to there"
    assert runs[1].error is None and printed(runs[1].output) == "done\n"


@pytest.mark.fault("folder that cannot be written, in a lesson")
def test_a_folder_that_cannot_be_written_is_told_before_the_kernel_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = write_lesson(tmp_path / "a.ipynb", "1")
    (tmp_path / "file").touch()
    monkeypatch.setattr(execute, "lesson_kernel", lambda threads: pytest.fail("it started"))
    with pytest.raises(OSError, match="Could not write .*choose another folder"):
        run(lesson, tmp_path / "file/a.ipynb", {"mode": "quick"})


def code_of(lesson: str) -> tuple[nbformat.NotebookNode, list[tuple[str, list[str]]]]:
    """A lesson's notebook, and source and tags of its code, but for the cell of parameters."""
    notebook = nbformat.read(LESSONS / f"{lesson}.ipynb", 4)
    code = [(c.source, c.metadata.get("tags", [])) for c in notebook.cells if c.cell_type == "code"]
    return notebook, [(source, tags) for source, tags in code if "parameters" not in tags]


each_lesson = pytest.mark.parametrize(
    "lesson", [one.stem for one in sorted(LESSONS.glob("*.ipynb"))]
)


@pytest.mark.all
@pytest.mark.notebooks
@pytest.mark.fault("every cell of a lesson run twice")
@pytest.mark.timeout(1800)
@each_lesson
def test_a_lesson_whose_cells_run_twice_gives_no_error(tmp_path: Path, lesson: str) -> None:
    notebook, code = code_of(lesson)
    notebook.cells += [
        nbformat.v4.new_code_cell(source, metadata={"tags": tags}) for source, tags in code
    ]
    nbformat.write(notebook, tmp_path / f"{lesson}.ipynb")
    done = run(tmp_path / f"{lesson}.ipynb", tmp_path / "out.ipynb", {"mode": "quick"})
    assert done.error is None
    assert os.path.getsize(done.output) > 0


@pytest.mark.all
@pytest.mark.notebooks
@pytest.mark.fault("cells of a lesson run backwards first")
@pytest.mark.timeout(1800)
@each_lesson
def test_a_lesson_whose_cells_ran_backwards_gives_no_error_once_it_runs_in_order(
    tmp_path: Path, lesson: str
) -> None:
    notebook, code = code_of(lesson)
    first = next(
        n for n, cell in enumerate(notebook.cells) if "setup" in cell.metadata.get("tags", [])
    )
    # Errors are counted, and stop nothing: most names are not defined yet.
    texts = [
        "shell, errors = get_ipython(), []",
        "shell.showtraceback = lambda *_, **__: errors.append(1)",
    ]
    texts += [f"_ = shell.run_cell({source!r})" for source, _ in reversed(code)]
    texts += ["del shell.showtraceback", "print('errors:', len(errors))"]
    backwards = [nbformat.v4.new_code_cell(text) for text in texts]
    notebook.cells[first + 1 : first + 1] = backwards
    nbformat.write(notebook, tmp_path / f"{lesson}.ipynb")
    done = run(tmp_path / f"{lesson}.ipynb", tmp_path / "out.ipynb", {"mode": "quick"})
    assert done.error is None
    (errors,) = re.findall(r"errors: (\d+)", printed(done.output))
    assert int(errors) > 2, "in that order most names are missing"
