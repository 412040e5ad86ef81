"""A small project with one executed lesson, as `tools.site` takes them."""

import base64
import io
import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tools import site

HEADER = """# 90. A fixture

*What does a site show?*

- **Before:** nothing
- **Time:** 20 min: reading 10, exercises 5, running 5

## After this lesson you can

1. find a heading ([Exercise 90.1](#Exercise-90.1:-Is-it-"here"?))
2. find the [terms](reference.md#a-new-term)"""
EXERCISE = """### Exercise 90.1: Is it "here"?

<details>
<summary>Hint 1: the idea</summary>

It is $x$.

</details>"""
TABLES = """| a | b |
|---|---|
| 1 | 2 |

| a | |
|---|---|
| 3 | 4 |
"""
COLUMNS = " | ".join(f"column {number}" for number in range(30))
WIDE = f"| name | {COLUMNS} |\n|{'---|' * 31}\n| row |{' wide value |' * 30}\n"
FRAME = "<thead><tr><th></th><th>mIoU</th></tr></thead><tbody><tr><th>a</th><td>1</td></tr></tbody>"
LINKS = "[code](tools/x.py), [folder](tools), [term](notebooks/reference.md#a-new-term)"
SEE = "[one](notebooks/90_fixture.ipynb), [the table](data/results/zoo.md)"
DOCUMENTS = {
    "CHANGELOG.md": f"# Changelog\n\n{SEE}",
    "CONTRIBUTING.md": f"# Contributing\n\n{TABLES}\n{LINKS}",
    "data/results/zoo.md": f"{WIDE}\n![made](zoo.png) [back](../../CHANGELOG.md#changelog)",
    "notebooks/RUBRIC.md": "# The rubric\n\nText.",
    "notebooks/reference.md": "# Sheet\n\n## A new term\n\n$N = 110$, [code](../tools/x.py).",
    "notebooks/source/assignments/README.md": "# Assignments\n\nText.",
    "notebooks/teaching/guide.md": "# Guide\n\n[rubric](../RUBRIC.md)\n\n```python\nx = 1\n```",
    "notebooks/teaching/exam.md": "# Exam\n\nText.",
    "notebooks/teaching/accessibility.md": "# Accessibility\n\nText.",
    "tools/x.py": "x = 1\n",
}


def lesson() -> nbformat.NotebookNode:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "png")
    data = {"image/png": base64.b64encode(file.getvalue()).decode()}
    image = new_output("display_data", data, metadata={"image/png": {"alt": "A dot"}})
    table = new_output("display_data", {"text/html": f"<table>{FRAME}</table>"})
    code = new_code_cell("def f(x):\n    return x + 110  # a comment", outputs=[image, table])
    return new_notebook(cells=[new_markdown_cell(HEADER), code, new_markdown_cell(EXERCISE)])


def make(folder: Path) -> tuple[Path, Path]:
    """Writes the project.  -> its folder, and the one of its executed lessons"""
    project, executed = folder / "project", folder / "executed"
    for name, text in DOCUMENTS.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    (project / "notebooks/diagrams").mkdir()
    shutil.copy(site.ROOT / "notebooks/diagrams/ann.svg", project / "notebooks/diagrams")
    shutil.copy(site.ROOT / "data/results/streets_ann.png", project / "data/results/zoo.png")
    shutil.copy(site.ROOT / "tests/lessons/90_fixture.py", project / "notebooks/source")
    for edition in ("learner", "solutions"):
        (executed / edition).mkdir(parents=True)
        nbformat.write(lesson(), executed / edition / "90_fixture.ipynb")
    nbformat.write(lesson(), project / "notebooks/90_fixture.ipynb")
    return project, executed
