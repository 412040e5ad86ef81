"""The misconceptions that the hidden checks of assignment A3 know by name."""

from annlib.course.assignments.base import Misconception as M

# plan
BUDGET_EACH = M(
    "a budget for each variant",
    "The budget is for all runs; you spend it on every variant.",
)
ONE_TOO_MANY = M("over the budget", "Your runs take longer than the budget: round down, not up.")
ONE_TOO_FEW = M("a seed that would fit", "Another seed in all variants would still fit the budget.")
LAST_SEED_TORN = M(
    "a seed without its pair",
    "The last seed is not run in all variants. A run without its pair says nothing about the "
    "change, so its time is lost.",
)
VARIANT_BY_VARIANT = M(
    "variant by variant",
    "You run all seeds of one variant before the next. If the budget ends early, as it does, no "
    "pair is left: take seed by seed.",
)
BASELINE_LEFT_OUT = M("baseline left out", "Variant 0 takes part: it is what the others meet.")
PAIR_TURNED = M("pair turned round", "A run is (variant, seed), in this order.")
SLOWEST_FOR_ALL = M(
    "slowest for all", "You count every run as long as the slowest; variants take their own time."
)
CHEAPEST_FOR_ALL = M(
    "fastest for all", "You count every run as short as the fastest: that exceeds the budget."
)
SEEDS_NUMBERED = M("seeds numbered", "You give the places 0, 1, ... of the seeds, not the seeds.")
SEEDS_APART = M(
    "own seeds for each variant",
    "Your variants run with different seeds. What a seed does to all of them then looks like an "
    "effect of the change: give all variants the same seeds.",
)
# interval
SIGN_TURNED = M("sign turned", "A change that is better must come out above 0: changed - baseline.")
UNPAIRED = M(
    "not paired",
    "You add up the spreads of both. What a seed does to both falls out of the differences: take "
    "the deviation of those.",
)
NORMAL = M(
    "normal for few runs", "Your quantile is for very many runs; with few, Student's t is larger."
)
ALWAYS_1_96 = M("always 1.96", "1.96 is for 95 % and very many runs, whatever was asked for.")
ONE_SIDE = M(
    "quantile of one side",
    "What is outside of the interval lies on two sides: at 95 %, take the quantile of 0.975.",
)
NO_ROOT = M("√n missing", "The mean of n is known √n times better than one difference.")
WHOLE_POPULATION = M(
    "divided by n", "The deviation of a sample divides by n - 1: torch.std does so by itself."
)
FAILED_IS_ZERO = M(
    "failed run counts as 0", "A failed run says nothing about the score. Leave out its pair."
)
FAILED_COUNTED = M("failed runs counted", "n is the number of whole pairs, without failed runs.")
MOVED_UP = M(
    "pairs moved",
    "You drop failed runs of each variant by themselves, so later runs meet other seeds. Drop the "
    "pair.",
)
HALF_GIVEN = M("half width given", "Wanted are mean, lower and upper end, not the half width.")
# verdicts
NOT_CORRECTED = M(
    "each by itself",
    "Of twenty changes without effect one seems to have one at 95 %. With several changes, each "
    "interval may miss less often, so that all of them together miss rarely enough.",
)
BY_ALL_VARIANTS = M(
    "corrected by one too many", "You divide by the variants; the baseline is no change."
)
CORRECTED_WRONGLY = M(
    "confidence divided", "What is divided is the share that may miss, 1 - confidence."
)
MEAN_ONLY = M(
    "sign of the mean", "Any two means differ. What counts is whether the interval holds 0."
)
NEXT_ONES = M("compared with the one before", "Each change is compared with variant 0.")
OVERLAP = M(
    "intervals that overlap",
    "You compare the intervals of both means. Paired differences are much sharper: two such "
    "intervals may overlap where the difference is plain.",
)
# run
NOT_SEEDED = M(
    "not repeatable", "The same run twice gives two scores: seed before the network is built."
)
WEIGHTS_FIXED = M("same weights for all", "Every seed starts from the same weights.")
MAPS_FIXED = M(
    "same maps for all", "Every seed sees the same maps: where does training_maps get it?"
)
ONE_BATCH = M("one batch again and again", "Every step sees the same batch: its number is missing.")
STEPS_FROM_ONE = M("steps from 1", "Steps count from 0 to steps - 1.")
STEP_MORE = M("a step too many", "You take one step more than asked for.")
GRADIENTS_ADD_UP = M("gradients add up", "Set gradients to zero before each step: they add up.")
NO_STEP = M("no step", "The weights do not change: who calls optimizer.step()?")
OTHER_RATE = M("other learning rate", "Adam's own rate is not that of the recipe.")
OTHER_OPTIMIZER = M("other optimizer", "The recipe names Adam; you take plain SGD.")
ON_TRAINING_MAPS = M("scored on training maps", "Score what was never trained on: world.score.")
SEED_IGNORED = M("seed without effect", "Variant 1 gives the same score with every seed.")
KNOWS_AT_ONCE = M(
    "knows at once",
    "After a handful of steps a network can but guess, about 1/3. Your score is far from that: is "
    "it that of a network that was trained?",
)
NO_EFFECT = M(
    "change without effect", "Variant 1 gives the very score of variant 0: build ignores it."
)
# the table
TABLE_FIRST = M("table first", "This is looked at once the table is complete; see there.")
OVER_BUDGET = M("over the budget of time", "The seconds of your runs add up to more than 1200.")
NO_ROWS = M("other rows", "`rows` has a row for each seed and variant: six numbers each.")
OVERRIDDEN = M(
    "parameters without effect",
    "Run with other parameters, your notebook made the same table, or none: steps, most_seeds and "
    "student have to come from the cell tagged parameters, and be set nowhere else.",
)
OTHER_SCORES = M("other scores", "The rows are there, but the baseline's scores are not; see run.")
BASELINE_DIFFERS = M(
    "baseline not found again",
    "The score of a baseline's run in your table is not what such a run gives. Was the table made "
    "with an earlier run()? Make it anew.",
)
CHANGE_DIFFERS = M(
    "change not found again",
    "A run of a changed variant, run again, does not give the score of your table. Was the table "
    "made with an earlier run() or build()? Make it anew.",
)
BUDGET_IGNORED = M("budget without effect", "With a budget of 0 seconds your ablation makes rows.")
JUMP = M(
    "a score that jumps",
    "With one step less, the same run gives quite another score: a run of the table is no "
    "training like the others.",
)
CLAIMED = M("claimed, but not shown", "You call a difference real whose interval holds 0.")
MISSED = M("shown, but not claimed", "You call a difference open whose interval is clear of 0.")
AGAINST = M("against the table", "You claim the opposite of what your table shows.")
