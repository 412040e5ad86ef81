"""annlib zoo: every published row, checked from its name to its scores."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from annlib.commands.devices import use_threads

if TYPE_CHECKING:
    from annlib.zoo import Published

OUT = Path("data/results/zoo.md")


@dataclass(frozen=True)
class Zoo:
    """Check all 16 published rows on the CPU and write the table of what holds.

    Each is built, counted, loaded from the released layout, compared with the reference's logits,
    trained for one step and evaluated on an imitation of its data set. Exit code 1 if any claim
    does not hold. All rows take minutes with --shrink 8, hours at the real sizes.
    """

    rows: tuple[str, ...] = ()
    """Names of rows; all if none is given."""
    shrink: int = 8
    """Divide all sides of pictures, crops and windows by this; 1 for the real sizes."""
    out: Path = OUT
    """The table; the findings lie beside it as JSON."""
    threads: int | None = None
    """CPU threads of one operation."""

    def run(self) -> None:
        from annlib.engine.shrinking import shrunk
        from annlib.engine.zoo_check import check_rows, write_zoo

        rows = self.wanted()
        shrunk(rows[0].experiment, self.shrink)  # says what is wrong with it before hours of work
        use_threads(self.threads)
        checks, text = [], ""
        for check in check_rows(rows, self.shrink):
            checks.append(check)
            text = write_zoo(checks, self.shrink, self.out, self.command())
            failed = [name for name, finding in check.findings.items() if not finding.holds]
            verdict = f"does not hold: {', '.join(failed)}" if failed else "all true"
            print(f"{check.name}: {verdict} ({check.seconds:.0f} s)", flush=True)
        print(f"\n{text}\nSaved {self.out}")
        failing = sum(not check.holds for check in checks)
        if failing:
            sys.exit(f"{failing} of {len(checks)} rows do not hold in every claim: see {self.out}")

    def wanted(self) -> "list[Published]":
        from annlib.zoo import ROWS, published

        return [published(name) for name in self.rows] if self.rows else list(ROWS)

    def command(self) -> str:
        """The words that check the same again."""
        rows = f" --rows {' '.join(self.rows)}" if self.rows else ""
        return f"annlib zoo{rows} --shrink {self.shrink}"
