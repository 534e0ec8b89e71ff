"""Measure the F of in-context learning by the number of examples in the prompt."""

from collections.abc import Sequence

from wasabi import msg

from ie.core import stats
from ie.core.errors import UserError
from ie.core.text import counted, names_in, text_hash, wrapped
from ie.llm import pipeline
from ie.training.curve.shot_curve import SELECTS, ShotCurve, ShotScore
from ie.training.prompts.search import PromptSearch


def parse_shots(text: str) -> list[int]:
    """The numbers of an option such as "0,2,4", in ascending order.

    Raises:
        UserError: not such numbers.
    """
    try:
        shots = sorted({int(number) for number in names_in(text)})
    except ValueError:
        shots = []
    if not shots or shots[0] < 0:
        raise UserError(f'--shots {text!r}: must be numbers of examples, such as "0,2,4,8,16,32".')
    return shots


def measure_shots(search: PromptSearch, shots: Sequence[int]) -> ShotCurve:
    """Ask with each number of examples, fixed and similar, about the texts of a search.

    Raises:
        UserError: nothing can be scored, or the limits are too small. Nothing was asked then.
    """
    texts = search.texts.search
    if not any(record.spans or record.categories for record in texts):
        raise UserError(f"--shots: none of {len(texts)} dev texts has an annotation; review more texts.")
    prompts = []
    for select in SELECTS:
        for n in shots:
            if not n and select != SELECTS[0]:
                continue
            settings = {"prompt.examples.n": n, "prompt.examples.select": select}
            prompt = search.viable(f"{select}.{n}", settings)
            if prompt and (not n or prompt.shown >= n):
                prompts.append((select, n, prompt))
            elif prompt:
                msg.warn(f"[{select}.{n}] is left out: only {counted(prompt.shown)} can be shown.")
    if not prompts:
        raise UserError("--shots: the model's context has room for none of these numbers of examples.")
    calls, cost = search.require_budget([prompt for *_, prompt in prompts])
    msg.info(wrapped(f"{len(prompts)} prompts on {len(texts)} dev texts: {search.price(calls, cost)}"))
    scores = []
    for select, n, prompt in prompts:
        counts = search.ask(prompt, texts).sum(axis=1)
        scores.append(ShotScore(select, n, stats.intervals(counts)[2]))
    [model] = {model.provider.name for *_, prompt in prompts for model in pipeline.llm_models(prompt.nlp)}
    return ShotCurve(scores, [text_hash(record.text) for record in texts], len(search.texts.examples), model)
