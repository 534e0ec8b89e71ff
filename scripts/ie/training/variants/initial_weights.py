"""What a pipeline may start from instead of random weights: static vectors, or an encoder trained elsewhere.

Each is made once from files and packages of this machine. The trained pipeline contains it, and needs none of
these to be loaded.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import srsly
from spacy.language import Language
from spacy.training.pretrain import pretrain as run_pretraining
from spacy.util import load_config, registry
from spacy.vectors import Vectors
from threadpoolctl import threadpool_limits

from ie.core.errors import UserError
from ie.core.files import json_text, published
from ie.core.text import one_line
from ie.data import records, splits
from ie.data.language import Lang
from ie.data.records import Record
from ie.training import loop

INSTALL = "pip install -r requirements/variants.txt"
# Files of the wordllama package, whose own loader looks for them on the network.
WEIGHTS = "wordllama/weights/l2_supercat_256.safetensors"
TOKENIZER = "wordllama/tokenizers/l2_supercat_tokenizer_config.json"
# Marks the start of a word in the BPE vocabulary of Llama.
WORD_START = "▁"


def read_raw(
    texts: Path, train: Path, held_out: Sequence[Path], near_duplicate: float
) -> tuple[list[str], int]:
    """`raw_texts` of files.

    Raises:
        UserError: a file is missing or broken, or no text is left.
    """
    for path in (train, *held_out):
        if not path.exists():
            raise UserError(f"{path}: there is no such file; run `weasel run split` first.")
    raw, known = (records.read_records(path, duplicates="first", allow_empty=True) for path in (texts, train))
    others = [record for path in held_out for record in records.read_records(path, allow_empty=True)]
    usable, left_out = raw_texts(raw, known, others, near_duplicate)
    if not usable:
        raise UserError(f"{texts}: has no text but those of dev and test; add raw texts.")
    return usable, left_out


def raw_texts(
    texts: Sequence[Record], train: Sequence[Record], held_out: Sequence[Record], near_duplicate: float
) -> tuple[list[str], int]:
    """Texts to make weights and vectors from, without those of dev and test and their near-duplicates.

    With them, words of the test set would have a vector that words of new texts don't have.

    Args:
        near_duplicate: similarity from which texts are alike, as in `split`.

    Returns:
        The texts of `train`, then the others, each once; and how many were left out.
    """
    candidates = list(dict.fromkeys(record.text for record in (*train, *texts)))
    known = {record.text for record in train}
    words = [splits.normalise(text) for text in (*(r.text for r in held_out), *candidates)]
    near = list(splits.near_earlier(words, near_duplicate, indexed=len(held_out)))[len(held_out) :]
    # `split` has already kept training texts apart from dev and test.
    usable = [text for text, alike in zip(candidates, near, strict=True) if text in known or not alike]
    return usable, len(candidates) - len(usable)


def vocabulary(texts: Sequence[str], nlp: Language, min_count: int) -> dict[str, list[str]]:
    """The texts' words in lower case, the most frequent first, each with its spellings.

    spaCy looks up vectors by the token as written, and doesn't save the setting that would change that. So
    each word has its spellings in the texts, lower case, title case and upper case.
    """
    counts: Counter[str] = Counter()
    seen: dict[str, set[str]] = defaultdict(set)
    for doc in nlp.tokenizer.pipe(texts):
        for token in doc:
            if not token.is_space:
                counts[token.lower_] += 1
                seen[token.lower_].add(token.text)
    frequent = sorted((w for w, n in counts.items() if n >= min_count), key=lambda w: (-counts[w], w))
    return {word: sorted({word, word.capitalize(), word.upper(), *seen[word]}) for word in frequent}


def subword_vectors(words: Sequence[str]) -> np.ndarray:
    """The mean of the vectors of each word's pieces in wordllama's table (a Llama 2 vocabulary).

    Returns:
        (words, 256), float32.

    Raises:
        UserError: a package is missing, or doesn't have the expected files.
    """
    for name in ("safetensors", "tokenizers"):
        if find_spec(name) is None:
            raise UserError(f"static vectors need the package {name}; run `{INSTALL}`.")
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    try:
        package = distribution("wordllama")
    except PackageNotFoundError:
        raise UserError(f"static vectors need the package wordllama; run `{INSTALL}`.") from None
    paths = [Path(str(package.locate_file(name))) for name in (WEIGHTS, TOKENIZER)]
    try:
        table = load_file(paths[0])["embedding.weight"].astype(np.float32)
        tokenizer = Tokenizer.from_file(str(paths[1]))
    except Exception as error:  # tokenizers raises plain Exceptions
        raise UserError(
            f"wordllama {package.version} isn't as expected ({one_line(error)}); run `{INSTALL}`."
        ) from None
    start = tokenizer.token_to_id(WORD_START)
    vectors = np.zeros((len(words), table.shape[1]), dtype=np.float32)
    encoded = tokenizer.encode_batch(list(words), add_special_tokens=False)
    for row, pieces in zip(vectors, encoded, strict=True):
        # The mark of the start, as a piece of its own, tells nothing about the word.
        ids = [i for i in pieces.ids if i != start] or pieces.ids
        row[:] = table[ids].mean(axis=0)
    return vectors


def reduced(vectors: np.ndarray, width: int) -> np.ndarray:
    """Vectors projected to their `width` principal components, then scaled to a mean length of 1.

    Raises:
        UserError: `width` is more than the vectors or the words have.
    """
    limit = min(vectors.shape)
    if not 1 <= width <= limit:
        raise UserError(
            f"--width {width} must be between 1 and {limit} ({len(vectors):,} words with vectors of "
            f"{vectors.shape[1]}); correct the number."
        )
    centred = vectors - vectors.mean(axis=0)
    if width < vectors.shape[1]:
        with threadpool_limits(limits=1):
            _, components = np.linalg.eigh(centred.T @ centred)
        axes = components[:, ::-1][:, :width]
        # The sign of an axis is arbitrary: its largest number is made positive, on any machine.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(width)])
        centred = centred @ axes
    return (centred / np.linalg.norm(centred, axis=1).mean()).astype(np.float32)


def write_vectors(words: Mapping[str, Sequence[str]], vectors: np.ndarray, lang: str, output: Path) -> None:
    """Write a pipeline without components that has the vectors, for `initialize.vectors` of a config.

    Args:
        words: each with its spellings, which share its row of `vectors`.
    """
    nlp = spacy.blank(lang)
    table = Vectors(data=vectors, name="words", strings=nlp.vocab.strings)
    # A spelling of two words gets the row of the more frequent one, which comes first.
    rows: dict[str, int] = {}
    for row, spellings in enumerate(words.values()):
        for spelling in spellings:
            rows.setdefault(spelling, row)
    for spelling, row in rows.items():
        table.add(nlp.vocab.strings.add(spelling), row=row)
    nlp.vocab.vectors = table
    with published(output) as folder:
        nlp.to_disk(folder)


def tok2vec_weights(package: str, component: str, config: Path) -> bytes:
    """The weights of a pipeline's token encoder, for `initialize.init_tok2vec` of a config.

    Args:
        package: an installed pipeline, or a folder with one.
        component: whose encoder; one that listens to a shared tok2vec has that one's.
        config: of the pipeline that will start from them, to compare the encoders.

    Raises:
        UserError: package or component is missing, or its encoder has another architecture than the config's.
    """
    if find_spec(package) is None if package.isidentifier() else not Path(package).exists():
        raise UserError(f"{package}: there is no such pipeline; run `{INSTALL}`, or correct the name.")
    try:
        nlp = spacy.load(package)
    except Exception as error:
        raise UserError(
            f"{package}: can't be loaded as a pipeline ({one_line(error)}); correct the name."
        ) from None
    if component not in nlp.pipe_names:
        raise UserError(f"{package}: has no component {component!r}; it has: {', '.join(nlp.pipe_names)}.")
    components = nlp.config.interpolate()["components"]
    settings = components[component].get("model", {})
    inner = settings.get("tok2vec", {})
    if "Listener" in inner.get("@architectures", ""):
        component = "tok2vec" if inner.get("upstream", "*") == "*" else inner["upstream"]
        settings = components[component]["model"]
    elif inner:
        settings = inner
    wanted = _target(config)
    theirs, ours = dict(_flat(settings)), dict(_flat(wanted))
    differing = [
        f"{name} is {json_text(ours.get(name))} there, {json_text(theirs.get(name))} in {package}"
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
    ]
    if differing:
        raise UserError(
            f"{config}: its encoder isn't that of {component} in {package} ({'; '.join(differing)}); change "
            "these settings in the config."
        )
    # A component's model has layers around its encoder; equal architectures have equal names.
    twin = registry.resolve({"model": wanted})["model"]
    layers = nlp.get_pipe(component).model.walk()
    encoder = next((layer for layer in layers if layer.name == twin.name), None)
    if encoder is None:
        raise UserError(f"{package}: no layer of {component} is an encoder; name another component.")
    return encoder.to_bytes()


def _target(config: Path) -> dict[str, Any]:
    """The model settings of the component that `[pretraining]` of a config names."""
    with loop.explained(config):
        settings = load_config(config).interpolate()
    section = settings.get("pretraining", {})
    name = section.get("component")
    if not name or name not in settings.get("components", {}):
        raise UserError(
            f"{config}: [pretraining] names no component that could take the weights; set component in it."
        )
    return settings["components"][name]["model"]


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def pretrain(
    config: Path, texts: Sequence[str], *, seed: int, lang: Lang, gpu_id: int, epochs: int = 0
) -> tuple[bytes, list[float]]:
    """Run `spacy pretrain` on texts: learn to predict a word's characters from its context.

    The same texts, seed and machine give the same weights.

    Args:
        epochs: passes over the texts; 0 leaves it to the config.

    Returns:
        The encoder's weights, and the mean loss per word of each pass.

    Raises:
        UserError: the config has no [pretraining], or it can't be run.
    """
    _target(config)
    with tempfile.TemporaryDirectory(prefix="pretrain-") as name:
        folder = Path(name)
        srsly.write_jsonl(folder / "texts.jsonl", ({"text": text} for text in texts))
        overrides = {
            "paths.raw_text": str(folder / "texts.jsonl"),
            "paths.vectors": None,
            "system.seed": seed,
            **loop.overrides(lang),
        }
        if epochs:
            overrides["pretraining.max_epochs"] = epochs
        with threadpool_limits(limits=1), loop.explained(config):
            loaded = load_config(config, overrides=overrides, interpolate=False)
            if loaded["pretraining"].get("corpus") != "corpora.pretrain" or "raw_text" not in loaded["paths"]:
                raise UserError(
                    f"{config}: [pretraining] must read corpora.pretrain, and that paths.raw_text; copy both "
                    "sections from configs/pretrain.cfg."
                )
            loop.use_device(gpu_id)
            run_pretraining(loaded.interpolate(), folder, use_gpu=gpu_id, silent=True)
        log = list(srsly.read_jsonl(folder / "log.jsonl"))[:-1]
        words = np.diff([0, *(entry["nr_word"] for entry in log)])
        losses = [entry["epoch_loss"] / n for entry, n in zip(log, words, strict=True)]
        if not np.isfinite(losses).all():
            raise UserError(f"{config}: {loop.DIVERGED.replace('[training', '[pretraining')}")
        return (folder / "model-last.bin").read_bytes(), losses
