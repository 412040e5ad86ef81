"""Submissions of the kinds that every class hands in, all of them correct: kind -> files, points.

`python tests/grader/kinds.py FOLDER` writes them for `annlib grade A1 FOLDER`.
"""

import io
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import a1_answers
from in_process import ROOT, solutions

from annlib.course.assignments.a1 import A1
from annlib.grader.release import edition

CODE = solutions(A1)
WEIGHTS, BLOCK, OPERATIONS = CODE.values()
RELEASED = json.loads(edition(ROOT, A1, "learner"))
ANSWERED = json.loads(edition(ROOT, A1, "solution"))
OPEN = "The ratio is 13.9 by the formula, 17.2 by the clock."


class Kind(NamedTuple):
    """files: path below the folder -> text or bytes. points: of 15. answer: to the open question"""

    files: dict[str, str | bytes]
    points: float = 15
    answer: str = ""


def code(*cells: str) -> list[dict]:
    return [
        {"cell_type": "code", "source": one, "metadata": {}, "outputs": [], "execution_count": None}
        for one in cells
    ]


def text(source: str, *tags: str) -> dict:
    return {"cell_type": "markdown", "source": source, "metadata": {"tags": list(tags)}}


def notebook(cells: Sequence[dict]) -> str:
    return json.dumps({"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


def plain(*cells: str) -> dict[str, str | bytes]:
    return {"A1.ipynb": notebook(code(*cells))}


def zipped(files: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def with_answer(*cells: dict) -> dict[str, str | bytes]:
    """The answered notebook, in which these cells stand in place of that for the open answer."""
    kept = []
    for cell in ANSWERED["cells"]:
        kept += cells if "open:measured-ratio" in cell["metadata"].get("tags", []) else [cell]
    return {"A1.ipynb": notebook(kept)}


TIMING = """
times = []
for size in (4, 6):
    block, x = NonlocalBlock(6, 3).eval(), torch.randn(1, 6, size, size)
    for _ in range(3):
        began = time.perf_counter()
        block(x)
        times.append(time.perf_counter() - began)
print(times)
"""
INDENTED = "\n".join(f"    {line}" for line in WEIGHTS.strip().splitlines())
SCRIPT = "\n\n".join(f"# In[{n}]:\n\n{one}" for n, one in enumerate(CODE.values(), 1))
PERCENT = "\n".join(f"# %%\n{one}" for one in CODE.values())
SETTINGS = """
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
torch.set_default_device("meta")
"""
LATER_WEIGHTS = """
def attention_weights(query, key):  # for a plot, without the mask
    return (query.mT @ key).softmax(-1)
"""
SCALE = a1_answers.WRONG_WEIGHTS["no scale"]
UNSCALED = WEIGHTS.replace(SCALE.old, SCALE.new)

KINDS = {
    "as released, filled in": Kind({"A1.ipynb": json.dumps(ANSWERED)}),
    "seven cells that time": Kind(plain(*CODE.values(), *7 * [TIMING])),
    "colab's import above another": Kind(
        plain(f"from google.colab import drive\nimport functools\n{WEIGHTS}", BLOCK, OPERATIONS)
    ),
    "a failing check above a definition": Kind(
        plain(
            WEIGHTS,
            BLOCK,
            f"import a1_checks as checks\nchecks.attention_weights(len)\n{OPERATIONS}",
        )
    ),
    "an indented cell": Kind(plain(INDENTED, BLOCK, OPERATIONS)),
    "await at top level": Kind(
        plain(f"import asyncio\nawait asyncio.sleep(0)\n{WEIGHTS}", BLOCK, OPERATIONS)
    ),
    "magics and shell commands": Kind(
        plain(f"%matplotlib inline\n!pip install einops\n{WEIGHTS}", f"%%time\n{BLOCK}", OPERATIONS)
    ),
    "help with a question mark": Kind(
        plain(WEIGHTS, "torch.softmax?", f"{BLOCK}\nF.conv2d??", OPERATIONS)
    ),
    "cells in another order": Kind(
        plain(f"{OPERATIONS}\nhalf = unit / 2", "unit = 1", BLOCK, WEIGHTS)
    ),
    "imports deleted": Kind(plain(BLOCK, WEIGHTS, OPERATIONS)),
    "a cell that fails at the end": Kind(plain(*CODE.values(), "1 / 0", "undefined", "def f(:")),
    "a cell that leaves": Kind(plain("import sys", "sys.exit()", *CODE.values())),
    "the untouched notebook beside it": Kind(
        {"A1.ipynb": json.dumps(RELEASED), "A1-final.ipynb": json.dumps(ANSWERED)}
    ),
    "checkpoints in the zip": Kind(
        {
            "A1.zip": zipped(
                {
                    "A1/A1.ipynb": json.dumps(ANSWERED),
                    "A1/.ipynb_checkpoints/A1-checkpoint.ipynb": json.dumps(RELEASED),
                    "__MACOSX/A1/._A1.ipynb": "x",
                }
            )
        }
    ),
    "a script of nbconvert": Kind({"A1.py": f"#!/usr/bin/env python\n# coding: utf-8\n\n{SCRIPT}"}),
    "a script with an answer in markdown": Kind(
        {"A1.py": f'{PERCENT}\n# %% [markdown] tags=["open:measured-ratio"]\n# {OPEN}\n'},
        answer=OPEN,
    ),
    "an answer in two cells": Kind(
        with_answer(*(text(one, "open:measured-ratio") for one in OPEN.split(", "))),
        answer=OPEN.replace(", ", "\n\n"),
    ),
    "an answer in a new cell": Kind(
        with_answer(text("*Your answer*", "open:measured-ratio"), text(OPEN)),
        answer=f"*Your answer*\n\n{OPEN}",
    ),
    "written by Windows": Kind(
        {
            "A1.ipynb": "\ufeff"
            + notebook(code(*(one.replace("\n", "\r\n") for one in CODE.values())))
        }
    ),
    "defined again for a plot": Kind(plain(*CODE.values(), LATER_WEIGHTS)),
    "a block on an earlier mistake": Kind(plain(UNSCALED, BLOCK, OPERATIONS), points=9),
    "a redefinition that is wrong everywhere": Kind(plain(*CODE.values(), UNSCALED)),
    "settings of torch for all that follows": Kind(plain(*CODE.values(), SETTINGS)),
    "faster matrix products": Kind(
        plain("torch.set_float32_matmul_precision('medium')", *CODE.values())
    ),
    "a GPU asked for above a definition": Kind(
        plain(f"assert torch.cuda.device_count() > 99\n{WEIGHTS}", BLOCK, OPERATIONS)
    ),
    "the work in a zip beside the untouched notebook": Kind(
        {
            "A1.ipynb": json.dumps(RELEASED),
            "A1.zip": zipped({"A1/A1.ipynb": json.dumps(ANSWERED)}),
            "old.zip": b"PK, but damaged",
        }
    ),
    "zips of two times": Kind(
        {
            "A1.zip": zipped({"A1.ipynb": json.dumps(RELEASED)}),
            "A1 (1).zip": zipped({"A1.ipynb": json.dumps(ANSWERED)}),
        }
    ),
    "the same twice": Kind({f"mine{n}.ipynb": json.dumps(ANSWERED) for n in ("", " (1)")}),
    "below all notebooks of the course": Kind(
        {f"lessons/{number:02}.ipynb": notebook(code("x = 1")) for number in range(25)}
        | {"work/A1.ipynb": json.dumps(ANSWERED)}
    ),
    "a file that is not here, above a definition": Kind(
        plain(
            f"photo = open('photo.jpg')\n{WEIGHTS}",
            f"with open('x') as x: pass\n{BLOCK}",
            OPERATIONS,
        )
    ),
    "a question and an exit above a definition": Kind(
        plain(f"name = input('Who?')\n{WEIGHTS}", f"import sys\nsys.exit()\n{BLOCK}", OPERATIONS)
    ),
    "modules and built-ins hidden by loops": Kind(
        plain(
            f"{WEIGHTS}\nassert sum([1]) == 1",
            BLOCK,
            OPERATIONS.replace("return 2 *", "return sum([2]) *"),
            "sum = 0\nfor torch in range(3):\n    sum += torch\nfor sqrt in range(3): pass",
            "del nn, F",
        )
    ),
    "a helper defined again for a plot": Kind(
        plain(
            "def scale(channels): return channels ** -0.5",
            WEIGHTS.replace("/ sqrt(query.shape[1])", "* scale(query.shape[1])"),
            BLOCK,
            OPERATIONS,
            "def scale(channels): return 1",
        )
    ),
    "a star over the imports": Kind(plain(*CODE.values(), "from torch import *")),
    "a script in UTF-16, as PowerShell writes": Kind({"A1.py": SCRIPT.encode("utf-16")}),
    "a notebook in UTF-16": Kind({"A1.ipynb": json.dumps(ANSWERED).encode("utf-16")}),
    "a notebook of format 3": Kind(
        {
            "A1.ipynb": json.dumps(
                {
                    "worksheets": [
                        {"cells": [{"cell_type": "code", "input": one} for one in CODE.values()]}
                    ],
                    "nbformat": 3,
                }
            )
        }
    ),
}


def write(folder: Path) -> Path:
    """A folder for each kind, named by it."""
    for name, kind in KINDS.items():
        for path, content in kind.files.items():
            file = folder / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
