"""Measure the service: texts a second beside nlp.pipe in a process, latency, and memory under new words."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from benchmarks import serve
from tqdm import tqdm
from wasabi import msg

from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.files import write_json
from ie.core.settings import load_settings
from ie.data import options
from ie.data.records import read_records
from ie.deploy.service import annotator
from ie.deploy.service.settings import ServiceSettings


def main(
    model: Annotated[
        str, typer.Option(help="Folder of a pipeline, or an installed package; empty for the trained one")
    ] = "",
    training: Annotated[Path, typer.Option(help="Folder with the trained one")] = options.TRAINING,
    train_on: options.TrainOn = "reviewed",
    settings: Annotated[Path, typer.Option(help="Settings of the service")] = Path("configs/serve.cfg"),
    workers: Annotated[int, typer.Option(help="Processes with a pipeline; 0 for a thread", min=0)] = 1,
    texts: options.Texts = Path("assets/texts.jsonl"),
    sizes: Annotated[str, typer.Option(help="Texts a request, with commas")] = "1,32",
    connections: Annotated[int, typer.Option(help="Requests at the same time", min=1)] = 8,
    rounds: Annotated[int, typer.Option(help="Rounds in turn with nlp.pipe", min=1)] = 5,
    seconds: Annotated[float, typer.Option(help="Time of a round", min=0.1)] = 3,
    minutes: Annotated[float, typer.Option(help="Time under load for memory; 0 for none", min=0)] = 1,
    seed: Annotated[int, typer.Option(help="Of the new words")] = 0,
    output: Annotated[Path, typer.Option(help="File for the figures")] = Path(
        "training/benchmark-serve.json"
    ),
) -> None:
    """Print the figures as they are on this machine now."""
    wanted = load_settings(settings, ServiceSettings)
    try:
        numbers = [int(size) for size in sizes.split(",")]
    except ValueError:
        numbers = [0]
    if not all(0 < size <= wanted.limits.texts for size in numbers):
        raise UserError(f"--sizes {sizes!r} must be numbers from 1 to {wanted.limits.texts}, as in 1,32.")
    chosen, warning = annotator.choose(model, training, train_on)
    if warning:
        msg.warn(warning)
    nlp = annotator.load(chosen)
    raw = [record.text for record in read_records(texts, duplicates="first")]
    with tempfile.TemporaryDirectory() as folder:
        server = serve.ServiceProcess(chosen, settings, Path(folder), workers=workers)
        try:
            server.wait()
            found = serve.measure(
                nlp,
                server,
                raw,
                sizes=numbers,
                batch=wanted.work.batch,
                connections=connections,
                rounds=rounds,
                seconds=seconds,
            )
            if minutes:
                with tqdm(total=round(60 * minutes), unit="s", desc="memory") as bar:
                    found["memory"] = serve.soak(
                        server,
                        raw,
                        size=max(numbers),
                        connections=connections,
                        minutes=minutes,
                        seed=seed,
                        told=lambda taken: bar.update(round(taken)),
                    )
        finally:
            server.stop()
    found |= {"workers": workers, "connections": connections, "rounds": rounds, "texts": len(raw)}
    report(found, numbers)
    write_json(output, found)
    msg.good(str(output))


def report(found: dict, sizes: list[int]) -> None:
    """The tables."""
    rows = [
        ("nlp.pipe", f"{found['pipe_texts_per_s']:,.0f}", "", f"{found['pipe_cpu_ms_per_text']:.2f}", "", "")
    ]
    for size in sizes:
        part = found[f"size_{size}"]
        spread = f"{part['ratio']:.2f} ({part['ratio_low']:.2f} to {part['ratio_high']:.2f})"
        speed, cpu = f"{part['texts_per_s']:,.0f}", f"{part['cpu_ms_per_text']:.2f}"
        times = (f"{part['p50_ms']:.0f}", f"{part['p99_ms']:.0f}")
        rows.append((f"{size} a request (n={part['requests']:,})", speed, spread, cpu, *times))
    header = ("texts", "texts/s", "of nlp.pipe", "CPU ms/text", "p50 ms", "p99 ms")
    msg.table(rows, header=header, divider=True, aligns=("l", "r", "r", "r", "r", "r"))
    print(
        f"Medians of {found['rounds']} rounds in turn, {found['connections']} connections, "
        f"{found['workers']} workers; client and server share this machine."
    )
    if memory := found.get("memory"):
        print(
            f"Memory: {memory['ready_mb']:,.0f} MB when ready, {memory['start_mb']:,.0f} MB after the first "
            f"tenth of {memory['minutes']:g} minutes, {memory['end_mb']:,.0f} MB at their end (at most "
            f"{memory['most_mb']:,.0f}), over {memory['texts']:,} texts, a third of whose words were new."
        )


if __name__ == "__main__":
    run(main)
