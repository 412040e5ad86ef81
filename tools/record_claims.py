"""Keeps what executed lessons measured in data/results/lessons: quick runs are compared with it.

Example: python -m tools.record_claims 06, after annlib lessons run 06 --mode learn
"""

import argparse
import json
from datetime import date
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from annlib.course.lesson import claims_in
from annlib.course.running import gates
from annlib.engine.results import provenance


def record(notebook: NotebookNode, seconds: float) -> Path:
    """Keeps the claims of an executed lesson, with date, machine and parameters.  -> the file

    Claims that its mode cannot measure stay as a longer run left them; then the file keeps the
    date and machine of that run, and each new claim has a date and a mode of its own.
    """
    hardware = {name: one for name, one in provenance()["hardware"].items() if name != "threads"}
    parameters = notebook.metadata.get("papermill", {}).get("parameters", {})
    path, content = (
        gates.record_of(notebook),
        {"date": date.today().isoformat(), "machine": hardware},
    )
    content |= {name: parameters.get(name) for name in ("mode", "seed")}
    content |= {"seconds": round(seconds)}
    made = {name: claim._asdict() for name, claim in sorted(claims_in(notebook).items())}
    measured = {
        name: one for name, one in made.items() if one.pop("name") and one["judge"] == "run"
    }
    if len(measured) < len(made) and path.exists():
        longer = json.loads(path.read_text(encoding="utf-8"))
        own = {name: content[name] for name in ("date", "mode")}
        kept = {name: one for name, one in longer.pop("claims").items() if name in made}
        content, measured = longer, kept | {name: one | own for name, one in measured.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    content["claims"] = dict(sorted(measured.items()))
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tools.record_claims")
    parser.add_argument("lessons", nargs="*", help="numbers or names; all if none is given")
    folder = Path("build/course")
    parser.add_argument("--out", type=Path, default=folder, help="where they were run")
    options = parser.parse_args()
    found = sorted((options.out / "solutions").glob("*.ipynb"))
    chosen = [p for p in found if not options.lessons or p.stem.startswith(tuple(options.lessons))]
    if not chosen:
        parser.error(f"no executed lesson of that name in {options.out / 'solutions'}")
    for path in chosen:
        note = json.loads(path.with_suffix(".run.json").read_text(encoding="utf-8"))
        if note["error"]:
            parser.error(f"{path} stopped with an error: run it again first")
        print(record(nbformat.read(path, as_version=4), note["seconds"]))


if __name__ == "__main__":
    main()
