"""Builds the site of the project: a folder of pages that open as files and request nothing.

    python -m tools.site                      writes build/site; runs lessons that were not run yet
    python -m tools.site --check build/site   only checks links, anchors and requests of a site

A page has the path that its source has in the project: notebooks/reference.md becomes
notebooks/reference.html, so links between documents stay. Executed lessons come from
build/course, where `annlib lessons run` writes them. The reference of the Python interface needs
pdoc: pip install -e '.[site]'.
"""

import argparse
import os
import posixpath
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

import nbformat
from jinja2 import Environment, FileSystemLoader
from nbformat import NotebookNode

from annlib import __version__
from annlib.course.lesson import check_parameters
from annlib.course.running.execute import finished_seconds
from annlib.course.running.release import lesson_page, release, title_of, write_slides
from tools import quizzes

ROOT = Path(__file__).resolve().parents[1]
LOOK = Path(__file__).with_name("site_pages")
TEMPLATES = Environment(autoescape=True, loader=FileSystemLoader(LOOK), trim_blocks=True)
PARAMETERS = {"mode": "quick", "device": "auto", "seed": 0}  # of the executed lessons
DOCUMENTS = (  # patterns of what becomes a page
    "*.md",
    "benchmarks/README.md",
    "data/README.md",
    "data/cluster/*.md",
    "data/results/**/*.md",
    "docs/*.md",
    "notebooks/*.md",
    "notebooks/source/assignments/README.md",
    "notebooks/teaching/*.md",
)
MENU = {  # in the head of each page
    "Lessons": "notebooks/index.html",
    "Reference": "notebooks/reference.html",
    "Diagrams": "notebooks/diagrams/index.html",
    "Results": "data/results/index.html",
    "Python": "api/annlib.html",
    "Teaching": "notebooks/teaching/index.html",
    "Contribute": "CONTRIBUTING.html",
    "Changes": "CHANGELOG.html",
}
CARDS = (
    ("Lessons", "Executed notebooks, with exercises, predictions, quizzes and widgets."),
    (
        "Reference",
        "Notation, glossary, and each part of the network with its source, on a few pages.",
    ),
    ("Diagrams", "The network and its blocks, with shapes, as SVG files."),
    ("Results", "Tables and figures with date, machine, and the command that repeats them."),
    ("Python", "Every module, class and function."),
    (
        "Teaching",
        "Guide, exam, assignments, solved lessons, slides, and quizzes for Moodle and Canvas.",
    ),
)
RESULTS = {  # titles of tables that have none
    "attention": "What houses attend to",
    "balloon_town": "Five heads on Balloon Town",
    "later_methods_ade20k": "Later methods on ADE20K",
    "later_methods_cityscapes": "Later methods on Cityscapes",
    "plateau": "Why some runs stop: what queries and keys still contain",
    "zoo": "The sixteen published rows",
}
PHOTO = (
    'Photo: china.jpg of scikit-learn, by <a href="https://www.flickr.com/photos/danielbuechele/">'
    'danielbuechele</a>, <a href="https://creativecommons.org/licenses/by/2.0/">CC BY 2.0</a>.'
)
ABOUT = "Asymmetric Non-local Networks in plain PyTorch, with a course of notebooks."
ADDRESS = re.compile(r'(<(?:a|img|source)\b[^>]*?\s(?:href|src)=")([^"]+)(")', re.DOTALL)
HEADING = re.compile(r'(<h[1-6] id=")([^"]*)(")')
TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
TEXTS = ("", ".cff", ".json", ".lock", ".py", ".sh", ".sbatch", ".toml", ".txt", ".yml")


class Lesson(NamedTuple):
    name: str
    title: str
    question: str
    minutes: int
    solved: bool
    quiz: str  # name of its files, "" for none


def lesson_minutes(header: str) -> int:
    """What the header of a lesson states for all of it, without optional sections."""
    found = re.search(r"\*\*Time:\*\* (\d+) min\b", header)
    if found is None:
        raise ValueError(
            "The header of a lesson has no line `**Time:** N min`, from which the course's "
            f"time is computed. Add it:\n{header[:300]}"
        )
    return int(found[1])


