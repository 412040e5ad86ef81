"""Recognises and reads labels as other tools save them: COCO, LabelMe, label files of any kind."""

import math
import re
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np

from annlib.config import IGNORE_INDEX
from annlib.data import classes
from annlib.data.classes import WORDS, DatasetSpec, spec_with
from annlib.data.folders import SUFFIXES, unread
from annlib.data.io import check_order, open_labels, open_whole, read_image, read_text
from annlib.files import need, read_json

ENDS = ("", "annot")  # CamVid's trainannot
SPLITS = {f"{word}{end}": s for s, some in WORDS["splits"].items() for word in some for end in ENDS}
LABEL_WORDS = {*WORDS["labels"], *(word for word in SPLITS if word.endswith("annot"))}
IMAGE_WORDS, LIST_WORDS = {*WORDS["images"]}, {*WORDS["lists"], *SPLITS}
LABEL_SUFFIXES = (*SUFFIXES, ".gif", ".npy")
LABEL_ENDING = re.compile(r"[_-](L|(?i:mask|labels?|gt|seg(mentation)?|gtFine_label(Train)?Ids))$")
LEFT_OUT = re.compile(r"(^|/)\.|SegmentationObject|gtFine_(color|instance\w*)", re.IGNORECASE)
COLOUR = 1 << 24  # a code is a value of 0..65535, or a colour: COLOUR + 0xRRGGBB
TRANSPARENT = COLOUR - 1  # or this
COCO, LABELME = {"images", "annotations", "categories"}, {"shapes", "imagePath"}  # their keys
BACKGROUND, IGNORED = "background", "__ignore__"  # the second is LabelMe's


@dataclass
class Sample:
    image: Path
    key: tuple[str, ...]  # what image and label have in common: folders, name
    split: str  # "" if the data do not say
    label: Path  # the file with its labels
    codes: Callable[[], np.ndarray]  # (H, W) as in the label file


@dataclass
class Recognised:
    """Labels in a form that `convert` reads."""

    form: str
    samples: list[Sample]
    spec: DatasetSpec | None = None  # the classes, where the form says what they are
    has_names: bool = False  # its labels name classes; codes are indices of spec
    left_out: list[str] = field(default_factory=list)


def words(text: str) -> list[str]:
    return re.split("[^a-z]+", text.lower())


def split_of(parts: Iterable[str]) -> str:
    found = [SPLITS[word] for part in parts for word in words(part) if word in SPLITS]
    return found[-1] if found else ""


@cache
def key_of(path: Path) -> tuple[str, ...]:
    """Of a path relative to the data set: folders that are neither split nor kind, and the name."""
    kinds = LABEL_WORDS | IMAGE_WORDS | SPLITS.keys()
    folders = [part for part in path.parts[:-1] if not kinds & {*words(part)}]
    stem = Path(LABEL_ENDING.sub("", path.stem).removesuffix("_leftImg8bit"))
    stem = stem.stem if stem.suffix.lower() in SUFFIXES else str(stem)  # 0.jpg.png
    return *folders, normalize("NFC", stem)


def is_apart(image: Path, label: Path, shared: set) -> bool:
    """Whether folders say that a label file of that name is another image's: numbers begin again"""
    mine, its = {*key_of(image)[:-1]}, {*key_of(label)[:-1]}
    kinds = ({*words(str(path.parent))} & (LABEL_WORDS | IMAGE_WORDS) for path in (image, label))
    return bool((mine ^ its) & shared or (mine - its and its - mine and all(kinds)))


def is_label(path: Path, stems: set[Path]) -> bool:
    """Whether a name, or the last folder that tells, says so.  path: relative to the data set

    stems: all files without suffix; in images/, `a_L.png` is a label only beside `a.*`
    """
    kinds = [{*words(part)} for part in reversed(path.parts[:-1])]
    told = [bool(k & LABEL_WORDS) for k in kinds if k & (LABEL_WORDS | IMAGE_WORDS)][:1]
    if LABEL_ENDING.search(path.stem) and told != [True]:
        return not told or path.parent / LABEL_ENDING.sub("", path.stem) in stems
    return path.suffix == ".npy" or told == [True]


