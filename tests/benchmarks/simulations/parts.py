"""The parts there are, by the names that --parts takes."""

from collections.abc import Callable

from benchmarks.simulations import distillation, intervals, power, projection
from benchmarks.simulations.part import Part

from ie.core.errors import UserError

# From the made projects of each cell (0: the part's own number) and a seed to the results.
Simulate = Callable[[int, int], Part]
PARTS: dict[str, Simulate] = {
    "intervals": intervals.simulate,
    "power": power.simulate,
    "projection": projection.simulate,
    "distillation": distillation.simulate,
}


def chosen(text: str) -> dict[str, Simulate]:
    """The parts of `"intervals,power"`; all for an empty text.

    Raises:
        UserError: there is no such part.
    """
    names = [name.strip() for name in text.split(",") if name.strip()] or list(PARTS)
    for name in names:
        if name not in PARTS:
            raise UserError(f"--parts: there is no part {name!r}; there are {', '.join(PARTS)}.")
    return {name: PARTS[name] for name in names}
