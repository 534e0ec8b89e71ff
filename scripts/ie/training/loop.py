"""Train a pipeline from a spaCy config inside this process: quiet if wanted, and the same on every run."""

import configparser
import io
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

import spacy
from catalogue import RegistryError
from confection import ConfigValidationError
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import DIR_MODEL_BEST, clean_output_dir
from spacy.training.loop import train as run_training_loop
from spacy.util import load_config
from thinc.api import Config
from threadpoolctl import threadpool_limits

# Imported for what they register: configs name it in [corpora], [components] and [initialize].
import ie.data.augmentation
import ie.data.corpora
import ie.data.tokenizer
import ie.training.span_threshold  # noqa: F401
from components.span_classifier import SPANS_KEY
from ie.core import tracking
from ie.core.errors import UserError
from ie.core.text import one_line
from ie.data import language
from ie.data.docs import read_docbin
from ie.data.language import Lang
from ie.data.records import accepted, read_records

DIVERGED = (
    "training diverged (loss is NaN or infinite); "
    "lower [training.optimizer] learn_rate or keep its grad_clip at 1.0."
)
# Evaluations by pipeline, from spaCy's logger: the only hook that gets every evaluation's scores.
_history: WeakKeyDictionary[Language, list[dict]] = WeakKeyDictionary()


def train(
    config_path: Path,
    *,
    train: Path,
    dev: Path,
    output: Path | None = None,
    overrides: dict[str, Any] | None = None,
    seed: int = 0,
    quiet: bool = True,
    gpu_id: int = -1,
    start: Path | None = None,
) -> dict[str, Any]:
    """Train on a corpus and keep the checkpoint that scores best on another.

    The same inputs and machine give the same weights: seeds are fixed (for the whole process, as spaCy does)
    and linear algebra runs on one thread, so neither cores nor parallel trainings change anything.

    Args:
        config_path: a complete spaCy training config.
        train, dev: `.spacy` files of `split`, or `.jsonl` files for configs with `ie.Records.v1`.
        output: folder for `model-best`, which is replaced at the end; None keeps no weights.
        overrides: values by dotted name, such as `{"training.max_steps": 100}`.
        quiet: no table on the terminal and no wandb run.
        start: folder of a pipeline with the same config and labels, whose weights the training starts from.

    Returns:
        `score` (weighted, 0 to 1) and spaCy's scores (`ents_f`, `ents_per_type`, ...) of the best
        checkpoint on `dev`, its `step` and `epoch`, `examples` in train, and `history`: one dict with
        `step`, `epoch`, `score`, `losses` for each evaluation. JSON-serialisable, without timings.

    Raises:
        UserError: config missing, broken or not trainable; a corpus missing or empty; losses not finite.
    """
    config_path = Path(config_path)
    for path in (Path(train), Path(dev)):
        if not count_examples(path):
            raise UserError(
                f"{path}: holds no examples; review some more texts, then run `weasel run split`."
            )
    overrides = {"paths.train": str(train), "paths.dev": str(dev), "system.seed": seed, **(overrides or {})}
    with threadpool_limits(limits=1):
        with explained(config_path):
            config = load_config(config_path, overrides=overrides, interpolate=False)
            check_beginnings(config_path, config)
            if _has_overlapping_spans(Path(train)):
                check_overlapping(config_path, config)
            use_device(gpu_id)
            transformer = config.get("paths", {}).get("transformer")
            if transformer:
                config["paths"]["transformer"] = weights_folder(transformer)
            logger = config.get("training", {}).get("logger")
            corpora = dict(config.get("corpora", {}))
            config["training"]["logger"] = {
                "@loggers": "ie.Recorder.v1",
                "logger": None if quiet else _guard_wandb(logger),
            }
            if quiet:  # wandb's logger looks for the paths of corpora where the config has them
                _read_once(config)
            nlp = init_nlp(config, use_gpu=gpu_id)
            if transformer:
                _name_transformer(nlp, transformer)
        _check_labels(nlp, Path(train))
        if start is not None:
            _take_weights(nlp, start)
        history: list[dict] = []
        _history[nlp] = history
        if output is None:
            _run(nlp, None, config_path, gpu_id, quiet)
        else:
            _run_and_publish(nlp, Path(output), config_path, gpu_id, quiet, logger, corpora)
    best = max(history, key=lambda entry: (entry["score"], entry["step"]))
    return {
        "score": best["score"],
        **best["scores"],
        "step": best["step"],
        "epoch": best["epoch"],
        "examples": count_examples(Path(train)),
        "history": [{k: v for k, v in entry.items() if k != "scores"} for entry in history],
    }


