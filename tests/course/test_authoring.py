"""Notebooks are built from one source: always the same, and without answers for learners."""

import json
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from annlib.cli.lessons import Build
from annlib.course.authoring import (
    build,
    build_all,
    check_current,
    finished,
    hidden_lines,
    notebook_text,
    quiz_options,
    read,
    stub,
)

FIXTURE = Path(__file__).parents[1] / "lessons/90_fixture.py"
TEXT = FIXTURE.read_text()
ANSWER = '''class Sum:
    """Adds."""

    def first(self):
        # Kept.
        # solution
        value = """
text at column 0
"""
        return value

    def second(self):
        return 2


size = 110  # solution'''


def lesson_from(folder: Path, text: str):
    """The lesson with this source."""
    path = folder / "90_fixture.py"
    path.write_text(text)
    return read(path)


def cells_of(text: str) -> dict[str, str]:
    """{first tag: source} of a notebook file."""
    cells = json.loads(text)["cells"]
    tagged = [cell for cell in cells if cell["metadata"].get("tags")]
    return {cell["metadata"]["tags"][0]: "".join(cell["source"]) for cell in tagged}


@pytest.fixture
def project(tmp_path):
    """A project folder with one built lesson."""
    (tmp_path / "notebooks/source").mkdir(parents=True)
    (tmp_path / "notebooks/source/90_fixture.py").write_text(TEXT)
    build_all(tmp_path)
    return tmp_path


def test_building_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        build(FIXTURE, {tmp_path / f"{name}.ipynb": "learner"})
    assert (tmp_path / "a.ipynb").read_bytes() == (tmp_path / "b.ipynb").read_bytes()


def test_notebook_is_format_4_5_without_outputs_and_says_where_it_comes_from():
    text = notebook_text(read(FIXTURE), "learner")
    notebook = json.loads(text)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5) and text.endswith("}\n")
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "jupytext" not in notebook["metadata"]
    origin = notebook["metadata"]["annlib"]
    assert origin["edition"] == "learner"
    assert origin["source"] == "notebooks/source/90_fixture.py"
    assert not any(cell.get("outputs") for cell in notebook["cells"])


def test_ids_are_unique_and_survive_changes_in_other_sections(tmp_path):
    def ids(text):
        cells = json.loads(notebook_text(lesson_from(tmp_path, text), "solution"))["cells"]
        return {"".join(cell["source"]): cell["id"] for cell in cells}

    before = ids(TEXT)
    new = "# %%\nprint('new')\n\n# %% [markdown]\n# ## Move"
    after = ids(TEXT.replace("# %% [markdown]\n# ## Move", new))
    assert len(set(before.values())) == len(before) and len(after) == len(before) + 1
    assert all(after[source] == identity for source, identity in before.items())


def test_learner_edition_contains_no_line_of_a_solution_outside_hints():
    learner = json.loads(notebook_text(read(FIXTURE), "learner"))["cells"]
    shown = [c for c in learner if not str(c["metadata"].get("tags")).startswith("['hint")]
    for line in ("total_of_everything", "guess_constant = 7", "moves", "# solution"):
        assert line not in json.dumps(shown)


def test_solution_edition_has_answers_predictions_and_notes_for_teachers():
    cells = cells_of(notebook_text(read(FIXTURE), "solution"))
    assert cells["answer:mean"].endswith("return total_of_everything / len(numbers)")
    assert "# solution" not in cells["answer:mean"]
    assert cells["predict:constant"] == "guess_constant = 7"
    assert cells["instructor"].startswith("> **For teachers.** Ten minutes")
    assert "instructor" not in cells_of(notebook_text(read(FIXTURE), "learner"))


def test_stub_keeps_signature_docstring_and_comments():
    learner = cells_of(notebook_text(read(FIXTURE), "learner"))
    assert learner["answer:mean"] == (
        "def mean(numbers: list[float]) -> float:\n"
        '    """(N,) -> scalar"""\n    # Think of N.\n    ...'
    )
    assert learner["predict:constant"] == "guess_constant = ..."


def test_stub_hides_to_the_end_of_the_innermost_function_only():
    shown = stub(ANSWER)
    assert "# Kept.\n        ...\n\n    def second(self):\n        return 2" in shown
    assert shown.endswith("size = ...") and "text at column" not in shown
    assert "text at column 0" in finished(ANSWER) and "# solution" not in finished(ANSWER)
    assert hidden_lines(ANSWER)[-1] == "size = 110"


def test_hints_are_folded_and_their_titles_give_nothing_away():
    hint = cells_of(notebook_text(read(FIXTURE), "learner"))["hint:mean:2"]
    assert hint.startswith("<details>\n<summary>Hint 2: the tool</summary>\n\nPython has")
    assert hint.endswith("\n\n</details>")


def test_quiz_options_fold_their_own_explanation():
    quiz = cells_of(notebook_text(read(FIXTURE), "learner"))["quiz:lost"]
    assert "<summary>A. Where the <strong>centre</strong> of gravity is.</summary>" in quiz
    assert "**Incorrect.** It says exactly that." in quiz and "[x]" not in quiz
    assert quiz_options("- [x] a\n  why\n  more\n") == [(True, "a", "why more")]


REVEAL = '# %% [markdown] tags=["reveal:two"]\n# It is [4.0](claim:twice) of $\\frac{1}{2}$.\n'
ASKED = """# %% [markdown]
# ### Prediction 3.1: Two

# %% tags=["predict:two"]
guess = 4  # solution
"""


