"""Separately trained components in one pipeline, where each gives the same answers as alone."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ie.core.errors import UserError
from ie.core.files import hash_path
from ie.core.pipelines import load_pipeline
from ie.core.settings import read_config
from ie.data.docs import entities_doc, from_doc, pipeline_record
from ie.data.records import Record
from ie.training import untrained

# Scores may differ in the last bits when texts are processed in other batches.
TOLERANCE = 1e-3
# Components whose setting `labels` names the entities that they read.
READ_ENTITIES = ("linker", "money")


@dataclass
class Parts:
    """The pipelines that components come from, by component, and why others are left out."""

    pipelines: dict[str, Language] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def load(path: Path, command: str = "", component: str = "") -> Language:
    """A trained pipeline from a folder, or from a config a pipeline whose component needs no training.

    Raises:
        UserError: it doesn't exist, or can't be loaded.
    """
    if path.suffix == ".cfg" and path.is_file():
        nlp = untrained.build(path, component)
        nlp.initialize()
        return nlp
    return load_pipeline(path, f"run `weasel run {command}` first" if command else "make it first", component)


def load_money(config: Path, label: str) -> Language:
    """A pipeline of the money component alone, which needs no training.

    Raises:
        UserError: the component doesn't read entities of that label.
    """
    nlp = load(config, component="money")
    if label not in (labels := nlp.get_pipe("money").cfg["labels"]):
        raise UserError(
            f"{config}: its labels are {', '.join(labels)}, but vars.money_label is {label}; add it there."
        )
    return nlp


def read_sources(path: Path, folder: Path) -> dict[str, Path]:
    """Where each component of a config's [sources] comes from, in order.

    A value is the name of a folder in `folder` that has a `model-best`, or a path with a slash, to a trained
    pipeline or to the config of a component that needs no training. A scheme may need none of them.

    Raises:
        UserError: no such file, or no [sources] of names.
    """
    sources = read_config(path).get("sources")
    if sources is None or not all(isinstance(value, str) and value for value in sources.values()):
        raise UserError(f'{path}: it must have [sources] with lines such as relations = "relations".')
    return {
        name: Path(value) if "/" in value else folder / value / "model-best"
        for name, value in sources.items()
    }


def origins(sources: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Where each component comes from, with a hash that shows later whether it has changed."""
    return {name: {"path": path.as_posix(), "sha256": hash_path(path)} for name, path in sources.items()}


def gather(sources: Mapping[str, Path], entities: Collection[str] | None = None) -> Parts:
    """Load the components that exist; there may be none, as a scheme may have spans alone.

    Args:
        entities: labels that the pipeline predicts. Components that read other entities are left out. None
            keeps all.

    Raises:
        UserError: a pipeline lacks the component of its name.
    """
    parts = Parts()
    for name, path in sources.items():
        if not path.exists():
            parts.missing[name] = f"{path} isn't there"
            continue
        nlp = load(path, component=name)
        read = nlp.get_pipe(name).cfg["labels"] if name in READ_ENTITIES else []
        if read and entities is not None and not {*read} & {*entities}:
            parts.missing[name] = f"it reads {', '.join(read)}, which the pipeline doesn't find"
        else:
            parts.pipelines[name] = nlp
    return parts


def assemble(base: Language, parts: Mapping[str, Language]) -> Language:
    """Add a component of each of `parts` to `base`, which is changed.

    A component that listens to a token encoder keeps listening if `base` has the same encoder; otherwise it
    gets a copy of its own.

    Raises:
        UserError: static vectors that differ from those of `base`.
    """
    for name, other in parts.items():
        if other.vocab.vectors.shape[0] and other.vocab.vectors.to_bytes() != base.vocab.vectors.to_bytes():
            raise UserError(
                f"{name} was trained with other static vectors than the rest; train all with the same ones."
            )
        for upstream in upstreams(other, name):
            if not is_same(base, other, upstream):
                other.replace_listeners(upstream, name, listener_paths(other, name))
        base.add_pipe(name, source=other)
    return base


def upstreams(nlp: Language, name: str) -> list[str]:
    """The components whose token vectors a component of `nlp` listens to."""
    return [
        other for other, component in nlp.pipeline if name in getattr(component, "listening_components", ())
    ]


def listener_paths(nlp: Language, name: str) -> list[str]:
    """Dotted names of the listeners in a component's config."""

    def walk(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            if "Listener" in str(node.get("@architectures", "")):
                yield path
            for key, value in node.items():
                yield from walk(value, f"{path}.{key}")

    return list(walk(nlp.get_pipe_config(name)["model"], "model"))


def is_same(base: Language, other: Language, name: str) -> bool:
    """Whether both pipelines have the same weights in a component of that name."""
    return (
        name in base.pipe_names
        and base.get_pipe(name).model.to_bytes() == other.get_pipe(name).model.to_bytes()
    )


def entities(nlp: Language, records: Sequence[Record]) -> list[Record]:
    """The texts with the spans that a pipeline predicts."""
    return [
        Record(text=record.text, spans=from_doc(doc).spans)
        for record, doc in zip(records, nlp.pipe(record.text for record in records), strict=True)
    ]


def answers(doc: Doc) -> dict[str, Any]:
    """All that a pipeline may predict for a text, by kind."""
    record = pipeline_record(doc)
    return {
        "entities": [(span.start, span.end, span.label) for span in record.spans],
        "links": [getattr(span, "kb_id", "") for span in record.spans],
        "money": [getattr(span, "money", None) for span in record.spans],
        "categories": record.cats,
        "relations": {(r.head, r.child, r.label): r.score for r in record.relations},
    }


# The kind of answer of each component.
KINDS = {"relations": "relations", "textcat": "categories", "linker": "links", "money": "money"}


def changed(
    before: Language, parts: Mapping[str, Language], after: Language, records: Sequence[Record]
) -> dict[str, int]:
    """On how many texts each component has other answers in the assembled pipeline than alone.

    Alone means on the entities that `before` predicts. Probabilities may differ by `TOLERANCE`.
    """
    predicted = entities(before, records)
    whole = [answers(doc) for doc in after.pipe(record.text for record in records)]
    wanted = [[(s.start, s.end, s.label) for s in record.spans] for record in predicted]
    result = {"ner": sum(one != other["entities"] for one, other in zip(wanted, whole, strict=True))}
    for name, nlp in parts.items():
        alone = map(answers, nlp.pipe(entities_doc(record, nlp) for record in predicted))
        kinds = [KINDS[name]] if name in KINDS else list(KINDS.values())
        result[name] = sum(
            any(not alike(one[kind], other[kind]) for kind in kinds)
            for one, other in zip(alone, whole, strict=True)
        )
    return result


def alike(one: Any, other: Any) -> bool:
    """Equal, numbers in dicts within `TOLERANCE`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= TOLERANCE
    return one == other
