"""The course as it is handed out: every notebook current, executed, and through every gate."""

import ast
import symtable
from collections.abc import Iterator
from pathlib import Path

import pytest

from annlib.course.authoring import Lesson, check_current, read, sources
from annlib.course.running.execute import run
from annlib.course.running.gates import review
from tools.check_lessons import lint_all

ROOT = Path(__file__).parents[2]
SOURCES = sources(ROOT)
# Lessons whose learner edition is run, because what they do with an exercise cannot be read off.
RUN = ("02_non_local_attention", "05_asymmetric_fusion", "11_folding")
QUICK = {"mode": "quick", "device": "cpu", "seed": 0}
each_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def test_every_notebook_is_what_its_source_says() -> None:
    assert check_current(ROOT) == []


def test_every_source_keeps_the_rules() -> None:
    assert lint_all(ROOT) == []


def findings(notebook: Path, folder: Path) -> list[str]:
    """Executes a notebook in a fresh kernel.  -> what its gates have found"""
    report = review(run(notebook, folder / notebook.name, QUICK))
    return [finding for found in report.findings.values() for finding in found]


@pytest.mark.notebooks
@pytest.mark.timeout(900)
@each_lesson
def test_every_lesson_runs_and_passes_every_gate(source: Path, tmp_path: Path) -> None:
    assert findings(ROOT / f"notebooks/solutions/{source.stem}.ipynb", tmp_path) == []


@pytest.mark.notebooks
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "source",
    [
        pytest.param(source, marks=[] if source.stem in RUN else pytest.mark.all)
        for source in SOURCES
    ],
    ids=lambda source: source.stem,
)
def test_learner_edition_raises_nothing_but_not_yet(source: Path, tmp_path: Path) -> None:
    assert findings(ROOT / f"notebooks/{source.stem}.ipynb", tmp_path) == []


# The editions differ in the cells of exercises and predictions. Where one is not filled in, a cell
# that needs it has to stop at a checker, which raises NotYet (test_exercises.py), and no other cell
# may need what that one has not made. Of most lessons that can be read off the source.


def globals_used(code: str) -> set[str]:
    """Names that the code reads from the notebook, in functions too."""

    def used(table: symtable.SymbolTable) -> Iterator[str]:
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (top or symbol.is_global()):
                yield symbol.get_name()
        for child in table.get_children():
            yield from used(child)

    return set(used(symtable.symtable(code, "cell", "exec")))


def names_made(statement: ast.stmt) -> set[str]:
    """Names that a statement of a cell gives to the notebook."""
    symbols = symtable.symtable(ast.unparse(statement), "cell", "exec").get_symbols()
    return {one.get_name() for one in symbols if one.is_assigned() or one.is_imported()}


def uses(name: str, *nodes: ast.AST) -> set[tuple[int, int]]:
    """Where a name stands in these parts of a cell: lines and columns."""
    found = (part for node in nodes for part in ast.walk(node))
    return {
        (part.lineno, part.col_offset)
        for part in found
        if isinstance(part, ast.Name) and part.id == name
    }


def is_checked(name: str, statement: ast.stmt) -> bool:
    """Whether a checker gets what this name stands for before anything else does."""
    return min(uses(name, statement)) in uses(name, *arguments("checks.", statement))


def is_compared(name: str, statement: ast.stmt) -> bool:
    """Whether a guess, which may be three dots, is only compared or written into a sentence."""
    written = [
        part.value
        for part in ast.walk(statement)
        if isinstance(part, ast.FormattedValue) and not part.format_spec
    ]
    plain = [value for value in written if isinstance(value, ast.Name)]
    return uses(name, statement) <= uses(name, *arguments("predictions.", statement), *plain)


def arguments(called: str, statement: ast.stmt) -> list[ast.expr]:
    """Of the calls of functions whose name begins with this."""
    calls = [part for part in ast.walk(statement) if isinstance(part, ast.Call)]
    return [a for one in calls if ast.unparse(one.func).startswith(called) for a in one.args]


def unguarded(lesson: Lesson) -> list[str]:
    """What a learner edition may raise beside NotYet, as far as its cells show."""
    unfilled, guesses, lost, found = set(), set(), set(), []
    for cell in lesson.cells:
        if cell.kind != "code":
            continue
        stopped, statements = False, ast.parse(cell.text).body
        if cell.role("answer") or cell.role("predict"):
            names = unfilled if cell.role("answer") else guesses
            names |= set().union(*map(names_made, statements))
            continue
        for statement in statements:
            made = names_made(statement)
            used = globals_used(ast.unparse(statement)) - made
            checked = [n for n in used & unfilled if is_checked(n, statement)]
            if not stopped:
                found += [f"{cell.place}: {name} is not there" for name in sorted(used & lost)]
                missing = {n for n in used & guesses if not is_compared(n, statement)}
                missing |= set() if checked else used & unfilled
                found += [f"{cell.place}: {name} may be missing" for name in sorted(missing)]
            stopped = stopped or bool(checked)
            lost = lost | made if stopped else lost - made
            if not stopped:
                unfilled -= made
    return found


@pytest.mark.parametrize(
    "source", [one for one in SOURCES if one.stem not in RUN], ids=lambda source: source.stem
)
def test_only_checkers_get_what_a_learner_has_not_filled_in(source: Path) -> None:
    assert unguarded(read(source)) == []


@pytest.mark.parametrize(
    ("cells", "finding"),
    [
        ("print(twice(2) + 1)", "twice may be missing"),
        ("y = checks.attempt(twice, 2)\n\n# %%\nprint(y)", "y is not there"),
        ("print(guess + 1)", "guess may be missing"),
        ("def later(x):\n    return twice(x)", "twice may be missing"),
        ("y = checks.attempt(twice, 2)\nprint(y, twice(3))", ""),
        ("y = checks.attempt(twice, 2)\n\n# %%\ny = 3\nprint(y)", ""),
        ("print(f'{guess:.1f}')", "guess may be missing"),
        ("print(f'{guess} was the guess')", ""),
        ("predictions.compare('1', guess, 4)\ntwice = 3\nprint(twice)", ""),
    ],
)
def test_use_of_an_unfilled_exercise_is_found(cells: str, finding: str, tmp_path: Path) -> None:
    answer = '# %% tags=["answer:twice"]\ndef twice(x):\n    # solution\n    return 2 * x\n'
    guess = '# %% tags=["predict:two"]\nguess = 4  # solution\n'
    (tmp_path / "lesson.py").write_text(f"{answer}\n{guess}\n# %%\n{cells}\n")
    found = unguarded(read(tmp_path / "lesson.py"))
    assert [one.partition(": ")[2] for one in found] == ([finding] if finding else [])
