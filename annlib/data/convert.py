"""Turns labels as other tools save them into a data folder that annlib trains on."""

import random
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from annlib.config import IGNORE_INDEX
from annlib.data.annotations import BACKGROUND, COLOUR, TRANSPARENT, Recognised, Sample, recognise
from annlib.data.classes import BUILT_IN, WORDS, DatasetSpec, folder_spec, spec_with
from annlib.data.folders import contents, listed, packed_there
from annlib.files import all_or_nothing


def find_classes(given: str | None, source: Path) -> DatasetSpec | None:
    """A file of the form of classes.txt, a built-in name, or one of class_lists in words.toml."""
    if given in BUILT_IN:
        return BUILT_IN[given]
    found = (source / name for name in WORDS["class_lists"] if (source / name).is_file())
    path = Path(given) if given else next(found, None)
    return folder_spec(path.parent, path.name) if path else None


def meaning(
    codes: Counter, found: Recognised, given: DatasetSpec | None, shift: int, apart: bool
) -> tuple[DatasetSpec, dict[int, int], str]:
    """The classes, code -> class index or 255 (unknown codes are missing), and how it is read."""
    colours = {code for code in codes if code >= COLOUR}
    as_grey = {code: code & 255 for code in colours if len({*code.to_bytes(4)[1:]}) == 1}
    if len(as_grey) != len(colours) or (given and {*map(rgb, colours)} <= {*given.palette}):
        as_grey = {}
    values = {code: as_grey.get(code, code) for code in codes}  # grey saved as RGB is values
    spec = given or found.spec
    present = {*values.values()} - {TRANSPARENT}
    own_pair = spec and spec.num_classes == 2 and not spec.ignored and not spec.label_values
    if found.has_names and given:  # by name
        to = {n: i for i, n in enumerate(given.class_names)}
        index = {i: to[n] for i, n in enumerate(found.spec.class_names) if n in to}
        said = "classes by their names"
        if BACKGROUND not in to:
            index[0] = IGNORE_INDEX
            said += "; what no shape covers is not labelled, because the list has no `background`"
    elif present & colours:
        if given is None:
            few = ", ".join(" ".join(map(str, rgb(c))) for c in sorted(colours, key=codes.get)[-6:])
            said = f"The labels are colours ({few}, ...): say by --classes FILE what they mean,"
            raise ValueError(f"{said} with a line `name red green blue` for each class.")
        if plain := present - colours - {IGNORE_INDEX}:
            said = f"Some label files hold colours, others values such as {max(plain)}: make them"
            raise ValueError(f"{said} the same.")
        index = {int(COLOUR + np.dot(c, (65536, 256, 1))): i for i, c in enumerate(spec.palette)}
        if twice := [rgb(c) for c in present & index.keys() if spec.palette.count(rgb(c)) > 1]:
            raise ValueError(f"Two classes of the list are {twice[0]}: give each its own colour.")
        is_guess = spec.palette == spec_with(spec.class_names).palette
        said = "colours, by the class list" + " (those of Pascal VOC, by their order)" * is_guess
    elif present == {0, 255} and not found.has_names and (spec is None or own_pair):
        spec = spec or spec_with([BACKGROUND, "foreground"])
        white = int(spec.palette[0] != (255, 255, 255))  # the class of 255
        index, names = {0: 1 - white, 255: white}, spec.class_names
        said = f"0 is {names[1 - white]}, 255 {names[white]}"
    elif present == {0, 1, 255} and apart and not found.has_names and (spec is None or own_pair):
        said = "Some label files hold 0 and 1, others 0 and 255: make them the same, or say by"
        raise ValueError(f"{said} --classes FILE (two names, and `ignore 255`) what 255 is.")
    elif spec:
        index = {v: i for i, v in enumerate(spec.class_values)} | dict.fromkeys(spec.ignored, 255)
        said = f"values, the classes of {spec.name}"
    else:
        greys, most = sorted(present), len(present) - 1
        edges = sum(number for code, number in codes.items() if values[code] not in (0, 255))
        are_soft = most > 20 and {0, 255} <= present and 10 * edges < sum(codes.values())
        if are_soft or most > 1 and all(abs(v - 255 * i / most) < 1 for i, v in enumerate(greys)):
            said = f"Labels are greys ({listed([*map(str, greys)], 6)}), and 255 may be a class:"
            said += " cut soft edges of masks by a threshold, or say by --classes FILE (names, and"
            raise ValueError(f"{said} `255=2` or `ignore 255`) what they are.")
        classes = sorted({v + shift for v in present - {IGNORE_INDEX} if v + shift >= 0})
        spec = spec_with(f"class {value}" for value in classes)
        index = {value: place for place, value in enumerate(classes)}
        said = "values; edit classes.txt to name the classes"
    index.setdefault(IGNORE_INDEX, IGNORE_INDEX)
    if shift and not present & colours:
        shifted = {v - shift: i for v, i in index.items() if v != IGNORE_INDEX}
        index = {v: IGNORE_INDEX for v in present if v + shift < 0} | shifted | {255: IGNORE_INDEX}
    index[TRANSPARENT] = IGNORE_INDEX
    index = {code: index[value] for code, value in values.items() if value in index}
    return spec, index, said + "; transparent pixels are not labelled" * (TRANSPARENT in codes)


