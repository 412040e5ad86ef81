"""How often is a study right? Sliders for its seeds, the true effect, and the spread of runs.

No maths: studies are pretended by annlib.course.capstone, pictures are made by figures.
"""

from annlib.course.capstone import OPEN, REFUTED, SUPPORTED, pretend
from annlib.course.controls.explorer import Explorer, choice
from annlib.course.figures.seeds import studies_picture
from annlib.course.plots import Picture


class SeedsExplorer(Explorer):
    """Four sliders; below, what a thousand studies of this kind would decide.

    Keyboard: Tab to a slider, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self) -> None:
        controls = {
            "num_seeds": choice("seeds", (2, 3, 4, 5, 7, 10, 20, 40), 3),
            "effect": choice("true effect", (-0.1, -0.05, 0.0, 0.02, 0.05, 0.1, 0.2, 0.3), 0.1),
            "spread": choice("spread", (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3), 0.1),
            "smallest": choice("smallest effect", (-0.05, 0.0, 0.01, 0.02, 0.05, 0.1), 0.05),
        }
        super().__init__(controls, self.draw)

    def draw(
        self, num_seeds: int, effect: float, spread: float, smallest: float
    ) -> tuple[Picture, str]:
        """The picture and the sentences for one state of the controls."""
        studies = pretend(num_seeds, effect, spread, smallest)
        right, wrong = (SUPPORTED, REFUTED) if effect >= smallest else (REFUTED, SUPPORTED)
        return studies_picture(studies, effect), (
            f"{num_seeds} seeds, true effect {effect:g}, spread {spread:g}, smallest effect "
            f"{smallest:g}. Right would be: {right}. Of 100 such studies "
            f"{100 * studies.share(right):.0f} say so, {100 * studies.share(OPEN):.0f} cannot "
            f"tell, {100 * studies.share(wrong):.0f} say the opposite."
        )
