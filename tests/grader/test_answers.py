"""Each wrong answer loses the points of the checks that name it, and no others; right ones none."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import a1_answers
import a2_answers
import a3_answers
import pytest
from in_process import ROOT, lost, marks_for, public_beside, solutions
from known import FILES, REMEMBERED, Gallery, Wrong, WrongFile, changed_files, mistaken, until

from annlib.cli.assignments import OWN
from annlib.course.assignments import a3_hidden as hidden
from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.course.assignments.a3 import A3
from annlib.grader.hidden_checks import NOT_STARTED
from annlib.grader.intake import parsed
from annlib.grader.judge import Assignment, Mark
from annlib.grader.release import edition

KNOWN = ((A1, a1_answers.GALLERIES), (A2, a2_answers.GALLERIES), (A3, a3_answers.GALLERIES))
REFERENCES = {assignment.name: solutions(assignment) for assignment, _ in KNOWN}


def one(assignment: Assignment, gallery: Gallery, *values: object, name: str = "") -> tuple:
    """A case; those in which networks are trained are slow."""
    marks = [pytest.mark.slow] if gallery.task in ("run", "ablation") else []
    told = "-".join(filter(None, (assignment.name, gallery.task, name)))
    return pytest.param(assignment, gallery, *values, id=told, marks=marks)


def some_in_the_fast_suite(cases: list) -> list:
    """Every third stays there; the others are marked `all`."""
    return [
        case if place % 3 == 0 else case._replace(marks=[*case.marks, pytest.mark.all])
        for place, case in enumerate(cases)
    ]


PAIRS = [(assignment, gallery) for assignment, galleries in KNOWN for gallery in galleries]
ALL = [one(*pair) for pair in PAIRS]
RIGHT = [one(*pair, code, name=name) for pair in PAIRS for name, code in pair[1].right.items()]
WRONG = [one(*pair, wrong, name=name) for pair in PAIRS for name, wrong in pair[1].wrong.items()]
WRONG_FILES = [
    one(*pair, wrong, name=name) for pair in PAIRS for name, wrong in pair[1].wrong_files.items()
]
EACH = pytest.mark.parametrize(  # whole answers to A3 train networks
    "assignment",
    [
        pytest.param(one, marks=[pytest.mark.slow] if one is A3 else [], id=one.name)
        for one, _ in KNOWN
    ],
)


@pytest.fixture(autouse=True, scope="module")
def reference_runs() -> Iterator[None]:
    """The runs of the checks, trained once for all answers: the seeds are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hidden, "reference_run", cache(hidden.reference_run))
        patch.setattr(hidden, "RUN_MISTAKES", {n: cache(r) for n, r in hidden.RUN_MISTAKES.items()})
        yield


def reference(assignment: Assignment, gallery: Gallery) -> dict[str, str]:
    """The code of each cell; what is built on the run of A3 does not train again and again."""
    code = dict(REFERENCES[assignment.name])
    if gallery.task == "ablation":
        code["run"] += REMEMBERED
    return code


def whole(assignment: Assignment) -> str:
    return "\n".join(REFERENCES[assignment.name].values())


def test_every_assignment_has_its_galleries() -> None:
    assert [one.name for one, _ in KNOWN] == [*OWN]
    for assignment, galleries in KNOWN:
        assert [one.task for one in galleries] == [task.name for task in assignment.tasks]


@EACH
def test_reference_gets_full_marks(assignment: Assignment) -> None:
    marks = marks_for(whole(assignment), assignment, files=FILES.get(assignment.name))
    assert sum(mark.points for mark in marks) == sum(task.points for task in assignment.tasks) == 15


@pytest.mark.parametrize(("assignment", "gallery", "code"), RIGHT)
def test_answer_written_differently_gets_full_marks(
    assignment: Assignment, gallery: Gallery, code: str
) -> None:
    written = f"{until(reference(assignment, gallery), gallery.cell)}\n{code}"
    marks = marks_for(written, assignment, files=FILES.get(assignment.name), only=gallery.task)
    assert marks and lost(marks, gallery.task) == {}


@pytest.mark.parametrize(
    "seeds", [(1, 2), *(pytest.param(two, marks=pytest.mark.all) for two in ((3, 4), (5, 6)))]
)
@pytest.mark.parametrize(("assignment", "gallery", "wrong"), some_in_the_fast_suite(WRONG))
def test_wrong_answer_loses_the_checks_that_name_it(
    assignment: Assignment, gallery: Gallery, wrong: Wrong, seeds: tuple[int, int]
) -> None:
    code = mistaken(reference(assignment, gallery), gallery.cell, wrong)
    files = FILES.get(assignment.name)
    marks = marks_for(code, assignment, seeds, files, only=gallery.task)
    loses_only(marks, gallery.task, wrong.loses)


