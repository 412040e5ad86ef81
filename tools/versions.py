"""Runs the fast tests with the lowest and the newest allowed versions, on several Pythons.

`uv` resolves the versions: the lowest allowed one of each direct dependency in pyproject.toml, or
the newest of every package. Libraries of unlike age warn of each other, so with the lowest versions
a warning of deprecation is not an error. The part `core` has what annlib itself needs, without
Jupyter, and runs the tests of tests/core alone.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from annlib.engine.metrics import table
from annlib.engine.results import write_results

ROOT = Path(__file__).resolve().parents[1]
FAST = "not slow and not browser and not notebooks and not all"
RESOLUTIONS = {"lowest": "lowest-direct", "newest": "highest"}
TESTING = ("pytest>=8.4", "pytest-timeout>=2.3", "pytest-xdist>=3.6", "hypothesis>=6.130")
PACKAGES = {
    "whole": ([".[course,data,record,test]"], "tests"),
    "core": ([".[data]", *TESTING], "tests/core"),
}
SHOWN = ("torch", "torchvision", "numpy", "pillow", "pandas", "matplotlib", "jupyterlab")
ABOUT = """# Versions

The fast tests with the lowest and the newest versions that are allowed. Part `whole`: everything,
with Jupyter; `core`: what annlib itself needs, and the tests of tests/core."""
HEADER = ("Python", "versions", "part", *SHOWN, "result", "minutes")


def row(uv: str, python: str, resolution: str, part: str, jobs: int, folder: Path) -> list[str]:
    """Makes an environment below `folder`, runs the tests in it.  -> a row of the table"""
    names, tests = PACKAGES[part]
    text = subprocess.run([python, "-V"], check=True, capture_output=True, encoding="utf-8").stdout
    version = text.split()[1]
    place, started = folder / f"{version}-{resolution}-{part}", time.time()
    own = place / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--clear", "--python", python, place], check=True, cwd=ROOT)
    install = [uv, "pip", "install", "-q", "--python", own]
    install += ["--resolution", RESOLUTIONS[resolution], "--editable", *names]
    subprocess.run(install, check=True, cwd=ROOT)
    listing = [uv, "pip", "list", "-q", "--python", own, "--format", "json"]
    found = json.loads(subprocess.run(listing, check=True, capture_output=True).stdout)
    versions = {package["name"]: package["version"] for package in found}
    command = [own, "-m", "pytest", "-q", "-n", str(jobs), "--dist", "loadfile", "-m", FAST, tests]
    command += ["-W", "ignore::DeprecationWarning"] if resolution == "lowest" else []
    with (place / "tests.txt").open("w", encoding="utf-8") as report:
        code = subprocess.run(command, cwd=ROOT, stdout=report, stderr=report).returncode
    lines = (place / "tests.txt").read_text(encoding="utf-8").strip().splitlines()
    closing = re.sub(r" in [\d.]+s.*|=+ ?", "", lines[-1])
    cells = [version, resolution, part, *(versions.get(name, "-") for name in SHOWN)]
    result = f"{'green' if code == 0 else 'RED'}: {closing}"
    print(f"{' '.join(cells)}: {result} ({place / 'tests.txt'})", flush=True)
    return [*cells, result, f"{(time.time() - started) / 60:.1f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tools.versions")
    add = parser.add_argument
    add("--python", nargs="+", default=[sys.executable], help="interpreters, one or several paths")
    add("--versions", nargs="+", choices=RESOLUTIONS, default=list(RESOLUTIONS))
    add("--part", nargs="+", choices=PACKAGES, default=["whole"])
    add("--jobs", type=int, default=2, help="processes of pytest (default: 2)")
    add("--folder", type=Path, default=ROOT / "build" / "versions", help="of the environments")
    add("--out", type=Path, default=ROOT / "data" / "results" / "versions.md")
    options = parser.parse_args()
    if (uv := shutil.which("uv")) is None:
        raise SystemExit("uv is not installed, and it resolves the versions: pip install uv")
    rows = [
        row(uv, python, resolution, part, options.jobs, options.folder)
        for part in options.part
        for python in options.python
        for resolution in options.versions
    ]
    command = "make versions PYTHONS='python3.11 python3.12 python3.13'"
    print(write_results(f"{ABOUT}\n\n{table(HEADER, rows)}", options.out, command))
    return int(any("RED" in cells[-2] for cells in rows))


if __name__ == "__main__":
    sys.exit(main())
