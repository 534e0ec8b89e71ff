"""Faults to put into a healthy project, one at a time, to see whether the diagnosis names them."""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import spacy
from spacy.tokens import Doc, DocBin
from spacy.tokens import Span as DocSpan
from thinc.api import Model

from ie.data import splits
from ie.data.records import Record, Span
from ie.diagnosis.findings import SPLITS, ProjectData, to_docbin

# Share of the texts or spans that a fault affects.
LEAKED = 0.3
MISSING = 0.3


@spacy.registry.architectures("ie.Frozen.v1")
def create_frozen(embed: Model) -> Model:
    """A layer that passes on what it computes but no gradient: a mistake in the code of a model."""

    def forward(model: Model, rows: list, is_train: bool) -> tuple[list, Callable]:
        answers, _ = model.layers[0](rows, is_train)
        return answers, lambda gradient: []

    def initialise(model: Model, X: list | None = None, Y: list | None = None) -> None:
        model.layers[0].initialize(X=X, Y=Y)

    return Model("frozen", forward, init=initialise, layers=[embed], dims={"nO": embed.maybe_get_dim("nO")})


@dataclass(frozen=True)
class InjectedFault:
    """A change of a project, and the finding that must be named first.

    `inject` takes the project, another one of another domain, and a random generator.
    """

    name: str
    finding: str
    inject: Callable[[ProjectData, ProjectData, np.random.Generator], ProjectData]


def all_faults() -> list[InjectedFault]:
    """All faults of the benchmark, in its order."""
    return [
        InjectedFault("labels shifted by one token", "shifted", shifted),
        InjectedFault("labels shuffled: places", "places", shuffled_places),
        InjectedFault("labels shuffled: types", "types", shuffled_types),
        InjectedFault("learning rate 0", "learning-rate", setting("training.optimizer.learn_rate", 0.0)),
        InjectedFault(
            "learning rate 100 times too high", "learning-rate", setting("training.optimizer.learn_rate", 0.1)
        ),
        InjectedFault("frozen embedding layer", "weights", frozen),
        InjectedFault(
            "gradient clipping to nothing", "clipping", setting("training.optimizer.grad_clip", 1e-12)
        ),
        InjectedFault("test leaked into train", "leak", leaked),
        InjectedFault("near-duplicates across splits", "near-leak", near_duplicates),
        InjectedFault("annotations swapped between two labels", "swapped", swapped),
        InjectedFault("30 % of spans missing", "missing", missing),
        InjectedFault("offsets computed on another encoding", "encoding", encoded),
        InjectedFault("all-negative training data", "no-annotation", negative),
        InjectedFault("one label absent in train", "labels", absent),
        InjectedFault("tokenizer mismatch", "tokenizer", other_tokenizer),
        InjectedFault("dev drawn from another domain", "drift", other_domain),
    ]


def changed(project: ProjectData, **texts: Sequence[Record]) -> ProjectData:
    """The project with other records in some splits, and .spacy files to match."""
    found = replace(
        project, texts=project.texts | {side: list(rows) for side, rows in texts.items()}, bins={}
    )
    found.bins = {side: to_docbin(found[side], found.nlp) for side in SPLITS}
    return found


def healthy(project: ProjectData) -> ProjectData:
    """The project as it is, with its .spacy files."""
    return changed(project)


def _with_spans(record: Record, spans: list[Span]) -> Record:
    return Record(text=record.text, spans=spans, meta=record.meta)