def learns_by_updates(config_path: Path, overrides: dict[str, Any]) -> bool:
    """Whether a component of the config has a model that updates change; not, for example, `crf`.

    Raises:
        UserError: the config is broken.
    """
    with explained(config_path):
        components = load_config(config_path, overrides=overrides, interpolate=False)["components"].values()
        return any(
            "factory" not in component
            or "model" in {**Language.get_factory_meta(component["factory"]).default_config, **component}
            for component in components
        )


def checkpoints(history: Sequence[Mapping[str, Any]]) -> int:
    """How many checkpoints dev could choose from; 1 if a component learns in one go, as `crf` does."""
    return sum(entry["step"] > 0 for entry in history)


def overrides(lang: Lang, max_steps: int = 0) -> dict[str, Any]:
    """Overrides of a training config by commands: the language, and the number of updates unless it is 0."""
    values = language.overrides(lang, "initialize.before_init")
    return values | ({"training.max_steps": max_steps} if max_steps else {})


def count_examples(path: Path) -> int:
    """The number of examples in a `.spacy` or `.jsonl` file, which may be 0.

    Raises:
        UserError: the file is missing or something else.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such corpus; run `weasel run split` first.")
    if path.suffix == ".jsonl":
        return len(accepted(read_records(path, duplicates="first", bad_relations="drop", allow_empty=True)))
    return len(read_docbin(path))


@spacy.registry.callbacks("ie.tok2vec.v1")
def create_tok2vec_callback(path: str) -> Callable[[Language], Language]:
    """For `[initialize.after_init]`: the `tok2vec` of another pipeline, for components that listen to it.

    Keep it among the frozen and the annotating components, so that it can be shared.
    """

    def take(nlp: Language) -> Language:
        other = spacy.load(path)
        if "tok2vec" not in other.pipe_names:
            raise UserError(
                f"{path}: has no token encoder (tok2vec) that could be shared; train the entities with a "
                "config that has one, such as configs/efficient.cfg, or take a component with its own."
            )
        nlp.get_pipe("tok2vec").model.from_bytes(other.get_pipe("tok2vec").model.to_bytes())
        return nlp

    return take


@spacy.registry.loggers("ie.Recorder.v1")
def create_recorder(logger: Callable | None = None) -> Callable:
    """A training logger that keeps every evaluation for `train` and calls the config's own logger."""

    def setup(nlp: Language, stdout: IO = sys.stdout, stderr: IO = sys.stderr) -> tuple[Callable, Callable]:
        log_inner, finalize = logger(nlp, stdout, stderr) if logger else (lambda info: None, lambda: None)
        history = _history.setdefault(nlp, [])

        def log_step(info: dict | None) -> None:
            if info is not None:
                history.append(_entry(info))
            log_inner(info)

        return log_step, finalize

    return setup


def _entry(info: dict) -> dict[str, Any]:
    losses = {name: float(loss) for name, loss in info["losses"].items()}
    if not all(math.isfinite(loss) for loss in losses.values()):
        raise UserError(DIVERGED)
    # Speed differs between two otherwise equal runs.
    scores = {name: value for name, value in info["other_scores"].items() if name != "speed"}
    return {
        "step": info["step"],
        "epoch": info["epoch"],
        "score": float(info["score"]),
        "scores": scores,
        "losses": losses,
    }


