"""The gallery's cells of lessons 6 to 12: runs, their results, and what came after."""

LIVE_RUN = """
from annlib.course.controls.live_run import LiveRun
from annlib.course.figures.training import Look, live, say_live
from annlib.engine.train import Step
losses = (Step(number, torch.tensor(2 / number), 0.1) for number in range(1, 4_001))
run = LiveRun(
    losses,
    4_000,
    5,
    lambda step: Look(step, step / 4_000, 0.3, scene.labels),
    draw=partial(live, total=4_000, scene=scene, block="ann"),
    say=partial(say_live, total=4_000),
)
run.stop()
run
"""

RECIPE_SLIDERS = """
from annlib.course.controls.recipe_sliders import recipe_sliders
from annlib.experiments import town
recipe_sliders(town("ann").train)
"""

SWITCH_OFF = """
from annlib.course.controls.switch_off import SwitchOff
from annlib.course.intervening import measure_damage
damages = dict(measure_damage(ann, "afnb.attention", (0, 1, 4, 100), [scene]))
SwitchOff(ann, scene, {"AFNB": "afnb.attention", "APNB": "apnb.attention"}, damages)
"""

INTERVAL_SLIDERS = """
from annlib.course.controls.interval_sliders import interval_sliders
heads = ("nonlocal", "apnb", "ann")
key = "house_accuracy"
interval_sliders({h: [one[key] for one in records if one["head"] == h] for h in heads})
"""

RESULTS_TABLE = """
from annlib.course.controls.results_table import results_table
from annlib.course.sweeping.grid import make_grid
from annlib.course.sweeping.running import Outcome
lists = {"head": ["apnb", "ann"], "seed": [0, 1, 2]}
grid = make_grid(ROOT / "notebooks/jobs/train_town.ipynb", lists)
table = results_table(grid, "house_accuracy")
for one in grid.combinations:
    found = {"house_accuracy": 0.9 + 0.01 * one.number}
    table.add(Outcome(one.number, one.label, one.parameters, 30.0, found))
table
"""

PREFLIGHT = """
from annlib.course.controls.preflight import preflight
preflight()
"""

WINDOW_SLIDERS = """
from annlib.course.controls.window_map import window_sliders
window_sliders(scene.image)
"""

SEEDS_EXPLORER = """
from annlib.course.controls.seeds_explorer import SeedsExplorer
SeedsExplorer()
"""

RUNS_DASHBOARD = """
from annlib.course.controls.runs_dashboard import RunsDashboard
from annlib.course.trials import Trial
names = {"house_accuracy": "house accuracy", "miou": "mIoU", "seconds": "seconds"}
RunsDashboard(
    [Trial(one["head"], one["seed"], {n: one[k] for k, n in names.items()}) for one in records]
)
"""

ORDER_SWAP = """
from annlib.course.controls.order_swap import OrderSwap
from annlib.course.swapping import key_features, layers
maps = key_features(ann, range(FIRST_VAL_SEED, FIRST_VAL_SEED + 2))
OrderSwap(layers(maps.shape[1]), maps)
"""

FOLD_BILL = """
from annlib.course.controls.fold_bill import FoldBill
FoldBill()
"""

COST_SLIDERS = """
from annlib.course.controls.cost_sliders import CostSliders
CostSliders()
"""

METHOD_CHOOSER = """
from annlib.course.controls.method_chooser import MethodChooser
MethodChooser(nonlocal_net, scene)
"""

PREDICTION_LEDGER = """
from annlib.course.controls.prediction_ledger import prediction_ledger
from annlib.course.predictions import Predictions
predictions = Predictions()
predictions.compare("2.1", 0.3, 0.32, tolerance=0.1)
predictions.compare("2.2", "all", "none", options=("all", "none"))
prediction_ledger(predictions)
"""