def recognise(root: Path, palette: tuple = ()) -> Recognised | None:
    """What the labels in a folder and its folders are; None if nothing is known there.

    palette: colours of classes, for palette images whose indices are in another order
    """
    linked = [path for path in root.rglob("*") if path.is_symlink() and path.is_dir()]
    found = {p.relative_to(root) for one in (root, *linked) for p in one.rglob("*") if p.is_file()}
    files = sorted(path for path in found if not LEFT_OUT.search(path.as_posix()))
    lists = (path.parent for path in files if path.name == "classes.txt" and path.parent.name)
    outputs = {folder for folder in lists if (root / folder / "val/labels").is_dir()}
    others = [path for path in files if not outputs & {*path.parents}]
    if outputs and (found := read_files(root, others, palette)) and found.samples:
        said = "left out, for it looks like an earlier output of `annlib data convert`"
        found.left_out[:0] = [f"{folder}: {said}" for folder in sorted(outputs)]
        return found
    return read_files(root, files, palette)


def read_files(root: Path, files: list[Path], palette: tuple) -> Recognised | None:
    """The same, of the files of a folder that count.  files: relative to it"""
    stems = {path.with_suffix("") for path in files}
    labels = [p for p in files if p.suffix.lower() in LABEL_SUFFIXES and is_label(p, stems)]
    others = sorted({*files} - {*labels})
    images = [path for path in others if path.suffix.lower() in SUFFIXES]
    documents = [(path, read_json(root / path)) for path in files if path.suffix == ".json"]
    documents = [one for one in documents if isinstance(one[1], dict)]
    coco, labelme = ([one for one in documents if k <= one[1].keys()] for k in (COCO, LABELME))
    found = guarded(root, from_coco, root, images, coco) if coco else None
    found = found or (guarded(root, from_labelme, root, labelme) if labelme else None)
    found = found or from_masks(root, files, images, labels, palette)
    if found:
        taken = {}
        for one in found.samples:
            if (first := taken.setdefault(one.image.resolve(), one)) is not one:
                both = f"{first.label} and {one.label}: move one away"
                raise ValueError(f"{one.image} is labelled twice, in {both}.")
        bare = [path for path in images if (root / path).resolve() not in taken]
        found.left_out += [f"{path}: no annotation" for path in bare if found.has_names]
        said = f"label files beside the {found.form}: {len(labels)}"
        found.left_out[:0] = [f"{path}: {said}" for path in labels[:1] if found.has_names]
        found.left_out[:0] = unread(others, root)
    return found


def guarded(path: Path, function: Callable, *parts: Any) -> Any:
    """function(*parts). Content of another form than it expects becomes an error with the path."""
    try:
        return function(*parts)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        said = f"{path} holds JSON that its tool would not write"
        raise ValueError(f"{said} ({type(error).__name__}: {error}).") from error