def setting(
    name: str, value: float
) -> Callable[[ProjectData, ProjectData, np.random.Generator], ProjectData]:
    """A setting of the config, changed."""

    def inject(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
        return replace(changed(project), overrides=project.overrides | {name: value})

    return inject


def frozen(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    found = changed(project)
    config = spacy.util.load_config(project.config, interpolate=False)
    embed = copy.deepcopy(config["components"]["tok2vec"]["model"]["embed"])
    override = {"components.tok2vec.model.embed": {"@architectures": "ie.Frozen.v1", "embed": embed}}
    return replace(found, overrides=project.overrides | override)


def shifted(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    def shift(record: Record) -> Record:
        doc = project.nlp.make_doc(record.text)
        spans = []
        for span in record.spans:
            here = doc.char_span(span.start, span.end)
            if here is not None and here.end < len(doc):
                moved = doc[here.start + 1 : here.end + 1]
                spans.append(Span(start=moved.start_char, end=moved.end_char, label=span.label))
        return _with_spans(record, spans)

    return changed(project, train=[shift(record) for record in project["train"]])


def shuffled_places(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    def move(record: Record) -> Record:
        doc = project.nlp.make_doc(record.text)
        free, spans = np.ones(len(doc), dtype=bool), []
        for span in record.spans:
            here = doc.char_span(span.start, span.end)
            size = len(here) if here is not None else 1
            starts = [i for i in range(len(doc) - size + 1) if free[i : i + size].all()]
            if starts:
                start = int(rng.choice(starts))
                free[start : start + size] = False
                new = doc[start : start + size]
                spans.append(Span(start=new.start_char, end=new.end_char, label=span.label))
        return _with_spans(record, sorted(spans, key=lambda s: s.start))

    return changed(project, train=[move(record) for record in project["train"]])


def shuffled_types(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    names = [span.label for record in project["train"] for span in record.spans]
    order = iter(rng.permutation(len(names)).tolist())
    return changed(
        project,
        train=[
            _with_spans(r, [Span(start=s.start, end=s.end, label=names[next(order)]) for s in r.spans])
            for r in project["train"]
        ],
    )


def leaked(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    test = project["test"]
    some = rng.choice(len(test), int(LEAKED * len(test)), replace=False)
    return changed(project, train=[*project["train"], *(test[i] for i in sorted(some.tolist()))])


def near_duplicates(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    """Copies of long enough test texts with another last word."""
    copies = []
    for record in project["test"]:
        words = splits.normalise(record.text)
        last = record.text.rstrip(".!?")
        cut = last.rfind(" ") + 1
        if len(words) < 16 or any(span.end > cut for span in record.spans):
            continue
        copies.append(Record(text=record.text[:cut] + "yesterday.", spans=record.spans, meta=record.meta))
    some = rng.choice(len(copies), min(len(copies), int(LEAKED * len(project["test"]))), replace=False)
    return changed(project, train=[*project["train"], *(copies[i] for i in sorted(some.tolist()))])


def swapped(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    """The two labels with most spans, exchanged in train."""
    counts = Counter(span.label for record in project["train"] for span in record.spans)
    (one, _), (two, _) = counts.most_common(2)
    names = {one: two, two: one}
    return changed(
        project,
        train=[
            _with_spans(
                r, [Span(start=s.start, end=s.end, label=names.get(s.label, s.label)) for s in r.spans]
            )
            for r in project["train"]
        ],
    )


def missing(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    return changed(
        project,
        train=[_with_spans(r, [s for s in r.spans if rng.random() >= MISSING]) for r in project["train"]],
    )


def encoded(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    """Offsets in bytes of UTF-8, everywhere: a tool that exports them so does it for all texts."""

    def convert(record: Record) -> Record:
        size = [len(record.text[:i].encode()) for i in range(len(record.text) + 1)]
        spans = [Span(start=size[s.start], end=size[s.end], label=s.label) for s in record.spans]
        return _with_spans(record, spans)

    return changed(project, **{side: [convert(record) for record in project[side]] for side in SPLITS})


def negative(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    return changed(project, train=[_with_spans(record, []) for record in project["train"]])


def absent(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    """The second most frequent label lost in train."""
    counts = Counter(span.label for record in project["train"] for span in record.spans)
    gone = counts.most_common(2)[-1][0]
    return changed(
        project, train=[_with_spans(r, [s for s in r.spans if s.label != gone]) for r in project["train"]]
    )


def other_tokenizer(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    """The .spacy files split at spaces only, with spans widened to such tokens."""
    found = changed(project)
    vocab = found.nlp.vocab

    def cut(record: Record) -> Doc:
        words = record.text.split(" ")
        doc = Doc(
            vocab, [word for word in words if word], [True] * (len([w for w in words if w]) - 1) + [False]
        )
        taken = np.zeros(len(doc), dtype=bool)
        ents = []
        for span in record.spans:
            ent = doc.char_span(span.start, span.end, label=span.label, alignment_mode="expand")
            if ent is not None and not taken[ent.start : ent.end].any():
                taken[ent.start : ent.end] = True
                ents.append(DocSpan(doc, ent.start, ent.end, label=span.label))
        doc.set_ents(ents, default="outside")
        return doc

    for side in SPLITS:
        docs = [cut(record) for record in found[side]]
        found.bins[side] = DocBin(attrs=["ENT_IOB", "ENT_TYPE"], store_user_data=False, docs=docs)
    return found


def other_domain(project: ProjectData, other: ProjectData, rng: np.random.Generator) -> ProjectData:
    return changed(project, dev=other["dev"])
