"""Words per second: the entities alone, the whole pipeline, and the LLM doing all of it, in one run."""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer
from spacy.language import Language
from tqdm import tqdm
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.stats import two_digits
from ie.data import options, records
from ie.evaluation import database_rows
from ie.llm import pipeline as llm
from ie.training import assembly


def main(
    model: Annotated[Path, typer.Option(help="Assembled pipeline")] = options.ASSEMBLED_MODEL,
    texts: Annotated[Path, typer.Option(help="Texts to time it on")] = Path("corpus/test.jsonl"),
    config: Annotated[Path, typer.Option(help="Config of the LLM")] = Path("configs/llm.cfg"),
    provider: Annotated[str, typer.Option(help="File of configs/providers; empty for the config's")] = "",
    llm_texts: Annotated[int, typer.Option(help="Texts for the LLM; 0 leaves it out", min=0)] = 20,
    repeats: Annotated[int, typer.Option(help="Runs of each pipeline by the clock", min=1)] = 5,
) -> None:
    """Print a row a system: words per second, slowest and fastest run, and times slower than the entities."""
    found = [record.text for record in records.read_records(texts)]
    nlp = assembly.load(model, "assemble")
    steps = list(nlp.pipe_names)
    if database_rows.NER not in steps:
        raise UserError(f"{model}: has no ner to compare with; run `weasel run assemble`.")
    first = steps[: steps.index(database_rows.NER) + 1]
    words = sum(len(doc) for doc in nlp.tokenizer.pipe(found))
    timed: list[tuple[str, int, list[float]]] = []
    with tqdm(total=len(steps) - len(first) + 1 + bool(llm_texts), desc="systems", leave=False) as bar:
        for end in range(len(first), len(steps) + 1):
            name = "entities alone" if end == len(first) else f"+ {steps[end - 1]}"
            timed.append((name, words, seconds(nlp, steps[:end], found, repeats)))
            bar.update()
        if llm_texts:
            timed.append(("LLM, all tasks", *ask(config, provider, found[:llm_texts])))
            bar.update()
    base = words / sorted(timed[0][2])[repeats // 2]
    table = []
    for name, n, times in timed:
        rates = sorted(n / time for time in times)
        middle = rates[len(rates) // 2]
        spread = f"{two_digits(rates[0]):,} to {two_digits(rates[-1]):,}" if len(rates) > 1 else ""
        table.append((name, f"{n:,}", f"{two_digits(middle):,}", spread, slower(base / middle)))
    header = ("", "words", "words/s", f"of {repeats} runs", "x slower")
    msg.table(table, header=header, divider=True, aligns=("l", "r", "r", "r", "r"))
    print("Each line adds a component to those above; the LLM is asked for spans, relations and categories.")


def slower(ratio: float) -> str:
    """A ratio with the two digits that timings deserve."""
    return f"{ratio:.2g}" if ratio < 100 else f"{two_digits(ratio):,}"


def seconds(nlp: Language, steps: list[str], texts: list[str], repeats: int) -> list[float]:
    """Time of each run over the texts with these components alone, after one to warm up."""
    found = []
    with nlp.select_pipes(enable=steps):
        for _ in range(repeats + 1):
            start = perf_counter()
            for _doc in nlp.pipe(texts):
                pass
            found.append(perf_counter() - start)
    return found[1:]


def ask(config: Path, provider: str, texts: list[str]) -> tuple[int, list[float]]:
    """(words, [seconds]) of the LLM on some texts, with every task of its config and no stored answers."""
    file = llm.provider_file(provider)
    whole = llm.load_config(config, file)
    overrides = {"nlp.pipeline": list(whole["components"]), "model.cache": ""}
    nlp = llm.assemble(llm.load_config(config, file, overrides), config)
    some = [records.Record(text=text) for text in texts]
    words = sum(len(nlp.tokenizer(text)) for text in texts)
    # the model's own start isn't what is timed
    list(llm.annotate(nlp, some[:1]))
    start = perf_counter()
    list(llm.annotate(nlp, some))
    return words, [perf_counter() - start]


if __name__ == "__main__":
    run(main)
