"""Answers to assignment A3, tasks 1 to 3: right ones, written differently, and wrong ones."""

from a3_run_answers import RUN, TABLE
from known import Gallery, Wrong, everywhere

TWO, ANY = "two variants", "any budget"
BOTH = (TWO, ANY)
ROUNDED = "int(budget // sum(seconds))"
PLANNED = "(variant, seed) for seed in seeds[:count] for variant in range(len(seconds))"

RIGHT_PLAN = {
    "a loop that pays": """
def plan_runs(seconds, budget, seeds):
    runs, left = [], budget
    for seed in seeds:
        left -= sum(seconds)
        if left < 0:
            break
        for variant, _ in enumerate(seconds):
            runs.append((variant, seed))
    return runs
""",
    "a tensor": """
def plan_runs(seconds, budget, seeds):
    count = min(math.floor(budget / sum(seconds)), len(seeds))
    kept = torch.tensor(seeds[:count]).repeat_interleave(len(seconds))
    return torch.stack([torch.arange(len(seconds)).repeat(count), kept], 1)
""",
    "lists of lists": """
from itertools import product
def plan_runs(seconds, budget, seeds):
    count = int(budget / sum(seconds))
    return [[variant, seed] for seed, variant in product(seeds[:count], range(len(seconds)))]
""",
}
TORN = """    runs, left = [], budget
    for seed in seeds:
        for variant, each in enumerate(seconds):
            left -= each
            if left < 0:
                return runs
            runs.append((variant, seed))
    return runs
    count = len(seeds)
"""
WRONG_PLAN = {
    "a budget each": Wrong(
        "sum(seconds)", "max(seconds)", everywhere(BOTH, "a budget for each variant")
    ),
    "rounded up": Wrong(
        ROUNDED, "math.ceil(budget / sum(seconds))", everywhere(BOTH, "over the budget")
    ),
    "one too few": Wrong(ROUNDED, f"{ROUNDED} - 1", everywhere(BOTH, "a seed that would fit")),
    "until it ends": Wrong(
        "    count = ", f"{TORN}    count = ", everywhere(BOTH, "a seed without its pair")
    ),
    "variant by variant": Wrong(
        PLANNED,
        "(variant, seed) for variant in range(len(seconds)) for seed in seeds[:count]",
        everywhere(BOTH, "variant by variant"),
    ),
    "no baseline": Wrong(
        "range(len(seconds))", "range(1, len(seconds))", everywhere(BOTH, "baseline left out")
    ),
    "turned": Wrong("(variant, seed)", "(seed, variant)", everywhere(BOTH, "pair reversed")),
    "slowest": Wrong(
        "sum(seconds)", "(len(seconds) * max(seconds))", everywhere(BOTH, "slowest for all")
    ),
    "fastest": Wrong(
        "sum(seconds)", "(len(seconds) * min(seconds))", everywhere(BOTH, "fastest for all")
    ),
    "numbered": Wrong("in seeds[:count]", "in range(count)", everywhere(BOTH, "seeds numbered")),
    "a seed a run": Wrong(
        f"return [{PLANNED}]",
        "return list(zip(count * list(range(len(seconds))), seeds))",
        everywhere(BOTH, "own seeds for each variant"),
    ),
    "three dots": Wrong(f"return [{PLANNED}]", "...", everywhere(BOTH, "not started")),
}