def from_masks(
    root: Path, files: list[Path], images: list[Path], labels: list[Path], palette: tuple
) -> Recognised | None:
    """Images, and for each a label file of the same name in another folder or with an ending."""
    if not labels:  # a.jpg and a.png side by side
        photos = {path.with_suffix("") for path in images if path.suffix.lower() != ".png"}
        labels = [p for p in images if p.suffix.lower() == ".png" and p.with_suffix("") in photos]
        images = [path for path in images if path not in labels]
    spec, form, every = None, "images with label files", labels
    ids = {"labelTrainIds": classes.CITYSCAPES_TRAIN_IDS, "labelIds": classes.CITYSCAPES}
    for ending, known in ids.items():
        if those := [path for path in every if path.stem.endswith(f"_{ending}")]:
            labels, spec, form = those, known, f"label files of Cityscapes ({ending})"
    if any("SegmentationClass" in path.parts for path in labels):
        spec, form = classes.VOC12AUG, "label files of Pascal VOC"
    if not labels or not images:
        return None
    like = defaultdict(list)  # split and key, key alone, name alone -> label files
    for path in labels:
        key = key_of(path)
        for part in ((split_of(path.parts[:-1]), key), key, key[-1]):
            like[part].append(path)
    samples, keys, used, seen = [], defaultdict(set), set(), {}
    for path in images:
        keys[key_of(path)[-1]].add(key_of(path))
    folders = [{part for one in some for part in key_of(one)[:-1]} for some in (images, labels)]
    shared = set.intersection(*folders)  # those of images and of labels
    left_out = [f"{path}: no image" for path in labels if key_of(path)[-1] not in keys]
    listed = listed_splits(root, files, keys, left_out)
    is_divided = bool({*listed.values()} - {"test"})
    for path in images:
        split, key = split_of(path.parts[:-1]), key_of(path)
        same = like[split, key]  # VOC's Aug comes first
        same = [p for p in same if "SegmentationClassAug" in p.parts] or same
        if len(same) > 1:
            raise ValueError(f"Keep one label file for {root / path}: {', '.join(map(str, same))}.")
        # Numbers begin again in each split: another split's label file is another image's.
        fits = {p for p in like[key[-1]] if not split or split_of(p.parts[:-1]) in ("", split)}
        fits = {p for p in fits if not same and not is_apart(path, p, shared)}
        choices = same, *([p for p in like[k] if p in fits] for k in (key, key[-1]))
        one = next((places[0] for places in choices if len(places) == 1), None)
        if one is None or (is_divided and not split and key not in listed):
            many = [f"{len(c)} label files, such as {c[0]}" for c in choices if len(c) > 1]
            many = ["in no split list"] if one else [*many, "no label file in a folder that fits"]
            left_out.append(f"{path}: {many[0]}")
            continue
        if one in used:
            raise ValueError(f"{root / one} fits two images, also {root / path}: move one away.")
        used.add(one)
        split = split or split_of(one.parts[:-1]) or listed.get(key, "")
        codes = partial(read_codes, root / one, palette, seen)
        samples.append(Sample(root / path, key, split, root / one, codes))
    return Recognised(form, samples, spec, left_out=left_out)


def keys_in(line: str, keys: dict[str, set]) -> set[tuple[str, ...]]:
    """The images that a line of a split list names: one, or each of a name without folders."""
    fields = [part.strip(" \"'").replace("\\", "/") for part in re.split("[,;\t]", line)]
    files = [part for part in fields if Path(part).suffix.lower() in SUFFIXES]
    for place in (line.strip(" \"'"), *files, fields[0], line.split()[0]):  # a name may have spaces
        for own in (key_of(Path(f"{place}.png")), key_of(Path(place))):
            if found := keys.get(own[-1]):
                return {key for key in found if own[-len(key) :] == key[-len(own) :]} or found
    return set()


