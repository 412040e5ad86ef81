"""Find words in comments, docstrings, messages and Markdown that a plainer word replaces.

    python tools/check_prose.py            every text of the project that is not excluded below
    python tools/check_prose.py PATH ...   these files and folders, whether excluded or not

Prints `file:line: word: better word` and exits 1 if there is a finding. A line that needs its word
carries a mark with the reason: `# prose: a quotation` in Python, `<!-- prose: a quotation -->` in
Markdown. The mark of a string over several lines stands after its end, and holds for all of it.
"""

import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CHECKED = (
    "annlib/**/*.py",
    "annlib/**/*.toml",
    "annlib/**/*.html",
    "annlib/**/*.j2",
    "annlib/course/widgets/javascript/*.js",
    "annlib/grader/skeleton/*",
    "benchmarks/**/*.py",
    "docs/*.md",
    "tools/**/*.j2",
    "tools/**/*.py",
    "tests/**/*.py",
    "notebooks/source/**/*.py",
    "notebooks/*.md",
    "notebooks/teaching/*.md",
    "notebooks/diagrams/*.svg",
    "data/**/README.md",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
)
QUOTING = ("tools/check_prose.py", "tests/core/test_prose.py")  # these list the words themselves
# Files and folders that are not clean yet. Shrink this list; never add to it.
EXCLUDED = (
    "data/results/widgets",
    "notebooks/RUBRIC.md",  # made from notebooks/rubric.json
    "tests",
)

# (pattern, better word). Spaces in a pattern match any white space, so a line may end there.
# The list is a floor: add what you find, with its inflections.
WORDS = (
    (r"rightly", "correctly"),
    (r"wrongly", "incorrectly"),
    (r"anew", "again"),
    (r"alike", "the same, equally"),
    (r"dear(er|est|ly)?", "expensive"),
    (r"reckon(s|ed|ing)?", "compute, estimate"),
    (r"mend(s|ed|ing)?", "fix, repair"),
    (r"thorough and", "thorough, and"),
    (r"can(not)? but", "can only, must"),
    (r"whom", "who, which, that"),
    # "There is no file x" is plain; "the file is no image" is not.
    (
        r"(?<!there\s)(is|are) no(?! (longer|more|less|fewer|better|worse|larger|smaller)\b)",
        "is not",
    ),
    (r"(lies?|lay|lying|laid|laying) beside", "concatenate, next to"),
    (r"by heart", "memorise"),
    (r"(falls?|fell|fallen|falling) out", "follows, results"),
    (r"(speaks?|spoke|spoken|speaking) (against|for)", "supports, contradicts"),
    (r"at once", "immediately, together, at the same time"),
    (r"beforehand", "before"),
    (r"(tells?|telling|told)( [^\s.;:]+){0,4} apart", "distinguish"),
    (r"(networks?|models?|classifiers?|heads?|predictions?) names?", "classify"),
    (r"(naming|named) (in)?correctly", "classified"),
    (r"(for|by) the fast|the fast(?=\s*([.,;:!?)]|$))", "optional, an extension"),
    (r"the hand", "by hand, manually"),
    (r"witness(es|ed|ing)?", "evidence, measurement"),
    (r"flatter(s|ed|ing|y)?", "overestimate"),
    (r"blow(s|n|ing)?|blew", "error, stop, fail"),
    (r"wish(es|ed|ing)?", "want, request"),
    (r"blind(s|ed|ing|ly|ness)?", "cannot see, ignores"),
    (r"stubborn(ly|ness)?", "persistent"),
    # Of the table "one term for one thing": what a pattern can tell.
    (r"pictures?|photographs?", "image"),
    (r"who (asks|answers)", "query position, key position"),
    (r"enlarge(s|d|ment)?|enlarging", "upsample"),
    (r"(thin|thins|thinned|thinning) out", "subsample"),
    (r"wrong alarms?", "false positive"),
    (r"missed pixels?", "false negative"),
    (r"bills?", "cost"),
    (r"what must be held", "memory"),
    (r"the way back", "backward pass"),
    (r"way on", "resume command"),
    (r"(training|validation|test|train|val) (half|halves)", "split"),
    (r"looks? at the validation", "validates, validation"),
    (r"far context", "long-range context"),
    (r"cells that answer", "pooled keys"),
    (r"how widely it looks", "entropy of the attention weights"),
    (r"side of its view", "receptive field"),
)
SPACED = [(word.replace(" ", r"\s+"), better) for word, better in WORDS]
PATTERNS = [
    (re.compile(rf"(?<![\w-])(?:{word})(?![\w-])", re.IGNORECASE), better)
    for word, better in SPACED
]
MARK = re.compile(r"(?:#|<!--) *prose: *(.*?) *(?:-->|$)")
# Names of code are not prose: text in backticks, targets of links, dotted or underscored names,
# paths, calls, options, and what stands in the braces of an f-string. Line breaks are kept.
CODE = re.compile(
    r"``?[^`]+``?|\]\([^)\s]*\)|https?://\S+|\S*\w[._/=(\[:]\w\S*|\w+\(\)|\w*_\w*|--\w[\w-]*|\{[^{}]*\}"
)
QUOTES = re.compile(r"""(?s)^(\w*)(\"{3}|'{3}|"|')(.*)\2$""")
Lines = list[tuple[int, str]]  # number of a line in its file, and its prose


