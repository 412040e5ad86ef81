"""What a lesson source must have before it is worth running; each rule returns its findings."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from annlib.course.authoring.building import sources
from annlib.course.authoring.lint_exercises import OBJECTIVE, exercises, hints, strays
from annlib.course.authoring.lint_prose import naked_numbers, results, sections
from annlib.course.authoring.lint_widgets import colours, widgets
from annlib.course.authoring.markup import LINK, quiz_options
from annlib.course.authoring.source import Lesson, headings, read
from annlib.course.parameters import PARAMETERS
from annlib.course.running.gates import stated_seconds

HEADER_FIELDS = ("Before", "Reading", "Runs in", "Needs")
VAGUE = {"know", "understand", "learn", "appreciate", "see", "be", "get", "have", "remember"}
VAGUE |= {"study"}
LONGEST_CELL = 25
HAS_GPU = 'lesson.device.type == "cuda"'
NOTEBOOK_LINK = re.compile(r"\]\(([^)]+?)\.ipynb(#[^)]*)?\)")
FORBIDDEN = {
    r"^\s*(!|%pip|%conda|%sx|%%bash|%%sh)": "runs a shell command on the learner's machine",
    r"""["'](https?|ftp)://""": "reads from the network; lessons run offline",
    r"""["'](/(home|root|tmp|usr|mnt|work|data|content|Users)\b|~/|[A-Za-z]:[\\/])""": (
        "names a folder of one machine; take it from a parameter"
    ),
    r"^\s*(from matplotlib import .*pyplot|import matplotlib\.pyplot)": (
        "uses pyplot, whose figures have no alt text; use annlib.course.plots"
    ),
    r"\.(clustermap|boxplot)\(.*": "uses a seaborn plot that breaks with the newest matplotlib",
}


def header(lesson: Lesson) -> Iterator[str]:
    """The contract at the top, and objectives that can be seen to be reached."""
    if not lesson.cells or "header" not in lesson.cells[0].tags:
        yield f"{lesson.name}: the first cell is not tagged 'header', so readers meet no contract."
        return
    cell = lesson.cells[0]
    for field in HEADER_FIELDS:
        if not re.search(rf"^- \*\*{field}:\*\* \S", cell.text, re.MULTILINE):
            yield f"{cell.place}: the header has no line `- **{field}:** ...`."
    for mode in {"quick", "learn"} - stated_seconds(cell.text).keys():
        yield f"{cell.place}: `Runs in` states no time for {mode!r}: write `20 s ({mode})`."


def objectives(lesson: Lesson) -> Iterator[str]:
    """Three to five, each with a visible verb and a link to where it is tried."""
    cell = lesson.cells[0]
    found = OBJECTIVE.findall(cell.text)
    if not 3 <= len(found) <= 5:
        yield f"{cell.place}: {len(found)} numbered objectives; learners can hold 3 to 5."
    for number, text in enumerate(found, 1):
        verb = re.sub(r"\W", "", text.split()[0].lower())
        if verb in VAGUE:
            yield f"{cell.place}: objective {number} starts with {verb!r}, which none can observe."
        if not LINK.search(text):
            yield f"{cell.place}: objective {number} links to no exercise:, quiz: or predict:."


def parameters(lesson: Lesson) -> Iterator[str]:
    """One cell with the standard parameters, so that every lesson runs the same way."""
    cells = lesson.tagged("parameters")
    if not cells:
        yield f"{lesson.name}: no cell is tagged 'parameters', so nobody can run it in quick mode."
        return
    for name in PARAMETERS:
        if not re.search(rf"^{name} = ", cells[0].text, re.MULTILINE):
            yield f"{cells[0].place}: parameter {name!r} is missing."


def code(lesson: Lesson) -> Iterator[str]:
    """Cells that fit on a screen and run on any machine."""
    for cell in lesson.cells:
        lines = [line for line in cell.text.splitlines() if line.strip()]
        if cell.kind == "code" and len(lines) > LONGEST_CELL:
            yield f"{cell.place}: {len(lines)} lines of code; {LONGEST_CELL} fit in one thought."
        for pattern, reason in FORBIDDEN.items():
            if cell.kind == "code" and (found := re.search(pattern, cell.text, re.MULTILINE)):
                yield f"{cell.place}: {found[0].strip()!r} {reason}."
        if "gpu" in cell.tags and not asks_for_a_gpu(cell.text):
            yield (
                f"{cell.place}: tagged gpu, but runs on a CPU, too, when a reader runs every cell: "
                f"put all of it behind `if {HAS_GPU}:`, with an `else` that says what is missing."
            )


