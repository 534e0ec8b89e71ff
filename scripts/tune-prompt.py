"""Search for a better prompt on reviewed texts; it must prove better on texts that the search didn't see."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from spacy.language import Language
from wasabi import msg

from ie.core import tracking
from ie.core.cli import confirm_change, run
from ie.core.files import atomic_write, check_writable, write_json
from ie.core.stats import Estimate, difference, format_difference, format_score, intervals
from ie.core.text import counted, names_in, print_table, wrapped
from ie.data import options
from ie.data.config import DataConfig, load_data_config
from ie.data.pinned import outdated, read_pinned, refuse_held_out
from ie.data.records import Record, write_records
from ie.data.scheme import Scheme, load_scheme
from ie.data.splits import Split
from ie.data.tokenizer import STRETCH
from ie.llm import pinning, pipeline
from ie.setup.config_file import ConfigFile
from ie.training.curve.shot_curve import SELECTS, ShotCurve
from ie.training.prompts.candidates import Candidate, read_stages
from ie.training.prompts.search import Limits, Prompt, PromptSearch
from ie.training.prompts.shots import measure_shots, parse_shots
from ie.training.prompts.texts import dev_sample, divide

EVIDENCE = "Chosen by tune-prompt:"
CURRENT = "current"
# What `llm-annotate` wrote in its last run, for the minutes that asking again takes.
LLM_STATS, LLM_TIMINGS = Path("corpus/llm.json"), Path("training/llm-timings.jsonl")


def main(
    config: options.LlmConfig = Path("configs/llm.cfg"),
    candidates: Annotated[Path, typer.Option(help="Prompts to try, in stages.")] = Path(
        "configs/tune-prompt.cfg"
    ),
    provider: options.Provider = "",
    texts: options.Texts = Path("assets/texts.jsonl"),
    reviewed: options.Reviewed = Path("assets/reviewed.jsonl"),
    examples: options.Examples = Path("assets/examples.jsonl"),
    output: Annotated[Path, typer.Option(help="Folder for scores and answers.")] = Path("training/prompts"),
    data: options.Data = Path("configs/data.cfg"),
    max_calls: Annotated[int, typer.Option(help="Calls at most; 0 for no limit.", min=0)] = 2000,
    max_cost: Annotated[float, typer.Option(help="Dollars at most; 0 for no limit.", min=0)] = 0.0,
    only: Annotated[str, typer.Option(help="Stages to run, separated by commas; empty for all.")] = "",
    shots: Annotated[
        str, typer.Option(help='Instead: F by number of examples ("0,2,4,8,16,32"), for train-curve.')
    ] = "",
    yes: Annotated[bool, typer.Option(help="Change the files without asking.")] = False,
) -> None:
    """Try the prompts of --candidates on one half of dev, and measure the best one on the other half."""
    scheme, data_config = load_scheme(config), load_data_config(data)
    settings, stages = read_stages(candidates, names_in(only))
    split, pinned = read_inputs(texts, reviewed, examples, scheme=scheme, data_config=data_config)
    file = pipeline.provider_file(provider)
    common = pipeline.example_overrides(reviewed, examples, data_config)

    def assemble(overrides: dict[str, Any]) -> Language:
        return pipeline.assemble(pipeline.load_config(config, file, {**common, **overrides}), config)

    similar = shows_similar(assemble({}), config)
    if shots:
        numbers, dev = parse_shots(shots), dev_sample(split, settings.texts, reviewed)
        search = PromptSearch(scheme, dev, assemble, settings.first_texts, Limits(max_calls, max_cost))
        report_shots(measure_shots(search, numbers), output / "shots.json")
        return
    shown = [] if similar else [record.text for record in pinned]
    tuning = divide(split, shown, data_config, settings.texts, reviewed)
    if similar:
        may_show = {record.text for record in tuning.examples}
        pinned = [record for record in pinned if record.text in may_show]
    for path in (config, examples):
        check_writable(path)
    search = PromptSearch(scheme, tuning, assemble, settings.first_texts, Limits(max_calls, max_cost))
    current = search.prompt(CURRENT, {}, pinned or None)
    describe(search, current, stages)
    best = search.run(current, stages)
    result = measure(search, current, best)
    report(search, result)
    save(search, current, best, result, output)
    if not result.better:
        return
    msg.info(wrapped(price_again(assemble, best, read_pinned(examples), split)))
    command = f"python scripts/tune-prompt.py --yes{f' --provider {provider}' * bool(provider)}"
    confirm_change(config, examples, command=command, yes=yes)
    keep(best, result, config, file)
    if best.examples:
        chosen = pinning.choose(best.nlp, split.train) if best.similar else best.examples
        write_records(examples, chosen)
    msg.good(wrapped(f"{config} has the better prompt; `weasel run llm-annotate` asks with it."))


@dataclass(frozen=True)
class Result:
    """F of the current prompt and of the best one on the held-out texts, and the paired difference."""

    counts: dict[str, np.ndarray]
    before: Estimate
    after: Estimate
    gain: Estimate

    @property
    def texts(self) -> int:
        return len(self.counts[CURRENT])

    @property
    def better(self) -> bool:
        """Whether the gain is beyond noise."""
        return round(self.gain.low, 4) > 0


def read_inputs(
    texts: Path, reviewed: Path, examples: Path, *, scheme: Scheme, data_config: DataConfig
) -> tuple[Split, list[Record]]:
    """The split of all texts, and the pinned examples, none of which may be in dev or test."""
    reader = data_config.reader(scheme)
    gold = reader.read_reviewed(reviewed)
    split = data_config.assign(gold, reader.read(texts, allow_empty=True) if texts.exists() else [])
    pinned = read_pinned(examples, reader)
    refuse_held_out(examples, pinned, {record.text for record in (*split.dev, *split.test)})
    if fault := outdated(examples, pinned, gold):
        msg.warn(fault)
    occurring = {label for r in split.train for label in (*(s.label for s in r.spans), *r.categories)}
    if missing := [label for label in scheme.scored_labels if label not in occurring]:
        msg.warn(
            wrapped(f"{reviewed}: no training text has {missing[0]}, so no prompt shows an example of it.")
        )
    return split, pinned


def shows_similar(nlp: Language, config: Path) -> bool:
    """Whether the config shows each text the examples most like it.

    Raises:
        UserError: its examples aren't pinned.
    """
    return any(task.shots.select == "similar" for task in pinning.require_pinned_tasks(nlp, config))


def describe(search: PromptSearch, current: Prompt, stages: dict[str, list[Candidate]]) -> None:
    """Print what is asked about, and what it takes at most."""
    tuning = search.texts
    msg.info(
        wrapped(
            f"{counted(sum(map(len, stages.values())), 'candidate')} on {len(tuning.search)} texts, and the "
            f"result on {len(tuning.held_out)} others: {search.price(*search.most(current, stages))}"
        )
    )
    if tuning.from_train:
        msg.info(
            wrapped(
                f"Dev is small: {tuning.from_train} of these are training texts, which no prompt shows as "
                "examples."
            )
        )


def measure(search: PromptSearch, current: Prompt, best: Prompt) -> Result:
    """Ask both prompts about the texts that the search didn't see."""
    counts = {
        prompt.name: search.ask(prompt, search.texts.held_out).sum(axis=1) for prompt in (current, best)
    }
    before, after = (intervals(counts[prompt.name])[2] for prompt in (current, best))
    return Result(counts, before, after, difference(counts[best.name], counts[CURRENT]))