WHOLE, FAILED, FEW = "whole pairs", "failed runs", "too few pairs"
ALL = (WHOLE, FAILED, FEW)
DROPPED = "differences = (changed - baseline)[(changed - baseline).isfinite()]"
QUANTILE = "world.t_quantile((1 + confidence) / 2, n - 1)"
ENDS = "torch.stack([differences.mean(), differences.mean() - half, differences.mean() + half])"
RIGHT_INTERVAL = {
    "plain Python": """
from statistics import mean, stdev
def paired_interval(baseline, changed, confidence):
    pairs = zip(baseline.tolist(), changed.tolist())
    d = [b - a for a, b in pairs if not math.isnan(a) and not math.isnan(b)]
    if len(d) <= 1:
        return torch.tensor([math.nan] * 3, dtype=torch.float64)
    half = world.t_quantile(1 - (1 - confidence) / 2, len(d) - 1) * stdev(d) / len(d) ** 0.5
    return torch.tensor([mean(d), mean(d) - half, mean(d) + half], dtype=torch.float64)
""",
    "nanmean": """
def paired_interval(baseline, changed, confidence):
    d = changed - baseline
    n = int((~d.isnan()).sum())
    if n < 2:
        return torch.full_like(d, torch.nan)[:1].expand(3)
    spread = ((d - d.nanmean()) ** 2).nansum() / (n - 1)
    half = world.t_quantile(0.5 + confidence / 2, n - 1) * (spread / n).sqrt()
    return d.nanmean() + half * torch.tensor([0.0, -1.0, 1.0], dtype=d.dtype)
""",
    "single precision": """
def paired_interval(baseline, changed, confidence):
    d = [b - a for a, b in zip(baseline.tolist(), changed.tolist()) if not math.isnan(b - a)]
    if len(d) < 2:
        return torch.full((3,), math.nan)
    half = world.t_quantile((1 + confidence) / 2, len(d) - 1) / sqrt(len(d))
    half *= torch.tensor(d, dtype=torch.float64).std().item()
    return torch.tensor([sum(d) / len(d) + end for end in (0, -half, half)])
""",
    "the mean's own error": """
def paired_interval(baseline, changed, confidence):
    whole = baseline.isfinite() & changed.isfinite()
    d = changed[whole] - baseline[whole]
    if whole.sum() < 2:
        return d.new_tensor([math.nan, math.nan, math.nan])
    error = (d.var() / d.numel()) ** 0.5
    t = -world.t_quantile((1 - confidence) / 2, d.numel() - 1)
    return torch.cat([d.mean()[None], d.mean() + t * error * d.new_tensor([-1, 1])])
""",
}
WRONG_INTERVAL = {
    "turned": Wrong("changed - baseline", "baseline - changed", everywhere(ALL, "sign reversed")),
    "not paired": Wrong(
        "differences.std()",
        "(changed[(changed - baseline).isfinite()].var()"
        " + baseline[(changed - baseline).isfinite()].var()).sqrt()",
        everywhere(ALL, "not paired"),
    ),
    "normal": Wrong(
        QUANTILE,
        "__import__('statistics').NormalDist().inv_cdf((1 + confidence) / 2)",
        everywhere(ALL, "normal for few runs"),
    ),
    "1.96": Wrong(QUANTILE, "1.96", everywhere(ALL, "always 1.96")),
    "one side": Wrong(
        "(1 + confidence) / 2", "confidence", everywhere(ALL, "quantile of one side")
    ),
    "no root": Wrong(" / sqrt(n)", "", everywhere(ALL, "√n missing")),
    "divided by n": Wrong(".std()", ".std(correction=0)", everywhere(ALL, "divided by n")),
    "failed is zero": Wrong(
        DROPPED,
        "differences = changed.nan_to_num() - baseline.nan_to_num()",
        everywhere((FAILED, FEW), "failed run counts as 0"),
    ),
    "failed counted": Wrong(
        "n = len(differences)",
        "n = len(baseline)",
        {FAILED: "failed runs counted", FEW: "nan or inf"},
    ),
    "moved up": Wrong(
        DROPPED,
        "a, b = baseline[baseline.isfinite()], changed[changed.isfinite()]\n"
        "    shorter = min(len(a), len(b))\n    differences = b[:shorter] - a[:shorter]",
        everywhere((FAILED, FEW), "pairs moved"),
    ),
    "half width": Wrong(
        ENDS, "torch.stack([differences.mean(), half])", everywhere(ALL, "half width given")
    ),
    "one pair is enough": Wrong("n < 2", "n < 1", {FEW: "nan or inf"}),
    "three dots": Wrong(f"return {ENDS}", "...", everywhere(ALL, "not started")),
}

