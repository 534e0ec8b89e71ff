"""Serve the trained pipeline over HTTP, to programs on this machine or behind a proxy."""

from pathlib import Path
from typing import Annotated

import typer
from wasabi import msg

from ie.core import web
from ie.core.cli import run
from ie.core.errors import UserError
from ie.core.pipelines import hash_pipeline
from ie.core.settings import load_settings
from ie.data import options
from ie.deploy.example import EXAMPLE, read_example
from ie.deploy.service import annotator, logs
from ie.deploy.service.app import make_app
from ie.deploy.service.settings import ServiceSettings
from ie.deploy.service.workers import WorkerPool
from ie.deploy.watch.counters import KnownTexts, ServedCounters


def main(
    model: Annotated[
        str, typer.Option(help="Folder of a pipeline, or an installed package; empty for the trained one")
    ] = "",
    training: options.TrainingResults = options.TRAINING,
    train_on: options.TrainOn = "reviewed",
    name: Annotated[
        str, typer.Option(help="Name that it is announced by: that of its package; empty for its own")
    ] = "",
    version: Annotated[str, typer.Option(help="Version that it is announced by; empty for its own")] = "",
    settings: Annotated[Path, typer.Option(help="Limits and batch sizes")] = Path("configs/serve.cfg"),
    workers: Annotated[int, typer.Option(help="Processes with a pipeline; 0 for one thread", min=0)] = 1,
    port: options.Port = 8090,
    hosts: options.Hosts = "",
    example: Annotated[Path, typer.Option(help="Text to try on its page")] = EXAMPLE,
    corpus: options.Corpus = Path("corpus"),
) -> None:
    """Serve until Ctrl-C or SIGTERM; accepted requests are finished first."""
    service_settings = load_settings(settings, ServiceSettings)
    chosen, warning = annotator.choose(model, training, train_on)
    if warning:
        msg.warn(warning)
    counters = None
    if service_settings.watch.counters:
        counters = counters_of(chosen, training, corpus)
    faults: list[str] = []

    def failed(fault: str) -> None:
        faults.append(fault)
        server.should_exit = True

    sock = web.listen(port, "scripts/serve.py")
    logs.start()
    page = make_app(
        WorkerPool(chosen, workers, service_settings, corpus, counters),
        service_settings,
        hosts=hosts,
        example=read_example(example),
        failed=failed,
        name="" if model else annotator.packaged_name(chosen, name),
        version="" if model else version,
    )
    grace = int(service_settings.limits.arrive + service_settings.limits.answer) + 1
    server = web.make_server(page, log_config=None, timeout_graceful_shutdown=grace)
    address = f"Serving {chosen} at http://localhost:{sock.getsockname()[1]}/ (Ctrl-C stops it)"
    web.run_server(server, sock, address, grace + 5)
    if faults:
        raise UserError(faults[0])


def counters_of(chosen: str, training: Path, corpus: Path) -> ServedCounters:
    """The counters of a pipeline.

    Raises:
        UserError: there are no training texts to compare with.
    """
    KnownTexts.read(corpus)
    return ServedCounters(training / "served", hash_pipeline(chosen))


if __name__ == "__main__":
    run(main)