@pytest.mark.parametrize(("assignment", "gallery", "wrong"), WRONG_FILES)
def test_wrong_file_loses_the_checks_that_name_it(
    assignment: Assignment, gallery: Gallery, wrong: WrongFile
) -> None:
    files, code = changed_files(assignment.name, wrong), reference(assignment, gallery).values()
    marks = marks_for("\n".join(code), assignment, files=files, only=gallery.task)
    loses_only(marks, gallery.task, wrong.loses)


def loses_only(marks: list[Mark], task: str, loses: Mapping[str, str]) -> None:
    """Checks that lost, by what; the others keep all their points."""
    assert lost(marks, task) == loses
    kept = [mark for mark in marks if mark.check not in loses]
    assert sum(mark.points for mark in marks) == sum(mark.out_of for mark in kept)


FOLLOWED_UP = [  # a mistake in one task, and the task whose answer uses it
    pytest.param(assignment, gallery, gallery.wrong[name], task, id=f"{task}-{name}", marks=marks)
    for (assignment, gallery), task, names, marks in (
        (PAIRS[0], "NonlocalBlock", a1_answers.FOLLOWED_UP, ()),
        (
            PAIRS[3],
            "AsymmetricBlock",
            a2_answers.WRONG_SAMPLING.keys() - {"square cells", "three dots"},
            (),
        ),
        (PAIRS[7], "verdicts", a3_answers.FOLLOWED_UP, ()),
        (PAIRS[6], "ablation", ("variant by variant", "numbered"), pytest.mark.slow),
        (PAIRS[9], "ablation", ("from one", "no step"), pytest.mark.slow),
    )
    for name in sorted(names)
]


@pytest.mark.parametrize(
    ("assignment", "gallery", "wrong", "task"), some_in_the_fast_suite(FOLLOWED_UP)
)
def test_a_mistake_costs_nothing_in_a_later_task(
    assignment: Assignment, gallery: Gallery, wrong: Wrong, task: str
) -> None:
    """Of A3's table only its making: the table that is handed in was made without the mistake."""
    answers = REFERENCES[assignment.name]
    changed = {**answers, gallery.cell: answers[gallery.cell].replace(wrong.old, wrong.new)}
    (cell,) = (other.cell for _, other in PAIRS if other.task == task)
    code = until(changed, cell)
    found = lost(marks_for(code, assignment, only=task), task)
    assert found == {} or set(found.values()) == {NOT_STARTED}
    assert lost(marks_for(code, assignment, only=gallery.task), gallery.task) == wrong.loses


def test_a_mistake_that_is_the_blocks_own_is_not_forgiven() -> None:
    """Its weights have the same mistake as those of the task before, and once more its own."""
    answers = REFERENCES["A1"]
    own = answers["block"].replace("query = self", "query = 2 * self")
    scale = a1_answers.WRONG_WEIGHTS["no scale"]
    code = answers["weights"].replace(scale.old, scale.new) + "\n" + own
    assert lost(marks_for(code, A1, only="NonlocalBlock"), "NonlocalBlock").keys() >= {"values"}


@pytest.mark.parametrize(("assignment", "gallery"), ALL)
def test_galleries_are_large_enough(assignment: Assignment, gallery: Gallery) -> None:
    assert len(gallery.wrong) >= 8
    assert len(gallery.right) >= 3


@EACH
def test_blank_notebook_has_not_started(assignment: Assignment) -> None:
    blank = edition(ROOT, assignment, "learner").encode()
    cells, _ = parsed(blank, f"{assignment.name}.ipynb", assignment)
    code = "\n".join(cell for cell in cells if "checks" not in cell)
    marks = marks_for(code, assignment)
    assert {mark.misconception for mark in marks} == {NOT_STARTED}
    assert sum(mark.points for mark in marks) == 0


@pytest.mark.parametrize(
    ("assignment", "seed"),
    [
        pytest.param(one, seed, marks=pytest.mark.all if one is A3 or seed > 3 else [])
        for one, _ in KNOWN
        for seed in (3, 4, 5, 6)
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_marks_do_not_depend_on_the_numbers_drawn(assignment: Assignment, seed: int) -> None:
    files = FILES.get(assignment.name)
    marks = marks_for(whole(assignment), assignment, (seed, seed + 100), files)
    assert sum(mark.points for mark in marks) == 15


@EACH
def test_public_checks_accept_the_reference_and_import_nothing_of_annlib(
    assignment: Assignment,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # A3 rehearses its table there
    lines = edition(ROOT, assignment, "learner")
    with public_beside(assignment) as modules:
        checks = modules[assignment.public[-1]]
        solution: dict[str, object] = {"checks": type("checks", (), {})}
        exec(assignment.prelude + whole(assignment), solution)
        for task in assignment.tasks:
            called = lines.split(f"({task.name})")[0].rpartition("checks.")[2]
            getattr(checks, called)(solution[task.name])
    assert capsys.readouterr().out.count("Right") == len(assignment.tasks)
    assert "annlib" not in "".join(assignment.public_modules().values())