class _Terminal(io.TextIOBase):
    """Standard output without spaCy's message on where it saved, which is a temporary folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def write(self, text: str) -> int:
        if self._folder is None or str(self._folder) not in text:
            sys.stdout.write(text)
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()


def _run(nlp: Language, folder: Path | None, config_path: Path, gpu_id: int, quiet: bool) -> None:
    stdout = io.StringIO() if quiet else _Terminal(folder)
    try:
        with explained(config_path, only_spacy=True):
            run_training_loop(nlp, folder, use_gpu=gpu_id, stdout=stdout, stderr=sys.stderr)
    except OverflowError as error:
        # spaCy writes the losses to meta.json, which can't hold NaN, before they are logged.
        raise UserError(DIVERGED) from error


def _run_and_publish(
    nlp: Language,
    output: Path,
    config_path: Path,
    gpu_id: int,
    quiet: bool,
    logger: dict | None,
    corpora: dict[str, Any],
) -> None:
    """Train in a folder beside `output`, then replace it, so that a kill leaves the old pipeline intact.

    Args:
        logger, corpora: of the user's config, for the published one.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".training-", dir=output))
    except OSError as error:
        raise UserError(
            f"{output}: can't be written ({error.strerror}); make the folder writable, then train again."
        ) from error
    try:
        _run(nlp, folder, config_path, gpu_id, quiet)
        best = folder / DIR_MODEL_BEST
        config = Config().from_disk(best / "config.cfg", interpolate=False)
        # The published config has the user's logger: our recorder isn't part of the package.
        if logger is None:
            del config["training"]["logger"]
        else:
            config["training"]["logger"] = logger
        config["corpora"] = corpora
        config.to_disk(best / "config.cfg")
        clean_output_dir(output)
        best.rename(output / DIR_MODEL_BEST)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read_once(config: Config) -> None:
    """Have both corpora keep their examples, which spaCy reads again for each component and evaluation.

    Weights and scores stay the same to the last bit; the vocabulary gets fewer strings, as augmenters run
    less often. Not with `max_epochs = -1`, which is for data that doesn't fit into memory.
    """
    if config["training"].get("max_epochs") == -1:
        return
    corpora = config.get("corpora", {})
    for role in ("train_corpus", "dev_corpus"):
        section, _, name = str(config["training"].get(role)).partition(".")
        if section == "corpora" and name in corpora:
            corpora[name] = {"@readers": "ie.Kept.v1", "corpus": corpora[name]}


def _guard_wandb(node: Any) -> Any:
    """The logger's config with every WandbLogger guarded, or removed if wandb can't run."""
    if not isinstance(node, dict):
        return node
    if str(node.get("@loggers", "")).startswith("spacy.WandbLogger."):
        if not tracking.prepare():
            return None
        return {"@loggers": "ie.Guarded.v1", "logger": dict(node)}
    return {key: _guard_wandb(value) for key, value in node.items()}


def _check_labels(nlp: Language, train: Path) -> None:
    """A component without labels would learn to predict nothing, with perfect losses."""
    for name, component in nlp.pipeline:
        # `label_data` is None for components without labels by design, such as tok2vec.
        if getattr(component, "label_data", None) is not None and not component.labels:
            raise UserError(
                f"{train}: no example has an annotation for the component {name!r}; "
                "review some more texts, then run `weasel run split`."
            )


def _take_weights(nlp: Language, start: Path) -> None:
    """Give every component the weights and the order of labels of the same component in another pipeline.

    A component without a model, such as `crf`, keeps what it has learned from its own examples.
    """
    other = spacy.load(start)
    for name in (name for name, component in nlp.pipeline if hasattr(component, "model")):
        saved = other.get_pipe(name).to_bytes(exclude=["vocab"])
        nlp.get_pipe(name).from_bytes(saved, exclude=["vocab"])


def check_beginnings(config_path: Path, config: Config) -> None:
    """Check that the vectors and weights that a pipeline starts from exist.

    Raises:
        UserError: naming what is missing, and the command that makes or installs it.
    """
    factories = [component.get("factory") for component in config.get("components", {}).values()]
    if "transformer" in factories and find_spec("spacy_transformers") is None:
        raise UserError(
            f"{config_path}: its transformer needs the package spacy-transformers; run `pip install -r "
            "requirements/transformer.txt`."
        )
    for name in ("vectors", "init_tok2vec"):
        value = config.get("paths", {}).get(name)
        # Vectors may also be the name of an installed package.
        if isinstance(value, str) and "/" in value and not Path(value).exists():
            raise UserError(
                f"{config_path}: {value}, which [paths] names as {name}, doesn't exist; make it first (for "
                "configs that ship: `weasel run prepare-variants`)."
            )


