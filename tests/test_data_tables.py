"""The race of data pipelines as a table."""

from annlib.engine.profiler import Timing
from benchmarks.dataloading import ALL, AUGMENTATION, DECODE, DataReport, Need, stage_table


def stages(decode: float, rest: float) -> dict[str, Timing]:
    milliseconds = {DECODE: decode, "colours": rest, AUGMENTATION: rest, ALL: decode + rest}
    return {stage: Timing(time, time - 1, time + 1) for stage, time in milliseconds.items()}


TIMINGS = {"reference": stages(6, 14), "ours": stages(3, 5)}


def cells(table: str) -> dict[str, list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {first: rest for first, *rest in rows}


def test_stages_stand_side_by_side() -> None:
    found = cells(stage_table(TIMINGS))
    assert found["stage"] == ["reference", "ours", "times faster"]
    assert found["colours"] == ["14.0 (13.0 to 15.0)", "5.0 (4.0 to 6.0)", "2.80"]
    assert found["images/s, augmentation"] == ["71.4", "200.0", "2.80"]
    assert found["images/s"] == ["50.0", "125.0", "2.50"]


def test_alone_ours_is_compared_with_nothing() -> None:
    found = cells(stage_table({"ours": TIMINGS["ours"]}))
    assert found["stage"] == ["ours"] and found["images/s"] == ["125.0"]


def test_report_tells_what_a_training_needs() -> None:
    need = Need("a GPU", 75.0, workers=3, tried=2, waiting=0.254)
    report = DataReport(TIMINGS, pictures=6, rounds=8, one_worker=31.25, needs=[need])
    assert cells(report.text())["a GPU"] == ["75.00", "3", "25.40 % with 2"]
    assert "One worker prepares 31.2 images a second" in report.text()
    assert report.values()["needs"][0]["workers"] == 3
