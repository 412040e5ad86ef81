"""Export the quizzes of all lessons to learning platforms: GIFT (Moodle), QTI 1.2 (Canvas).

python -m tools.quizzes [--out build/quizzes]     one .gift.txt and one .qti.zip for each lesson
"""

import argparse
import html
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

from annlib.course.authoring import (
    EMPHASIS,
    OPTION,
    heading_anchors,
    headings,
    quiz_options,
    read,
    resolve_links,
    sources,
)

QTI = "http://www.imsglobal.org/xsd/ims_qtiasiv1p2"
PACKAGE = "http://www.imsglobal.org/xsd/imscp_v1p1"
SPECIAL = re.compile(r"([\\~=#{}:])")


class Option(NamedTuple):
    correct: bool
    text: str  # HTML, as all of a question but its name
    why: str


class Question(NamedTuple):
    name: str  # "Quiz 8.1"
    text: str
    options: list[Option]


def as_html(markdown: str) -> str:
    """One paragraph of Markdown -> HTML; formulas in \\( \\), which MathJax reads."""
    text = re.sub(r"\[([^\]]+)\]\(#[^)]*\)", r"\1", " ".join(markdown.split()))
    parts = re.split(r"\$([^$]+)\$", html.escape(text, quote=False))
    for place in range(0, len(parts), 2):
        for pattern, tag in EMPHASIS:
            parts[place] = re.sub(pattern, rf"<{tag}>\1</{tag}>", parts[place])
    return "".join(rf"\({one}\)" if n % 2 else one for n, one in enumerate(parts))


def questions(source: Path) -> tuple[str, list[Question]]:
    """-> title of the lesson, its quiz questions"""
    lesson = read(source)
    anchors, title = heading_anchors(lesson), headings(lesson.cells[0].text)[0][1]
    found = []
    for cell in lesson.with_role("quiz").values():
        text = resolve_links(cell, anchors)
        head, _, asked = headings(text)[0][1].partition(": ")
        below = text[: OPTION.search(text).start()].partition("\n")[2]
        options = [Option(right, *map(as_html, said)) for right, *said in quiz_options(text)]
        found.append(Question(head, as_html(f"{asked} {below}"), options))
    return title, found


def gift(title: str, asked: list[Question]) -> str:
    """The questions of a lesson as GIFT: a category, then a question each, with feedback."""

    def plain(text: str) -> str:
        return SPECIAL.sub(r"\\\1", text)

    blocks = [f"$CATEGORY: $course$/annlib/{title.replace('/', '//')}"]
    for question in asked:
        lines = [f"::{plain(question.name)}::[html]{plain(question.text)} {{"]
        for option in question.options:
            lines.append(f"  {'=' if option.correct else '~'}{plain(option.text)}")
            lines[-1] += f"#{plain(option.why)}"
        blocks.append("\n".join([*lines, "}"]))
    return "\n\n".join(blocks) + "\n"


def child(parent: ET.Element, tag: str, text: str = "", **attributes: str) -> ET.Element:
    found = ET.SubElement(parent, tag, attributes)
    found.text = text or None
    return found


def material(parent: ET.Element, text: str) -> None:
    child(child(parent, "material"), "mattext", text, texttype="text/html")


def qti(name: str, title: str, asked: list[Question]) -> ET.ElementTree:
    """The questions of a lesson as a QTI 1.2 assessment.  name: the identifier of the lesson"""
    root = ET.Element("questestinterop", xmlns=QTI)
    assessment = child(root, "assessment", ident=name, title=title)
    section = child(assessment, "section", ident="root_section")
    for number, question in enumerate(asked, 1):
        item = child(section, "item", ident=f"{name}_{number}", title=question.name)
        fields = child(child(item, "itemmetadata"), "qtimetadata")
        for label, entry in (
            ("question_type", "multiple_choice_question"),
            ("points_possible", "1"),
        ):
            field = child(fields, "qtimetadatafield")
            child(field, "fieldlabel", label)
            child(field, "fieldentry", entry)
        shown = child(item, "presentation")
        material(shown, question.text)
        response = child(shown, "response_lid", ident="response1", rcardinality="Single")
        choices = child(response, "render_choice")
        processing = child(item, "resprocessing")
        score = {"varname": "SCORE", "vartype": "Decimal", "minvalue": "0", "maxvalue": "100"}
        child(child(processing, "outcomes"), "decvar", **score)
        for letter, option in zip("ABCDEFGH", question.options, strict=False):
            material(child(choices, "response_label", ident=letter), option.text)
            rule = child(processing, "respcondition", **{"continue": "Yes"})
            child(child(rule, "conditionvar"), "varequal", letter, respident="response1")
            if option.correct:
                child(rule, "setvar", "100", action="Set", varname="SCORE")
            link = {"feedbacktype": "Response", "linkrefid": f"{letter}_fb"}
            child(rule, "displayfeedback", **link)
            material(
                child(child(item, "itemfeedback", ident=f"{letter}_fb"), "flow_mat"), option.why
            )
    return ET.ElementTree(root)


def manifest(name: str) -> ET.ElementTree:
    """Of a content package that holds one assessment."""
    root = ET.Element("manifest", xmlns=PACKAGE, identifier=f"{name}_manifest")
    child(root, "organizations")
    resources, file = child(root, "resources"), f"{name}.xml"
    one = child(resources, "resource", identifier=name, type="imsqti_xmlv1p2", href=file)
    child(one, "file", href=file)
    return ET.ElementTree(root)


def write(root: Path, folder: Path) -> Iterator[Path]:
    """Writes both formats of every lesson below the project folder `root`.  -> the files"""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources(root):
        name = f"lesson_{source.stem[:2]}"
        title, asked = questions(source)
        text = folder / f"{name}.gift.txt"
        text.write_text(gift(title, asked), encoding="utf-8")
        package = folder / f"{name}.qti.zip"
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
            trees = {"imsmanifest.xml": manifest(name), f"{name}.xml": qti(name, title, asked)}
            for file, tree in trees.items():
                archive.writestr(file, ET.tostring(tree.getroot(), "utf-8", xml_declaration=True))
        yield from (text, package)


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=root / "build/quizzes", help="folder to write")
    files = list(write(root, parser.parse_args().out))
    print(f"{len(files)} files in {files[0].parent}")
