"""Draws the figures of the README from the shipped networks."""

from dataclasses import dataclass
from pathlib import Path

from annlib.course.attention import attention_of
from annlib.course.attention_metrics import predict_labels
from annlib.course.plots import scenes
from annlib.course.plots.scenes import Picture
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.balloon_town.layout import PATTERNS, Scene, with_patterns
from annlib.data.balloon_town.render import paint_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.experiments import HEADS
from annlib.model.build import shipped_model

FIRST_SHOWN = FIRST_VAL_SEED + 21  # held out: no network was trained on such a scene
NAMES = {"fcn": "FCN", "ppm": "PPM", "nonlocal": "Non-local", "apnb": "APNB", "ann": "ANN"}


def draw_all(folder: Path) -> list[Path]:
    """Writes attention.png, predictions.png and counterfactual.png; returns their paths."""
    scene = make_scene(FIRST_SHOWN)
    pictures = {
        "attention": attention_map(scene),
        "predictions": predictions_picture([make_scene(FIRST_SHOWN + i) for i in range(4)]),
        "counterfactual": counterfactual_picture(scene),
    }
    return [save(picture, folder / f"{name}.png") for name, picture in pictures.items()]


def save(picture: Picture, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture.png())
    return path


def attention_map(scene: Scene) -> Picture:
    """Where each house looks: non-local block, APNB alone, and the AFNB of the whole network."""
    heads = ("nonlocal", "apnb", "ann")
    found = {head: attention_of(shipped_model(f"balloon_{head}"), scene.image) for head in heads}
    return scenes.hero(
        scene,
        {
            "Non-local block": ("nonlocal", found["nonlocal"]["context.attention"]),
            "APNB alone": ("apnb", found["apnb"]["context.attention"]),
            "AFNB of ANN": ("afnb", found["ann"]["afnb.attention"]),
        },
    )


def predictions_picture(scenes: list[Scene]) -> Picture:
    """What every head says about a few scenes."""
    models = {head: shipped_model(f"balloon_{head}") for head in HEADS}
    answers = {
        NAMES[head]: [predict_labels(model, scene.image) for scene in scenes]
        for head, model in models.items()
    }
    return scenes.predictions(scenes, answers)


def counterfactual_picture(scene: Scene) -> Picture:
    """All balloons repainted: the local network cannot notice, the whole one follows."""
    turned = [(balloon.pattern + 1) % len(PATTERNS) for balloon in scene.balloons]
    after = paint_scene(with_patterns(scene.layout, turned))
    answers = {}
    for head in ("fcn", "ann"):
        model = shipped_model(f"balloon_{head}")
        before, now = (predict_labels(model, one.image) for one in (scene, after))
        answers[NAMES[head]] = (before, now)
    return scenes.counterfactual(scene, after, answers)


@dataclass(frozen=True)
class Pictures:
    """Draw the README's pictures with the shipped weights."""

    out: Path = Path("data/results")
    """Folder of the pictures."""

    def run(self) -> None:

        for path in draw_all(self.out):
            print(path)
