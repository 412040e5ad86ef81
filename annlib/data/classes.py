"""Class lists: names, colours, label values; those of Cityscapes, ADE20K, VOC as in their kits."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data.io import read_text

Layout = Literal["folder", "cityscapes", "ade20k", "voc12aug"]
RGB = tuple[int, int, int]

INDEX_FIRST = re.compile(r"(\d+)(?:\s*([:=.,;)])\s*|\s+)([^\d\s].*)")  # `0: road`, `0 road`
RGB_COLOUR = re.compile(  # the end is CVAT's: parts and actions
    r"(.+?)[\s,;:=]+[(\[]?(\d+)[\s,;]+(\d+)[\s,;]+(\d+)[)\]]?(?::[^:]*:[^:]*|[,;]+)?"
)
MISREADABLE = re.compile(
    r"[,;:=]\s*([,;:=\d]|$)|#|0x[0-9a-fA-F]{6}|^[^\w(]|^\(\d|^[\d.]+\s+[\d.]+(\s|$)|[\t;]"
)
WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
NAME_HEADINGS = {*WORDS["headings"]["names"]}
HEADINGS = NAME_HEADINGS | {*WORDS["headings"]["others"]}
LABELME = {"__ignore__": "ignore 255", "_background_": "background"}


@dataclass(frozen=True)
class DatasetSpec:
    """The classes of a data set, and the meaning of the values in its label files."""

    name: str
    class_names: tuple[str, ...]
    palette: tuple[RGB, ...]  # 0-255
    ignored: tuple[int, ...] = ()  # values that do not count; 255 only if a list says `ignore 255`
    label_values: tuple[int, ...] = ()  # of each class in the files; empty: its index
    layout: Layout = "folder"  # see folders.py

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def class_values(self) -> tuple[int, ...]:
        return self.label_values or tuple(range(self.num_classes))

    @property
    def known_values(self) -> set[int]:
        """All values that label files may hold."""
        return {*self.class_values, *self.ignored, IGNORE_INDEX}

    def label_table(self) -> Tensor:
        """uint8 (256,): value in the file -> class index; 255: does not count, or is unknown."""
        table = torch.full((256,), IGNORE_INDEX, dtype=torch.uint8)
        table[list(self.class_values)] = torch.arange(self.num_classes, dtype=torch.uint8)
        return table

    def value_table(self) -> Tensor:
        """uint8 (256,): class index -> value in the file; 255 -> the value for no class."""
        table = torch.full((256,), (*self.ignored, IGNORE_INDEX)[0], dtype=torch.uint8)
        table[: self.num_classes] = torch.tensor(self.class_values, dtype=torch.uint8)
        return table

    def colour_table(self) -> Tensor:
        """uint8 (256, 3): class index -> RGB; 255 and indices without a class are black."""
        table = torch.zeros(256, 3, dtype=torch.uint8)
        table[: len(self.palette)] = torch.tensor(self.palette, dtype=torch.uint8)
        return table


def folder_spec(root: Path, name: str = "classes.txt") -> DatasetSpec:
    """The classes of a folder, from its classes.txt, index 0 first.

    A line holds `name` or `name red green blue`; forms of other tools are read, too. Empty
    lines and `# comments` are skipped. `ignore 255` lists label values that do not count; `255=1`
    says that label files hold 255 for class 1. Raises FileNotFoundError for a missing file,
    ValueError with file, line and remedy for a line that could be misread.
    """
    path = root / name
    if not path.is_file():
        form = "It lists the classes, 0 first: `name` or `name red green blue`."
        raise FileNotFoundError(f"There is no {path}. {form}")
    lines, ignored, values = class_lines(path)
    matches = [INDEX_FIRST.fullmatch(line) for _, line in lines]
    # `0 road` begins with an index only if all lines have one: not so `2 wheeler`, `4 wheeler`.
    rests = {match and name_and_colour(match[3])[0] for match in matches}
    counted = None not in rests and len(rests) == len(lines)
    others = [match and int(match[1]) for match in matches[1:]]  # `id nom` before `0 route`
    headed = matches[:1] == [None] and len(others) > 1 and others == [*range(len(others))]
    rows = []
    for (_, line), match in zip(lines, matches, strict=True):
        indexed = match and (match[2] or counted or match[1] == "255")
        name, colour = name_and_colour(match[3] if indexed else line)
        number = match[1] if indexed else name if colour and name.isdecimal() else None
        rows.append((number and int(number), name, colour))
    numbers, names, colours = zip(*rows, strict=True) if rows else ((), (), ())
    words = re.findall(r"\w+", names[0].lower()) if len(lines) > 1 and not colours[0] else []
    is_heading = headed or words and ({*words} <= NAME_HEADINGS or all(colours[1:]))
    heading = "Put `#` before it; if it is a class, give its colour (`name red green blue`)"
    form = "Write `name` or `name red green blue`, one class a line"
    sort = "Number from 0 without gaps (`7=0`: 7 is class 0), and write `ignore 255` for no class"
    for index, (number, name, colour) in enumerate(zip(numbers, names, colours, strict=True)):
        for is_wrong, problem, remedy in (
            (re.search(r"(\s\d*\.\d+){3}$", name), "ends with fractions", "Colours are whole"),
            (is_heading and index == 0, "looks like a heading", heading),
            (MISREADABLE.search(name), "is not in a known form", form),
            (number not in (None, index), f"has the number {number}, but is class {index}", sort),
            (name in names[:index], f"names {name!r} twice, also above", "Give each its own name"),
            (max(colour or (0,)) > 255, f"has the colour {colour}", "The largest value is 255"),
        ):
            if is_wrong:
                refuse_line(path, *lines[index], problem, remedy)
    if not 2 <= len(names) <= IGNORE_INDEX:
        said = f"{path} names {len(names)} class{'es' * (len(names) != 1)}; 2 to {IGNORE_INDEX} are"
        raise ValueError(f"{said} possible, one a line. The background counts: list it as class 0.")
    stems = [re.sub(r" \d+$", "", name) for name in names]  # `class 0`, `class 1` are names
    odd = [i for i, stem in enumerate(stems) if stem != names[i] and stems.count(stem) == 1]
    if len(odd) == len(names) or any((colours[i] or (0,))[-1] == 255 for i in odd):
        remedy = "Remove it (an index is the place in the list, a colour has three numbers)"
        problem = f"has a number behind the name {stems[odd[0]]!r}"
        refuse_line(path, *lines[odd[0]], problem, f"{remedy}, or join it to the name by `_`")
    class_values = [values.get(index, index) for index in range(len(names))]
    for index, value in values.items():
        if index >= len(names) or value > 255 or class_values.count(value) > 1:
            said = f"{path} says {value}={index}: before `=` is a value up to 255 that no other"
            raise ValueError(f"{said} has, then the index of a class, 0 to {len(names) - 1}.")
    if odd := [value for value in ignored if value in class_values or value > 255]:
        said = "only values up to 255 that no class has can be ignored."
        raise ValueError(f"{path} ignores the label {odd[0]}: {said}")
    palette = [colour or spread_colour(index) for index, colour in enumerate(colours)]
    parts = map(tuple, (names, palette, ignored, class_values if values else ()))
    return DatasetSpec(root.resolve().name, *parts)


def class_lines(path: Path) -> tuple[list[tuple[int, str]], list[int], dict[int, int]]:
    """Lines with classes and their numbers in the file, values to ignore, class index -> value."""
    lines, ignored, values = [], [], {}
    for place, line in enumerate(read_text(path).splitlines(), 1):
        line = re.sub(r"\s+#(\s.*)?$", "", line).strip()
        if re.match(r"#[0-9a-fA-F]{6}\b", line):
            refuse_line(path, place, line, "has its colour first", "Write `name red green blue`")
        line = re.sub(r"([\"'])(\d[\d\s,;]*)\1", r"\2", LABELME.get(line, line))  # `"128"`
        line = re.sub(r"^(\d+)[\s,;]+(\d+)[\s,;]+(\d+)[\s,;]+([^\d\s,;].*)$", r"\4 \1 \2 \3", line)
        fields = set(re.split(r"[\s,;:\"']+", line.lower())) - {""}
        if not line or line.startswith("#"):
            continue
        if found := re.fullmatch(r"ignore((?:[\s:=,]+\d+)+)", line, re.IGNORECASE):
            ignored += [int(value) for value in re.findall(r"\d+", found[1])]
        elif found := re.fullmatch(r"(\d+)\s*=\s*(\d+)", line):  # `255=1`
            values[int(found[2])] = int(found[1])
        elif lines or not (fields <= HEADINGS and 0 < len(fields & NAME_HEADINGS) < len(fields)):
            lines.append((place, line))
    return lines, ignored, values


def name_and_colour(line: str) -> tuple[str, RGB | None]:
    """`road 1 2 3`, `road,1,2,3`, `road:1,2,3::`, `road (1, 2, 3)`, `road #010203`, `road`"""
    name, colour = line, None
    if found := re.fullmatch(r"(.+?)[\s,;:=]+#([0-9a-fA-F]{6})", line):
        name, colour = found[1], tuple(bytes.fromhex(found[2]))
    elif found := RGB_COLOUR.fullmatch(line):
        name, colour = found[1], tuple(int(part) for part in found.groups()[1:])
    quoted = re.fullmatch(r"([\"'])(.+)\1", name)
    return re.sub(r"[^\S\t]+", " ", (quoted[2] if quoted else name).strip()), colour


def refuse_line(path: Path, place: int, line: str, problem: str, remedy: str) -> NoReturn:
    raise ValueError(f"{path}, line {place}: {line[:60]!r} {problem}. {remedy}.")


def spread_colour(index: int) -> RGB:
    """The colour of class `index` in Pascal VOC's scheme: the bits of the index, spread."""
    bits = [index >> i & 1 for i in range(24)]
    return tuple(sum(bit << (7 - i) for i, bit in enumerate(bits[c::3])) for c in range(3))