class Finding(NamedTuple):
    line: int
    word: str
    better: str


def findings(path: Path) -> list[Finding]:
    """The rejected words of a Python or Markdown file, and marks that excuse none."""
    text = path.read_text(encoding="utf-8")
    passages, marks = python(text) if path.suffix == ".py" else markdown(text)
    found, used = [], set()
    for lines in passages:
        for finding in in_passage(lines):
            if finding.line in marks:
                used.add(marks[finding.line])
            else:
                found.append(finding)
    for line in set(marks.values()):
        if not MARK.search(text.splitlines()[line - 1])[1]:
            found.append(Finding(line, "prose:", "a mark with its reason, `prose: quoted`"))
    for line in set(marks.values()) - used:
        found.append(Finding(line, "prose:", "no mark, because the line has no rejected word"))
    return sorted(found)


def in_passage(lines: Lines) -> Iterator[Finding]:
    """A word is found also where a line ends within it."""
    text = CODE.sub(
        lambda code: "CODE" + "\n" * code[0].count("\n"), "\n".join(t for _, t in lines)
    )
    for pattern, better in PATTERNS:
        for match in pattern.finditer(text):
            number, _ = lines[text.count("\n", 0, match.start())]
            yield Finding(number, " ".join(match[0].split()), better)


def mark_in(number: int, line: str) -> dict[int, int]:
    """{line: line of its mark}, if there is a mark."""
    return {number: number} if MARK.search(line) else {}


def markdown(text: str) -> tuple[list[Lines], dict[int, int]]:
    """Paragraphs, and the comments in blocks of code."""
    passages, marks, fenced = [[]], {}, False
    for number, line in enumerate(text.splitlines(), 1):
        marks |= mark_in(number, line)
        fence = line.lstrip().startswith(("```", "~~~"))
        if fence or not line.strip():
            fenced ^= fence
            passages.append([])
        elif fenced:
            passages.append([(number, line.partition("# ")[2])])
        else:
            passages[-1].append((number, MARK.sub("", line)))
    return passages, marks


def python(text: str) -> tuple[list[Lines], dict[int, int]]:
    """Comments that follow each other, and strings of two words or more."""
    comments, strings, marks, ends = [], [], {}, {}
    depth = 0  # of f-strings, which Python 3.12 splits into tokens
    joined = False  # whether the next string continues the last one
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind, line = tokenize.tok_name[token.type], token.start[0]
        depth += (kind == "FSTRING_START") - (kind == "FSTRING_END")
        if kind == "COMMENT":
            marks |= mark_in(line, token.string)
            follows = comments and comments[-1][-1][0] == line - 1
            comment = (line, MARK.sub("", token.string).strip("# "))
            comments[-1].append(comment) if follows else comments.append([comment])
        elif kind == "FSTRING_MIDDLE" or (kind == "STRING" and depth == 0):
            prose = prose_of(token.string) if kind == "STRING" else token.string
            lines = list(enumerate(prose.replace("\\n", " ").split("\n"), line))
            strings[-1].extend(lines) if joined else strings.append(lines)
            ends |= dict.fromkeys(range(line, token.end[0] + 1), token.end[0])
            joined = True
        elif depth == 0 and kind not in ("NL", "FSTRING_START", "FSTRING_END"):
            joined = False
    marks |= {line: end for line, end in ends.items() if end in marks}
    long = [s for s in strings if sum(len(words.split()) for _, words in s) > 1]
    return comments + long, marks


def prose_of(literal: str) -> str:
    """The text between the quotes of a literal."""
    return QUOTES.sub(r"\3", literal)


def files(root: Path) -> Iterator[Path]:
    """What is checked of a project folder."""
    for path in sorted({path for pattern in CHECKED for path in root.glob(pattern)}):
        name = path.relative_to(root).as_posix()
        if name not in QUOTING and not any(f"{name}/".startswith(f"{e}/") for e in EXCLUDED):
            yield path


def main(paths: Iterable[Path]) -> int:
    """Prints the findings. Returns 1 if there are any, else 0."""
    count = 0
    for path in paths:
        for line, word, better in findings(path):
            count += 1
            print(f"{path}:{line}: {word}: {better}")
    if count:
        print(f"{count} words to replace. A line that needs one: `prose: REASON` in a comment.")
    return int(count > 0)


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:]]
    inside = [
        path
        for folder in given
        for path in sorted(folder.rglob("*"))
        if path.suffix == ".py" or path.name == "README.md"
    ]
    sys.exit(main([path for path in given if path.is_file()] + inside if given else files(ROOT)))
