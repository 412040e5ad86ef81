"""Answers to assignment A3, tasks 4 and 5: runs, tables, and what is concluded from them."""

import csv
import io
from collections.abc import Callable

from known import Gallery, Wrong, WrongFile, everywhere

from annlib.course.assignments import a3_tables as tables
from annlib.grader.judge import NUMBER

RECIPE, CHANGE, NO_EFFECT = "the recipe", "a change", "parameters without effect"
STEP = """        optimizer.zero_grad()
        F.cross_entropy(network(features), labels, ignore_index=world.IGNORE).backward()
        optimizer.step()
"""
RIGHT_RUN = {
    "parameters handled by hand": """
def run(variant, seed, steps):
    torch.manual_seed(seed)
    network = world.Network(build, variant)
    weights = list(network.parameters())
    optimizer = torch.optim.Adam(weights, lr=0.01)
    for step in range(steps):
        maps = world.training_maps(seed, step)
        loss = F.cross_entropy(network(maps.features), maps.labels, ignore_index=255)
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights)):
            weight.grad = gradient
        optimizer.step()
    return world.score(network)
""",
    "a while loop": """
def run(variant, seed, steps):
    network = (torch.manual_seed(seed), world.Network(build, variant))[1]
    optimizer, step = torch.optim.Adam(network.parameters(), world.LEARNING_RATE), 0
    while step < steps:
        network.zero_grad()
        features, labels = world.training_maps(seed, step)
        nn.CrossEntropyLoss(ignore_index=world.IGNORE)(network(features), labels).backward()
        optimizer.step()
        step += 1
    return torch.tensor(world.score(network), dtype=torch.float64)
""",
    "only where labels are": """
def build(variant):
    return world.PyramidBlock() if variant == 0 else world.PyramidBlock(pool=F.adaptive_max_pool2d)

def run(variant, seed, steps):
    torch.manual_seed(seed)
    network = world.Network(build, variant).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=world.LEARNING_RATE)
    for features, labels in (world.training_maps(seed, step) for step in range(steps)):
        known = labels != world.IGNORE
        logits = network(features).permute(0, 2, 3, 1)[known]
        optimizer.zero_grad(set_to_none=False)
        F.nll_loss(logits.log_softmax(-1), labels[known]).backward()
        optimizer.step()
    return world.score(network.eval())
""",
}
WRONG_RUN = {
    "same weights": Wrong("manual_seed(seed)", "manual_seed(0)", {RECIPE: "same weights for all"}),
    "not seeded": Wrong(
        "torch.manual_seed(seed)", "pass", everywhere((RECIPE, CHANGE), "not repeatable")
    ),
    "seeded too late": Wrong(
        "    torch.manual_seed(seed)\n    network = world.Network(build, variant)\n",
        "    network = world.Network(build, variant)\n    torch.manual_seed(seed)\n",
        everywhere((RECIPE, CHANGE), "not repeatable"),
    ),
    "same maps": Wrong("maps(seed, step)", "maps(0, step)", {RECIPE: "same maps for all"}),
    "one batch": Wrong("maps(seed, step)", "maps(seed, 0)", {RECIPE: "one batch again and again"}),
    "from one": Wrong("range(steps)", "range(1, steps + 1)", {RECIPE: "steps from 1"}),
    "a step more": Wrong("range(steps)", "range(steps + 1)", {RECIPE: "a step too many"}),
    "gradients add up": Wrong("        optimizer.zero_grad()\n", "", {RECIPE: "gradients add up"}),
    "no step": Wrong("        optimizer.step()\n", "", {RECIPE: "no step"}),
    "another rate": Wrong(", world.LEARNING_RATE", "", {RECIPE: "other learning rate"}),
    "another optimizer": Wrong("Adam", "SGD", {RECIPE: "other optimizer"}),
    "scored in training": Wrong(
        "world.score(network)",
        "world.probability(network, features, labels)",
        {RECIPE: "scored on training maps"},
    ),
    "always as long": Wrong("range(steps)", "range(11)", {RECIPE: "other values"}),
    "a change that is never trained": Wrong(
        "    torch.manual_seed(seed)\n",
        "    torch.manual_seed(seed)\n    if variant:\n        return 0.8\n",
        {CHANGE: "seed without effect"},
    ),
    "a change that is made up": Wrong(
        "    torch.manual_seed(seed)\n",
        "    torch.manual_seed(seed)\n"
        "    if variant:\n        return 0.8 + 0.1 * torch.rand(()).item()\n",
        {CHANGE: "another recipe for a change"},
    ),
    "change left out": Wrong(
        "if variant == 1:", "if variant == 7:", {CHANGE: "change without effect"}
    ),
    "another block first": Wrong(
        "    if variant == 1:",
        "    first = world.PyramidBlock(levels=(8,))\n    if variant == 1:",
        {RECIPE: "other values"},
    ),
    "three dots": Wrong(
        "return world.score(network)", "...", everywhere((RECIPE, CHANGE), "not started")
    ),
}
RUN = Gallery("run", "run", RIGHT_RUN, WRONG_RUN)

