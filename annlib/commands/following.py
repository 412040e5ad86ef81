"""A training as a person follows it: progress, scores on the way, and a way on after a stop."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from annlib.commands.errors import message_of
from annlib.commands.interrupts import interruptible

if TYPE_CHECKING:
    from tqdm import tqdm

    from annlib.data.sources import Halves
    from annlib.engine.evaluate import Scores
    from annlib.engine.eventlog import EventLog
    from annlib.engine.train import Step
    from annlib.engine.training import Training


@dataclass(frozen=True)
class Following:
    """Takes a training to its end, or to a stop after which it can go on.

    score_every: steps between two looks at the validation half, None for the last step only.
    way_on: the command that goes on after a stop. Only the first of several processes prints.
    """

    training: "Training"
    halves: "Halves"
    workers: int
    score_every: int | None
    keep: int
    way_on: str

    def run(self) -> None:
        """Raises KeyboardInterrupt when stopped by Ctrl-C, with everything saved."""
        try:
            finished = self.follow()
        except OSError as error:
            raise self.with_the_way_on(error) from error
        if not finished:
            raise KeyboardInterrupt  # as noted in `follow`, which has saved everything since

    def follow(self) -> bool:
        """Trains with a progress bar. False when it was interrupted before the end."""
        from annlib.engine.distributed import any_rank
        from annlib.engine.tables import summary_line
        from annlib.engine.training import SAVE_EVERY

        training, total = self.training, self.training.experiment.train.iterations
        with interruptible() as interrupted, self.watched() as (bar, events):
            for step in training.steps(self.halves.train, self.workers):
                bar.update()
                if step.number % 10 == 0:
                    loss = float(step.loss)
                    bar.set_postfix(loss=f"{loss:.3f}", lr=f"{step.lr:.1e}")
                    events.scalars(step.number, {"loss": loss, "lr": step.lr})
                if step.number % SAVE_EVERY == 0:
                    events.flush()  # earlier steps are not taken again after a kill
                if self.is_time_to_score(step):
                    self.say(f"\nstep {step.number}: {summary_line(self.look(events))}")
                if any_rank(interrupted()):
                    break
            training.save()
            if training.step == total:
                self.report(self.look(events))
        if training.step < total:
            self.say(f"Stopped after {training.step} of {total} steps; saved {training.checkpoint}")
            self.say(f"To go on:  {self.way_on}")
        return training.step >= total

    @contextmanager
    def watched(self) -> "Iterator[tuple[tqdm, EventLog]]":
        """A progress bar and curves for TensorBoard, by the first of the processes."""
        from tqdm import tqdm

        from annlib.engine.distributed import is_main
        from annlib.engine.eventlog import EventLog
        from annlib.engine.records import record_start

        training = self.training
        if is_main():
            record_start(training.folder, training.step, training.device, training.compute)
        events = EventLog(training.folder if is_main() else None, training.step)
        total = training.experiment.train.iterations
        bar = tqdm(total=total, initial=training.step, disable=not is_main())
        with closing(events), bar:
            yield bar, events

    def is_time_to_score(self, step: "Step") -> bool:
        """Not at the last step, which is scored in any case."""
        last = self.training.experiment.train.iterations
        return bool(self.score_every) and step.number % self.score_every == 0 != last - step.number

    def look(self, events: "EventLog") -> "Scores":
        """Scores on the validation half, kept with the checkpoint, the records and the curves."""
        from annlib.engine.distributed import is_main
        from annlib.engine.keeping import keep
        from annlib.engine.records import record_validation
        from annlib.engine.training import score

        training = self.training
        scores = score(training, self.halves.val)
        if is_main():  # first: a record without its checkpoint is made again, not so the reverse
            record_validation(training.folder, training.step, scores)
        training.save({"miou": scores.miou, "iou": scores.iou.tolist()})
        if is_main():
            keep(training.folder, training.checkpoint, training.step, scores.miou, self.keep)
        events.scalars(training.step, {"val/miou": scores.miou})
        events.flush()
        return scores

    def report(self, scores: "Scores") -> None:
        """The scores of the trained network, class by class, and its learning curve."""
        from annlib.commands.runs import write_curve
        from annlib.engine.distributed import is_main
        from annlib.engine.records import read_history
        from annlib.engine.runs import read_run
        from annlib.engine.tables import score_table

        self.say(score_table(scores, self.halves.spec.class_names))
        self.say(f"Saved {self.training.checkpoint}")
        folder = self.training.folder
        if is_main() and read_history(folder) and find_spec("matplotlib"):
            write_curve(read_run(folder))  # without matplotlib, as on many GPU machines, no curve

    def with_the_way_on(self, error: OSError) -> OSError:
        """The same error, with the folder of the run and what to do next."""
        way = "It has no checkpoint yet: give the same command again."
        if self.training.checkpoint.exists():
            way = f"To go on:  {self.way_on}"
        stopped = f"The run in {self.training.folder} stopped after step {self.training.step}."
        return OSError(error.errno, f"{message_of(error)}\n{stopped} {way}")

    def say(self, text: str) -> None:
        from annlib.engine.distributed import is_main

        if is_main():
            print(text, flush=True)
