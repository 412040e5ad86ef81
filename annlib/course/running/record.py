"""What a lesson measured on a named machine: data/results/lessons, one JSON file a lesson.

Claims that a quick run cannot make anew (long trainings, timings) are compared with it.
"""

import json
from datetime import date
from pathlib import Path

from nbformat import NotebookNode

from annlib.course.claims import Claim, claims_in

FOLDER = Path(__file__).parents[3] / "data/results/lessons"


def lesson_name(notebook: NotebookNode) -> str:
    """The name of the source that a notebook was built from: "04_anchors"; "" for any other."""
    return Path(notebook.metadata.get("annlib", {}).get("source", "")).stem


def recorded(name: str) -> dict[str, Claim]:
    """The claims kept for a lesson; none if it was never recorded."""
    path = FOLDER / f"{name}.json"
    if not name or not path.exists():
        return {}
    return {key: Claim(key, **one) for key, one in json.loads(path.read_text())["claims"].items()}


def record(notebook: NotebookNode, seconds: float) -> Path:
    """Keeps the claims of an executed lesson, with date, machine and parameters.  -> the file"""
    from annlib.engine.provenance import hardware  # takes torch's seconds, which gates can spare

    parameters = notebook.metadata.get("papermill", {}).get("parameters", {})
    claims = {
        name: {key: value for key, value in claim._asdict().items() if key != "name"}
        for name, claim in sorted(claims_in(notebook).items())
    }
    content = {
        "date": date.today().isoformat(),
        "machine": {name: value for name, value in hardware().items() if name != "threads"},
        "mode": parameters.get("mode"),
        "seed": parameters.get("seed"),
        "seconds": round(seconds),
        "claims": claims,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{lesson_name(notebook)}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
