"""Attention, counted: does a house look at its balloon, and follow it when repainted?"""

from collections.abc import Iterator, Sequence
from math import nan
from statistics import mean
from typing import NamedTuple

from torch import nn

from annlib.course.attention import attention_of
from annlib.course.matching import match
from annlib.course.predicting import house_answers
from annlib.data.scenes import PATTERNS, House, Scene, make_scene, repaint
from annlib.data.sources import FIRST_VAL_SEED
from annlib.engine.tables import percent, table

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
