"""annlib scenes: pictures of Balloon Town as files."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from annlib.commands.errors import at_least_one


@dataclass(frozen=True)
class WriteScenes:
    """Write pictures of Balloon Town with their labels into a new folder."""

    folder: Positional[Path]
    """Gets images/, labels/ and classes.txt. Must be empty or new."""
    count: int = 16
    """How many pictures."""
    first_seed: int = 0
    """The first picture's seed; the others follow. Same seed, same picture."""

    def run(self) -> None:
        from annlib.data.scenes import write_scenes

        at_least_one("--count", self.count)
        write_scenes(self.folder, self.count, self.first_seed)
        print(f"{self.count} scenes in {self.folder}")
