"""The pipeline behind the service: found, loaded, tried, and its answers as lines of JSON."""

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

COMPONENTS = ("linker", "money", "relations")
ASSEMBLED = "pipeline"  # the folder with the assembled one
# Of scores: texts worked on in other batches differ behind these.
DIGITS = 4
TRIED = "A pipeline that can read this is ready."


def choose(model: str, training: Path, train_on: str) -> tuple[str, str]:
    """The pipeline to serve, a folder or the name of an installed package; and a warning, "" for none.

    Args:
        model: either of them; "" for the assembled pipeline of `training` or, without one, its entity
            recogniser.

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
    assembled, ner = training / ASSEMBLED / "model-best", training / train_on / "model-best"
    if pipeline_exists(assembled):
        # All that is in it fits together, so it is as good as it was: no reason to serve nothing.
        changed = ", ".join(overtaken(assembled, ner))
        warning = (
            f"{assembled}: was assembled of other components than there are now ({changed}), and is served "
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


def overtaken(assembled: Path, ner: Path) -> list[str]:
    """The components of an assembled pipeline whose sources have changed since, by its assemble.json.

    Times would tell nothing: git and DVC give files that of the checkout. A source that isn't here tells
    nothing either.

    Args:
        ner: where the entity recogniser would come from now.
    """
    try:
        told = json.loads((assembled.parent / "assemble.json").read_text(encoding="utf-8"))["sources"]
    except (OSError, ValueError, KeyError):  # of an earlier version
        return []
    now = {name: ner if name == "ner" else Path(source["path"]) for name, source in told.items()}
    return [name for name, path in now.items() if path.exists() and hash_path(path) != told[name]["sha256"]]


def load(model: str) -> Language:
    """The pipeline.

    Raises:
        UserError: it can't be loaded.
    """
    if (Path(model) / "meta.json").is_file():
        # A package brings the code of its components along; a folder needs ours.
        for name in COMPONENTS:
            import_module(f"components.{name}")
    return load_pipeline(model, "make it again")


def bound(nlp: Language, entities: int) -> Language:
    """Let a text with more entities fail before relations are looked for in it."""
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


def line_of(doc: Doc) -> str:
    """All that the pipeline says of a text, as a line of JSON."""
    record = pipeline_record(doc)
    if record.cats:
        record.cats = {label: round(score, DIGITS) for label, score in record.cats.items()}
    return record.to_line()


class Annotator:
    """Answers texts with lines of JSON; for one thread at a time.

    spaCy keeps each new word for good unless it works in a memory zone, whose words are forgotten at its end.
    A zone doesn't fill the tokenizer's cache, so the most usual words are better known before. It also leaves
    some bytes for each word in the vocabulary's hash table: after many the pipeline is loaded anew.

    Args:
        load: makes the pipeline.
        warm_texts: of so many texts the words are remembered.
        new_words: after so many the pipeline is loaded anew.
    """

    def __init__(self, load: Callable[[], Language], warm_texts: int, new_words: int) -> None:
        self._load, self._warm_texts, self._new_words = load, warm_texts, new_words
        self._begin()
        # spaCy's classifier says something else of a text without tokens when it comes with others
        self._empty = line_of(self.nlp(""))

    def _begin(self) -> None:
        self.nlp = self._load()
        self._cold = self._warm_texts
        self._words = len(self.nlp.vocab)

    def __call__(self, texts: Sequence[str]) -> list[str | None]:
        """A record for each text, as a line; None for one that the pipeline can't take."""
        try:
            return self._annotate(texts)
        except Exception:  # one of them broke a component; the others shall not suffer
            if len(texts) == 1:
                return [None]
            return [line for text in texts for line in self([text])]

    def _annotate(self, texts: Sequence[str]) -> list[str | None]:
        if len(self.nlp.vocab) - self._words > self._new_words:  # forgotten ones count, too
            try:
                self._begin()
            except UserError:  # its files are gone: what is in memory goes on
                self._words = len(self.nlp.vocab)
        filled = [text for text in texts if text]
        with self.nlp.memory_zone() if self._cold <= 0 else nullcontext():
            self._cold -= len(filled)
            docs = self.nlp.pipe(filled, batch_size=max(1, len(filled)))
            lines = list(map(line_of, docs))
        found = iter(lines)
        return [next(found) if text else self._empty for text in texts]


def start(model: str, entities: int, warm_texts: int, new_words: int) -> tuple[Annotator, dict[str, str]]:
    """The annotator of a pipeline, tried, and the pipeline's name, version and components.

    Raises:
        UserError: it can't be loaded, or fails.
    """
    made = Annotator(lambda: bound(load(model), entities), warm_texts, new_words)
    try:
        list(made.nlp.pipe([TRIED]))
    except Exception as error:
        raise UserError(f"{model}: fails on a text ({one_line(error, 300)}); train it again.") from None
    meta, components = made.nlp.meta, [name for name in made.nlp.pipe_names if name != "few_entities"]
    return made, {
        "name": f"{meta['lang']}_{meta['name']}",
        "version": meta["version"],
        "components": ", ".join(components),
    }
