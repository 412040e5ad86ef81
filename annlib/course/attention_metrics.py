"""Measures of attention: mass on classes, entropy, and whether a house attends to its balloon.

H x W pixels of the image, h x w positions of the map, S what a position chooses from.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import log, nan
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from annlib.config import IGNORE_INDEX, TestConfig
from annlib.course.attention import Attention, attention_of, model_input
from annlib.data.balloon_town.dataset import make_scene, repaint
from annlib.data.balloon_town.layout import CLASS_NAMES, PATTERNS, House, Scene, plan_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.engine.inference import make_label_predictor
from annlib.engine.metrics import percent, table
from annlib.model.ann import OUTPUT_STRIDE


def pixel_view(position_view: int) -> int:
    """Side of the square that the answer for a pixel may depend on, around that pixel.

    position_view: side of what one position of the map sees. Bilinear enlargement mixes positions
    whose middles are up to 11 pixels away: one stride and a half, less the pixel itself.
    """
    return position_view + 2 * (OUTPUT_STRIDE + OUTPUT_STRIDE // 2 - 1)


def predict_labels(model: nn.Module, image: np.ndarray) -> np.ndarray:
    """The most likely class of each pixel.  uint8 (H, W, 3) RGB -> uint8 (H, W)"""
    return make_label_predictor(model, TestConfig())(model_input(image))[0].cpu().numpy()


def house_answer(labels: np.ndarray, scene: Scene, house: House) -> int:
    """What a house was taken for: the class, of all ten, of most of its labelled pixels.

    labels: predicted classes (H, W).
    """
    inside = scene.mask(house) & (scene.labels == house.label)  # without the ignored border
    return int(np.bincount(labels[inside]).argmax())


def house_answers(model: nn.Module, scene: Scene) -> list[int]:
    """What a model takes each house of a scene for, from left to right."""
    labels = predict_labels(model, scene.image)
    return [house_answer(labels, scene, house) for house in scene.houses]


def count_right(model: nn.Module, scenes: Iterable[Scene]) -> tuple[int, int]:
    """How many houses a model names rightly, and how many there are."""
    verdicts = [
        answer == house.label
        for scene in scenes
        for answer, house in zip(house_answers(model, scene), scene.houses, strict=True)
    ]
    return sum(verdicts), len(verdicts)


def mass_on(picture: Tensor, mask: np.ndarray) -> Tensor:
    """The share of attention that falls on a mask.  (..., h, w), bool (H, W) -> (...)

    A position that the mask covers in part counts in part.
    """
    share = adaptive_avg_pool2d(torch.from_numpy(mask).to(picture)[None], picture.shape[-2:])[0]
    return (picture * share).sum((-2, -1))


def entropy(weights: Tensor) -> Tensor:
    """In bits: 0 for a single choice, log2 S for none.  (..., S) -> (...)"""
    return torch.special.entr(weights).sum(-1) / log(2)


def class_masses(
    picture: Tensor, labels: np.ndarray, names: Sequence[str] = CLASS_NAMES
) -> dict[str, float]:
    """Shares of attention by class, largest first, "border" for ignored pixels; they sum to 1.

    picture: (h, w). labels: class indices (H, W).
    """
    masses = {
        "border" if label == IGNORE_INDEX else names[label]: float(
            mass_on(picture, labels == label)
        )
        for label in np.unique(labels)
    }
    return dict(sorted(masses.items(), key=lambda item: -item[1]))


def query_on(scene: Scene, house: House) -> tuple[int, int]:
    """The pixel (y, x) of a house that is nearest to the middle of its visible part."""
    pixels = np.argwhere(scene.mask(house))
    nearest = np.square(pixels - pixels.mean(0)).sum(1).argmin()
    y, x = pixels[nearest]
    return int(y), int(x)


class Match(NamedTuple):
    """How the attention of one query on a house is divided: shares of 1."""

    balloons: tuple[float, ...]  # mass on each balloon of the scene, from left to right
    own_house: float
    decided_by: int  # index of the balloon that decides the house's class

    @property
    def on_its_balloon(self) -> float:
        return self.balloons[self.decided_by]

    @property
    def is_matched(self) -> bool:
        """Whether the balloon that decides gets more than any other balloon."""
        others = self.balloons[: self.decided_by] + self.balloons[self.decided_by + 1 :]
        return self.on_its_balloon > max(others, default=0.0)


def match(attention: Attention, scene: Scene, house: House) -> Match:
    """Where the query in the middle of a house looks."""
    picture = attention.picture(*query_on(scene, house))
    balloons = tuple(float(mass_on(picture, scene.mask(balloon))) for balloon in scene.balloons)
    return Match(balloons, float(mass_on(picture, scene.mask(house))), house.decided_by)


def hint_offsets(first_seed: int, num_scenes: int) -> np.ndarray:
    """How far houses are from what decides them, middle to middle: rows and columns.  -> (n, 2)

    Of scenes with consecutive seeds, which are planned but not painted.
    """
    layouts = map(plan_scene, range(first_seed, first_seed + num_scenes))
    pairs = [(h, layout.balloons[h.decided_by]) for layout in layouts for h in layout.houses]
    return np.array(
        [((h.top + h.bottom) / 2 - b.y, (h.left + h.right) / 2 - b.x) for h, b in pairs]
    )


FIRST_COUNTED_SEED = FIRST_VAL_SEED + 10_000  # scenes that no training and no validation has seen
SCENES_PER_QUESTION = 10  # each scene has three houses: who is right so rarely has learned nothing


class Question(NamedTuple):
    """One house that the network classified rightly, and what became of it."""

    matched: dict[str, bool]  # by block: its balloon gets more attention than any other balloon
    mass: dict[str, float]  # by block: share of the attention on its balloon
    follows: bool  # with its own balloon repainted, the house changes as the pattern says
    stays: bool  # with another balloon repainted, it does not change


class Tally(NamedTuple):
    """Shares over all questions, between 0 and 1."""

    questions: int
    matched: dict[str, float]
    mass: dict[str, float]
    follows: float
    stays: float


def count_attention(model: nn.Module, questions: int) -> Tally:
    """Asks about houses of unseen scenes until so many were classified rightly.

    Raises ValueError for less than one question, and for a model that is hardly ever right.
    """
    if questions < 1:
        raise ValueError(f"{questions} houses give no share: ask at least 1.")
    asked: list[Question] = []
    num_scenes = SCENES_PER_QUESTION * questions
    for seed in range(FIRST_COUNTED_SEED, FIRST_COUNTED_SEED + num_scenes):
        asked += ask(model, make_scene(seed))
        if len(asked) >= questions:
            return tally(asked[:questions])
    raise ValueError(
        f"In {num_scenes} scenes this {model.config.head} network classified {len(asked)} houses "
        f"rightly; {questions} were to be asked. Was it trained on Balloon Town? Its shares would "
        "mean nothing: train it longer."
    )


def ask(model: nn.Module, scene: Scene) -> Iterator[Question]:
    """One question for each house that is classified rightly."""
    attends = model.config.head not in ("fcn", "ppm")
    attention = attention_of(model, scene.image) if attends else {}
    for house, found in zip(scene.houses, house_answers(model, scene), strict=True):
        if found != house.label:
            continue
        matches = {name: match(one, scene, house) for name, one in attention.items()}
        yield Question(
            {name: one.is_matched for name, one in matches.items()},
            {name: one.on_its_balloon for name, one in matches.items()},
            follows_its_balloon(model, scene, house),
            ignores_other_balloons(model, scene, house),
        )


def follows_its_balloon(model: nn.Module, scene: Scene, house: House) -> bool:
    """Whether the house becomes what the new pattern of its own balloon says."""
    index = scene.houses.index(house)
    changed = repaint(scene, house.decided_by, other_pattern(scene, house.decided_by))
    return house_answers(model, changed)[index] == changed.houses[index].label


def ignores_other_balloons(model: nn.Module, scene: Scene, house: House) -> bool:
    """Whether the house stays what it was while a balloon of another colour is repainted."""
    index = scene.houses.index(house)
    other = (house.decided_by + 1) % len(scene.balloons)
    changed = repaint(scene, other, other_pattern(scene, other))
    return house_answers(model, changed)[index] == house.label


def other_pattern(scene: Scene, balloon: int) -> int:
    return (scene.balloons[balloon].pattern + 1) % len(PATTERNS)


def tally(asked: Sequence[Question]) -> Tally:
    blocks = asked[0].matched
    return Tally(
        len(asked),
        {name: mean(question.matched[name] for question in asked) for name in blocks},
        {name: mean(question.mass[name] for question in asked) for name in blocks},
        mean(question.follows for question in asked),
        mean(question.stays for question in asked),
    )


def attention_table(tallies: dict[str, Tally]) -> str:
    """Markdown: one row a block of each network; the counterfactual is the whole network's."""
    rows = []
    for name, counted in tallies.items():
        for block in counted.matched or {"-": 0}:
            rows.append(
                [
                    name,
                    block.removesuffix(".attention"),
                    str(counted.questions),
                    percent(counted.matched.get(block, nan)),
                    percent(counted.mass.get(block, nan)),
                    percent(counted.follows),
                    percent(counted.stays),
                ]
            )
    header = [
        "network",
        "block",
        "houses",
        "its balloon first %",
        "attention on it %",
        "follows its balloon %",
        "ignores another %",
    ]
    return table(header, rows)
