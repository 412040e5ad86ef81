"""Right and wrong answers to the exercises of lesson 00: a click, and a query pixel."""

import torch

from annlib.course import checks
from annlib.course.attention import Attention, query_on
from annlib.course.widgets.scenes import SetUp
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.balloon_town.layout import HOUSES, Scene
from exercises import Gallery, Wrong

SCENE = make_scene(5)


def clicked() -> bool:
    machine = SetUp()
    machine.button.click()
    return machine.clicked


def mixed_attention(scene: Scene) -> Attention:
    """All queries attend to the first balloon, those of the last house to houses."""
    weights = torch.zeros(384, 384)
    weights[:, position(scene, 0)] = 1
    last = scene.houses[-1]
    rows, columns = scene.mask(last).nonzero()
    queries = torch.from_numpy(rows // 8 * 24 + columns // 8).unique()
    y, x = query_on(scene, last)
    weights[queries] = 0
    weights[queries, y // 8 * 24 + x // 8] = 1
    return Attention(weights, (16, 24), (128, 192), None)


def position(scene: Scene, balloon: int) -> int:
    y, x = query_on(scene, scene.balloons[balloon])
    return y // 8 * 24 + x // 8


def swapped(scene: Scene) -> tuple[int, int]:
    """A pixel of a house, with the column first."""
    rows, columns = (scene.labels == scene.houses[0].label).nonzero()
    return next((int(x), int(y)) for y, x in zip(rows, columns, strict=True) if x < 128)


def border(scene: Scene) -> tuple[int, int]:
    """A pixel that counts for nothing, on the seam of a house."""
    seam = (scene.labels == 255) & scene.mask(scene.houses[0])
    y, x = seam.nonzero()[0][0], seam.nonzero()[1][0]
    return int(y), int(x)


ATTENTION = mixed_attention(SCENE)
assert SCENE.houses[-1].label in HOUSES

GALLERIES = {
    "click": Gallery(
        checks.click_arrived,
        [True, clicked()],
        {
            "handed in the widget": Wrong(SetUp(), "machine.clicked"),
            "a list of clicks": Wrong([True], "machine.clicked"),
            "counted clicks": Wrong(1, "machine.clicked"),
            "wrote that it was clicked": Wrong("clicked", "machine.clicked"),
            "handed in the button": Wrong(SetUp().button, "machine.clicked"),
        },
    ),
    "ask": Gallery(
        lambda pixel: checks.house_pixel(pixel, SCENE, ATTENTION),
        [query_on(SCENE, house) for house in SCENE.houses[:-1]],
        {
            "one number": Wrong(94, "two whole numbers"),
            "fractions": Wrong((94.5, 20.0), "two whole numbers"),
            "a third number": Wrong((94, 20, 0), "two whole numbers"),
            "column outside": Wrong((20, 300), "outside"),
            "column as row": Wrong((128, 20), "row comes first"),
            "column first": Wrong(swapped(SCENE), "column first"),
            "a query on a balloon": Wrong(query_on(SCENE, SCENE.balloons[0]), "not a house"),
            "sky": Wrong((2, 2), "sky"),
            "road": Wrong((122, 100), "not a house"),
            "the seam of a house": Wrong(border(SCENE), "a border"),
            "a house that attends to itself": Wrong(
                query_on(SCENE, SCENE.houses[-1]), "not to a balloon"
            ),
        },
    ),
}
