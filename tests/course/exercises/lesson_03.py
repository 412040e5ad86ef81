"""Right and wrong answers to the exercises of lesson 03."""

from math import sqrt
from statistics import mean, median

from annlib.course import checks
from exercises import Gallery, Wrong


def in_one(n: int, s: int, wide: int, c: int) -> int:
    return 2 * n * c * (3 * wide + 2 * s)


def step_by_step(positions: int, asked: int, wide: int, channels: int) -> int:
    def product(rows: int, inner: int, columns: int) -> int:
        return sum(2 * columns for _ in range(rows)) * inner

    shared = product(positions, wide, channels)
    value = product(positions, wide, channels)
    scores = product(positions, channels, asked)
    context = product(positions, asked, channels)
    return shared + value + scores + context + product(positions, channels, wide)


OPERATIONS = Gallery(
    check=checks.attention_operations,
    right=[in_one, step_by_step],
    wrong={
        "a multiply-add is one operation": Wrong(
            lambda n, s, w, c: n * c * (3 * w + 2 * s), "a multiply-add is two operations"
        ),
        "cheap memory means cheap convolutions": Wrong(
            lambda n, s, w, c: 4 * n * s * c, "convolutions are missing"
        ),
        "attention is free beside the convolutions": Wrong(
            lambda n, s, w, c: 6 * n * w * c, "two products are missing"
        ),
        "the weights are made, but not used": Wrong(
            lambda n, s, w, c: 2 * n * c * (3 * w + s), "one product is missing"
        ),
        "query and key have a projection each": Wrong(
            lambda n, s, w, c: 2 * n * c * (4 * w + 2 * s), "query and key share one"
        ),
        "the output projection is forgotten": Wrong(
            lambda n, s, w, c: 2 * n * c * (2 * w + 2 * s), "one convolution is missing"
        ),
        "pixels ask pixels, whoever answers": Wrong(
            lambda n, s, w, c: 2 * n * c * (3 * w + 2 * n), "the matrix is N x S"
        ),
        "values are projected at the anchors": Wrong(
            lambda n, s, w, c: 2 * c * (2 * n * w + s * w + 2 * n * s), "you project the values at"
        ),
    },
)


def upwards(num_bytes: int, channels: int) -> int:
    height = 0
    while 4 * (n := 2 * (height + 1) ** 2) * (2 * n + 2 * channels) <= num_bytes:
        height += 1
    return height


def by_bisection(num_bytes: int, channels: int) -> int:
    low, high = 0, num_bytes
    while high - low > 1:
        middle = (low + high) // 2
        n = 2 * middle**2
        low, high = (middle, high) if 8 * n * (n + channels) <= num_bytes else (low, middle)
    return low


def counting_up(num_bytes: int, cost: object) -> int:
    height = 0
    while cost(2 * (height + 1) ** 2) <= num_bytes:
        height += 1
    return height


LARGEST = Gallery(
    check=checks.largest_height,
    right=[upwards, by_bisection],
    wrong={
        "a number is one byte": Wrong(
            lambda m, c: counting_up(m, lambda n: 2 * n * (n + c)), "float32 takes four"
        ),
        "scores are overwritten by the softmax": Wrong(
            lambda m, c: counting_up(m, lambda n: 4 * n * (n + 2 * c)), "two n x n matrices"
        ),
        "keys and values cost nothing": Wrong(
            lambda m, c: counting_up(m, lambda n: 8 * n * n), "keys and values are missing"
        ),
        "stops behind the limit": Wrong(lambda m, c: upwards(m, c) + 1, "one row too many"),
        "just enough is not enough": Wrong(lambda m, c: upwards(m - 1, c), "needs exactly"),
        "a root is not rounded": Wrong(
            lambda m, c: sqrt((sqrt(c * c + m / 2) - c) / 4), "a whole number of rows"
        ),
        "gives the width": Wrong(lambda m, c: 2 * upwards(m, c), "that is the width"),
        "gives N": Wrong(lambda m, c: 2 * upwards(m, c) ** 2, "that is n"),
        "the map is square": Wrong(
            lambda m, c: counting_up(m, lambda n: 2 * n * (n + 2 * c)), "your map is square"
        ),
    },
)


def timed(call: object, clock: object) -> float:
    started = clock()
    call()
    return clock() - started


def rounds(slow: object, fast: object, repeat: int, clock: object) -> list[list[float]]:
    for _ in range(2):
        slow()
        fast()
    return [[timed(slow, clock), timed(fast, clock)] for _ in range(repeat)]


def by_medians(*given: object) -> float:
    slow_times, fast_times = zip(*rounds(*given), strict=True)
    return median(slow_times) / median(fast_times)


def by_rounds(*given: object) -> float:
    return median(a / b for a, b in rounds(*given))


def by_means(*given: object) -> float:
    slow_times, fast_times = zip(*rounds(*given), strict=True)
    return mean(slow_times) / mean(fast_times)


def by_minimum(*given: object) -> float:
    slow_times, fast_times = zip(*rounds(*given), strict=True)
    return min(slow_times) / min(fast_times)


def one_after_the_other(slow: object, fast: object, repeat: int, clock: object) -> float:
    def times(call: object) -> list[float]:
        call()
        call()
        return [timed(call, clock) for _ in range(repeat)]

    return median(times(slow)) / median(times(fast))


def cold(slow: object, fast: object, repeat: int, clock: object) -> float:
    times = [[timed(slow, clock), timed(fast, clock)] for _ in range(repeat)]
    return median(a for a, _ in times) / median(b for _, b in times)


def cold_but_enough(slow: object, fast: object, repeat: int, clock: object) -> float:
    times = [[timed(slow, clock), timed(fast, clock)] for _ in range(repeat + 2)]
    return mean(a for a, _ in times) / median(b for _, b in times)


TURNS = Gallery(
    check=checks.times_faster,
    right=[by_medians, by_rounds],
    wrong={
        "fast over slow": Wrong(lambda *given: 1 / by_medians(*given), "inverted"),
        "a difference is a ratio": Wrong(
            lambda slow, fast, repeat, clock: timed(slow, clock) - timed(fast, clock),
            "before and after each single call",
        ),
        "the first calls count": Wrong(cold, "times without the clock"),
        "cold calls in the mean": Wrong(cold_but_enough, "a cold start counts"),
        "the mean is as good as the median": Wrong(by_means, "changes a mean, but not a median"),
        "the quickest call is the truth": Wrong(by_minimum, "changes a minimum, but not a median"),
        "one after the other": Wrong(one_after_the_other, "take turns"),
    },
)

AMDAHL = Gallery(
    check=checks.whole_speed_up,
    right=[
        lambda share, times: 1 / (1 - share + share / times),
        lambda share, times: times / (times * (1 - share) + share),
    ],
    wrong={
        "the time left, not the speed-up": Wrong(
            lambda share, times: 1 - share + share / times, "if the part is all"
        ),
        "speed-ups are averaged": Wrong(
            lambda share, times: 1 - share + share * times, "you average the speed-ups"
        ),
        "what gets faster is gone": Wrong(
            lambda share, times: 1 / (1 - share) if share < 1 else times, "still takes time"
        ),
        "the whole gains what the part gains": Wrong(
            lambda share, times: times, "if the part takes no time"
        ),
        "the gain times the share": Wrong(
            lambda share, times: share * times, "if the part takes no time"
        ),
        "the rest is forgotten": Wrong(
            lambda share, times: times / share if share else 1.0, "which stays as slow"
        ),
    },
)

GALLERIES = {"operations": OPERATIONS, "largest": LARGEST, "turns": TURNS, "amdahl": AMDAHL}
