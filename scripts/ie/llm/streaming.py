"""Texts through a pipeline without a pause between batches."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import tee

from spacy.language import Language
from spacy.tokens import Doc
from spacy_llm.pipeline import LLMWrapper
from spacy_llm.ty import supports_sharding

from ie.llm.executor import Model


def pipe(nlp: Language, docs: Iterable[Doc], batch_size: int | None = None) -> Iterator[Doc]:
    """Like `nlp.pipe` over documents, in order, with as many requests in flight as allowed at any time.

    spacy-llm takes a batch, waits for its last answer, reads all answers and only then starts the next batch,
    while the endpoint is idle. Here answers are read while others are in flight. Other components than llm
    components with our models get batches as usual.
    """
    stream = iter(docs)
    for _, component in nlp.pipeline:
        if isinstance(component, LLMWrapper) and isinstance(component._model, Model):
            stream = _ask(component, stream)
        elif hasattr(component, "pipe"):
            stream = component.pipe(stream, batch_size=batch_size or nlp.batch_size)
        else:
            stream = _apply(component, stream)
    return stream


def _apply(component: Callable[[Doc], Doc], docs: Iterator[Doc]) -> Iterator[Doc]:
    for doc in docs:
        yield component(doc)


def _ask(component: LLMWrapper, docs: Iterator[Doc]) -> Iterator[Doc]:
    task, model = component._task, component._model
    sharding = supports_sharding(task)
    to_prompt, to_annotate = tee(docs)
    waiting: deque[tuple[Doc, object]] = deque()

    def prompts() -> Iterator[Iterable[str]]:
        items = (
            task.generate_prompts(to_prompt, model.context_length)
            if sharding
            else task.generate_prompts(to_prompt)
        )
        for item in items:
            doc = next(to_annotate)
            doc_prompts, shards = item if sharding else ([item], doc)
            waiting.append((doc, shards))
            yield doc_prompts

    # For each document, once its answers are there: the document, its shards, its answers.
    originals, shards, answers = tee(((*waiting.popleft(), answered) for answered in model(prompts())), 3)
    parsed = task.parse_responses((s for _, s, _ in shards), (a for _, _, a in answers))
    for (original, *_), doc in zip(originals, parsed, strict=True):
        if doc is not original:
            # A task that puts shards together makes a new document.
            doc.user_data = {**original.user_data, **doc.user_data}
            doc._context = original._context
        yield doc
