"""annlib predict: segments images and videos with a trained network."""

import errno
import glob
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.cli.common import TestOptions, escape_letters
from annlib.files import message_of

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from annlib.config import TestConfig
    from annlib.engine.predictor import Segmenter

Plan = Callable[[tuple[int, int]], "TestConfig"]  # height and width -> how such an image is tested
RESULTS = (".overlay.png", ".colours.png", ".labels.png", ".json")
VIDEO_RESULTS = (".overlay.mp4", ".json")


def find_files(given: str) -> list[Path]:
    """The file itself, the images and videos in a folder, or the files that match a pattern.

    Raises ValueError for none. Earlier predictions and hidden files are left out.
    """
    from annlib.data import folders, video

    path, known = Path(given), folders.SUFFIXES + video.SUFFIXES
    if not path.is_dir() and (path.exists() or not glob.has_magic(given)):
        return [path]
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(given, recursive=True))
    found = [one for one in sorted(found) if one.suffix.lower() in known and one.name[0] != "."]
    if not (found := [one for one in found if not one.name.endswith(RESULTS)]):
        holds = f", which holds {folders.contents(path)}" if path.is_dir() else ""
        said = f"There is no image or video ({', '.join(known)}) in {given}{holds}. Folders inside"
        raise ValueError(f"{said} a folder need a pattern in quotes, such as 'day1/**/*.jpg'.")
    return found


def output_names(paths: Sequence[Path]) -> list[str]:
    """A name for the results of each file, without suffix.

    The file's own if all differ, else with its folders, else with its suffix as well.
    """
    root = os.path.commonpath([path.absolute().parent for path in paths])
    relative = [os.path.relpath(path, root) for path in paths]
    for names in ([path.stem for path in paths], [os.path.splitext(name)[0] for name in relative]):
        if len({name.casefold() for name in names}) == len(paths):
            return names
    return relative


def is_video(path: Path) -> bool:
    from annlib.data import video

    return path.suffix.lower() in video.SUFFIXES


def shares_of(labels: "Tensor", names: Sequence[str]) -> dict[str, float]:
    """The fraction of pixels of each class that occurs, largest first.  uint8 (H, W)"""
    shares = (labels.flatten().bincount().double() / labels.numel()).tolist()
    named = sorted(zip(names, shares, strict=False), key=lambda one: -one[1])
    return {name: share for name, share in named if share}


