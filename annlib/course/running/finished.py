"""What is known of a run beside its notebook, so that a batch can go on where it was stopped."""

import hashlib
import json
from pathlib import Path

Parameters = dict[str, object]


def note_path(output: Path) -> Path:
    """The file beside an executed notebook: 04_anchors.run.json"""
    return output.with_suffix(".run.json")


def write_note(
    notebook: Path, output: Path, parameters: Parameters, seconds: float, error: str | None
) -> None:
    """Says what was run, with which parameters, and how it ended."""
    note = {
        "notebook_sha256": sha256_of(notebook),
        "parameters": parameters,
        "seconds": round(seconds, 2),
        "error": error,
    }
    text = json.dumps(note, indent=1, default=str) + "\n"
    note_path(output).write_text(text, encoding="utf-8")


def finished_seconds(notebook: Path, output: Path, parameters: Parameters) -> float | None:
    """How long the same notebook took with the same parameters; None if it has to be run.

    A run that failed, or was cut off, has to be run again.
    """
    path = note_path(output)
    if not (path.exists() and output.exists()):
        return None
    note = json.loads(path.read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(parameters, default=str))
    same = note["notebook_sha256"] == sha256_of(notebook) and note["parameters"] == wanted
    return note["seconds"] if same and note["error"] is None else None


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
