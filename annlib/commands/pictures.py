"""annlib town pictures: what the README shows."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pictures:
    """Draw the README's pictures with the shipped weights."""

    out: Path = Path("data/results")
    """Folder of the pictures."""

    def run(self) -> None:
        from annlib.course.gallery import draw_all

        for path in draw_all(self.out):
            print(path)