def course_time(minutes: dict[str, int]) -> str:
    """One sentence on the time of the course.  minutes: name of a lesson -> its minutes"""
    core = sum(number for name, number in minutes.items() if name < "08")
    total = sum(minutes.values())
    return (
        f"Lessons 00 to 07, the core path, take {core} minutes (about {core // 60} hours); all "
        f"{len(minutes)} take {total} (about {total // 60} hours)."
    )


class Site:
    """A site that is being written: which sources have a page, and what else is linked."""

    def __init__(self, root: Path, out: Path, executed: Path, has_api: bool) -> None:
        """executed: the folder that `annlib lessons run` wrote"""
        self.root, self.out, self.executed, self.has_api = root, out, executed, has_api
        found = {path for pattern in DOCUMENTS for path in root.glob(pattern)}
        documents = sorted(path.relative_to(root).as_posix() for path in found)
        self.documents = {name: f"{name.removesuffix('.md')}.html" for name in documents}
        self.pages = dict(self.documents)  # source -> page
        for edition, folder in (("learner", "notebooks"), ("solutions", "notebooks/solutions")):
            for path in sorted((executed / edition).glob("[0-9]*.ipynb")):
                self.pages[f"{folder}/{path.name}"] = f"{folder}/{path.stem}.html"
        self.linked: dict[str, str] = {}  # file of the project -> its copy in the site
        self.listed: set[str] = set()  # folders of the project that a page links

    def write(
        self, path: str, title: str, template: str = "base.html.j2", **values: object
    ) -> None:
        """One page in the look of the site."""
        target = self.out / path
        menu = [(name, to) for name, to in MENU.items() if self.has_api or name != "Python"]
        common = {"title": title, "path": path, "up": "../" * path.count("/"), "menu": menu}
        common |= {"version": __version__, "about": ABOUT}
        target.parent.mkdir(parents=True, exist_ok=True)
        page = TEMPLATES.get_template(template).render(common | values)
        target.write_text(page, encoding="utf-8")

    def text(self, template: str, **values: object) -> str:
        return TEMPLATES.get_template(template).render(values)

    def address(self, written: str, base: str, path: str) -> str:
        """Where a link of a document leads in the site.

        base: folder of the document's source. path: the page that the link is on.
        """
        parts = urlsplit(unescape(written))
        anchor = f"#{slug(parts.fragment)}" if parts.fragment else ""
        if parts.scheme or parts.netloc or not parts.path:
            return written if parts.scheme or parts.netloc else anchor
        source = posixpath.normpath(posixpath.join(base, unquote(parts.path)))
        source = source.removeprefix("./")
        as_source = re.sub(r"\.html$", "", source)  # lesson_page has renamed some
        names = (source, f"{as_source}.ipynb", f"{as_source}.md", f"{source}/README.md")
        page = next((self.pages[name] for name in names if name in self.pages), None)
        file = self.root / source
        if page is None and file.is_file():
            page = source + (".txt" if file.suffix in TEXTS and file.suffix != ".txt" else "")
            self.linked[source] = page
        elif page is None and file.is_dir():
            page = f"{source}/index.html"
            self.listed.add(source)
        if page is None:
            return written  # the check reports it
        return quote(posixpath.relpath(page, posixpath.dirname(path) or ".")) + anchor

    def body(self, notebook: NotebookNode, base: str, path: str) -> str:
        """Its cells as HTML without scripts, whose links lead into the site."""
        page = lesson_page(notebook, path, Path("images stay files"))
        inner = re.search(r"<body[^>]*>\s*<main>(.*)</main>", page, re.DOTALL)
        text = inner[1].replace(' tabindex="0"', "") if inner else page
        text = text.replace("&lt;style&gt;", "&lt;style&gt;:root { color-scheme: light dark; } ")
        labels: list[str] = []
        return TABLE.sub(lambda m: scrollable(m[0], labels), self.relinked(text, base, path))

    def relinked(self, text: str, base: str, path: str) -> str:
        """Its links lead into the site, and each heading has an id of its own, as on GitHub."""
        used: list[str] = []

        def renamed(heading: re.Match) -> str:
            used.append(slug(heading[2]))
            times = used.count(used[-1]) - 1
            return f"{heading[1]}{used[-1]}{f'-{times}' if times else ''}{heading[3]}"

        text = ADDRESS.sub(lambda m: m[1] + escape(self.address(m[2], base, path)) + m[3], text)
        return HEADING.sub(renamed, text)

    def document(self, source: str, page: str, title: str = "") -> None:
        """A Markdown file as a page."""
        text = (self.root / source).read_text(encoding="utf-8")
        heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
        title = title or (heading[1].replace("`", "") if heading else "")
        title = title or RESULTS.get(Path(source).stem, Path(source).stem.replace("_", " "))
        text = text if heading else f"# {title}\n\n{text}"
        text = text.replace("](../", "](../../")  # lesson_page drops one, for solved lessons
        cell = nbformat.v4.new_markdown_cell(text)
        base = posixpath.dirname(source)
        body = self.body(nbformat.v4.new_notebook(cells=[cell]), base, page)
        self.write(page, title, body=body)

    def lessons(self, sheets: dict[str, str]) -> list[Lesson]:
        """Pages of the executed lessons.  sheets: number of a lesson -> name of its quiz"""
        paths, found = sorted((self.executed / "learner").glob("[0-9]*.ipynb")), []
        for path in paths:
            name, solved = path.stem, self.executed / f"solutions/{path.name}"
            notebook = nbformat.read(path, as_version=4)
            header = next(c.source for c in notebook.cells if c.cell_type == "markdown")
            question = re.search(r"^\*(.+?)\*$", header, re.MULTILINE | re.DOTALL)
            facts = title_of(notebook) or name, question[1] if question else ""
            one = Lesson(
                name, *facts, lesson_minutes(header), solved.exists(), sheets.get(name[:2], "")
            )
            found.append(one)
        for place, one in enumerate(found):
            turns = [(f"\N{LEFTWARDS ARROW} {o.title}", o.name) for o in found[:place][-1:]]
            turns += [(f"{o.title} \N{RIGHTWARDS ARROW}", o.name) for o in found[place + 1 :][:1]]
            self.lesson("learner", "notebooks", one, turns)
            if one.solved:
                self.lesson("solutions", "notebooks/solutions", one, turns)
                source = self.executed / f"solutions/{one.name}.ipynb"
                slides = self.out / f"notebooks/slides/{one.name}.html"
                write_slides(source, slides, self.root / "notebooks")
                text = slides.read_text(encoding="utf-8")
                text = self.relinked(text, "notebooks", f"notebooks/slides/{one.name}.html")
                slides.write_text(text, encoding="utf-8")
            if (notebook := self.root / f"notebooks/{one.name}.ipynb").is_file():
                shutil.copy(notebook, self.out / "notebooks")
        return found

    def lesson(self, edition: str, folder: str, one: Lesson, turns: list[tuple[str, str]]) -> None:
        path = f"{folder}/{one.name}.html"
        notebook = nbformat.read(self.executed / f"{edition}/{one.name}.ipynb", as_version=4)
        note = PHOTO if any("sample_photo" in cell.source for cell in notebook.cells) else ""
        body = self.body(notebook, "notebooks", path)
        neighbours = [
            (title, self.pages[f"{folder}/{name}.ipynb"])
            for title, name in turns
            if f"{folder}/{name}.ipynb" in self.pages
        ]
        title = f"{one.title}{', solved' if edition == 'solutions' else ''}"
        self.write(path, title, body=body, turns=neighbours, note=note)

    def diagrams(self) -> None:
        """A page of all diagrams, with the text alternatives that they have inside."""
        parts = ["<h1>Diagrams</h1>"]
        for path in sorted((self.root / "notebooks/diagrams").glob("*.svg")):
            title, alt = svg_texts(path.read_text(encoding="utf-8"))
            image = f'<img src="{path.name}" alt="{escape(alt)}">'
            name = escape(title)
            parts.append(
                f'<h2 id="{path.stem}">{name}</h2><figure class="wide" tabindex="0" role="group" '
                f'aria-label="{name}">{image}</figure><p class="small"><a href="{path.name}" '
                f"download>{path.name}</a></p><details><summary>In words</summary>{escape(alt)}"
                "</details>"
            )
            self.linked[f"notebooks/diagrams/{path.name}"] = f"notebooks/diagrams/{path.name}"
        self.write("notebooks/diagrams/index.html", "Diagrams", body="\n".join(parts))

    def results(self) -> None:
        """An index of the tables in data/results, and its figures."""
        here, lines = "data/results", []
        for source, page in self.documents.items():
            if source.startswith(f"{here}/"):
                heading = (self.root / source).read_text(encoding="utf-8").partition("\n")[0]
                name = RESULTS.get(Path(source).stem, Path(source).stem.replace("_", " "))
                name = heading.lstrip("# ").replace("`", "") if heading[:1] == "#" else name
                place = posixpath.relpath(page, here)
                lines.append(f'<li><a href="{place}">{escape(name)}</a></li>')
        texts = [(self.root / one).read_text(encoding="utf-8") for one in self.documents]
        found = re.findall(rf"!\[([^]]+)\]\([./]*({here}/[\w./-]+)\)", "\n".join(texts))
        shown = []
        for source, alt in sorted({file: alt for alt, file in found}.items()):
            place = posixpath.relpath(source, here)
            self.linked[source] = source
            image = f'<img src="{place}" alt="{escape(alt)}">'
            shown.append(f"<figure>{image}<figcaption>{escape(alt)}</figcaption></figure>")
        body = "<h1>Results</h1><p>Each table says when, on which machine and by which command it "
        body += f"was made.</p><ul>{''.join(lines)}</ul><h2>Figures</h2>{''.join(shown)}"
        self.write(f"{here}/index.html", "Results", body=body)

    def copies(self) -> None:
        """Files that pages link, and an index of each linked folder."""
        for source, page in self.linked.items():
            (self.out / page).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / source, self.out / page)
        for folder in sorted(self.listed):
            path, lines = f"{folder}/index.html", []
            if (self.out / path).exists():
                continue
            for file in sorted(p for p in (self.root / folder).iterdir() if p.name[0] not in "._"):
                page = self.pages.get(f"{folder}/{file.name}")
                name = escape(file.name)
                link = page and posixpath.relpath(page, folder)
                lines.append(
                    f'<li><a href="{link}">{name}</a></li>' if link else f"<li>{name}</li>"
                )
            body = f"<h1>Folder {escape(folder)}</h1><ul>{''.join(lines)}</ul>"
            self.write(path, folder, body=body)


