"""Draws the figures of the README from the shipped networks."""

from dataclasses import dataclass
from pathlib import Path

from annlib.course.attention import attention_of, predict_labels
from annlib.course.plots import scenes
from annlib.course.plots.style import FigureWithAlt
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.balloon_town.layout import PATTERNS, Scene, with_patterns
from annlib.data.balloon_town.painting import paint_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.experiments import HEADS
from annlib.model.build import shipped_model
from benchmarks.common import main

FIRST_SHOWN = FIRST_VAL_SEED + 21  # no network was trained on such a scene
NAMES = {"fcn": "FCN", "ppm": "PPM", "nonlocal": "Non-local", "apnb": "APNB", "ann": "ANN"}


def attention_figure(scene: Scene) -> FigureWithAlt:
    """What houses attend to: non-local block, APNB alone, and the AFNB of the whole network."""
    heads = ("nonlocal", "apnb", "ann")
    found = {head: attention_of(shipped_model(f"balloon_{head}"), scene.image) for head in heads}
    return scenes.house_attention(
        scene,
        {
            "Non-local block": ("nonlocal", found["nonlocal"]["context.attention"]),
            "APNB alone": ("apnb", found["apnb"]["context.attention"]),
            "AFNB of ANN": ("afnb", found["ann"]["afnb.attention"]),
        },
    )


def predictions_figure(shown: list[Scene]) -> FigureWithAlt:
    """The predictions of every head on a few scenes."""
    found = {}
    for head in HEADS:
        model = shipped_model(f"balloon_{head}")
        found[NAMES[head]] = [predict_labels(model, scene.image) for scene in shown]
    return scenes.predictions(shown, found)


def counterfactual_figure(scene: Scene) -> FigureWithAlt:
    """All balloons repainted: the local network cannot see it, the predictions of ANN follow."""
    turned = [(balloon.pattern + 1) % len(PATTERNS) for balloon in scene.balloons]
    after = paint_scene(with_patterns(scene.layout, turned))
    found = {}
    for head in ("fcn", "ann"):
        model = shipped_model(f"balloon_{head}")
        found[NAMES[head]] = tuple(predict_labels(model, each.image) for each in (scene, after))
    return scenes.predictions([scene, after], found, ["Before", "A balloon repainted"])


@dataclass(frozen=True)
class Figures:
    """Draw the README's figures with the shipped weights."""

    out: Path = Path("data/results")
    """Folder of the figures."""

    def run(self) -> None:
        scene = make_scene(FIRST_SHOWN)
        self.out.mkdir(parents=True, exist_ok=True)
        for name, figure in (
            ("attention", attention_figure(scene)),
            ("predictions", predictions_figure([make_scene(FIRST_SHOWN + i) for i in range(4)])),
            ("counterfactual", counterfactual_figure(scene)),
        ):
            path = self.out / f"{name}.png"
            path.write_bytes(figure.png())
            print(path)


if __name__ == "__main__":
    main("tools.readme_figures", Figures, __doc__, "--out data/results")
