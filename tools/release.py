"""Builds the package as for a release, tries it, and says what a person does next. Uploads nothing.

    python -m tools.release [--out build/release]

Checks that nothing is uncommitted and that the version is the newest heading of CHANGELOG.md;
builds an sdist and a wheel; builds the wheel from the sdist, too, and compares; installs the wheel
into an empty environment and runs commands there, in an empty folder.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from annlib import __version__

ROOT = Path(__file__).resolve().parents[1]
BUILD = """import sys
from setuptools import build_meta
getattr(build_meta, "build_" + sys.argv[1])(sys.argv[2])"""
COMMANDS = (("--version",), ("list",), ("course", "lessons"))
NEXT = """\
What a person does next (nothing was uploaded):
1. Run `make test-all`, and on a machine with a GPU `python -m benchmarks.gpu --out gpu-report`.
2. Tag the commit and push the tag: git tag -s v{version} -m "annlib {version}"
3. On GitHub make a release of the tag: these two files, and the section of CHANGELOG.md as text.
4. Where the name on PyPI is yours: twine upload {files}
5. Start the workflow pages.yml, open the site that it publishes, and follow some links.
6. Run docs/colab.ipynb on Colab with the new wheel.
7. Begin the next version: its number in annlib/__init__.py, `## Unreleased` in CHANGELOG.md."""


def newest_heading(changelog: str) -> str:
    """The first heading of a version in a changelog; ValueError without one."""
    found = re.search(r"^## +\[?v?([\w.]+)", changelog, re.MULTILINE)
    if found is None:
        raise ValueError("CHANGELOG.md has no heading of a version, such as `## 0.2.0`.")
    return found[1]


def obstacles(version: str, changelog: str, status: str) -> list[str]:
    """Why this is not a release yet.  status: what `git status --porcelain` prints"""
    heading, found = newest_heading(changelog), []
    if status.strip():
        count = len(status.splitlines())
        found.append(f"{count} files are not committed: commit or remove them (git status).")
    if heading != version:
        found.append(
            f"The newest heading of CHANGELOG.md is {heading!r}, but annlib.__version__ is "
            f"{version!r}: write `## {version}` above its changes, or change the version."
        )
    return found


def run(*words: object, where: Path, **more: str) -> str:
    """What a command prints; RuntimeError with its output if it fails."""
    unset = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(word) for word in words]
    options = {"capture_output": True, "text": True, "env": unset | more}
    done = subprocess.run(command, cwd=where, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def sources(root: Path, target: Path) -> Path:
    """A copy of what git knows: nothing else may get into the package."""
    for name in run("git", "ls-files", "-z", where=root).split("\0"):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, target / name)
    return target


def built(source: Path, what: str, out: Path) -> Path:
    """The sdist or the wheel of a folder of sources."""
    out.mkdir(parents=True, exist_ok=True)
    run(sys.executable, "-c", BUILD, what, out, where=source)
    (found,) = out.glob("*.whl" if what == "wheel" else "*.tar.gz")
    return found


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel; its list of checksums follows from them."""
    with zipfile.ZipFile(wheel) as archive:
        return {n: archive.read(n) for n in archive.namelist() if not n.endswith("RECORD")}


def try_wheel(wheel: Path, folder: Path, with_dependencies: bool) -> list[str]:
    """Installs it into an empty environment and runs commands.  -> first line that each printed

    with_dependencies: pip fetches them, too; else those of this environment are used
    """
    run(sys.executable, "-m", "venv", folder / "venv", where=folder)
    python, away = folder / "venv/bin/python", folder / "away"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    if with_dependencies:
        run(*pip, f"{wheel}[course]", where=folder)
    else:
        run(*pip, "--no-deps", "--no-index", wheel, where=folder)
        (packages,) = (folder / "venv/lib").glob("python*/site-packages")
        paths = [path for path in sys.path if path.endswith("-packages")]
        (packages / "dependencies.pth").write_text("\n".join(paths))
    away.mkdir()
    told = [run(python, "-m", "annlib", *words, where=away) for words in COMMANDS]
    place = Path(run(python, "-c", "import annlib; print(annlib.__file__)", where=away).strip())
    if not place.is_relative_to(folder):
        raise RuntimeError(f"The commands ran from {place}, not from the wheel in {folder}.")
    return [text.partition("\n")[0] for text in told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build/release", help="folder to write")
    parser.add_argument("--dependencies", action="store_true", help="let pip fetch them, too")
    given = parser.parse_args()
    out = given.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    status = run("git", "status", "--porcelain", where=ROOT)
    found = obstacles(__version__, changelog, status)
    source = sources(ROOT, out / "source")
    sdist, wheel = built(source, "sdist", out), built(source, "wheel", out)
    with tarfile.open(sdist) as archive:
        archive.extractall(out / "unpacked", filter="data")
    (unpacked,) = (out / "unpacked").iterdir()
    if contents(wheel) != contents(built(unpacked, "wheel", out / "again")):
        found.append(f"{sdist.name} builds another wheel than the checkout does.")
    told = try_wheel(wheel, out, given.dependencies)
    for words, line in zip(COMMANDS, told, strict=True):
        print(f"annlib {' '.join(words)}: {line}")
    for path in (sdist, wheel):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.name}  {path.stat().st_size / 1e6:.1f} MB  sha256 {digest}")
    for folder in ("source", "unpacked", "again", "venv", "away"):
        shutil.rmtree(out / folder)
    if found:
        sys.exit("Not a release yet:\n" + "\n".join(f"- {one}" for one in found))
    print(NEXT.format(version=__version__, files=f"{sdist.name} {wheel.name}"))


if __name__ == "__main__":
    main()
