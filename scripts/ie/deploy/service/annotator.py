"""The pipeline of the service: which one is served, loading it, and its answers as lines of JSON."""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc

from ie.core.errors import UserError
from ie.core.files import hash_path
from ie.core.pipelines import load_pipeline, pipeline_exists
from ie.core.text import one_line
from ie.data.docs import pipeline_record
from ie.data.records import Record
from ie.deploy.watch.counters import KnownTexts
from ie.evaluation import rules_and_model

COMPONENTS = ("categories", "crf", "linker", "money", "relations", "span_classifier")
ASSEMBLED = "pipeline"  # folder of the assembled pipeline
# Further digits of a score depend on the batch that a text was in.
DIGITS = 4
TRIAL = "A pipeline that can read this is ready."


def choose(model: str, training: Path, train_on: str) -> tuple[str, str]:
    """The pipeline to serve, a folder or the name of an installed package, and a warning ("" for none).

    Args:
        model: either of them; "" for the assembled pipeline of `training` or, without one, the shipped one.

    Raises:
        UserError: there is none.
    """
    if model:
        if pipeline_exists(model):
            return model, ""
        raise UserError(
            f"{model}: is neither the folder of a pipeline nor an installed package; correct "
            "--vars.serve_model, or install the wheel of `weasel run package-pipeline` with pip."
        )
    assembled = training / ASSEMBLED / "model-best"
    ner = rules_and_model.folder_of(training, train_on) / "model-best"
    if pipeline_exists(assembled):
        # Its components fit together, so it still works as well as before.
        changed = ", ".join(changed_sources(assembled, ner))
        warning = (
            f"{assembled}: its sources have changed since it was assembled ({changed}), and it is served "
            "as it is; run `weasel run assemble`, or name what to serve with --vars.serve_model."
        )
        return str(assembled), warning if changed else ""
    if pipeline_exists(ner):
        return str(ner), ""
    raise UserError(
        f"{training}: there is no trained pipeline; run `weasel run all` first, or name a folder or an "
        "installed package with --vars.serve_model."
    )


def packaged_name(chosen: str, name: str) -> str:
    """The name of the package that a trained pipeline becomes, as `package` and `package-pipeline` give it.

    Args:
        chosen: the folder, as `choose` found it.
        name: of the entity recogniser's package, with its language; "" for none.
    """
    assembled = Path(chosen).parent.name == ASSEMBLED
    return f"{name}_pipeline" if name and assembled else name


def changed_sources(assembled: Path, ner: Path) -> list[str]:
    """The components of an assembled pipeline whose sources have changed since, by its assemble.json.

    Modification times can't be used, as git and DVC set them to that of the checkout. Missing sources are
    ignored.

    Args:
        ner: where the entity recogniser would come from now.
    """
    try:
        sources = json.loads((assembled.parent / "assemble.json").read_text(encoding="utf-8"))["sources"]
    except (OSError, ValueError, KeyError):  # of an earlier version
        return []
    now = {name: ner if name == "ner" else Path(source["path"]) for name, source in sources.items()}
    return [
        name for name, path in now.items() if path.exists() and hash_path(path) != sources[name]["sha256"]
    ]


def load(model: str) -> Language:
    """The pipeline.

    Raises:
        UserError: it can't be loaded.
    """
    if (Path(model) / "meta.json").is_file():
        # A package contains the code of its components; a folder needs ours.
        for name in COMPONENTS:
            import_module(f"components.{name}")
    return load_pipeline(model, "train it again")


def bound(nlp: Language, entities: int) -> Language:
    """Make texts with more entities fail before relations are predicted."""
    if "relations" in nlp.pipe_names:
        nlp.add_pipe("few_entities", before="relations", config={"most": entities})
    return nlp


@Language.factory("few_entities")
def create_few_entities(nlp: Language, name: str, most: int) -> Callable[[Doc], Doc]:
    """A component that fails on a text with more than `most` entities."""

    def few_entities(doc: Doc) -> Doc:
        if len(doc.ents) > most:
            raise ValueError(f"more than {most} entities")
        return doc

    return few_entities


