"""Class lists: names, colours, and which class a label value means; Cityscapes, ADE20K and VOC.

Names, colours, ids and numbers of pictures are those of the data sets' own development kits.
"""

import codecs
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data.balloon_town import layout

Layout = Literal["folder", "cityscapes", "ade20k", "voc12aug"]

IGNORE_LINE = re.compile(r"ignore((?:[\s:=,]+\d+)+)", re.IGNORECASE)
INDEX_FIRST = re.compile(r"(\d+)(?:\s*([:=.,;)])\s*|\s+)(\D.*)")  # `0: road`, `0 road`
HEX_COLOUR = re.compile(r"(.+?)[\s,;:=]+#([0-9a-fA-F]{6})")
RGB_COLOUR = re.compile(  # the end is CVAT's: parts and actions
    r"(.+?)[\s,;:=]+[(\[]?(\d+)[\s,;]+(\d+)[\s,;]+(\d+)[)\]]?(?::[^:]*:[^:]*)?"
)
MISREADABLE = re.compile(
    r"[,;:=]\s*([,;:=\d]|$)|#|0x[0-9a-fA-F]{6}|^[^\w(]|^\(\d|^[\d.]+(\s+[\d.]+)+$"
)
NAME_HEADINGS = {"name", "names", "class", "classes", "class_name", "classname", "label", "labels"}
COLOUR_HEADINGS = {"color", "colour", "color_rgb", "rgb", "r", "g", "b", "red", "green", "blue"}
OTHER_HEADINGS = COLOUR_HEADINGS | {"id", "index", "parts", "actions"}


@dataclass(frozen=True)
class DatasetSpec:
    """The classes of a data set, and the meaning of the numbers in its label files.

    palette: RGB 0-255 for each class. ignored: label values that do not count; 255 never does, and
    stands here only where a class list says so (`ignore 255`).
    label_values: what stands for each class in the files, if that is not simply its index.
    layout: which picture belongs to which label file, see pairs.py.
    """

    name: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignored: tuple[int, ...] = ()
    label_values: tuple[int, ...] = ()
    layout: Layout = "folder"

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def class_values(self) -> tuple[int, ...]:
        """The value that stands for each class in label files."""
        return self.label_values or tuple(range(self.num_classes))

    @property
    def known_values(self) -> set[int]:
        """All values that label files may hold."""
        return {*self.class_values, *self.ignored, IGNORE_INDEX}

    def label_table(self) -> Tensor:
        """uint8 (256,): value in the file -> class index, 255 for pixels that do not count.

        A value that means nothing becomes 255, too: see that there is none by `check_values`.
        """
        table = torch.full((256,), IGNORE_INDEX, dtype=torch.uint8)
        table[list(self.class_values)] = torch.arange(self.num_classes, dtype=torch.uint8)
        return table

    def value_table(self) -> Tensor:
        """uint8 (256,): class index -> value in the file, the inverse of `label_table`.

        Turns predictions into what a benchmark's server takes: ids of Cityscapes' labelIds, 1..150
        for ADE20K, indices for VOC. 255 becomes the data set's own value for "no class".
        """
        nothing = self.ignored[0] if self.ignored else IGNORE_INDEX
        table = torch.full((256,), nothing, dtype=torch.uint8)
        table[: self.num_classes] = torch.tensor(self.class_values, dtype=torch.uint8)
        return table

    def colour_table(self) -> Tensor:
        """uint8 (256, 3): class index -> RGB; what has no class is black."""
        table = torch.zeros(256, 3, dtype=torch.uint8)
        table[: self.num_classes] = torch.tensor(self.palette, dtype=torch.uint8)
        return table


BALLOON_TOWN = DatasetSpec(
    "balloon_town", layout.CLASS_NAMES, tuple(tuple(map(int, rgb)) for rgb in layout.PALETTE)
)