def test_learners_see_an_explanation_only_after_their_prediction(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(f"{ASKED}\n{REVEAL}")
    learner, solution = (
        nbformat.reads(notebook_text(read(tmp_path / "one.py"), edition), 4).cells[-1]
        for edition in ("learner", "solution")
    )
    assert solution.cell_type == "markdown" and solution.source.startswith("It is 4.0 of")
    assert learner.cell_type == "code" and learner.metadata["jupyter"] == {"source_hidden": True}
    assert learner.metadata["claims"] == solution.metadata["claims"] == [["4.0", "twice"]]
    shown = []
    exec(learner.source, {"predictions": SimpleNamespace(reveal=lambda *all_: shown.append(all_))})
    assert shown == [("3.1", f"\n{solution.source}\n")]


@pytest.mark.parametrize(
    "broken", [REVEAL, ASKED.replace("3.1", "") + REVEAL, ASKED + REVEAL + "# ## A"]
)
def test_an_explanation_without_its_prediction_or_with_a_heading_is_refused(
    broken: str, tmp_path: Path
) -> None:
    (tmp_path / "one.py").write_text(broken)
    with pytest.raises(ValueError, match="needs a prediction"):
        notebook_text(read(tmp_path / "one.py"), "learner")


def test_links_to_exercises_become_anchors_of_their_headings():
    header = cells_of(notebook_text(read(FIXTURE), "learner"))["header"]
    assert "[Exercise 90.1](#Exercise-90.1:-The-mean)" in header
    assert "[Prediction 90.1](#Prediction-90.1:-constant-values)" in header


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tags=["answer:mean"]', 'tags=["anwser:mean"]', "unknown tag 'anwser:mean'"),
        (' tags=["answer:mean"]', "", "'# solution' markers"),
        ("    # solution\n", "    # Solution:\n", "lines look like one"),
        ("    # solution\n", "", "0 '# solution' markers"),
        ("guess_constant = 7  # solution", "guess = [  # solution\n7]", "this is not Python"),
        ("predict:outlier", "predict:constant", "a tag names one cell"),
        ('[markdown] tags=["hint:mean:1"]', 'tags=["hint:mean:1"]', "belongs on a markdown cell"),
        ("exercise:mean)", "exercise:none)", "nowhere. Known: exercise:mean"),
        ("# %% [markdown] tags", "# ---\n# %% [markdown] tags", "no YAML header"),
    ],
)
def test_sources_that_could_mislead_are_refused(tmp_path, old, new, message):
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        notebook_text(lesson_from(tmp_path, text), "learner")


def test_solution_repeated_in_a_teaching_cell_is_refused(tmp_path):
    body = TEXT.partition("    # solution\n")[2].partition("\n\n")[0]
    text = TEXT.replace("# ## Quiz", f"# ## Quiz\n\n# %%\ndef copied(numbers):\n{body}")
    with pytest.raises(ValueError, match="in another cell"):
        notebook_text(lesson_from(tmp_path, text), "learner")


def test_current_notebooks_are_accepted(project):
    assert check_current(project) == []


def test_notebook_edited_by_hand_is_named_with_the_way_on(project):
    path = project / "notebooks/90_fixture.ipynb"
    path.write_text(path.read_text().replace("Think of N", "Think"))
    assert check_current(project) == [
        "notebooks/90_fixture.ipynb was edited by hand or is out of date: "
        "edit notebooks/source/90_fixture.py and run `annlib lessons build`."
    ]


def answered(path: Path, answer: str = "    return 41 + 1") -> bytes:
    """A notebook as JupyterLab saves it: the first exercise answered, and run."""
    notebook = nbformat.read(path, 4)
    cell = next(one for one in notebook.cells if "answer:mean" in one.metadata.get("tags", []))
    cell.source = cell.source.replace("    ...", answer)
    cell.execution_count = 3
    nbformat.write(notebook, path)
    return path.read_bytes()


def saved(project: Path) -> list[Path]:
    return sorted(project.rglob("*.saved-*.ipynb"))


def test_answers_of_a_student_outlive_a_build(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path, source = (
        project / "notebooks/90_fixture.ipynb",
        project / "notebooks/source/90_fixture.py",
    )
    built = path.read_bytes()
    students = answered(path)
    source.write_text(TEXT.replace("Ten minutes", "Eleven minutes"))  # a new edition comes out
    monkeypatch.chdir(project)
    Build().run()
    (kept,) = saved(project)
    assert kept.read_bytes() == students and path.read_bytes() == built
    assert f"kept as {kept.relative_to(project)}" in capsys.readouterr().out
    assert check_current(project) == []  # the copy needs no source
    Build().run()
    assert saved(project) == [kept]


def test_a_notebook_that_was_only_run_is_written_anew(project: Path) -> None:
    path = project / "notebooks/90_fixture.ipynb"
    built = path.read_bytes()
    assert answered(path, "    ...") != built
    assert not any(build_all(project).values())
    assert path.read_bytes() == built and saved(project) == []


def test_a_notebook_of_an_older_source_is_written_anew(project: Path) -> None:
    (project / "notebooks/source/90_fixture.py").write_text(TEXT.replace("# ## Move", "# ## Go"))
    assert not any(build_all(project).values())
    assert "## Go" in (project / "notebooks/90_fixture.ipynb").read_text()


@pytest.mark.parametrize("text", ["<<<<<<< HEAD", '{"cells": [], "metadata": {}}', "[]"])
def test_what_no_build_wrote_is_kept(project: Path, text: str) -> None:
    path = project / "notebooks/90_fixture.ipynb"
    path.write_text(text)
    kept = build_all(project)[path]
    assert kept.read_text() == text and check_current(project) == []


def test_folder_without_lessons_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="name the project folder"):
        check_current(tmp_path)


def test_notebook_without_source_is_named(project):
    (project / "notebooks/solutions/91_old.ipynb").write_text("{}")
    assert "91_old.ipynb has no source" in check_current(project)[0]