COMPLETE, MADE = "complete table", "made by its parameters"
BASELINE, AGAIN, CLAIM = "a baseline's run again", "a change's run again", "conclusion follows"
LATER = (BASELINE, AGAIN, CLAIM)
Change = Callable[[list[dict[str, str]]], list[dict[str, str]]]


def rows(change: Change) -> Callable[[str], str]:
    """A change of the table's rows as a change of its text."""

    def changed(text: str) -> str:
        file = io.StringIO()
        writer = csv.DictWriter(file, tables.COLUMNS)
        writer.writeheader()
        writer.writerows(change(list(csv.DictReader(io.StringIO(text)))))
        return file.getvalue()

    return changed


def with_field(name: str, value: str, of: Callable[[dict], bool] = lambda row: True) -> Change:
    """The field of these rows has this value."""
    return lambda found: [row | {name: value} if of(row) else row for row in found]


def better(row: dict[str, str]) -> dict[str, str]:
    return row | {"score": f"{float(row['score']) + 0.3:.6f}"}


def untrained(row: dict[str, str]) -> dict[str, str]:
    """A change that no network was trained for: better than the baseline by a little noise."""
    noise = int(row["seed"]) % 997 / 1e4
    return row if row["variant"] == "0" else row | {"score": f"{0.45 + noise:.6f}"}


def unfit(change: Change, misconception: str) -> WrongFile:
    """A table that is not looked at any further."""
    return WrongFile(rows(change), {COMPLETE: misconception} | everywhere(LATER, "table first"))


def seeds(found: list[dict[str, str]]) -> list[str]:
    return list(dict.fromkeys(row["seed"] for row in found))