def slug(anchor: str) -> str:
    """The id of a heading on GitHub: "A new one" and "A-new-one" -> "a-new-one"."""
    text = re.sub("<[^>]+>", "", unquote(unescape(anchor))).strip().lower()
    return re.sub(r"[^\w-]+", "", text.replace(" ", "-"))


def scrollable(table: str, labels: list[str]) -> str:
    """A table that scrolls by itself where the page is narrow, also by keyboard.

    labels: those of the tables before it; each gets a label of its own
    """
    heading = re.search(r"<th[^>]*>(.*?)</th>", table, re.DOTALL)
    name = re.sub("<[^>]+>", "", heading[1]).strip() if heading else ""
    labels.append(f"Table {len(labels) + 1}{': ' if name else ''}{name}")
    text = re.sub(r"<th[^>]*>\s*</th>", "<td></td>", table)  # an empty heading names nothing
    return f'<div class="wide" tabindex="0" role="region" aria-label="{labels[-1]}">{text}</div>'


def svg_texts(svg: str) -> tuple[str, str]:
    """Title and description of a diagram."""
    title, about = (
        re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", svg, re.DOTALL) for tag in ("title", "desc")
    )
    return unescape(title[1]), unescape(about[1])


def explorer_parts() -> dict[str, str]:
    """The attention explorer on scenes of Balloon Town: style, scripts, and how it starts."""
    from annlib.course.widgets.base import saved_page
    from annlib.course.widgets.explorer import attention_explorer
    from annlib.data.balloon_town.dataset import make_scene, repaint
    from annlib.data.datasets import FIRST_VAL_SEED
    from annlib.model.build import shipped_model

    names = {"ANN": "ann", "APNB alone": "apnb", "non-local block": "nonlocal"}
    networks = {name: shipped_model(f"balloon_{head}") for name, head in names.items()}
    scene = make_scene(FIRST_VAL_SEED + 21)  # which lessons 00 and 07 use, too
    other = (scene.balloons[0].pattern + 1) % 3
    images = {"scene": scene, "one balloon repainted": repaint(scene, 0, other)}
    images["another scene"] = make_scene(FIRST_VAL_SEED + 3)
    explorer = attention_explorer(networks, images)
    state = explorer.get_state()
    page = saved_page({"state": state}, "Attention explorer")
    scripts = re.search(r"</main>\s*(<script.*</script>)", page, re.DOTALL)[1]
    figure, words = explorer.still()
    image = figure._repr_mimebundle_()[0]["image/png"].replace("\n", "")
    still = f'<img alt="{escape(f"{figure.alt} {words}")}" src="data:image/png;base64,{image}">'
    explorer.close()
    return {"css": state["_css"], "scripts": scripts, "still": still}


