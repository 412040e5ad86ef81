"""The exported quizzes hold every question, its correct option and every explanation."""

import html
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from annlib.course.authoring import read, sources
from tools.quizzes import QTI, Option, Question, as_html, gift, questions, write

ROOT = Path(__file__).resolve().parents[2]
TRICKY = Question(
    "Quiz 1.1",
    r"Is {a} ~ b = 1: \(\frac{1}{2}\)?",
    [Option(True, "#1", "x=y"), Option(False, "no", "a:b")],
)
NAMES = {"q": QTI}


def parse_gift(text: str) -> list[tuple[str, str, list[tuple[bool, str, str]]]]:
    """A second reader of GIFT: characters one by one, as Moodle describes the format."""
    found = []
    for block in text.strip().split("\n\n"):
        if block.startswith("$CATEGORY"):
            continue
        hidden = re.sub(r"\\(.)", lambda m: f"&&{ord(m[1]):03d};", block)
        name, asked, inside = re.fullmatch(
            r"::(.*?)::\[html\](.*?)\{(.*)\}", hidden, re.DOTALL
        ).groups()
        options = re.findall(r"([=~])([^=~#]*)#([^=~#]*)", inside)

        def back(one: str) -> str:
            return re.sub(r"&&(\d{3});", lambda m: chr(int(m[1])), one).strip()

        found.append(
            (back(name), back(asked), [(s == "=", back(t), back(w)) for s, t, w in options])
        )
    return found


def test_signs_with_a_meaning_in_gift_come_back_as_they_were() -> None:
    ((name, asked, options),) = parse_gift(gift("T", [TRICKY]))
    assert (name, asked, options) == tuple(TRICKY[:2]) + ([tuple(o) for o in TRICKY.options],)


def test_markdown_becomes_html_and_formulas_stay() -> None:
    assert (
        as_html("a < *b* `x*y` $N^2 < *$") == r"a &lt; <em>b</em> <code>x*y</code> \(N^2 &lt; *\)"
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quizzes")
    assert len(list(write(ROOT, folder))) == 2 * len(sources(ROOT))
    return folder


@pytest.mark.parametrize("source", sources(ROOT), ids=lambda one: one.stem)
def test_both_formats_hold_all_questions_of_a_lesson(source: Path, exported: Path) -> None:
    """Options are counted in the source itself, by its marks."""
    cells = [cell.text for cell in read(source).with_role("quiz").values()]
    marks = [re.findall(r"^- \[([ x])\]", text, re.MULTILINE) for text in cells]
    name = f"lesson_{source.stem[:2]}"
    parsed = parse_gift((exported / f"{name}.gift.txt").read_text(encoding="utf-8"))
    assert [["x" if right else " " for right, _, _ in options] for _, _, options in parsed] == marks
    assert all(text and why for _, _, options in parsed for _, text, why in options)
    with zipfile.ZipFile(exported / f"{name}.qti.zip") as archive:
        manifest = ET.fromstring(archive.read("imsmanifest.xml"))
        (resource,) = (one for one in manifest.iter() if one.tag.endswith("}resource"))
        root = ET.fromstring(archive.read(resource.get("href")))
    items = root.findall(".//q:item", NAMES)
    assert resource.get("type") == "imsqti_xmlv1p2" and len(items) == len(marks)
    for item, (title, asked, options) in zip(items, parsed, strict=True):
        labels = item.findall(".//q:response_label", NAMES)
        texts = [one.find(".//q:mattext", NAMES).text for one in labels]
        assert (item.get("title"), texts) == (title, [text for _, text, _ in options])
        assert html.unescape(
            item.find("q:presentation/q:material/q:mattext", NAMES).text
        ) == html.unescape(asked)
        right = item.findall(".//q:respcondition[q:setvar]/q:conditionvar/q:varequal", NAMES)
        assert [one.text for one in right] == [
            "ABCDEFGH"["".join("x" if o[0] else " " for o in options).index("x")]
        ]
        feedback = {one.get("ident") for one in item.findall("q:itemfeedback", NAMES)}
        linked = {one.get("linkrefid") for one in item.findall(".//q:displayfeedback", NAMES)}
        assert feedback == linked and len(feedback) == len(options)


def test_a_question_names_its_lesson() -> None:
    title, asked = questions(sources(ROOT)[0])
    assert title and all(re.fullmatch(r"Quiz 0\.\d", one.name) for one in asked)