FOLLOWED_UP = WRONG_INTERVAL.keys() - {"half width", "one pair is enough", "three dots"}
ONE, SEVERAL = "one change", "several changes"
EACH = "1 - (1 - confidence) / (len(scores) - 1)"
LISTED = "[int(low > 0) - int(high < 0) for _, low, high in intervals]"
RIGHT_VERDICTS = {
    "if and else": """
def verdicts(scores, confidence):
    said = []
    for changed in scores[1:]:
        share = (1 - confidence) / len(scores[1:])
        _, low, high = paired_interval(scores[0], changed, 1 - share).tolist()
        said.append(1 if low > 0 else -1 if high < 0 else 0)
    return said
""",
    "a tensor of signs": """
def verdicts(scores, confidence):
    k = scores.shape[0] - 1
    each = 1 - (1 - confidence) / k
    found = torch.stack([paired_interval(scores[0], row, each) for row in scores[1:]])
    return (found[:, 1] > 0).int() - (found[:, 2] < 0).int()
""",
    "the t of the differences": """
def verdicts(scores, confidence):
    said = []
    for row in scores[1:]:
        d = (row - scores[0])[(row - scores[0]).isfinite()]
        if len(d) < 2:
            said.append(0.0)
            continue
        t = d.mean() / d.std() * sqrt(len(d))
        most = world.t_quantile(1 - (1 - confidence) / 2 / (len(scores) - 1), len(d) - 1)
        said.append(float(t.sign()) if abs(t) > most else 0.0)
    return said
""",
}
ALONE = "paired_interval(torch.zeros_like(row), row, each)"
WRONG_VERDICTS = {
    "each by itself": Wrong(EACH, "confidence", {SEVERAL: "each by itself"}),
    "one too many": Wrong(
        "(len(scores) - 1)", "len(scores)", everywhere((ONE, SEVERAL), "corrected by one too many")
    ),
    "confidence divided": Wrong(
        EACH, "confidence / (len(scores) - 1)", {SEVERAL: "confidence divided"}
    ),
    "sign of the mean": Wrong(
        LISTED,
        "[int(mean > 0) - int(mean < 0) for mean in (scores[1:] - scores[0]).nanmean(1)]",
        everywhere((ONE, SEVERAL), "sign of the mean"),
    ),
    "turned": Wrong(
        "int(low > 0) - int(high < 0)",
        "int(high < 0) - int(low > 0)",
        everywhere((ONE, SEVERAL), "sign reversed"),
    ),
    "the one before": Wrong(
        "paired_interval(scores[0], changed, each) for changed in scores[1:]",
        "paired_interval(a, b, each) for a, b in zip(scores, scores[1:])",
        {SEVERAL: "compared with the one before"},
    ),
    "overlap": Wrong(
        f"return {LISTED}",
        f"alone = [{ALONE} for row in scores]\n"
        "    return [int(r[1] > alone[0][2]) - int(r[2] < alone[0][1]) for r in alone[1:]]",
        everywhere((ONE, SEVERAL), "intervals that overlap"),
    ),
    "not paired": Wrong(
        f"return {LISTED}",
        "said = []\n    for row in scores[1:]:\n"
        "        whole = (row - scores[0]).isfinite()\n        n = int(whole.sum())\n"
        "        if n < 2:\n            said.append(0)\n            continue\n"
        "        a, b = scores[0][whole], row[whole]\n"
        "        half = world.t_quantile((1 + each) / 2, n - 1) * sqrt((a.var() + b.var()) / n)\n"
        "        apart = b.mean() - a.mean()\n"
        "        said.append(int(apart > half) - int(apart < -half))\n    return said",
        everywhere((ONE, SEVERAL), "not paired"),
    ),
    "the baseline, too": Wrong(
        "in scores[1:]]", "in scores]", everywhere((ONE, SEVERAL), "wrong shape")
    ),
    "three dots": Wrong(f"return {LISTED}", "...", everywhere((ONE, SEVERAL), "not started")),
}

GALLERIES = (
    Gallery("plan_runs", "plan", RIGHT_PLAN, WRONG_PLAN),
    Gallery("paired_interval", "interval", RIGHT_INTERVAL, WRONG_INTERVAL),
    Gallery("verdicts", "verdicts", RIGHT_VERDICTS, WRONG_VERDICTS),
    RUN,
    TABLE,
)
