"""Check that the notebooks follow from their sources, and that the sources follow the rules.

python tools/check_lessons.py      print each finding with file and line; exit 1 if there is one
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from annlib.course import authoring as reader
from annlib.course.authoring import LINK, Lesson, check_current, read, sources
from annlib.course.lesson import PARAMETERS
from annlib.course.running.gates import stated_seconds

OBJECTIVE = re.compile(r"^\d+\. +(.+)$", re.MULTILINE)
EXERCISE = re.compile(
    r"\*Difficulty ([1-5])/5, importance ([1-5])/5, about (\d+) min, objective (\d+)(, open)?\*"
)
TIME = re.compile(
    r"^- \*\*Time:\*\* (\d+) min: reading (\d+), exercises (\d+), running (\d+)"
    r"(?:;\s+two\s+sittings,\s+(\d+)\s+and\s+(\d+)\s+min)?(?:;\s+[\w\s]+?,\s+(\d+)\s+min\s+more)?$",
    re.MULTILINE,
)
WORDS_A_MINUTE, LINES_A_MINUTE = 120, 30  # of text and of code
MINUTES = {"prediction": 2, "widget": 4, "quiz": 1}  # beside those that each exercise states
OWN_STUDY = 60  # minutes: an exercise as long as that is counted apart
TOLERANCE = 4  # minutes: headers are rounded to five
WIDGET = re.compile(r"widgets\.(?!prediction_ledger\b)\w+\(")
LONGEST_SECTION = 900  # words: fifteen minutes with its figures and code
UNITS = ("ms", "MiB", "GiB", "MB", "GB", "G?FLOPs?", "GMACs?", "mIoU", "times")
UNIT = rf"(?:%|(?:{'|'.join(UNITS)}|x (?:as|the|less|more|faster))\b)"
NAKED = re.compile(rf"(?<![\w.])(?:\d[\d,]*(?:\.\d+)? ?{UNIT}|\d+\.\d+)(?![\w]|\.\d)")
# Code, formulas, links and headings (whose numbers count exercises) state no measurements.
WITHOUT = re.compile(
    r"`[^`]*`|\$\$.*?\$\$|\$[^$]+\$|\]\([^)]*\)|^#+ [^\n]*$", re.DOTALL | re.MULTILINE
)
LABELS = re.compile(
    r"(?:[Ee]xercises?|[Pp]redictions?|[Qq]uiz|PyTorch|Python|Table|Section|Eq\.|Figure|and|CC BY)"
    r" \d+\.\d+(?:(?:,| and| to) \d+\.\d+)*"
)
UNCHECKED = ("header", "instructor", "recap")  # contract, advice, references
TASKS = re.compile(r"^1\. .+?^2\. ", re.MULTILINE | re.DOTALL)
COLOURS = re.compile(
    r"""["'](?:#[0-9a-fA-F]{3,8}|jet|hsv|rainbow|gist_rainbow|nipy_spectral|RdYlGn|RdYlGn_r)["']"""
)
VAGUE = re.compile(r"know|understand|learn|appreciate|see|be|get|have|remember|study")
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
    """The contract at the top, and one cell with the standard parameters."""
    if not (tagged := lesson.tagged("parameters")):
        yield f"{lesson.name}: no cell is tagged 'parameters', so nobody can run it in quick mode."
    for name in PARAMETERS if tagged else ():
        if not re.search(rf"^{name} = ", tagged[0].text, re.MULTILINE):
            yield f"{tagged[0].place}: parameter {name!r} is missing."
    if not lesson.cells or "header" not in lesson.cells[0].tags:
        yield f"{lesson.name}: the first cell is not tagged 'header', so readers meet no contract."
        return
    cell = lesson.cells[0]
    for field in ("Before", "Time", "Runs in", "Needs"):
        if not re.search(rf"^- \*\*{field}:\*\* \S", cell.text, re.MULTILINE):
            yield f"{cell.place}: the header has no line `- **{field}:** ...`."
    for mode in {"quick", "learn"} - stated_seconds(cell.text).keys():
        yield f"{cell.place}: `Runs in` states no time for {mode!r}: write `20 s ({mode})`."
    yield from times(lesson)


class Times(NamedTuple):
    """Minutes of a lesson: `total` is the sum of the three parts; `more` is optional."""

    total: int
    reading: int
    exercises: int
    running: int
    sittings: tuple[int, ...]
    more: int


