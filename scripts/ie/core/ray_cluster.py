"""Parallel work on a Ray cluster: the one at RAY_ADDRESS, or one started on this machine.

Ray isn't in requirements.txt, so it is imported where it is used.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

from ie.core.errors import UserError
from ie.core.processes import THREADS, cores
from ie.core.text import one_line

Executor = Literal["local", "ray"]
Result = TypeVar("Result")
# The code that tasks need, sent to every machine of the cluster.
CODE = ("ie", "components")
# How often a task is repeated on another machine when its own failed.
RETRIES = 3


def require() -> None:
    """Refuse to go on without Ray."""
    if find_spec("ray") is None:
        raise UserError(
            "--executor ray needs Ray, which isn't installed; run `pip install -r requirements/ray.txt`, or "
            "leave it at local."
        )


@contextmanager
def started(workers: int = 0) -> Iterator[ModuleType]:
    """Ray, connected to its cluster; one that was started for this is stopped at the end.

    Args:
        workers: CPUs of a cluster that is started on this machine; 0 for one per core.
    """
    require()
    # Must be set before Ray is imported; it would send usage statistics otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    code = Path(__file__).parents[2]
    environment = {
        "py_modules": [str(code / name) for name in CODE],
        "env_vars": dict.fromkeys(THREADS, "1"),
    }
    address = os.environ.get("RAY_ADDRESS")
    mine = {"num_cpus": workers or cores(), "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(
            address or "local",
            runtime_env=environment,
            log_to_driver=False,
            logging_level="error",
            **({} if address else mine),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"Ray at {address or 'this machine'} can't be used ({one_line(error, 300)}); correct "
            "RAY_ADDRESS, or unset it for a cluster on this machine."
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def unordered(
    work: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], *, in_flight: int, num_gpus: int = 0
) -> Iterator[Result]:
    """`work` with each task's arguments, on one CPU each; results as they come.

    Arguments may be references that `ray.put` returned. Tasks are taken as they are needed. A UserError of
    `work` is raised here.

    Args:
        in_flight: tasks handed out at a time.
    """
    import ray

    remote = ray.remote(num_cpus=1, num_gpus=num_gpus, max_retries=RETRIES)(work)
    left = iter(tasks)
    waiting = [remote.remote(*task) for task in islice(left, in_flight)]
    while waiting:
        (reference,), waiting = ray.wait(waiting, num_returns=1)
        try:
            result = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, UserError) else error) from None
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise UserError(
                f"work on the Ray cluster was killed {RETRIES + 1} times, probably out of memory "
                f"({one_line(error, 200)}); give its machines more (what was finished is kept)."
            ) from None
        waiting += [remote.remote(*task) for task in islice(left, 1)]
        yield result
