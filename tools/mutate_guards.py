"""Removes guards one at a time (`if ...: raise`) and reports whether the tests notice.

    python tools/mutate_guards.py --count 20 --seed 0

A guard is an `if` whose body raises. Each is replaced by `if False:` in a copy of the checkout, and
the fast suite runs there until the first failure. A guard that no test notices is listed; exit
code 1.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Tests that notice most quickly come first; the others follow.
FIRST = {"data": "data", "model": "core", "engine": "engine", "grader": "grader", "cli": "cli"}


def guards() -> list[tuple[Path, ast.If]]:
    """Every `if` statement of annlib whose last statement is a `raise`."""
    found = []
    for path in sorted((ROOT / "annlib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise):
                found.append((path.relative_to(ROOT), node))
    return found


def without(source: str, guard: ast.If) -> str:
    """The source with the guard's condition replaced by False."""
    lines = source.encode().split(b"\n")
    test = guard.test
    head = lines[test.lineno - 1][: test.col_offset]
    tail = lines[test.end_lineno - 1][test.end_col_offset :]
    lines[test.lineno - 1 : test.end_lineno] = [head + b"False" + tail]
    return b"\n".join(lines).decode()


def failing_test(copy: Path, path: Path) -> str:
    """The test that fails, or ""; the fast suite, the folder of the guard's layer first."""
    first = FIRST.get(path.parts[1], "course")
    folders = sorted(
        (folder for folder in (copy / "tests").iterdir() if folder.is_dir()),
        key=lambda folder: folder.name != first,
    )
    chosen = [str(folder) for folder in folders if any(folder.rglob("test_*.py"))]
    chosen = [folder for folder in chosen if Path(folder).name not in ("browser", "benchmarks")]
    marks = "not slow and not browser and not notebooks and not all"
    for folder in chosen:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "2", "-m", marks, folder]
        command += ["-p", "no:cacheprovider"]
        environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        if run.returncode not in (0, 5):
            failed = re.search(r"^(?:FAILED|ERROR) (\S+)", run.stdout, re.MULTILINE)
            return failed[1] if failed else run.stdout[-300:] + run.stderr[-300:]
    return ""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=20)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    every = guards()
    picked = random.Random(chosen.seed).sample(every, min(chosen.count, len(every)))
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        )
        for name in listed.stdout.decode().split("\0")[:-1]:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        print(f"{len(every)} guards; {len(picked)} of them are removed, one at a time.")
        for path, guard in picked:
            source = (ROOT / path).read_text(encoding="utf-8")
            (copy / path).write_text(without(source, guard), encoding="utf-8")
            noticed = failing_test(copy, path)
            (copy / path).write_text(source, encoding="utf-8")
            unnoticed += not noticed
            condition = " ".join(ast.unparse(guard.test).split())
            verdict = f"noticed by {noticed}" if noticed else "NOT NOTICED"
            print(f"{verdict}: {path}:{guard.lineno}: if {condition[:80]}", flush=True)
    sys.exit(unnoticed > 0)


if __name__ == "__main__":
    main()