def rgb(code: int) -> tuple[int, int, int]:
    return tuple((code & 0xFFFFFF).to_bytes(3))


def convert(
    source: Path,
    target: Path,
    classes: str | None = None,
    ignore: tuple[str, ...] = (),
    ignore_unknown: bool = False,
    shift: int = 0,
    val_share: float = 0.2,
    seed: int = 0,
) -> str:
    """Writes train/, val/ and, if there is one, test/, and classes.txt; returns a report.

    classes: see `find_classes`. ignore: classes that become 255. ignore_unknown: so do values and
    colours that the list lacks. shift: added to label values, but for 255. val_share: of images
    whose split the data do not say, drawn by `seed`.
    Raises FileNotFoundError if nothing is recognised, ValueError for labels that are unclear.
    """
    if not source.is_dir():
        raise FileNotFoundError(f"There is no folder {source}.")
    if not 0 < val_share < 1:
        raise ValueError(f"--val-share is {val_share:g}: give a share between 0 and 1.")
    given = find_classes(classes, source)
    found = recognise(source, given.palette if given else ())
    if found is None or not found.samples:
        left = "".join(f"\n- {one}" for one in found.left_out[:5]) if found else ""
        said = f"Nothing to convert in {source}, which holds {contents(source)}. Known: JSON of"
        said += " COCO and LabelMe, and images with label files (PNG, TIFF, npy) of the same names"
        said += " in a folder such as labels/ or masks/, or with an ending such as _mask."
        raise FileNotFoundError(f"{said} {packed_there(source)}".rstrip() + left)
    total, apart = Counter(), True
    for sample in found.samples:
        values, counts = np.unique(sample.codes(), return_counts=True)
        total.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        apart &= not {1, 255} <= {code & 255 for code in values.tolist()}
        if len(total) > 256:
            said = f"The labels up to {sample.image.name} hold over 256 values or colours:"
            raise ValueError(f"{said} photos, instances, or labels that were resized smoothly.")
    spec, index, said = meaning(total, found, given, shift, apart)
    pixels, notes = sum(total.values()), []
    if unknown := [code for code, _ in total.most_common() if code not in index]:
        share = 100 * sum(total[code] for code in unknown) / pixels
        text = f"{listed([described(c, found) for c in unknown], 5)} ({share:.1f} % of the pixels)"
        if not ignore_unknown:
            is_first = min(total) == 1 and unknown == [spec.num_classes]
            hint = " Labels that begin at 1: --shift -1." * is_first
            said = f"The class list lacks {text}. Add them to it (--classes FILE), or let them"
            raise ValueError(f"{said} count as not labelled: --ignore-unknown.{hint}")
        index |= dict.fromkeys(unknown, IGNORE_INDEX)
        notes.append(f"Not labelled (255) now: {text}")
    if absent := [name for name in ignore if name not in spec.class_names]:
        raise ValueError(f"--ignore {absent[0]!r}: the classes are {', '.join(spec.class_names)}.")
    kept = [i for i, name in enumerate(spec.class_names) if name not in ignore]
    place = {old: new for new, old in enumerate(kept)}
    index = {code: place.get(old, IGNORE_INDEX) for code, old in index.items()}
    if not 2 <= len(kept) <= IGNORE_INDEX:
        raise ValueError(f"{len(kept)} classes are left ({said}), but 2 to 255 are possible.")
    how = divide(found.samples, val_share, seed)
    depth = int(len({(one.split, one.key[-1]) for one in found.samples}) == len(found.samples))
    with all_or_nothing(target) as folder:
        for sample in found.samples:
            name = "_".join(sample.key[-depth:])
            image = folder / sample.split / "images" / f"{name}{sample.image.suffix}"
            label = folder / sample.split / "labels" / f"{name}.png"
            if label.exists():
                raise ValueError(f"Two images would be {sample.split}/{name}: rename one.")
            for path in (image, label):
                path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sample.image, image)
            values, inverse = np.unique(codes := sample.codes(), return_inverse=True)
            table = np.array([index[value] for value in values.tolist()], np.uint8)
            Image.fromarray(table[inverse].reshape(codes.shape)).save(label)
        lines = [" ".join([spec.class_names[i], *map(str, spec.palette[i])]) for i in kept]
        lines += ["ignore 255"] * (IGNORE_INDEX in index.values())
        (folder / "classes.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        names, written = [spec.class_names[i] for i in kept], ()
        with suppress(ValueError):
            written = folder_spec(folder).class_names
        if written != tuple(names):
            said = f"Of the names {', '.join(map(repr, names))} classes.txt cannot hold all, such"
            raise ValueError(f"{said} as for `#` or a number at the end: rename in the source.")
    splits, counts = Counter(sample.split for sample in found.samples), Counter()
    for code, number in total.items():
        counts[index[code]] += number
    named = {i: spec.class_names[old] for old, i in place.items()} | {255: "(not labelled, 255)"}
    shares = [f"  {100 * counts[i] / pixels:6.2f} %  {name}" for i, name in named.items()]
    left = [f"Left out: {len(found.left_out)}"] * bool(found.left_out)
    left += [f"- {one}" for one in found.left_out[:10]]
    divided = ", ".join(f"{split} {splits[split]}" for split in ("train", "val", "test"))
    return "\n".join([f"{found.form}: {said}", f"Pairs: {divided} ({how})", *shares, *notes, *left])


def described(code: int, found: Recognised) -> str:
    if found.has_names:
        return repr(found.spec.class_names[code])
    return f"the colour {' '.join(map(str, rgb(code)))}" if code >= COLOUR else f"the value {code}"


def divide(samples: list[Sample], share: float, seed: int) -> str:
    """Gives each sample its split: that of the data, or drawn; says which."""
    if {"train", "val"} <= {sample.split for sample in samples}:
        for sample in samples:
            sample.split = sample.split or "train"
        return "as they were divided"
    free = [sample for sample in samples if sample.split != "test"]
    if len(free) < 2:
        raise ValueError(f"{len(free)} pairs to divide into train and val: 2 are needed.")
    random.Random(seed).shuffle(free)
    number = min(len(free) - 1, max(1, round(share * len(free))))
    for place, sample in enumerate(free):
        sample.split = "val" if place < number else "train"
    return f"{100 * share:g} % drawn for val with seed {seed}"
