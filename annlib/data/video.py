"""Reads the frames of a video, and writes frames as one. PyAV, an optional package, does both."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from annlib.files import need

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")


class Video(NamedTuple):
    frames: Iterator[np.ndarray]  # uint8 (H, W, 3) RGB, upright
    rate: Fraction  # frames a second
    count: int  # as the file says, 0 where it does not


def read_video(path: Path) -> Video:
    """The first video stream of a file. Raises ValueError, also later, if it cannot be decoded."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    remedy = "pip install -e '.[video]'. Or extract the frames, and give their folder."
    av = need("av", f"{path} is a video, and PyAV, which reads videos,", remedy)

    @contextmanager
    def decoding() -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            said = f"{path} cannot be read as a video ({error.strerror}). It may be cut off or of"
            raise ValueError(f"{said} another kind: copy it again, or make it MP4.") from error

    with decoding():
        file = av.open(str(path))
    if not file.streams.video:
        raise ValueError(f"{path} has no video stream, only sound or other data.")
    stream = file.streams.video[0]

    def frames() -> Iterator[np.ndarray]:
        with file, decoding():
            for frame in file.decode(stream):
                yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90).copy()

    return Video(frames(), stream.average_rate or Fraction(25), stream.frames)


@contextmanager
def video_writer(path: Path, rate: Fraction) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends a frame, uint8 (H, W, 3) RGB of even sides. Whole, or not at all."""
    import av

    partial = path.with_name(f".{path.name}.part.mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(partial), "w") as file:
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            stream = file.add_stream(codec, rate=rate, pix_fmt="yuv420p")

            def append(frame: np.ndarray) -> None:
                if not stream.codec_context.is_open:  # the first frame
                    stream.height, stream.width = frame.shape[:2]
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))

            yield append
            file.mux(stream.encode())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