def report(search: PromptSearch, result: Result) -> None:
    """Print the candidates by stage, and the result."""
    rows = [
        (
            row.name if row.name == CURRENT or row.stage == row.name.partition(".")[0] else f"({row.name})",
            str(len(row.counts)),
            format_score(intervals(row.counts)[2], documents=len(row.counts)),
            str(row.examples),
            "" if row.kept else "stops",
        )
        for row in search.rows
    ]
    header = ("candidate", "texts", "F", "examples", "")
    print_table(rows, header, "lrlrl")
    if search.skipped:
        msg.warn(wrapped(f"The limits left no room for: {', '.join(search.skipped)}."))
    before, after = (format_score(f, documents=result.texts) for f in (result.before, result.after))
    texts = counted(result.texts, "text")
    if len(result.counts) == 1:
        msg.info(
            wrapped(
                f"No candidate is better than the current prompt, whose F is {before} on {texts} that the "
                "search didn't see. Nothing is changed."
            )
        )
        return
    best = next(name for name in result.counts if name != CURRENT)
    outcome = f"F {before} → {after} ({best}), gain {format_difference(result.gain, result.texts)}"
    seen = f"on {texts} that the search didn't see"
    if result.better:
        msg.good(wrapped(f"{outcome}, {seen}."))
    else:
        msg.info(wrapped(f"No gain beyond noise: {outcome}, {seen}. Nothing is changed."))


