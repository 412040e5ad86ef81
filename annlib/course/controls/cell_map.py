"""A level and a cell to choose: what it averages. No maths: that is in figures."""

from annlib.course.controls.explorer import Explorer, choice, slider
from annlib.course.figures.cell_map import cell_map as draw_cell_map
from annlib.course.plots import Picture
from annlib.data.scenes import Scene
from annlib.model.ann import map_size


def cell_map(scene: Scene, levels: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24)) -> Explorer:
    """Choose a pyramid level and one of its cells."""
    size = map_size(scene.labels.shape)

    def draw(level: int, row: int, column: int) -> tuple[Picture, str]:
        index = min(row, level - 1) * level + min(column, level - 1)  # beyond: the last cell
        picture = draw_cell_map(scene.image, size, level, index)
        return picture, picture.alt

    controls = {
        "level": choice("level", levels, 6),
        "row": slider("cell row", 0, max(levels) - 1),
        "column": slider("cell column", 0, max(levels) - 1),
    }
    return Explorer(controls, draw)