# Brostow, Fauqueur, Cipolla 2009, in the 11 classes of SegNet. Colours: theirs, kept apart.
CAMVID = DatasetSpec(
    "camvid",
    (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign symbol",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    (
        (128, 176, 255),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (244, 164, 180),
        (64, 128, 0),
        (255, 214, 0),
        (64, 64, 128),
        (64, 0, 128),
        (255, 64, 0),
        (0, 200, 200),
    ),
    ignored=(11,),
)


def folder_spec(root: Path) -> DatasetSpec:
    """The classes of a folder, from its classes.txt, see `read_class_list`."""
    path = root / "classes.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}. It names the classes, index 0 first, one line each: "
            "`name` or `name red green blue`."
        )
    names, palette, ignored = read_class_list(path)
    return DatasetSpec(root.resolve().name, names, palette, ignored)


def read_class_list(
    path: Path,
) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...], tuple[int, ...]]:
    """Names and colours of a class list, index 0 first, and the label values that it ignores.

    A line holds `name` or `name red green blue`. The forms of other tools are read, too:
    `name,r,g,b` with its heading, `name #rrggbb`, `0: name`, CVAT's `name:r,g,b::`. Empty lines
    and `# comments` are skipped; `ignore 255` lists label values that do not count.
    Raises ValueError with file, line and remedy for a line that could be misread.
    """
    lines, ignored = class_lines(path)
    names, palette = [], []
    for (place, line), number in zip(lines, leading_indices(lines), strict=True):
        name, colour = name_and_colour(line if number is None else INDEX_FIRST.fullmatch(line)[3])
        if MISREADABLE.search(name):
            remedy = "Write `name` or `name red green blue`, one class a line"
            refuse_line(path, place, line, "is not in a known form", remedy)
        if re.search(r"(\s\d*\.\d+){3}$", name):
            refuse_line(path, place, line, "ends with fractions", "Colours are whole, 0 to 255")
        if colour and name.isdigit():
            number = int(name)
        if number not in (None, len(names)):
            problem = f"has the number {number}, but is class {len(names)} by its place"
            refuse_line(path, place, line, problem, "Sort the lines by index from 0, without gaps")
        names.append(name)
        palette.append(colour or spread_colour(len(names) - 1))
    check_classes(names, palette, path)
    if not 2 <= len(names) <= IGNORE_INDEX:
        raise ValueError(
            f"{path} names {len(names)} class{'es' * (len(names) != 1)}; 2 to {IGNORE_INDEX} are "
            "possible. For a single kind of object, list the background as class 0 too."
        )
    stems = {name.removesuffix(f" {index}") for index, name in enumerate(names)}
    if len(stems) == len(names) and not stems & set(names):  # `class 0`, `class 1` are names
        raise ValueError(
            f"{path} has an index behind each name ({names[0]!r}, {names[1]!r}, ...): remove the "
            "numbers. The index of a class is its place in the list."
        )
    for value in ignored:
        if not len(names) <= value <= 255:
            raise ValueError(
                f"{path} ignores the label {value}: only values that no class has can be ignored, "
                f"here {len(names)} to 255."
            )
    return tuple(names), tuple(palette), tuple(ignored)


def class_lines(path: Path) -> tuple[list[tuple[int, str]], list[int]]:
    """The lines with classes, each with its number in the file, and the label values to ignore."""
    lines, ignored = [], []
    for place, line in enumerate(decoded(path).splitlines(), 1):
        line = re.sub(r"\s+#(\s.*)?$", "", line).strip()
        if re.match(r"#[0-9a-fA-F]{6}\b", line):
            refuse_line(path, place, line, "has its colour first", "Write `name red green blue`")
        fields = set(re.split(r"[\s,;:]+", line.lower())) - {""}
        if not line or line.startswith("#"):
            continue
        if values := IGNORE_LINE.fullmatch(line):
            ignored += [int(value) for value in re.findall(r"\d+", values[1])]
        elif lines or not fields & NAME_HEADINGS or not fields <= NAME_HEADINGS | OTHER_HEADINGS:
            lines.append((place, line))
        elif not fields & OTHER_HEADINGS:
            remedy = "Put `#` before it; if it is a class, give its colour (`name red green blue`)"
            refuse_line(path, place, line, "looks like a heading", remedy)
    return lines, ignored