def stated_times(text: str) -> Times | None:
    """The line `- **Time:** ...` of a header; None if it has another form."""
    if not (found := TIME.search(text)):
        return None
    total, reading, exercises, running, first, second, more = (int(n or 0) for n in found.groups())
    sittings = (first, second) if first else (total,)
    return Times(total, reading, exercises, running, sittings, more)


def estimated_times(lesson: Lesson) -> Times:
    """By one rule for all lessons, so that headers can be compared; nobody has timed a class."""
    reading, exercises = Counter(), Counter()
    for cell in lesson.cells:
        optional = cell.section.startswith("optional")
        if cell.kind == "code":
            reading[optional] += len(cell.text.split("\n")) / LINES_A_MINUTE
            names = WIDGET.findall(cell.text)
            exercises[optional] += MINUTES["widget"] * len(names) + (
                MINUTES["prediction"] if cell.role("predict") else 0
            )
        elif cell.role("quiz"):
            exercises[optional] += MINUTES["quiz"]
        elif "instructor" not in cell.tags and not cell.role("hint"):
            reading[optional] += len(re.sub(r"<[^>]+>", "", cell.text).split()) / WORDS_A_MINUTE
            if cell.role("exercise") and (fields := EXERCISE.search(cell.text)):
                minutes = int(fields[3])
                exercises[optional or minutes >= OWN_STUDY] += minutes
    running = max(1, round(stated_seconds(lesson.cells[0].text).get("learn", 0) / 60))
    core = round(reading[False]), round(exercises[False]), running
    return Times(sum(core), *core, (), round(reading[True] + exercises[True]))


def times(lesson: Lesson) -> Iterator[str]:
    """The header's minutes add up, and agree with the rule."""
    cell, should = lesson.cells[0], estimated_times(lesson)
    if not (said := stated_times(cell.text)):
        yield f"{cell.place}: write `- **Time:** 80 min: reading 35, exercises 44, running 1`."
        return
    if said.total != said.reading + said.exercises + said.running:
        yield f"{cell.place}: the parts of {said.total} min do not add up to it."
    if sum(said.sittings) != said.total:
        yield f"{cell.place}: the sittings do not add up to {said.total} min."
    for part in ("reading", "exercises", "running", "more"):
        stated, rule = getattr(said, part), getattr(should, part)
        if not rule - TOLERANCE <= stated <= rule + (TOLERANCE if part != "more" else 60):
            yield f"{cell.place}: {part} {stated} min; by the rule of notebooks/README.md {rule}."


def objectives(lesson: Lesson) -> Iterator[str]:
    """Three to five, each with an observable verb and a link to where it is tried."""
    cell = lesson.cells[0]
    found = OBJECTIVE.findall(cell.text)
    if not 3 <= len(found) <= 5:
        yield f"{cell.place}: {len(found)} numbered objectives; learners can hold 3 to 5."
    for number, text in enumerate(found, 1):
        verb = re.sub(r"\W", "", text.split()[0].lower())
        if VAGUE.fullmatch(verb):
            yield f"{cell.place}: objective {number} starts with {verb!r}, which none can observe."
        if not LINK.search(text):
            yield f"{cell.place}: objective {number} links to no exercise:, quiz: or predict:."


def code(lesson: Lesson) -> Iterator[str]:
    """Cells that fit on a screen and run on any machine; sections that fit into one sitting."""
    for cell in lesson.cells:
        lines = [line for line in cell.text.splitlines() if line.strip()]
        if cell.kind == "code" and len(lines) > LONGEST_CELL:
            yield f"{cell.place}: {len(lines)} lines of code; {LONGEST_CELL} fit in one thought."
        for pattern, reason in FORBIDDEN.items():
            if cell.kind == "code" and (found := re.search(pattern, cell.text, re.MULTILINE)):
                yield f"{cell.place}: {found[0].strip()!r} {reason}."
        done = ast.parse(cell.text).body if "gpu" in cell.tags else []
        done = [one for one in done if not isinstance(one, ast.Import | ast.ImportFrom)]
        tests = [ast.unparse(one.test) if isinstance(one, ast.If) else "" for one in done]
        if not all(HAS_GPU in test.replace("'", '"') for test in tests):
            yield (
                f"{cell.place}: tagged gpu, but runs on a CPU, too, when a reader runs every cell: "
                f"put all of it behind `if {HAS_GPU}:`, with an `else` that says what is missing."
            )
    words: Counter[str] = Counter()
    for cell in lesson.cells:
        if cell.kind == "markdown" and "instructor" not in cell.tags and not cell.role("hint"):
            words[cell.section] += len(cell.text.split())
    for section, count in words.items():
        if count > LONGEST_SECTION and not section.startswith("quiz"):
            yield (
                f"{lesson.name}: section {section!r} has {count} words; one idea takes up to "
                f"{LONGEST_SECTION}. Split it with a `##` heading."
            )