def spec_with(names: Iterable[str]) -> DatasetSpec:
    names = tuple(names)
    return DatasetSpec("folder", names, tuple(map(spread_colour, range(len(names)))))


def built_in(name: str, **others: Any) -> DatasetSpec:
    """A list that comes with annlib: a comment, then lines `name red green blue`."""
    text = Path(__file__).with_name("class_lists").joinpath(f"{name}.txt").read_text()
    lines = [line.rsplit(maxsplit=3) for line in text.splitlines()[1:]]
    names, *colours = zip(*lines, strict=True)
    palette = tuple(zip(*(map(int, channel) for channel in colours), strict=True))
    return DatasetSpec(name, names, palette, **others)


BALLOON_TOWN = built_in("balloon_town")
CAMVID = built_in("camvid", ignored=(11,))
CITYSCAPES_TRAIN_IDS = built_in("cityscapes", layout="cityscapes")  # *_labelTrainIds.png
CITYSCAPES = replace(  # *_labelIds.png
    CITYSCAPES_TRAIN_IDS,
    ignored=(0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30),
    label_values=(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
)
ADE20K = built_in("ade20k", ignored=(0,), label_values=tuple(range(1, 151)), layout="ade20k")
VOC12AUG = built_in("voc12aug", layout="voc12aug")
BENCHMARKS = (CITYSCAPES, ADE20K, VOC12AUG)
BUILT_IN = {spec.name: spec for spec in (BALLOON_TOWN, CAMVID, *BENCHMARKS)}