def leading_indices(lines: list[tuple[int, str]]) -> list[int | None]:
    """The index that stands before each name: `0: road`; `0 road` if all lines count on so.

    Other numbers, as in `2 wheeler`, are part of the name.
    """
    found = [INDEX_FIRST.fullmatch(line) for _, line in lines]
    numbers = [int(match[1]) if match else None for match in found]
    counted = numbers in ([*range(len(lines))], [*range(1, len(lines) + 1)])
    return [
        number if match and (match[2] or counted) else None
        for match, number in zip(found, numbers, strict=True)
    ]


def decoded(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark. Raises ValueError for another."""
    content = path.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): save it as UTF-8.") from error
    if "\0" in text:
        raise ValueError(f"{path} is not UTF-8 (it holds zero bytes): save it as UTF-8.")
    return text


def name_and_colour(line: str) -> tuple[str, tuple[int, int, int] | None]:
    """`road 1 2 3`, `road,1,2,3`, `road:1,2,3::`, `road (1, 2, 3)`, `road #010203`, `road`"""
    if found := HEX_COLOUR.fullmatch(line):
        name, colour = found[1], tuple(bytes.fromhex(found[2]))
    elif found := RGB_COLOUR.fullmatch(line):
        name, colour = found[1], tuple(int(part) for part in found.groups()[1:])
    else:
        name, colour = line, None
    quoted = re.fullmatch(r"([\"'])(.+)\1", name)
    return " ".join((quoted[2] if quoted else name).split()), colour


def refuse_line(path: Path, place: int, line: str, problem: str, remedy: str) -> NoReturn:
    raise ValueError(f"{path}, line {place}: {line[:60]!r} {problem}. {remedy}.")


def check_classes(names: list[str], palette: list[tuple[int, int, int]], path: Path) -> None:
    """Raises ValueError for a name that stands twice and for a colour that is none."""
    for index, (name, colour) in enumerate(zip(names, palette, strict=True)):
        if name in names[:index]:
            raise ValueError(
                f"{path} names {name!r} twice, as class {names.index(name)} and as class {index}: "
                "scores could not tell them apart. Give each its own name."
            )
        if max(colour) > 255:
            raise ValueError(f"{path} gives {name!r} the colour {colour}, but 255 is the most.")


def spread_colour(index: int) -> tuple[int, int, int]:
    """The colour of class `index` in Pascal VOC's scheme: the bits of the index, spread."""
    red = green = blue = 0
    for bit in range(8):
        red |= (index >> (3 * bit) & 1) << (7 - bit)
        green |= (index >> (3 * bit + 1) & 1) << (7 - bit)
        blue |= (index >> (3 * bit + 2) & 1) << (7 - bit)
    return red, green, blue


CITYSCAPES_CLASSES = (  # name, id in *_labelIds.png, colour; the index is the train id
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
CITYSCAPES_VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
CITYSCAPES = DatasetSpec(
    "cityscapes",
    tuple(name for name, _, _ in CITYSCAPES_CLASSES),
    tuple(colour for _, _, colour in CITYSCAPES_CLASSES),
    ignored=CITYSCAPES_VOID,
    label_values=tuple(value for _, value, _ in CITYSCAPES_CLASSES),
    layout="cityscapes",
)
CITYSCAPES_TRAIN_IDS = replace(CITYSCAPES, ignored=(), label_values=())  # *_labelTrainIds.png

# Name and colour (hexadecimal red, green, blue) of label 1, 2, ... 150. Road and skyscraper do
# have the same colour.
ADE20K_CLASSES = """
wall 787878, building b47878, sky 06e6e6, floor 503232, tree 04c803, ceiling 787850, road 8c8c8c,
bed cc05ff, windowpane e6e6e6, grass 04fa07, cabinet e005ff, sidewalk ebff07, person 96053d,
earth 787846, door 08ff33, table ff0652, mountain 8fff8c, plant ccff04, curtain ff3307,
chair cc4603, car 0066c8, water 3de6fa, painting ff0633, sofa 0b66ff, shelf ff0747, house ff09e0,
sea 0907e6, mirror dcdcdc, rug ff095c, field 7009ff, armchair 08ffd6, seat 07ffe0, fence ffb806,
desk 0aff47, rock ff290a, wardrobe 07ffff, lamp e0ff08, bathtub 6608ff, railing ff3d06,
cushion ffc207, base ff7a08, box 00ff14, column ff0829, signboard ff0599, chest of drawers 0633ff,
counter eb0cff, sand a09614, sink 00a3ff, skyscraper 8c8c8c, fireplace fa0a0f,
refrigerator 14ff00, grandstand 1fff00, path ff1f00, stairs ffe000, runway 99ff00, case 0000ff,
pool table ff4700, pillow 00ebff, screen door 00adff, stairway 1f00ff, river 0bc8c8,
bridge ff5200, bookcase 00fff5, blind 003dff, coffee table 00ff70, toilet 00ff85, flower ff0000,
book ffa300, hill ff6600, bench c2ff00, countertop 008fff, stove 33ff00, palm 0052ff,
kitchen island 00ff29, computer 00ffad, swivel chair 0a00ff, boat adff00, bar 00ff99,
arcade machine ff5c00, hovel ff00ff, bus ff00f5, towel ff0066, light ffad00, truck ff0014,
tower ffb8b8, chandelier 001fff, awning 00ff3d, streetlight 0047ff, booth ff00cc,
television receiver 00ffc2, airplane 00ff52, dirt track 000aff, apparel 0070ff, pole 3300ff,
land 00c2ff, bannister 007aff, escalator 00ffa3, ottoman ff9900, bottle 00ff0a, buffet ff7000,
poster 8fff00, stage 5200ff, van a3ff00, ship ffeb00, fountain 08b8aa, conveyer belt 8500ff,
canopy 00ff5c, washer b800ff, plaything ff001f, swimming pool 00b8ff, stool 00d6ff, barrel ff0070,
basket 5cff00, waterfall 00e0ff, tent 70e0ff, bag 46b8a0, minibike a300ff, cradle 9900ff,
oven 47ff00, ball ff00a3, food ffcc00, step ff008f, tank 00ffeb, trade name 85ff00,
microwave ff00eb, pot f500ff, animal ff007a, bicycle fff500, lake 0abed4, dishwasher d6ff00,
screen 00ccff, blanket 1400ff, sculpture ffff00, hood 0099ff, sconce 0029ff, vase 00ffcc,
traffic light 2900ff, tray 29ff00, ashcan ad00ff, fan 00f5ff, pier 4700ff, crt screen 7a00ff,
plate 00ffb8, monitor 005cff, bulletin board b8ff00, shower 0085ff, radiator ffd600, glass 19c2c2,
clock 66ff00, flag 5c00ff
"""
ADE20K_ROWS = [row.strip().rpartition(" ") for row in ADE20K_CLASSES.split(",")]
ADE20K = DatasetSpec(
    "ade20k",
    tuple(name for name, _, _ in ADE20K_ROWS),
    tuple(tuple(bytes.fromhex(colour)) for _, _, colour in ADE20K_ROWS),
    ignored=(0,),
    label_values=tuple(range(1, 151)),
    layout="ade20k",
)

VOC12AUG_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "dining table", "dog", "horse", "motorbike", "person", "potted plant"),
    *("sheep", "sofa", "train", "tv monitor"),
)
VOC12AUG = DatasetSpec(
    "voc12aug",
    VOC12AUG_CLASSES,
    tuple(spread_colour(index) for index in range(len(VOC12AUG_CLASSES))),
    layout="voc12aug",
)

BENCHMARKS = (CITYSCAPES, ADE20K, VOC12AUG)
PUBLISHED_PICTURES: dict[str, dict[str, int]] = {
    "cityscapes": {"train": 2975, "val": 500},
    "ade20k": {"train": 20210, "val": 2000},
    "voc12aug": {"train": 10582, "val": 1449},
    "camvid": {"train": 367, "val": 101},
}