def widgets(lesson: Lesson) -> Iterator[str]:
    """Two or more, each near a text that says in a numbered list what to try."""
    codes = [cell.text if cell.kind == "code" else "" for cell in lesson.cells]
    plain = [re.sub(r"^[ \t]*[!%].*$", "", text, flags=re.MULTILINE) for text in codes]
    nodes = [node for text in plain for node in ast.walk(ast.parse(text))]
    used = [n for n in nodes if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "widgets"]
    # The ledger looks back on the lesson, and teaches nothing itself.
    names = {node.attr for node in used} - {"prediction_ledger"}
    called = re.compile(rf"\b({'|'.join(names) or '$^'})\(")
    shown = [place for place, text in enumerate(codes) if called.search(text)]
    if len(shown) < 2:
        where = "a widget of annlib.course.widgets"
        yield f"{lesson.name}: {len(shown)} cells call {where}; a lesson has two."
    for place in shown:
        around = [cell.text for cell in lesson.cells[max(0, place - 3) : place + 3]]
        if not any(TASKS.search(text) or "Exercise" in text for text in around):
            yield (
                f"{lesson.cells[place].place}: a widget without a job. Say in a numbered list what "
                "to try and to explain (at least two things), or let an exercise use it."
            )


def readable(lesson: Lesson) -> Iterator[str]:
    """Colours of the shared palette, and headings without gaps, for screen readers."""
    for cell in lesson.cells:
        if cell.kind == "code" and (found := COLOURS.search(cell.text)):
            yield (
                f"{cell.place}: the colour {found[0]} is this cell's own. Take block colours, "
                "cividis and figures from annlib.course: they suit colour-blind readers."
            )
    before = 0
    for cell in lesson.cells:
        for level, title in reader.headings(cell.text) if cell.kind == "markdown" else []:
            if level > before + 1:
                yield f"{cell.place}: heading {title!r} is level {level} after level {before}."
            if level == 1 and before:
                yield f"{cell.place}: {title!r} is a second title; use ##."
            before = level


def exercises(lesson: Lesson) -> Iterator[str]:
    """Each calibrated, with an answer and a check, or a rubric; one is short."""
    order, minutes = [cell.slug for cell in lesson.cells], []
    for name, cell in lesson.with_role("exercise").items():
        fields = EXERCISE.search(cell.text)
        if not fields:
            yield (
                f"{cell.place}: exercise {name!r} lacks its line `*Difficulty 2/5, importance 5/5, "
                "about 15 min, objective 1*` (with `, open` before the last star: no check)."
            )
            continue
        minutes.append(int(fields[3]))
        if int(fields[4]) > len(OBJECTIVE.findall(lesson.cells[0].text)):
            yield f"{cell.place}: exercise {name!r} serves objective {fields[4]}, which is none."
        if fields[5]:
            notes = [c for c in lesson.tagged("instructor") if c.section == cell.section]
            if "rubric" not in " ".join(note.text.lower() for note in notes):
                need = "an instructor cell with its rubric"
                yield f"{cell.place}: open exercise {name!r} needs {need}."
            continue
        parts = [f"{role}:{name}" for role in ("exercise", "answer", "check")]
        for part in parts[1:]:
            if part not in order:
                yield f"{cell.place}: there is no cell tagged {part!r}."
        found = [order.index(part) for part in parts if part in order]
        if found != sorted(found):
            yield f"{cell.place}: exercise, answer and check of {name!r} are not in this order."
    if not minutes or min(minutes) > 5:
        yield f"{lesson.name}: no exercise of 5 minutes or less, so some finish none."


def hints(lesson: Lesson) -> Iterator[str]:
    """Three for each exercise with a check; answers, checks and hints belong to an exercise."""
    order = {cell.slug for cell in lesson.cells}
    for name, cell in lesson.with_role("check").items():
        for part in (f"hint:{name}:{number}" for number in (1, 2, 3)):
            if part not in order:
                yield f"{cell.place}: there is no cell tagged {part!r}."
    known = lesson.with_role("exercise")
    for cell in lesson.cells:
        for role in ("answer", "check", "hint"):
            name = (cell.role(role) or "").partition(":")[0]
            if name and name not in known:
                yield f"{cell.place}: {role} for {name!r}, but no cell is tagged 'exercise:{name}'."


