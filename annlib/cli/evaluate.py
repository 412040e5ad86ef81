"""annlib evaluate: scores a network on labelled images."""

from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from annlib.cli.common import TestOptions, interruptible
from annlib.files import message_of

if TYPE_CHECKING:
    from annlib.data.classes import DatasetSpec
    from annlib.engine.evaluate import Evaluation
    from annlib.engine.metrics import Scores


def follow(evaluation: "Evaluation", workers: int, title: str | None = None) -> "Scores":
    """Scores with a progress bar.

    Raises ValueError for an error, KeyboardInterrupt after Ctrl-C; both tell what is kept.
    """
    from tqdm import tqdm

    from annlib.engine.distributed import is_main
    from annlib.engine.metrics import percent

    done, problem = evaluation.num_done, None
    total = done + len(evaluation.share)
    look = {"desc": title, "unit": "image", "disable": not is_main()}
    try:
        with interruptible() as interrupted, tqdm(total=total, initial=done, **look) as bar:
            for _ in evaluation.steps(workers):
                bar.set_postfix(mIoU=percent(evaluation.matrix.scores().miou), refresh=False)
                bar.update()
                if interrupted():
                    break
    except (ValueError, OSError) as error:
        problem = error
    if problem is None and evaluation.num_done == total:
        return evaluation.finish()
    hint = "Nothing was kept; with --out DIR the same command would go on."
    if evaluation.out is not None:
        count = f"{evaluation.num_done} of {len(evaluation.names)} images"
        hint = (
            f"{evaluation.out} keeps what is done ({count}): the same command goes on with others."
        )
    if problem is not None:
        raise ValueError(f"{message_of(problem)}\n{hint}") from problem
    if is_main():
        print(f"Stopped. {hint}")
    raise KeyboardInterrupt  # as noted by `interruptible`


def read_as_folder(spec: "DatasetSpec", root: Path | None) -> "DatasetSpec":
    """A network's classes with the label values of a folder; ValueError for another classes.txt."""
    if root is None or not (root / "classes.txt").is_file():
        return spec
    from annlib.data.classes import folder_spec

    told = folder_spec(root)
    if (learned := spec.class_names) == (given := told.class_names):
        others = tuple(v for v in spec.ignored if v not in (*told.class_values, *told.ignored))
        own = replace(spec, label_values=told.label_values, ignored=told.ignored + others)
        return own if spec.layout == "folder" else spec
    pairs = enumerate(zip_longest(learned, given, fillvalue="none"))
    differing = [f"{i}: {ours} / {theirs}" for i, (ours, theirs) in pairs if ours != theirs]
    raise ValueError(
        f"The network learned {len(learned)} classes of {spec.name}, {root / 'classes.txt'} lists "
        f"{len(given)}. They differ at {', '.join(differing[:5])}"
        f"{' and further on' if len(differing) > 5 else ''} (network / folder). Labels would be "
        "taken for other classes: give the folder that it was trained for, or train on this one."
    )


@dataclass(frozen=True)
class Evaluate(TestOptions):
    """Score a network: IoU and accuracy of every class, mIoU, mAcc and aAcc.

    It is tested as its experiment says, unless an option says otherwise. With --out nothing is
    lost by a stop: the same command goes on. torchrun --nproc-per-node=N -m annlib evaluate ...
    shares the images among N processes, with the same result.
    """

    network: Positional[str]  # A file of `annlib train` or `export`, or a published row.
    data: Path | None = None  # Folder of the data set. Balloon Town needs none.
    split: Literal["train", "val", "test"] = "val"
    """Which split of the data. Choices are made on val; test is for the final score only."""
    multi_scale: bool = False  # The six scales of the published ms+flip column: 0.5 to 1.75.
    out: Path | None = None  # Folder for the score of each image, and to go on from.
    save_pictures: bool = False  # Write predictions: colours, and labels for a server.
    json: Path | None = None  # File for the scores.
    workers: int = 0  # Processes that read images beside the prediction.

    def run(self) -> None:
        """Data before weights: a missing folder is reported before anything is downloaded."""
        if self.save_pictures and self.out is None:
            raise ValueError("--save-pictures needs a folder to put them: add --out DIR.")
        from annlib.data.datasets import labelled
        from annlib.engine.distributed import init_distributed, is_main
        from annlib.engine.evaluate import Evaluation
        from annlib.engine.inference import MULTI_SCALE, check_test
        from annlib.engine.metrics import score_table
        from annlib.engine.predictor import segmenter
        from annlib.engine.results import to_json
        from annlib.model.checkpoint import write_atomically

        network, device = self.find(self.network)
        with init_distributed(device) as device:
            if self.multi_scale and self.scales:
                raise ValueError("Give --scales or --multi-scale, which stands for six, not both.")
            test = self.changed(network.test)
            if self.multi_scale:
                test = replace(test, scales=MULTI_SCALE)
            check_test(test)
            network = network._replace(spec=read_as_folder(network.spec, self.data))
            dataset = labelled(network.spec, self.data, self.split)
            ready = segmenter(network, device, test, self.precision)
            evaluation = Evaluation(ready, dataset, self.out, self.save_pictures)
            scores, names = follow(evaluation, self.workers), network.spec.class_names
            if not is_main():
                return
            print(score_table(scores, names), flush=True)
            if self.json is not None:
                write_atomically(self.json, to_json(scores.as_json(names)))
            for path in (self.json, self.out):
                if path is not None:
                    print(f"Saved {path}")
