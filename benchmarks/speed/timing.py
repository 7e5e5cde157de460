"""Time alternatives side by side: they take turns, so that what else the machine does meets all of them alike.

Two clocks run together. ``cpu`` is the time that all threads of this process spend on the processor: with one thread it
hardly depends on other work. ``wall`` is what a user waits: it needs a quiet machine, and it alone is right for several
threads (which spin while they wait) and for a GPU.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Clock = Literal["cpu", "wall"]
Pick = Literal["median", "shortest"]
Way = Callable[[], object]


@dataclass
class Turns:
    """Hold the seconds of one alternative, one number a round.

    Attributes:
        cpu_s: On the processor, all threads together.
        wall_s: On the wall.
    """

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)

    def rounds_s(self, clock: Clock) -> list[float]:
        """Return the seconds of every round by one clock."""
        return self.cpu_s if clock == "cpu" else self.wall_s

    def seconds(self, clock: Clock, pick: Pick = "median") -> float:
        """Return the seconds that count: the median of the rounds, or the shortest one."""
        rounds_s = self.rounds_s(clock)
        return statistics.median(rounds_s) if pick == "median" else min(rounds_s)


@dataclass(frozen=True)
class Ratio:
    """Say how many times faster one alternative is than another.

    Attributes:
        value: Seconds of the other by seconds of this one; over 1 is faster.
        low: Lower quartile of the rounds' own ratios.
        high: Their upper quartile.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f}-{self.high:.2f})"


def take_turns(
    ways: Mapping[str, Way], *, rounds: int, synchronise: Callable[[], None] = lambda: None, warm: bool = True
) -> dict[str, Turns]:
    """Run all alternatives in every round, each round beginning with another one.

    Args:
        ways: What to run, by name.
        rounds: How often each is timed.
        synchronise: Called before and after each turn: waits for a device.
        warm: Whether each runs once before, untimed.

    Returns:
        The seconds of every alternative, in the order of ``ways``.
    """
    if rounds < 1:
        raise ValueError(f"rounds: found {rounds}, expected 1 or more")
    names = list(ways)
    turns = {name: Turns() for name in names}
    if warm:
        for way in ways.values():
            way()
    for number in range(rounds):
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            synchronise()
            wall, cpu = time.perf_counter(), time.process_time()
            ways[name]()
            synchronise()
            turns[name].cpu_s.append(time.process_time() - cpu)
            turns[name].wall_s.append(time.perf_counter() - wall)
    return turns


def faster(this: Turns, than: Turns, *, clock: Clock, pick: Pick = "median") -> Ratio:
    """Compare two alternatives that took turns."""
    each = sorted(b / a for a, b in zip(this.rounds_s(clock), than.rounds_s(clock), strict=True))
    low, _, high = statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    return Ratio(than.seconds(clock, pick) / this.seconds(clock, pick), low, high)


def repeated(way: Way, times: int) -> Way:
    """Return what runs an alternative several times in one turn, where one is too short for the clock."""

    def run() -> None:
        for _ in range(times):
            way()

    return run
