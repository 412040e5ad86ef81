"""An evaluation on disk: a folder with its settings, and a line for every picture scored."""

import json
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from annlib.engine.distributed import is_main, rank, wait_for_all
from annlib.engine.evaluate import Scores
from annlib.engine.exports import save_prediction
from annlib.engine.failures import worst_pictures
from annlib.engine.lines import append_line, read_lines, write_lines
from annlib.engine.predict import Segmenter
from annlib.engine.provenance import provenance
from annlib.engine.scored import PictureScore
from annlib.engine.settings import as_json, differences, to_json
from annlib.model.checkpoints import write_atomically


class EvaluationFolder:
    """settings.json, images.jsonl; at the end scores.json, worst.md; colours/, labels/ if wanted.

    Of several processes each has a file of lines; the first one joins them into images.jsonl. All
    of them must see the same folder.
    """

    def __init__(self, path: Path, segmenter: Segmenter, names: Sequence[str], save_pictures: bool):
        self.path = Path(path)
        self.spec = segmenter.spec
        self.names = names
        self.save_pictures = save_pictures
        self.settings = settings_of(segmenter, names) | {"save_pictures": save_pictures}
        self.lines = self.path / "images.jsonl"
        if save_pictures:
            check_names_differ(names)

    def open(self) -> list[PictureScore]:
        """The pictures that are done, by whatever number of processes.

        Raises ValueError for a folder whose evaluation was made by other settings, FileExistsError
        for one that holds something else.
        """
        if is_main():
            self.check_settings()
            self.join()
        wait_for_all()
        done = read_scores(self.lines)
        wait_for_all()  # nobody writes before all have read
        return done

    def check_settings(self) -> None:
        """Writes the settings, or compares them with those that are there."""
        file = self.path / "settings.json"
        if not file.exists():
            refuse_other_things(self.path)
            write_atomically(file, to_json(self.settings))
        try:
            before = json.loads(file.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{file} is damaged ({error}): nobody knows what was evaluated. Start again in "
                "another folder (--out)."
            ) from error
        if before != self.settings:
            differing = ", ".join(differences(before, self.settings))
            raise ValueError(
                f"The evaluation in {self.path} was made by other settings: {differing}. Scores "
                "would be a mixture of both: use the same settings, or another folder (--out)."
            )

    def join(self) -> list[PictureScore]:
        """The lines of all processes in one file, in the order of the data set."""
        parts = sorted(self.path.glob("images-*.jsonl"))
        found = [score for file in (self.lines, *parts) for score in read_scores(file)]
        scores = sorted({score.index: score for score in found}.values())
        write_lines(self.lines, [score._asdict() for score in scores])
        for part in parts:
            part.unlink(missing_ok=True)
        return scores

    def keep(self, score: PictureScore, prediction: Tensor) -> None:
        """Writes a picture down as done.  prediction: uint8 (H, W) class indices"""
        if self.save_pictures:
            save_prediction(prediction, self.spec, self.path, score.name)
        file = self.lines if is_main() else self.path / f"images-{rank()}.jsonl"
        append_line(file, score._asdict())

    def finish(self, scores: Scores) -> None:
        """Writes the result, once every process has written down its pictures."""
        wait_for_all()
        if not is_main():
            return
        pictures = self.join()
        if len(pictures) != len(self.names):
            raise OSError(
                f"{self.lines} lists {len(pictures)} of {len(self.names)} pictures: do all "
                "machines see the same folder? Choose one on a shared disk (--out)."
            )
        values = scores.as_json(self.spec.class_names) | {"made": provenance()}
        write_atomically(self.path / "scores.json", to_json(values))
        write_atomically(self.path / "worst.md", worst_pictures(pictures, self.spec).encode())


def read_scores(path: Path) -> list[PictureScore]:
    """The lines of a file that one process wrote."""
    try:
        return [PictureScore(**line) for line in read_lines(path)]
    except TypeError as error:
        raise ValueError(
            f"{path} was written by another version of annlib ({error}): go on with that one, or "
            "start again in another folder (--out)."
        ) from error


def settings_of(segmenter: Segmenter, names: Sequence[str]) -> dict[str, Any]:
    """All that a score depends on, as it comes back from a file; the data may move elsewhere."""
    table = segmenter.spec.label_table()
    return as_json(
        {
            "weights_crc32": segmenter.weights_crc32,
            "model": asdict(segmenter.model.config),
            "test": asdict(segmenter.test),
            "precision": segmenter.precision,
            "classes": segmenter.spec.class_names,
            "label_table_crc32": f"{zlib.crc32(table.numpy()):08x}",
            "pictures": len(names),
            "names_crc32": f"{zlib.crc32(json.dumps(names).encode()):08x}",
        }
    )


def refuse_other_things(folder: Path) -> None:
    """Hidden files do not count: a write that was cut off may have left one."""
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise FileExistsError(
            f"{folder} holds other things, but no evaluation. Choose an empty or a new folder "
            "(--out): nothing is overwritten."
        )


def check_names_differ(names: Sequence[str]) -> None:
    """The predictions are named after the pictures: the second would replace the first."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"Several pictures are named {', '.join(twice[:5])}: their predictions would be the "
            "same files. Give them different names, or leave --save-pictures away."
        )