def write_api(out: Path) -> None:
    """The reference of the Python interface, by pdoc."""
    import pkgutil
    import warnings

    import pdoc
    import torch

    import annlib

    torch.nn.Module.__init__.__doc__ = None  # or it would stand below each class of ours
    for name in annlib.__all__:  # pdoc does not see names that are imported on first use
        setattr(annlib, name, getattr(annlib, name))
    found = pkgutil.walk_packages(annlib.__path__, "annlib.")
    left_out = (r"!annlib\.__main__", r"!annlib\.course\.assignments\.", r"!.*\.offline")
    names = [one.name for one in found]
    pdoc.render.configure(template_directory=LOOK / "pdoc", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that only editors read
        pdoc.pdoc("annlib", *names, *left_out, output_directory=out)
    (out / "index.html").unlink()  # it only leads to annlib.html
    for path in out.rglob("*.html"):  # its lists of members also have those that it leaves out
        text = path.read_text(encoding="utf-8")
        for anchor in {*re.findall(r' href="#([^"]+)"', text)} - {*PageReader(text).anchors}:
            text = text.replace(f' href="#{anchor}"', "")
        path.write_text(text, encoding="utf-8")


def run_missing(root: Path, executed: Path, say: Callable[[str], None]) -> list[str]:
    """Executes the lessons that were not executed as they are; returns what is wrong with them."""
    missing = []
    for folder, edition in (("notebooks", "learner"), ("notebooks/solutions", "solutions")):
        for notebook in sorted((root / folder).glob("[0-9]*.ipynb")):
            values = check_parameters(notebook, PARAMETERS)
            if finished_seconds(notebook, executed / edition / notebook.name, values) is None:
                missing.append(notebook.name)
    if not missing:
        return []
    say(f"{len(missing)} lessons have to be executed first: {', '.join(sorted({*missing}))}")
    return release(root, executed, dict(PARAMETERS), say, resume=True)


def build(
    root: Path, out: Path, executed: Path, with_api: bool = True, with_explorer: bool = True
) -> int:
    """Writes the whole site into `out`, which is emptied before; returns the number of pages."""
    if out.exists() and any(out.iterdir()) and not (out / "site.css").exists():
        raise FileExistsError(f"{out} is not empty and not a site: name a new folder with --out.")
    shutil.rmtree(out, ignore_errors=True)
    (out / "notebooks").mkdir(parents=True)
    shutil.copy(LOOK / "site.css", out)
    from annlib.course.running import release as running

    shutil.copy(Path(running.__file__).with_name("math.woff2"), out)
    for name in ("LICENSE", "LICENSE-texts"):
        shutil.copy(ROOT / name, out / f"{name}.txt")
    site, sheets = Site(root, out, executed, with_api), {}
    if with_api:
        write_api(out / "api")
    for file in quizzes.write(root, out / "notebooks/quizzes"):
        name = file.name.partition(".")[0]
        sheets[name.removeprefix("lesson_")] = name
    lessons = site.lessons(sheets)
    for source, page in site.documents.items():
        site.document(source, page)
    time = course_time({one.name: one.minutes for one in lessons})
    body = site.text("lessons.html.j2", lessons=lessons, time=time)
    site.write("notebooks/index.html", "The lessons", body=body)
    body = site.text("teaching.html.j2", lessons=lessons)
    site.write("notebooks/teaching/index.html", "Teacher's pack", body=body)
    site.diagrams()
    site.results()
    ann = root / "notebooks/diagrams/ann.svg"
    values = {"lessons": lessons, "diagram": svg_texts(ann.read_text(encoding="utf-8"))[1]}
    values["cards"] = [(n, MENU[n], t) for n, t in CARDS if with_api or n != "Python"]
    values["explorer"] = explorer_parts() if with_explorer else None
    site.write("index.html", "annlib", "front.html.j2", **values)
    site.copies()
    return sum(1 for _ in out.rglob("*.html"))


class PageReader(HTMLParser):
    """The anchors of a page, its links, and what it loads."""

    LOADS = {"img": "src", "script": "src", "iframe": "src", "link": "href", "source": "src"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = re.findall(r"(?:url\(|@import )[\"']?([^\"')\s]+)", text)
        self.inside: list[str] = []  # pages in frames
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" and "href" in found else []
        if (name := self.LOADS.get(tag)) in found:
            self.loads.append(found[name])
        self.inside += [found["srcdoc"]] if "srcdoc" in found else []


def check(folder: Path) -> tuple[list[str], int]:
    """What is wrong with the links of a site, and how many addresses were looked at.

    Each link and image inside the site leads to a file, each #anchor to an element; an anchor is
    used once; no page loads anything from elsewhere.
    """
    folder, seen = folder.resolve(), 0
    paths = sorted(folder.rglob("*.html"))
    pages = {path: PageReader(path.read_text(encoding="utf-8")) for path in paths}
    anchors = {path: {*page.anchors} for path, page in pages.items()}
    findings = []
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        twice = {one for one in page.anchors if page.anchors.count(one) > 1}
        findings += [f"{name}: two elements have the id {one!r}" for one in sorted(twice)]
        frames = [PageReader(text) for text in page.inside]
        loads = page.loads + [one for frame in frames for one in frame.loads]
        for one in loads:
            if urlsplit(one).scheme not in ("", "data") or one.startswith("//"):
                findings.append(f"{name} loads {one}")
        seen += len(page.links) + len(loads)
        for one in {*page.links, *page.loads}:
            findings += [f"{name}: {problem}" for problem in broken(one, path, folder, anchors)]
    return findings, seen


def broken(link: str, page: Path, folder: Path, anchors: dict[Path, set[str]]) -> Iterator[str]:
    """Why a link of a page leads nowhere; nothing for a good one or one to another place."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return
    target = Path(os.path.normpath(page.parent / unquote(parts.path))) if parts.path else page
    if not target.is_relative_to(folder):
        yield f"{link} leads out of the site"
    elif not target.is_file():
        yield f"{link} does not exist"
    elif (
        parts.fragment
        and target.suffix == ".html"
        and unquote(parts.fragment) not in anchors[target]
    ):
        yield f"{link}: the page has no such anchor"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build/site", help="folder to write")
    parser.add_argument("--lessons", type=Path, default=ROOT / "build/course", help="executed ones")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="only check this site")
    given = parser.parse_args()
    findings = []
    if given.check is None:
        problems = run_missing(ROOT, given.lessons, lambda line: print(line, flush=True))
        findings += [one for one in problems if "[time]" not in one]  # the machine was busy
        pages = build(ROOT, given.out, given.lessons)
        size = sum(path.stat().st_size for path in given.out.rglob("*") if path.is_file())
        print(f"{pages} pages, {size / 1e6:.1f} MB: {given.out / 'index.html'}")
    more, seen = check(given.check or given.out)
    print(f"{seen} addresses looked at")
    findings += more
    sys.exit("\n".join([*findings, f"{len(findings)} findings"]) if findings else 0)


if __name__ == "__main__":
    main()
