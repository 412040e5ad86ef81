"""Copies the lessons and data that MANIFEST.in lists into the wheel, as annlib/project."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
LINES = (HERE / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
PATTERNS = [word for line in LINES if line.startswith("include ") for word in line.split()[1:]]


class BuildWithProject(build_py):
    def run(self) -> None:
        super().run()
        for path in () if self.editable_mode else sorted(p for x in PATTERNS for p in HERE.glob(x)):
            copy = Path(self.build_lib, "annlib/project", path.relative_to(HERE))
            copy.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(path), str(copy))


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithProject})