def listed_splits(root: Path, files: list[Path], keys: dict, left_out: list) -> dict[tuple, str]:
    """Key of an image -> its split, from files such as train.txt; {} if there are none."""
    tables = [p for p in files if p.stem not in keys and {*words(p.stem)} & {*SPLITS, "split"}]
    tables = [p for p in tables if p.suffix in (".txt", ".csv", ".lst")]
    lists = [p for p in tables if {*re.split("[_ .-]", p.stem.lower())} <= LIST_WORDS]
    lists = [p for p in lists if split_of([p.stem])]
    lists = [p for p in lists if "Segmentation" in p.parts] or lists  # VOC has others
    found = {}
    for path in lists:
        split, lines = split_of([path.stem]), map(str.strip, read_text(root / path).splitlines())
        lines = [line for line in lines if line and line[0] != "#"]
        if lines and lines[0][0] == ",":  # pandas writes a column of numbers first
            lines = [line.partition(",")[2] for line in lines if line[0] != ","]
        listed = [keys_in(line, keys) for line in lines]
        odd = [line for line, named in zip(lines, listed, strict=True) if not named]
        if odd and len(odd) == len(lines) and split != "test":
            said = f"{root / path} lists none of the images: its first line is {lines[0]!r}."
            raise ValueError(f"{said} Write a name on each line, or rename a file of another kind.")
        if odd:
            left_out.append(f"{path}: lines that name no image: {len(odd)}, such as {odd[0]!r}")
        for key in sorted(set().union(*listed)):
            if found.setdefault(key, split) != split:
                raise ValueError(f"{root / path} lists {'/'.join(key)}, also in {found[key]}.")
    if not found:
        said = "not read: if it is a split list, name it train.txt, val.txt or test.txt"
        left_out += [f"{path}: {said}" for path in tables[:5]]
    return found


def read_codes(path: Path, palette: tuple, seen: dict) -> np.ndarray:
    """A label file -> int32 (H, W) codes: values, or colours where it holds colours."""
    if path.suffix == ".npy":
        try:
            pixels = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path} is not an array of numbers ({error}).") from error
        mode = {3: "RGB", 4: "RGBA"}.get(pixels.shape[-1]) if pixels.ndim == 3 else ""
    else:
        image, pixels = open_labels(path)
        mode, colours = image.mode, np.array(image.getpalette("RGB") or [], np.int32).reshape(-1, 3)
        is_grey = mode == "P" and (colours == colours[:, :1]).all()
        if is_grey and image.format == "GIF":  # which stores greys as places in its palette
            pixels, colours = colours[pixels][..., 0], np.arange(256)[:, None].repeat(3, 1)
        num_greys = sum(red == green == blue for red, green, blue in palette)
        if mode == "P" and palette and (num_greys > 1 or not is_grey):
            known = {*(COLOUR + np.array(palette) @ (65536, 256, 1)).tolist(), IGNORE_INDEX}
            codes = np.append(COLOUR + colours @ (65536, 256, 1), np.zeros(256, int))[:256]
            if codes[IGNORE_INDEX] in codes[:IGNORE_INDEX] or codes[IGNORE_INDEX] not in known:
                codes[IGNORE_INDEX] = IGNORE_INDEX
            if {*codes[np.unique(pixels)].tolist()} <= known:  # tools number colours in any order
                return codes[pixels]
        if mode == "P":
            check_order(path, colours.ravel().tolist(), pixels, seen)
    if mode in ("RGB", "RGBA") and pixels.dtype == np.uint8:
        codes = COLOUR + pixels[..., :3].astype(np.int32) @ (65536, 256, 1)
        codes[(pixels[..., 3:] == 0).any(-1)] = TRANSPARENT
        return codes
    if pixels.ndim == 3 and 1 in (len(pixels), pixels.shape[-1]):
        pixels = pixels.squeeze()
    if pixels.dtype.kind == "f" and (pixels == np.rint(pixels).clip(-(2**31), 2**31)).all():
        pixels = pixels.astype(np.int64)
    if pixels.ndim != 2 or pixels.dtype.kind not in "bui" or pixels.size == 0:
        said = f"{path} holds {pixels.dtype} of the shape {pixels.shape}: labels are a whole number"
        raise ValueError(f"{said} per pixel (height, width), or a uint8 colour (height, width, 3).")
    if pixels.min() < 0 or pixels.max() >= 65536:
        said = f"{path} holds {pixels.min()} to {pixels.max()}: labels are 0 to 65535. Write 255"
        raise ValueError(f"{said} where a pixel has no label, such as for -1.")
    return pixels.astype(np.int32)