def save(search: PromptSearch, current: Prompt, best: Prompt, result: Result, output: Path) -> None:
    """Write the scores, unrounded, the answers about the held-out texts for `agreement`, and log them."""
    rounds = [
        {
            "stage": row.stage,
            "candidate": row.name,
            "texts": len(row.counts),
            "f": intervals(row.counts)[2].rounded(),
            "examples": row.examples,
            "kept": row.kept,
        }
        for row in search.rows
    ]
    write_json(
        output / "scores.json",
        {
            "search_texts": len(search.texts.search),
            "held_out_texts": result.texts,
            "calls": search.spending.calls,
            "rounds": rounds,
            "skipped": search.skipped,
            "best": best.name,
            "settings": best.settings,
            "before": result.before.rounded(),
            "after": result.after.rounded(),
            "gain": result.gain.rounded(),
            "better": result.better,
        },
    )
    for name, prompt in {CURRENT: current, "best": best}.items():
        write_records(output / f"{name}.jsonl", [prompt.answers[r.text] for r in search.texts.held_out])
    with tracking.run("tune-prompt") as tracker:
        header = ["stage", "candidate", "texts", "f", "low", "high"]
        rows = [[row["stage"], row["candidate"], row["texts"], *(row["f"] or [None] * 3)] for row in rounds]
        tracker.table("prompts", header, rows)


def report_shots(curve: ShotCurve, path: Path) -> None:
    """Print the scores by number of examples, and write them for `train-curve`."""
    found = {(score.select, score.shots): score.f for score in curve.scores}
    rows = []
    for n in sorted({shots for _, shots in found}):
        f = [found.get((select, n)) for select in (SELECTS if n else SELECTS[:1])]
        rows.append((f"{n:,}", *(format_score(x, documents=len(curve.texts)) if x else "" for x in f)))
    rows = [row + ("",) * (3 - len(row)) for row in rows]
    header = ("examples", *(f"F, {select}" for select in SELECTS))
    print_table(rows, header, "rll")
    print(wrapped(curve.sentence()))
    write_json(path, curve.to_json())
    msg.good(wrapped(f"{path}: `weasel run train-curve . --force` draws it beside the learning curve."))


def price_again(
    assemble: Callable[[dict[str, Any]], Language], best: Prompt, pinned: list[Record], split: Split
) -> str:
    """What asking again about the texts that `llm-annotate` asked about takes, in a sentence."""
    texts = [*split.raw, *split.dev, *split.test]
    before, after = assemble({}), assemble(best.settings)
    pinning.pin(before, pinned)
    pinning.pin(after, best.examples)
    answered = pinning.answered(before, texts, STRETCH)
    price = pinning.price(after, answered, texts, STRETCH, LLM_STATS, LLM_TIMINGS)
    for model in (*pipeline.llm_models(before), *pipeline.llm_models(after)):
        model.close()
    return price


def keep(best: Prompt, result: Result, config: Path, file: Path | None) -> None:
    """Write each setting where it takes effect: in the provider's file if that has it, else in the config."""
    files = {path: ConfigFile(path) for path in (file, config) if path}
    for name, value in best.settings.items():
        section, _, key = name.rpartition(".")
        own = file is not None and files[file].has(section, key)
        files[file if own and file else config].put(section, key, value)
    before, after = (format_score(f, documents=result.texts) for f in (result.before, result.after))
    evidence = (
        f"{EVIDENCE} F {before} -> {after} on {counted(result.texts, 'text')} it didn't see; "
        f"gain {format_difference(result.gain, result.texts)}."
    )
    for path, edited in files.items():
        text = str(edited)
        if path == config:
            text = with_evidence(text, next(iter(best.settings), "prompt.").split(".")[0], evidence)
        with atomic_write(path) as target:
            target.write(text)


def with_evidence(text: str, section: str, evidence: str) -> str:
    """A config with the evidence as a comment at the top of a section, in place of the one before."""
    lines = [line for line in text.splitlines() if not line.startswith(f"# {EVIDENCE}")]
    lines.insert(lines.index(f"[{section}]") + 1, f"# {evidence}")
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    run(main)