def check_overlapping(config_path: Path, config: Config) -> None:
    """Refuse a config whose spans can't overlap, as entities can't.

    Raises:
        UserError: a component sets entities, and none sets spans that may overlap.
    """
    spacy.blank("xx")  # registers spaCy's own factories
    factories = [component.get("factory") for component in config.get("components", {}).values()]
    known = [Language.get_factory_meta(name) for name in factories if name and Language.has_factory(name)]
    assigned = {attribute for meta in known for attribute in meta.assigns}
    if "doc.ents" in assigned and "doc.spans" not in assigned:
        raise UserError(
            f"{config_path}: finds entities, which can't overlap, and the scheme has overlapping = true; "
            "train a config for such spans, with --vars.config spancat."
        )


def _has_overlapping_spans(corpus: Path) -> bool:
    # `split` writes such a group into every Doc, or into none
    docs = read_docbin(corpus).get_docs(spacy.blank("xx").vocab) if corpus.suffix == ".spacy" else iter(())
    return any(SPANS_KEY in doc.spans for doc in islice(docs, 1))


def weights_folder(name: str) -> str:
    """The folder of a transformer's weights in an installed package of that name.

    Any other name is returned as it is: a folder, or a model of the Hugging Face hub.
    """
    package = find_spec(name) if name.isidentifier() else None
    for place in (package and package.submodule_search_locations) or ():
        # The model's own config is above those of its parts.
        configs = sorted(Path(place).rglob("config.json"), key=lambda path: (len(path.parts), path))
        if configs:
            return str(configs[0].parent)
    return name


def _name_transformer(nlp: Language, name: str) -> None:
    """Replace the folder of the weights by their name, as a folder of this machine would be published."""
    folder = nlp.config["paths"]["transformer"]
    nlp.config["paths"]["transformer"] = name
    for _, component in nlp.pipeline:
        for layer in component.model.walk() if hasattr(component, "model") else ():
            if folder != name and layer.attrs.get("name") == folder:
                layer.attrs["name"] = layer.transformer.config.name_or_path = name


def use_device(gpu_id: int) -> None:
    """Use a GPU from here on, or the CPU for -1.

    Raises:
        UserError: there is no such GPU, or spaCy's packages for it aren't installed.
    """
    if gpu_id < 0:
        spacy.require_cpu()
        return
    try:
        spacy.require_gpu(gpu_id)
    except ValueError as error:
        raise UserError(
            f"GPU {gpu_id} can't be used ({_one_line(error)}); see docs/variants.md, or use "
            "--vars.gpu_id -1 to train without."
        ) from error


@contextmanager
def explained(config_path: Path, only_spacy: bool = False) -> Iterator[None]:
    """Turn spaCy's errors about a broken config or corpus into one sentence."""
    try:
        yield
    except ConfigValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault.get('loc', []))}: {fault.get('msg', '')}"
            for fault in error.errors or []
        ]
        detail = "; ".join(faults) or error.desc or error.title
        raise UserError(f"{config_path}: {_one_line(detail)}; correct the config.") from error
    except (configparser.Error, RegistryError) as error:
        raise UserError(f"{config_path}: {_one_line(error)}; correct the config.") from error
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, OSError) as error:
        # In the training loop only spaCy's own messages are about the input; others are bugs.
        if only_spacy and not str(error).startswith("[E"):
            raise
        raise UserError(
            f"{config_path}: can't be trained ({_one_line(error)}); correct the config."
        ) from error


def _one_line(message: object) -> str:
    # Some messages of spaCy end with a long list of everything that is registered.
    text = one_line(message).split(" Available names:")[0]
    return text.rstrip(".")