def inside(points: Any, height: int, width: int) -> np.ndarray:
    """bool (H, W): pixels whose centre lies in a polygon of x, y, even-odd; pixel 0 is 0 to 1."""
    x, y = np.asarray(points, float).reshape(-1, 2).T
    rows, crossings = np.arange(height) + 0.5, np.zeros((height, width + 1), bool)
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        (crossed,) = np.nonzero((rows >= min(y0, y1)) & (rows < max(y0, y1)))
        if len(crossed):
            at = x0 + (rows[crossed] - y0) * (x1 - x0) / (y1 - y0)
            crossings[crossed, np.clip(np.ceil(at - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(crossings, 1)[:, :width]


def tidy(name: Any) -> str:
    """The name of a class on one line."""
    return " ".join(str(name).split())


def from_coco(root: Path, images: list[Path], documents: list[tuple[Path, dict]]) -> Recognised:
    """COCO's polygons and run lengths; without an annotation a pixel is background."""
    kinds = {(one["id"], tidy(one["name"])) for _, each in documents for one in each["categories"]}
    spec = spec_with(dict.fromkeys([BACKGROUND, *(name for _, name in sorted(kinds))]))
    samples, left_out, called = [], [], defaultdict(list)
    for path in images:
        called[normalize("NFC", path.name)].append(path)
    for path, content in documents:
        where, marks = root / path, defaultdict(list)
        index = {c["id"]: spec.class_names.index(tidy(c["name"])) for c in content["categories"]}
        ids = [one["id"] for one in content["images"]]
        if len({*ids}) < len(ids) or len(index) < len(content["categories"]):
            raise ValueError(f"{where}: two images or two categories have one id: renumber them.")
        for one in content["annotations"]:
            if one.get("segmentation"):
                marks[one["image_id"]].append(one)
                if one["category_id"] not in index:
                    raise ValueError(f"{where}: its categories lack {one['category_id']}.")
        if bare := len(content["annotations"]) - sum(map(len, marks.values())):
            left_out.append(f"{path}: annotations without an outline (boxes): {bare}")
        if lost := sum(len(each) for image, each in marks.items() if image not in ids):
            left_out.append(f"{path}: annotations of images that it does not list: {lost}")
        own = split_of([*path.parts[:-1], path.stem])
        repeat = any(len(some) > 1 for some in called.values())  # names, in each split
        allowed = ("", own) if own and repeat else ("", *SPLITS.values())
        for one in content["images"]:
            name = Path(normalize("NFC", one["file_name"].replace("\\", "/")))
            name = Path(name.name if name.parts[0][0] in "./" or ":" in name.parts[0] else name)
            fits = (p for p in called[name.name] if split_of(p.parts[:-1]) in allowed)
            places = fitting([*fits], name, own, path.parent)
            if len(places) > 1:
                raise ValueError(f"{where}: {name} may be {places[0]} or {places[1]}: say which.")
            left_out += [f"{name}: no such image"] * (not places)
            if places and one["id"] in marks:
                split, key = own or split_of(places[0].parts[:-1]), key_of(places[0])
                codes = partial(guarded, where, draw_coco, one, marks[one["id"]], index, where)
                samples.append(Sample(root / places[0], key, split, where, codes))
    return Recognised("COCO JSON", samples, spec, True, left_out)


def fitting(places: list[Path], name: Path, split: str, folder: Path) -> list[Path]:
    """The images of a name that fit best: by its folders, the split, the document's folder."""
    ends = [f"/{normalize('NFC', path.as_posix())}".endswith(f"/{name}") for path in places]
    fits = [(split_of(path.parts) == split, path.is_relative_to(folder)) for path in places]
    best = max((fit for fit, end in zip(fits, ends, strict=True) if end), default=())
    return [p for p, fit, end in zip(places, fits, ends, strict=True) if end and fit == best]


def draw_coco(image: dict, marks: list[dict], index: dict[int, int], path: Path) -> np.ndarray:
    """Codes of one image; small objects cover large ones."""
    size = image["height"], image["width"]
    codes = np.zeros(size, np.int32)
    for mark in sorted(marks, key=lambda one: -(one.get("area") or covered(one, size, path).sum())):
        codes[covered(mark, size, path)] = index[mark["category_id"]]
    return codes


def covered(mark: dict, size: tuple[int, int], path: Path) -> np.ndarray:
    """COCO's polygons, or run lengths down the columns, plain or compressed -> bool (H, W)"""
    shape = mark["segmentation"]
    if isinstance(shape, list):
        shape = shape if isinstance(shape[0], list) else [shape]
        return np.any([inside(one, *size) for one in shape], axis=0)
    height, width = shape["size"]
    if isinstance(counts := shape["counts"], list):
        flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        if flat.size != height * width:
            raise ValueError(f"{path}: run lengths for {flat.size} pixels, not {height} x {width}.")
        return flat.reshape(width, height).T
    said = f"{path} holds compressed run lengths, and pycocotools, which reads them,"
    mask = need("pycocotools.mask", said, "pip install pycocotools")
    return mask.decode(shape | {"counts": counts.encode()}).astype(bool)


def from_labelme(root: Path, documents: list[tuple[Path, dict]]) -> Recognised:
    """LabelMe's polygons, rectangles and circles, later ones on top; the rest is background."""
    found = {tidy(shape["label"]) for _, content in documents for shape in content["shapes"]}
    spec = spec_with([BACKGROUND, *sorted(found - {BACKGROUND, "_background_", IGNORED})])
    samples, left_out = [], []
    for path, content in documents:
        name = Path(content["imagePath"].replace("\\", "/"))
        image = (root / path).parent / name
        image = image if image.is_file() else (root / path).with_suffix(name.suffix)
        if not image.is_file():
            left_out.append(f"{path}: its image {content['imagePath']} is missing")
            continue
        odd = Counter(shape.get("shape_type") or "polygon" for shape in content["shapes"])
        for kind in odd.keys() - {"polygon", "rectangle", "rotation", "circle", "mask"}:
            left_out.append(f"{path}: {odd[kind]} of the kind {kind!r}, which is not drawn")
        codes = partial(guarded, root / path, draw_labelme, root / path, content, image, spec)
        samples.append(Sample(image, key_of(path), split_of(path.parts[:-1]), root / path, codes))
    return Recognised("LabelMe JSON", samples, spec, True, left_out)


def draw_labelme(path: Path, content: dict, image: Path, spec: DatasetSpec) -> np.ndarray:
    height, width = read_image(image).shape[1:]
    said = content.get("imageHeight") or height, content.get("imageWidth") or width
    if said != (height, width):
        sizes = f"{said} (height, width), but {image}, upright, is {(height, width)}"
        raise ValueError(f"{path} labels an image of {sizes}: label the image as it is now.")
    index = {name: i for i, name in enumerate(spec.class_names)} | {IGNORED: IGNORE_INDEX}
    codes = np.zeros((height, width), np.int32)
    for shape in content["shapes"]:
        points, kind = np.array(shape["points"], float), shape.get("shape_type") or "polygon"
        index_of = index.get(tidy(shape["label"]), 0)
        if kind == "rectangle":  # two corners, or four
            (x0, y0), (x1, y1) = points[0], points[len(points) // 2]
            points = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        elif kind == "mask":  # a PNG from its first point on
            rows, columns = np.nonzero(np.array(open_whole(path, b64decode(shape["mask"]))))
            codes[rows + int(points[0, 1]), columns + int(points[0, 0])] = index_of
            continue
        elif kind == "circle":
            centre, radius = points[0], math.dist(*points)
            turn = np.linspace(0, 2 * math.pi, 64, endpoint=False)
            points = centre + radius * np.stack([np.cos(turn), np.sin(turn)], 1)
        elif kind not in ("polygon", "rotation"):
            continue
        codes[inside(points, height, width)] = index_of
    return codes