def record_of(doc: Doc) -> Record:
    """The annotation of a text."""
    record = pipeline_record(doc)
    if record.cats:
        record.cats = {label: round(score, DIGITS) for label, score in record.cats.items()}
    return record


def line_of(doc: Doc) -> str:
    """The annotation of a text, as a line of JSON."""
    return record_of(doc).to_line()


def at_least(line: str, confidence: float) -> str:
    """A line without the spans that are less sure or have no confidence, and without their relations."""
    record = Record.model_validate_json(line)
    sure = [(getattr(span, "confidence", None) or 0.0) >= confidence for span in record.spans]
    number = {i: n for n, i in enumerate(i for i, kept in enumerate(sure) if kept)}
    record.spans = [record.spans[i] for i in number]
    record.relations = [
        relation.model_copy(update={"head": number[relation.head], "child": number[relation.child]})
        for relation in record.relations
        if relation.head in number and relation.child in number
    ]
    return record.to_line()


class Annotator:
    """Annotates texts as lines of JSON. Not thread-safe.

    spaCy keeps every new word unless it works in a memory zone, which forgets its words at the end. A zone
    doesn't fill the tokenizer's cache, so the first texts are read outside one. Each word of a zone still
    leaves some bytes in the vocabulary's hash table, so the pipeline is loaded again after many words.

    Args:
        load: loads the pipeline.
        warm_texts: number of texts whose words are kept.
        new_words: number of new words after which the pipeline is loaded again.
        known: if the texts are measured for `watch`.
    """

    def __init__(
        self, load: Callable[[], Language], warm_texts: int, new_words: int, known: KnownTexts | None = None
    ) -> None:
        self._load, self._warm_texts, self._new_words = load, warm_texts, new_words
        self._known = known
        self._values: list[dict[str, float] | None] = []
        self._begin()
        # In a batch, spaCy's classifier gives a text without tokens another score.
        self._empty = line_of(self.nlp(""))

    def _begin(self) -> None:
        self.nlp = self._load()
        self._cold = self._warm_texts
        self._words = len(self.nlp.vocab)

    def __call__(self, texts: Sequence[str]) -> list[str | None]:
        """One line per text; None for texts on which the pipeline fails."""
        try:
            return self._annotate(texts)
        except Exception:  # any component may raise anything: find out which text it is
            if len(texts) == 1:
                return [None]
            return [line for text in texts for line in self([text])]

    def measured(self) -> list[dict[str, float] | None]:
        """The measures of the texts since the last call."""
        values, self._values = self._values, []
        return values

    def _annotate(self, texts: Sequence[str]) -> list[str | None]:
        if len(self.nlp.vocab) - self._words > self._new_words:  # forgotten ones count
            try:
                self._begin()
            except UserError:  # its files are gone: keep the one in memory
                self._words = len(self.nlp.vocab)
        filled = [text for text in texts if text]
        with self.nlp.memory_zone() if self._cold <= 0 else nullcontext():
            self._cold -= len(filled)
            docs = self.nlp.pipe(filled, batch_size=max(1, len(filled)))
            found = [record_of(doc) for doc in docs]
        if self._known:
            self._values += [self._known.values(record) for record in found]
        lines = [record.to_line() for record in found]
        remaining = iter(lines)
        return [next(remaining) if text else self._empty for text in texts]


def start(
    model: str, corpus: Path | None, entities: int, warm_texts: int, new_words: int
) -> tuple[Annotator, dict[str, str]]:
    """The annotator of a pipeline, which has read a text, and the pipeline's name, version and components.

    Args:
        corpus: folder of the split, if the texts are measured for `watch`.

    Raises:
        UserError: it can't be loaded, or fails.
    """
    known = KnownTexts.read(corpus) if corpus else None
    annotator = Annotator(lambda: bound(load(model), entities), warm_texts, new_words, known)
    try:
        list(annotator.nlp.pipe([TRIAL]))
    except Exception as error:
        raise UserError(f"{model}: fails on a text ({one_line(error, 300)}); train it again.") from None
    nlp = annotator.nlp
    meta, components = nlp.meta, [name for name in nlp.pipe_names if name != "few_entities"]
    return annotator, {
        "name": f"{meta['lang']}_{meta['name']}",
        "version": meta["version"],
        "components": ", ".join(components),
    }