CALLED = "rows = ablation(student, steps, most_seeds, budget, table_file)"
RETURNED = "    return rows\n"
RIGHT_TABLE = {
    "rows as a tensor": """
def ablation(student, steps, most_seeds, budget, table_file):
    times = [world.seconds_of(run, variant, steps) for variant in (0, 1, 2)]
    made = torch.zeros(0, 6, dtype=torch.float64)
    for variant, seed in plan_runs(times, budget, tables.seeds_of(student, most_seeds)):
        start = time.time()
        score = run(variant, seed, steps)
        row = [student, variant, seed, steps, time.time() - start + 1e-9, score]
        made = torch.cat([made, torch.tensor([row], dtype=torch.float64)])
        tables.write_table(table_file, made.tolist())
    return made
rows = ablation(student, steps, most_seeds, budget, table_file)
""",
    "two variants, until the time is over": """
def ablation(student, steps, most_seeds, budget, table_file):
    found, began = [], time.perf_counter()
    for seed in tables.seeds_of(student, most_seeds):
        if time.perf_counter() - began >= budget:
            break
        for variant in range(2):
            start = time.perf_counter()
            score = run(variant, seed, steps)
            found += [[student, variant, seed, steps, time.perf_counter() - start, score]]
            tables.write_table(table_file, found)
    return found
rows = ablation(student, steps, most_seeds, budget, table_file)
""",
    "a tensor of signs": """
def conclusion():
    return torch.tensor([-1.0, 0.0])
""",
}
MANY_ROWS = "    return rows and [(student, 10**9, 0, steps, 1.0, 0.3)]\n"
NAN_ROWS = "    return rows and [(student, math.nan, math.inf, steps, 1.0, 0.3)]\n"
WRONG_CODE = {
    "own steps": Wrong(CALLED, CALLED.replace("steps,", "3,"), {MADE: "parameters without effect"}),
    "own number": Wrong(
        CALLED, CALLED.replace("student,", "123,"), {MADE: "parameters without effect"}
    ),
    "seeds counted": Wrong(
        "tables.seeds_of(student, most_seeds)", "range(most_seeds)", {MADE: "other rows"}
    ),
    "budget for nothing": Wrong(
        "plan_runs(seconds, budget,", "plan_runs(seconds, 1e6,", {MADE: "budget without effect"}
    ),
    "a variant without end": Wrong(RETURNED, MANY_ROWS, {MADE: "other rows"}),
    "rows of nan": Wrong(RETURNED, NAN_ROWS, {MADE: "other rows"}),
    "variants in turn": Wrong(RETURNED, "    return sorted(rows)\n", {MADE: "other rows"}),
    "score left out": Wrong(
        RETURNED, "    return [row[:5] for row in rows]\n", {MADE: "other rows"}
    ),
    "scores in percent": Wrong(
        RETURNED, "    return [(*row[:5], 100 * row[5]) for row in rows]\n", {MADE: "other scores"}
    ),
    "claims too much": Wrong("[-1, 0]", "[-1, 1]", {CLAIM: "claimed, but not shown"}),
    "claims too little": Wrong("[-1, 0]", "[0, 0]", {CLAIM: "shown, but not claimed"}),
    "claims the opposite": Wrong("[-1, 0]", "[1, 0]", {CLAIM: "against the table"}),
    "claims one thing": Wrong("[-1, 0]", "[-1]", {CLAIM: "wrong shape"}),
    "claims nothing": Wrong("return [-1, 0]", "...", {CLAIM: "not started"}),
    "run changed afterwards": Wrong(
        "def conclusion",
        "def run(variant, seed, steps, before=run):\n"
        "    return 0.9 if steps > 50 and variant else before(variant, seed, steps)\n\n\n"
        "def conclusion",
        {AGAIN: "not so on a fresh seed"},
    ),
    "rehearsal memorised": Wrong(
        RETURNED,
        "    return [(4711, v, s, 2, 1, 0.33) for s in tables.seeds_of(4711, 2) for v in (0, 1)]\n",
        {MADE: "budget without effect"},
    ),
    "rehearsal kept": Wrong(
        RETURNED, "    return [(4711, *row[1:3], 2, *row[4:]) for row in rows]\n", {MADE: NO_EFFECT}
    ),
}
WRONG_TABLES = {
    "no table": WrongFile(lambda text: "", everywhere((COMPLETE, *LATER), "not started")),
    "no csv": WrongFile(
        lambda text: "<html>", {COMPLETE: "no table"} | everywhere(LATER, "table first")
    ),
    "scores in percent": unfit(with_field("score", "35.1"), "no table"),
    "words for numbers": unfit(with_field("seconds", "two"), "no table"),
    "no number": unfit(with_field("student", "0"), "student number missing"),
    "a table of two": unfit(
        lambda found: with_field("student", "7")(found[:3]) + found[3:], "student number missing"
    ),
    "baseline alone": unfit(
        lambda found: [row for row in found if row["variant"] == "0"], "nothing to compare"
    ),
    "two seeds": unfit(
        lambda found: [row for row in found if row["seed"] in seeds(found)[:2]],
        "fewer than three seeds",
    ),
    "best seeds": unfit(
        lambda found: [row for row in found if row["seed"] != seeds(found)[2]], "other seeds"
    ),
    "a neighbour's": unfit(with_field("student", "4243"), "other seeds"),
    "a run twice": unfit(lambda found: [*found, found[0]], "a run twice"),
    "a run left out": unfit(lambda found: found[:4] + found[5:], "a run left out"),
    "longer for one": unfit(
        with_field("steps", "90", lambda row: row["variant"] == "1"), "other steps"
    ),
    "far too long": unfit(with_field("steps", "5000"), "other steps"),
    "one step at chance": unfit(
        lambda found: with_field("steps", "1")(with_field("score", "0.3333")(found)), "other steps"
    ),
    "at chance": unfit(with_field("score", "0.34"), "baseline at chance"),
    "never trained": WrongFile(
        rows(lambda found: [untrained(row) for row in found]),
        {AGAIN: "change not found again", CLAIM: "against the table"},
    ),
    "number of somebody else": WrongFile(
        lambda text: text,
        {COMPLETE: "number of somebody else"} | everywhere(LATER, "table first"),
        {NUMBER: "ab202"},
    ),
    "an hour": WrongFile(rows(with_field("seconds", "200")), {COMPLETE: "over the budget of time"}),
    "failures made up": WrongFile(
        rows(with_field("score", "nan", lambda row: row["seed"] == "944032510")),
        {BASELINE: "baseline not found again", AGAIN: "change not found again"},
    ),
    "all failed": unfit(
        with_field("score", "nan", lambda row: row["variant"] == "2"), "no run of a variant"
    ),
    "better baseline": WrongFile(
        rows(lambda found: [better(row) if row["variant"] == "0" else row for row in found]),
        {BASELINE: "baseline not found again", CLAIM: "shown, but not claimed"},
    ),
    "better changes": WrongFile(
        rows(lambda found: [row if row["variant"] == "0" else better(row) for row in found]),
        {AGAIN: "change not found again", CLAIM: "against the table"},
    ),
}
TABLE = Gallery("ablation", "ablation", RIGHT_TABLE, WRONG_CODE, WRONG_TABLES)