def with_legend(overlay: "Image.Image", entries: Sequence[tuple[str, tuple]]) -> "Image.Image":
    """An image with the names of classes and their colours below it, on white; of even sides."""
    from PIL import Image, ImageDraw, ImageFont

    size = max(12, overlay.width // 55)
    font, gap, row = ImageFont.load_default(size), size // 2, 2 * size
    widths = [int(font.getlength(text)) + 2 * size + gap for text, _ in entries]
    width, places, x, y = max(overlay.width, *widths), [], 0, 0
    for each in widths:
        if x and x + each > width:
            x, y = 0, y + row
        places.append((x + gap, overlay.height + y + gap))
        x += each
    height = overlay.height + y + row
    page = Image.new("RGB", (width + width % 2, height + height % 2), "white")
    page.paste(overlay)
    draw = ImageDraw.Draw(page)
    for (left, top), (text, colour) in zip(places, entries, strict=True):
        draw.rectangle((left, top, left + size, top + size), colour, "black")
        draw.text((left + size + gap, top - size // 8), text, "black", font)
    return page


def overlay_of(image: "Tensor", colours: "Tensor") -> "Image.Image":
    """Half image, half colours.  uint8 (3, H, W), uint8 (H, W, 3)"""
    from PIL import Image

    photo = Image.fromarray(image.permute(1, 2, 0).numpy())
    return Image.blend(photo, Image.fromarray(colours.numpy()), 0.5)


def in_words(size: Sequence[int], test: "TestConfig") -> str:
    """The size that the network saw, and whether that is the size of the image."""
    from annlib.engine.inference import fit, window_starts

    seen = fit(size, test.base_size or size)
    said = f"{size[0]} x {size[1]} pixels, "
    said += "seen at this size" if seen == tuple(size) else f"scaled to {seen[0]} x {seen[1]}"
    if test.scales != (1.0,):
        said += f" x {', '.join(f'{scale:g}' for scale in test.scales)}"
    if test.mode == "slide":
        sides = zip(seen, test.window, test.stride, strict=True)
        rows, columns = (len(window_starts(*side)) for side in sides)
        said += f" in {rows * columns} windows of {test.window[0]} x {test.window[1]}"
    return said


def segment_image(
    path: Path, segmenter: "Segmenter", target: Path, plan: Plan
) -> tuple[dict[str, float], str]:
    """Writes TARGET.overlay.png, .colours.png, .labels.png and .json.

    Returns the share of each class that occurs, of all pixels and largest first, and which size the
    network saw. plan: the size of an image -> how it is tested
    """
    import io

    from PIL import Image

    from annlib.data.io import read_image
    from annlib.engine.predictor import segment
    from annlib.files import write_atomically

    image, spec = read_image(path), segmenter.spec
    test = plan(tuple(image.shape[1:]))
    labels = segment(segmenter, image, test, str(path))
    colours, shares = spec.colour_table()[labels.int()], shares_of(labels, spec.class_names)
    palette = dict(zip(spec.class_names, spec.palette, strict=True))
    entries = [(f"{name} {100 * share:.1f} %", palette[name]) for name, share in shares.items()]
    overlay = with_legend(overlay_of(image, colours), entries)
    pictures = overlay, *(Image.fromarray(pixels.numpy()) for pixels in (colours, labels))
    for suffix, picture in zip(RESULTS, pictures, strict=False):
        picture.save(content := io.BytesIO(), "png", compress_level=1)
        write_atomically(Path(f"{target}{suffix}"), content.getvalue())
    said = {"image": str(path), "seen": in_words(labels.shape, test), "shares": shares}
    with Image.open(path) as file:
        if getattr(file, "n_frames", 1) > 1 and file.format != "MPO":  # MPO: previews of a camera
            said["seen"] += f", the first of {file.n_frames} images in the file"
    write_atomically(Path(f"{target}.json"), json.dumps(said, indent=1).encode())
    return shares, said["seen"]


def segment_video(
    path: Path, segmenter: "Segmenter", target: Path, plan: Plan
) -> tuple[dict[str, float], str]:
    """Writes TARGET.overlay.mp4 and .json, with the shares of each frame; returns as above."""
    import numpy as np
    import torch
    from tqdm import tqdm

    from annlib.data.video import read_video, video_writer
    from annlib.engine.predictor import segment
    from annlib.files import write_atomically

    video, spec, each = read_video(path), segmenter.spec, []
    entries = list(zip(spec.class_names, spec.palette, strict=True))
    frames = tqdm(video.frames, path.name, video.count or None, unit="frame")
    with video_writer(Path(f"{target}.overlay.mp4"), video.rate) as append:
        for frame in frames:
            image = torch.from_numpy(frame).permute(2, 0, 1)
            test = plan(tuple(image.shape[1:]))
            labels = segment(segmenter, image, test, f"{path}, frame {len(each)}")
            overlay = overlay_of(image, spec.colour_table()[labels.int()])
            append(np.asarray(with_legend(overlay, entries)))
            each.append(shares_of(labels, spec.class_names))
        if not each:
            raise ValueError(f"{path} has no frame that can be decoded.")
    means = {n: sum(one.get(n, 0) for one in each) / len(each) for n in spec.class_names}
    shares = {n: mean for n, mean in sorted(means.items(), key=lambda one: -one[1]) if mean}
    said = {"video": str(path), "seen": in_words(labels.shape, test), "shares": shares}
    said |= {"frames_a_second": float(video.rate), "frames": each}
    write_atomically(Path(f"{target}.json"), json.dumps(said).encode())
    return shares, said["seen"]


@dataclass(frozen=True)
class Predict(TestOptions):
    """Segment images and videos: overlay with legend, colours, label map, shares of each class.

    Without --weights it uses streets_ann, a small network trained on CamVid: 11 classes of a
    street. --weights balloon_ann is for Balloon Town. An image is scaled to the size that the
    network was trained at, because it classifies larger objects badly; the size that it saw is
    printed. What stays larger (--base-size) is seen window by window.
    """

    images: Positional[tuple[str, ...]]
    """Images of any size and format, videos, folders of them, patterns such as 'day1/**/*.jpg'.
    `-`: a list of these from standard input, one a line."""
    weights: str = "streets_ann"  # Shipped, of `annlib train` or `export`, or a published row.
    out: Path = Path("predictions")  # Folder for the results.
    overwrite: bool = False  # Replace results that are there already.

    def run(self) -> None:
        """Files first, then weights, then one image after the other; failures are told last."""
        from annlib.engine.inference import check_test
        from annlib.engine.predictor import fitted_test, segmenter

        escape_letters()  # names of files in another encoding
        files, failed = self.find_all()
        targets = dict(zip(files, output_names(files), strict=True)) if files else {}
        self.check_free(targets)
        network, device = self.find(self.weights)
        test, trained = self.changed(network.test), network.test.base_size
        plan = partial(fitted_test, test=test, trained=trained, mode=self.mode)
        check_test(plan((1, 1)))
        ready = segmenter(network, device, precision=self.precision)
        for path, name in targets.items():
            try:
                self.predict(path, self.out / name, ready, plan)
            except (ValueError, OSError) as error:
                is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
                if is_full or len(files) + len(failed) == 1:
                    raise
                failed.append(message_of(error))
        if failed:
            raise ValueError("\n  ".join([f"{len(failed)} could not be segmented:", *failed]))

    def find_all(self) -> tuple[list[Path], list[str]]:
        """All files, each once, and what is wrong with folders and patterns among several."""
        from annlib.data.folders import unread, visible
        from annlib.data.io import read_text

        found, failed, names = {}, [], list(self.images)
        if names == ["-"]:
            text = read_text(Path("-"), sys.stdin.buffer.read())
            names = [name for line in text.splitlines() if (name := line.strip().strip('"'))]
        if not names:
            raise ValueError("Name at least one image: annlib predict photo.jpg")
        for given in names:
            try:
                found |= {path.absolute(): path for path in find_files(given)}
                if Path(given).is_dir():
                    failed += unread(visible(Path(given).iterdir()), Path(given))
            except (ValueError, OSError) as error:
                if len(names) == 1:
                    raise
                failed.append(message_of(error))
        return list(found.values()), failed

    def check_free(self, targets: dict[Path, str]) -> None:
        """Raises FileExistsError for results that are there already, unless --overwrite is given"""
        there = []
        for path, name in targets.items():
            suffixes = VIDEO_RESULTS if is_video(path) else RESULTS
            there += [file for s in suffixes if (file := Path(f"{self.out / name}{s}")).exists()]
        if there and not self.overwrite:
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            said = f"{there[0]}{more} exist already: nothing was done. Add --overwrite to replace"
            raise FileExistsError(f"{said} them, or name another folder (--out).")

    def predict(self, path: Path, target: Path, ready: "Segmenter", plan: Plan) -> None:
        """Segments one file and prints what was found, at which size, and where it is."""
        segment, suffixes = segment_image, RESULTS
        if is_video(path):
            segment, suffixes = segment_video, VIDEO_RESULTS
        shares, seen = segment(path, ready, target, plan)
        listed = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
        hint = " (--base-size none keeps the size)" if "scaled to" in seen else ""
        print(f"{path}: {listed}\n  {seen}{hint}")
        print(f"  -> {target}{suffixes[0]} ({', '.join(suffixes[1:])})", flush=True)
