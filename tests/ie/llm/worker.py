"""A process to kill: annotates texts against an endpoint, forked again for each command on stdin.

Usage: worker.py URL CACHE OUTPUT N. For each line on stdin it prints the child's process id and, when
the child has ended, its exit status.
"""

import json
import os
import signal
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[3] / "scripts"), str(Path(__file__).parents[2])]

from fake_llm import make_model  # noqa: E402
from openai.resources.chat import completions  # noqa: E402, F401 (loaded once, not in every child)

from ie.core.errors import UserError  # noqa: E402
from ie.core.files import atomic_write  # noqa: E402
from ie.llm.providers import OpenAIProvider  # noqa: E402


def annotate(url: str, cache: Path, output: Path, n: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    model = make_model(OpenAIProvider, url + "/v1", cache, {"concurrency": 4, "timeout": 20.0})
    try:
        answers = [str(answer) for answer, *_ in model([f"text {i}"] for i in range(n))]
    except UserError as error:
        output.with_suffix(".error").write_text(f"{type(error).__name__}: {error}")
        os._exit(1)
    with atomic_write(output) as file:
        json.dump({"answers": answers, "hits": model.stats.hits, "calls": model.stats.calls}, file)
    os._exit(0)


def main() -> None:
    url, cache, output, n = sys.argv[1:]
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                annotate(url, Path(cache), Path(output), int(n))
            finally:
                os._exit(70)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