def numbers(lesson: Lesson, results: Path) -> Iterator[str]:
    """A number says where it is from; what is said to stand in data/results stands there."""
    for cell in lesson.cells:
        checked = cell.kind == "markdown" and not any(tag in cell.tags for tag in UNCHECKED)
        text = reader.NUMBER_LINK.sub("", reader.FENCED.sub("", cell.text if checked else ""))
        for number in NAKED.findall(LABELS.sub("", WITHOUT.sub("", text))):
            if number not in ("100 %", "0 %", "100%", "0%"):
                yield (
                    f"{cell.place}: {number!r} has no source. Measured here: "
                    f"[{number}](claim:name); by others: [{number}](cited:paper-abstract); in "
                    f"data/results: [{number}](result:balloon_town.md); set or derived: "
                    f"[{number}](given:how)."
                )
        for number, kind, key in reader.NUMBER_LINK.findall(cell.text):
            digits, file = re.search(r"\d[\d.,]*\d|\d", number), results / key
            said = file.read_text(encoding="utf-8") if kind == "result" and file.is_file() else ""
            # Not within another number.
            whole = rf"(?<![\d.]){re.escape(digits[0])}(?!\d)" if digits else "$^"
            if kind == "result" and not re.search(whole, said):
                yield (
                    f"{cell.place}: {number!r} does not stand in data/results/{key}: quote it as "
                    "it is written there, or name the right file."
                )


def ending(lesson: Lesson, folder: Path) -> Iterator[str]:
    """Three to five questions, every option explained; references; links to sources in `folder`."""
    found = lesson.with_role("quiz")
    if not 3 <= len(found) <= 5:
        yield f"{lesson.name}: {len(found)} quiz questions; 3 to 5 make learners recall the lesson."
    for name, cell in found.items():
        options = reader.quiz_options(cell.text)
        if len(options) < 2 or sum(correct for correct, _, _ in options) != 1:
            yield f"{cell.place}: quiz {name!r} has {len(options)} options; one must be `- [x]`."
        for _, text, why in options:
            if not why:
                yield f"{cell.place}: quiz {name!r} does not explain {text!r}."
    last = lesson.cells[-1]  # the header was found before it
    if "recap" not in last.tags:
        yield f"{lesson.name}: the last cell is not tagged 'recap'."
    elif "Read more" not in last.text:
        yield f"{last.place}: the recap has no `Read more` with references."
    elif not NOTEBOOK_LINK.search(last.text):
        yield f"{last.place}: the recap links to no next lesson (NN_name.ipynb)."
    for cell in lesson.cells:
        for target, _ in NOTEBOOK_LINK.findall(cell.text) if cell.kind == "markdown" else []:
            if not (folder / f"{target}.py").exists():
                yield f"{cell.place}: links to {target}.ipynb, but there is no source {target}.py."


def lint_all(root: Path) -> list[str]:
    """The findings in every lesson under the project folder, each with file and line."""
    points = [found for source in sources(root) for found in findings_by_point(source).values()]
    return [finding for findings in points for finding in findings]


def findings_by_point(source: Path) -> dict[str, list[str]]:
    """{"R1": [], "R2": ["..."]}: the findings by the point of the rubric that they concern."""
    lesson = read(source)
    rules = {"R1": objectives, "R2": header, "R5": code, "R7": widgets, "R8": readable}
    rules |= {"R9": exercises, "R10": hints}
    found = {point: list(rule(lesson)) for point, rule in rules.items()}
    found["R13"] = list(numbers(lesson, source.parents[2] / "data/results"))
    found["R15"] = list(ending(lesson, source.parent))
    for point, wrong, text in wholes(lesson):
        found[point] = [f"{lesson.name}: {text}"] if wrong else []
    return found


def wholes(lesson: Lesson) -> Iterator[tuple[str, bool, str]]:
    """(point, whether the lesson misses it, finding) of what only a whole lesson has."""
    count, notes = len(lesson.with_role("predict")), lesson.tagged("instructor")
    yield "R4", count < 2, f"{count} cells tagged predict:id; ask for 2, before the answers."
    asserts = [cell for cell in lesson.cells if re.search(r"^ *assert ", cell.text, re.MULTILINE)]
    text = "no cell asserts anything, so what the text says of shapes can rot."
    yield "R6", not asserts, text
    timed = [note for note in notes if "minutes" in note.text.lower()]
    text = "no instructor cell says how many minutes a part takes."
    text = text if notes else "no cell tagged 'instructor', so nobody else can teach it."
    yield "R16", not timed, text


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    findings = check_current(root) + lint_all(root)
    print("\n".join(findings) or "All green")
    sys.exit(int(bool(findings)))