def asks_for_a_gpu(text: str) -> bool:
    """Whether all that a cell does, imports aside, stands behind a test for a GPU."""
    work = [one for one in ast.parse(text).body if not isinstance(one, ast.Import | ast.ImportFrom)]
    return all(
        isinstance(one, ast.If) and HAS_GPU in ast.unparse(one.test).replace("'", '"')
        for one in work
    )


def asserts(lesson: Lesson) -> Iterator[str]:
    """Shapes and sums are asserted, so that what the text says of them stays true."""
    if not any(re.search(r"^ *assert ", c.text, re.MULTILINE) for c in lesson.cells):
        yield f"{lesson.name}: no cell asserts anything, so what the text says of shapes can rot."


def heading_order(lesson: Lesson) -> Iterator[str]:
    """One title, then levels that never skip, so that screen readers can navigate."""
    before = 0
    for cell in lesson.cells:
        for level, title in headings(cell.text) if cell.kind == "markdown" else []:
            if level > before + 1:
                yield f"{cell.place}: heading {title!r} is level {level} after level {before}."
            if level == 1 and before:
                yield f"{cell.place}: {title!r} is a second title; use ##."
            before = level


def predictions(lesson: Lesson) -> Iterator[str]:
    """Two or more, asked before the answer."""
    if (count := len(lesson.with_role("predict"))) < 2:
        yield f"{lesson.name}: {count} cells tagged predict:id; ask for 2, before the answers."


def quiz(lesson: Lesson) -> Iterator[str]:
    """Three to five questions, every option explained."""
    found = lesson.with_role("quiz")
    if not 3 <= len(found) <= 5:
        yield f"{lesson.name}: {len(found)} quiz questions; 3 to 5 make learners recall the lesson."
    for name, cell in found.items():
        options = quiz_options(cell.text)
        if len(options) < 2 or sum(option.right for option in options) != 1:
            yield f"{cell.place}: quiz {name!r} has {len(options)} options; one must be `- [x]`."
        for option in options:
            if not option.explanation:
                yield f"{cell.place}: quiz {name!r} does not explain {option.text!r}."


def teachable(lesson: Lesson) -> Iterator[str]:
    """Somebody else can teach it."""
    if not lesson.tagged("instructor"):
        yield f"{lesson.name}: no cell tagged 'instructor', so nobody else can teach it."
    elif not any("minutes" in note.text.lower() for note in lesson.tagged("instructor")):
        yield f"{lesson.name}: no instructor cell says how many minutes a part takes."


def ending(lesson: Lesson) -> Iterator[str]:
    """Learners know what to read, and where to go next."""
    if not lesson.cells or "recap" not in lesson.cells[-1].tags:
        yield f"{lesson.name}: the last cell is not tagged 'recap'."
    elif "Read more" not in lesson.cells[-1].text:
        yield f"{lesson.cells[-1].place}: the recap has no `Read more` with references."
    elif not NOTEBOOK_LINK.search(lesson.cells[-1].text):
        yield f"{lesson.cells[-1].place}: the recap links to no next lesson (NN_name.ipynb)."


def dead_links(lesson: Lesson, folder: Path) -> Iterator[str]:
    """Links to lessons that are not written: each linked notebook needs its source in `folder`."""
    for cell in lesson.cells:
        for target, _ in NOTEBOOK_LINK.findall(cell.text) if cell.kind == "markdown" else []:
            if not (folder / f"{target}.py").exists():
                yield f"{cell.place}: links to {target}.ipynb, but there is no source {target}.py."


Rule = Callable[[Lesson], Iterator[str]]
RULES: dict[str, tuple[Rule, ...]] = {  # by the point of the rubric that they serve
    "R1": (objectives,),
    "R2": (header, parameters),
    "R4": (predictions,),
    "R5": (code, sections),
    "R6": (asserts,),
    "R7": (widgets,),
    "R8": (colours, heading_order),
    "R9": (exercises,),
    "R10": (hints, strays),
    "R13": (naked_numbers,),
    "R15": (quiz, ending),
    "R16": (teachable,),
}


def lint_all(root: Path) -> list[str]:
    """The findings in every lesson under the project folder."""
    return [finding for source in sources(root) for finding in lint(source)]


def lint(source: Path) -> list[str]:
    """The findings in one lesson, each with file and line."""
    return [finding for found in findings_by_point(source).values() for finding in found]


def findings_by_point(source: Path) -> dict[str, list[str]]:
    """{"R1": [], "R2": ["..."]}: what each rule of a point of the rubric found."""
    lesson = read(source)
    found = {point: [f for rule in rules for f in rule(lesson)] for point, rules in RULES.items()}
    found["R13"] += results(lesson, source.parents[2] / "data/results")
    found["R15"] += dead_links(lesson, source.parent)
    return found
