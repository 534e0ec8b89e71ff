"""Prompts and answers of the spacy-llm tasks `ie.Spans.v1`, `ie.Relations.v1` and `ie.Categories.v1`.

All three work the same way. A task asks for fields: a field has a name and any number of values. A prompt
shows examples with their values, then the text, and the model continues with the values. The config sets:

- `form`: "joint" asks for all fields in one prompt; "one-label" asks for each field in its own prompt
  (slide 80: keep tasks small).
- `answer`: "lines" is `Field: value | value`, one line per field, which the smallest models can do; "json" is
  an object of lists, with a JSON schema for models that support it.
- `template`: a Jinja file; see `configs/prompts`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Iterable, Literal, Tuple  # noqa: UP035 (spacy-llm compares them by name)

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from spacy.pipeline import Sentencizer
from spacy.tokens import Doc
from spacy_llm.registry import registry

from components.span_classifier import annotated_spans, set_spans
from ie.core.errors import UserError
from ie.core.files import read_text
from ie.data.records import Record
from ie.llm import answer_format, grounding
from ie.llm.examples import FewShotExamples
from ie.llm.grounding import Dropped, Grounded, ground
from ie.llm.types import Answer, Prompt, estimate_tokens

Form = Literal["joint", "one-label"]
AnswerFormat = Literal["lines", "json"]

# Stands for the text while the shared part of a prompt is rendered; `one_line` removes it from examples.
TEXT = "\x00"
BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
ARROW = re.compile(r"\s*(?:[-=–—]*>|→)\s*")
# Tokens of the model: a reserve, the minimum for a text, and how many one of spaCy's tokens may take.
MARGIN, MIN_ROOM, TOKENS_PER_WORD = 32, 64, 3

if not Doc.has_extension("llm"):
    Doc.set_extension("llm", default=None)


def trace(doc: Doc) -> dict[str, Any]:
    """What the tasks recorded on a document, besides its spans and `cats`.

    Keys: `calls` (one `Answer` each), `spans` (`grounding.Grounded`), `relations` (head, child, label),
    `dropped` (`grounding.Dropped`), `errors` (short reasons).
    """
    if doc._.llm is None:
        doc._.llm = {"calls": [], "spans": [], "relations": [], "dropped": [], "errors": []}
    return doc._.llm


class Task(ABC):
    """Prompts and answers of one kind of annotation; a sharding task for spacy-llm.

    Args:
        labels: of the scheme.
        label_definitions: what each label means, for templates that show it.
        label_names: names of fields in prompts; small models do better with a common word than with a label.
        form, answer, template: see the module.
        instruction: first lines of the prompt.
        examples: makes the `FewShotExamples` at the first prompt; None for none.
        separator: between the values of a line.
        empty: the line of a field without values.
        max_tokens: of an answer, per field.
        max_words: longer texts are split at sentence ends, and further if the model's context is shorter.
    """

    def __init__(
        self,
        *,
        labels: Sequence[str],
        label_definitions: dict[str, str],
        label_names: dict[str, str],
        form: Form,
        answer: AnswerFormat,
        template: str,
        instruction: str,
        examples: Callable[[], FewShotExamples] | None,
        separator: str,
        empty: str,
        max_tokens: int,
        max_words: int,
    ) -> None:
        self._labels = tuple(labels)
        self.definitions = label_definitions
        self.names = {label: label_names.get(label, label) for label in self.fields}
        self.form = form
        self.answer = answer
        self.template_path = template
        self.template = _load_template(template)
        self.instruction = instruction
        self.separator = separator
        self.empty = empty
        self.max_tokens = max_tokens
        self.max_words = max_words
        self._make_shots = examples
        self._shots: FewShotExamples | None = None
        self._rendered: dict[tuple[str, ...], tuple[str, str]] = {}
        self._check_settings(label_names)

    # What each kind of annotation defines

    @property
    def fields(self) -> tuple[str, ...]:
        """What is asked for: the labels, unless overridden."""
        return self._labels

    @abstractmethod
    def values(self, record: Record, field: str) -> list[str]:
        """The values of a field in an example."""

    @abstractmethod
    def apply(self, doc: Doc, part: tuple[int, int], pairs: list[tuple[str, str]]) -> None:
        """Set the (field, value) pairs about the tokens of `part` on the document."""

    def finish(self, doc: Doc) -> None:  # noqa: B027 (nothing to do is fine)
        """After the last part of a document."""

    def applies(self, doc: Doc) -> bool:
        """Whether there is anything to ask about the document."""
        return True

    def choices(self) -> list[str] | None:
        """The only values a field can have, or None for any."""
        return None

    @property
    def value_form(self) -> str:
        """How a value is composed of pieces of the text; "" if it is one piece."""
        return ""

    def _check_settings(self, names: dict[str, str]) -> None:
        labels = self._labels
        if not labels or len(set(labels)) < len(labels):
            raise UserError(f"labels = {list(labels)}: a task needs one or more of them, each once.")
        if unknown := [label for label in (*self.definitions, *names) if label not in labels]:
            raise UserError(
                f"The task defines or names {unknown[0]!r}, which isn't one of its labels "
                f"({', '.join(labels)})."
            )
        shown = [names.get(label, label) for label in labels]
        if bad := [name for name in shown if not name.strip() or name != one_line(name)]:
            raise UserError(
                f"label_names: {bad[0]!r} must be words on one line, as a line of the prompt begins with it."
            )
        if len({name.casefold() for name in shown}) < len(shown):
            raise UserError(f"label_names: {', '.join(shown)} must differ, to tell the answers apart.")
        if not self.separator.strip():
            raise UserError(f"separator = {self.separator!r} must have a character that isn't whitespace.")
        if self.max_tokens < 1 or self.max_words < 1:
            raise UserError(
                f"max_tokens = {self.max_tokens} and max_words = {self.max_words} must be 1 or more."
            )

    # spacy-llm's protocol

    @property
    def labels(self) -> Tuple[str, ...]:  # noqa: UP006
        """Labels of the scheme."""
        return self._labels

    def generate_prompts(
        self, docs: Iterable[Doc], context_length: int | None = None
    ) -> Iterable[Tuple[Iterable[Any], Iterable[Doc]]]:  # noqa: UP006
        """One prompt per part of a text and group of fields."""
        for doc in docs:
            prompts = []
            if doc.text.strip() and self.applies(doc):
                trace(doc)["parts"] = parts = self._parts(doc, context_length)
                prompts = [self._prompt(doc, part, group) for part in parts for group in self.groups]
            yield prompts, [doc] * max(1, len(prompts))

    def parse_responses(
        self, shards: Iterable[Iterable[Doc]], responses: Iterable[Iterable[Any]]
    ) -> Iterable[Doc]:
        """Read the answers and annotate the documents."""
        for docs, replies in zip(shards, responses, strict=True):
            doc = next(iter(docs))
            if replies := [reply if isinstance(reply, Answer) else Answer(reply) for reply in replies]:
                self._read(doc, replies)
            yield doc

    def _read(self, doc: Doc, replies: list[Answer]) -> None:
        notes = trace(doc)
        parts = notes.pop("parts")
        questions = [(part, group) for part in parts for group in self.groups]
        for (part, group), reply in zip(questions, replies, strict=True):
            notes["calls"].append(reply)
            if reply.fault:
                notes["errors"].append(reply.fault)
            if reply.error and not reply:
                continue
            # The pieces of an unreadable answer are recorded as dropped.
            pairs, malformed = answer_format.parse(reply, *self._form(group))
            notes["dropped"] += [Dropped("", text, "malformed answer") for text in malformed]
            self.apply(doc, part, pairs)
        self.finish(doc)

    def _form(self, group: tuple[str, ...]) -> tuple[dict[str, str], AnswerFormat, str, str]:
        """How an answer is read: arguments of `answer_format.parse`."""
        return {self.names[field]: field for field in group}, self.answer, self.separator, self.empty

    def _is_readable(self, group: tuple[str, ...], answer: str) -> bool:
        return answer_format.is_readable(answer, *self._form(group))

    # Prompts

    @property
    def shots(self) -> FewShotExamples:
        """The examples, read when first needed."""
        if self._shots is None:
            self._shots = self._make_shots() if self._make_shots else FewShotExamples([])
        return self._shots

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """The fields of each prompt."""
        return [self.fields] if self.form == "joint" else [(field,) for field in self.fields]

    def _prompt(self, doc: Doc, part: tuple[int, int], group: tuple[str, ...]) -> Prompt:
        text = one_line(doc[part[0] : part[1]].text)
        before, after = self._around(text, group)
        names = [self.names[field] for field in group]
        lines = self.answer == "lines"
        return Prompt(
            before + text + after,
            prefix=len(before) if self.shots.select == "fixed" else 0,
            # A block ends with an empty line, a single line with its end.
            stop=(("\n",) if len(group) == 1 else ("\n\n",)) if lines else (),
            max_tokens=self.max_tokens * len(group),
            schema=None if lines else answer_format.schema(names, self.choices(), self.value_form),
            group="+".join(group),
            readable=partial(self._is_readable, group),
        )

    def shown(self) -> set[str]:
        """Texts of the examples in prompts; with examples per text, of all that may be shown."""
        if self.shots.select != "fixed":
            return {record.text for record in self.shots.records}
        return {record.text for group in self.groups for record in self._examples("", tuple(group))}

    def show_only(self, texts: Collection[str]) -> None:
        """Take examples from these texts only."""
        self._shots = replace(self.shots, records=[r for r in self.shots.records if r.text in texts])
        self._rendered.clear()

    def pin(self, records: Sequence[Record]) -> None:
        """Let prompts show these pinned examples from now on."""
        self._shots = replace(self.shots, records=records, pinned=True)
        self._rendered.clear()

    def choose_examples(self, records: Sequence[Record], n: int, group: tuple[str, ...]) -> list[Record]:
        """The examples to pin for the prompts of a group, from reviewed records.

        There are `n` (0: as many as configured), or with examples per text all that may be shown.
        """
        shots = replace(self.shots, records=records, n=n or self.shots.n, pinned=False)
        if shots.select == "similar":
            return shots.pool
        return shots.choose("", lambda record: self._missing(record, group), group)

    def _examples(self, text: str, group: tuple[str, ...]) -> list[Record]:
        return self.shots.choose(text, lambda record: self._missing(record, group), group)

    def _missing(self, record: Record, group: tuple[str, ...]) -> float:
        return sum(not self.values(record, field) for field in group) / len(group)

    def _around(self, text: str, group: tuple[str, ...]) -> tuple[str, str]:
        """The prompt before and after the text; rendered once if it is the same for all texts."""
        if self.shots.select == "fixed" and group in self._rendered:
            return self._rendered[group]
        examples = [
            {
                "text": one_line(record.text),
                **answer_format.example(
                    {self.names[f]: self.values(record, f) for f in group}, self.separator, self.empty
                ),
            }
            for record in self._examples(text, group)
        ]
        fields = [{"name": self.names[f], "definition": self.definitions.get(f, "")} for f in group]
        # The text is inserted afterwards, so that nothing in it counts as part of the template.
        try:
            rendered = self.template.render(
                instruction=self.instruction,
                fields=fields,
                examples=examples,
                choices=self.choices(),
                value_form=self.value_form,
                text=TEXT,
            )
        except (jinja2.TemplateError, TypeError) as error:
            raise UserError(f"{self.template_path}: {error}; correct the template.") from None
        before, separator, after = rendered.rstrip().partition(TEXT)
        if not separator or TEXT in after:
            raise UserError(f"{self.template_path}: the template must contain {{{{ text }}}} exactly once.")
        self._rendered[group] = before, after
        return before, after

    def _parts(self, doc: Doc, context_length: int | None) -> list[tuple[int, int]]:
        """The text in runs of whole sentences that fit a prompt, as (first token, end)."""
        size = self.max_words
        if context_length:
            rest = max(
                estimate_tokens("".join(self._around(doc.text[:1000], group))) + self.max_tokens * len(group)
                for group in self.groups
            )
            room = context_length - rest - MARGIN
            if room < MIN_ROOM:
                raise UserError(
                    f"The prompt without the text takes about {rest} of the model's {context_length} tokens; "
                    "show fewer or shorter examples, or raise context_length."
                )
            size = min(size, room // TOKENS_PER_WORD)
        return split_sentences(doc, size)


def split_sentences(doc: Doc, size: int) -> list[tuple[int, int]]:
    """Split a document into runs of at most `size` tokens, at sentence ends if possible.

    Returns:
        (first token, end) of each run, together covering all tokens.
    """
    if len(doc) <= size:
        return [(0, len(doc))]
    if not doc.has_annotation("SENT_START"):
        Sentencizer()(doc)
    parts: list[tuple[int, int]] = []
    start = 0
    for sentence in doc.sents:
        if sentence.end - start > size and sentence.start > start:
            parts.append((start, sentence.start))
            start = sentence.start
        while sentence.end - start > size:  # a sentence longer than a run
            parts.append((start, start + size))
            start += size
    if start < len(doc):
        parts.append((start, len(doc)))
    return parts


def one_line(text: str) -> str:
    """The text with whitespace and control characters folded to single spaces, so that it is one line."""
    return " ".join(BLANKS.sub(" ", text).split())


def _load_template(path: str) -> jinja2.Template:
    # Prompts are plain text, so nothing is escaped. The sandbox is for templates from elsewhere.
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    source = read_text(Path(path), "see configs/prompts for templates")
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: {error.message}; correct the template.") from None


class SpansTask(Task):
    """Spans of the scheme's labels, found in the text by `grounding.ground`."""

    def __init__(self, *, fuzzy: float, overlapping: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self.overlapping = overlapping
        if not 0 <= fuzzy <= 1:
            raise UserError(f"fuzzy = {fuzzy} must be a similarity from 0 to 1 (1 turns it off).")
        self.fuzzy = fuzzy

    def values(self, record: Record, field: str) -> list[str]:
        """The distinct strings of the record's spans, in order."""
        spans = sorted((s for s in record.spans if s.label == field), key=lambda s: s.start)
        return list(dict.fromkeys(one_line(record.text[s.start : s.end]) for s in spans))

    def apply(self, doc: Doc, part: tuple[int, int], pairs: list[tuple[str, str]]) -> None:
        """Collect the values until all fields are there, as spans of different fields may overlap."""
        trace(doc).setdefault("values", {}).setdefault(part, []).extend(pairs)

    def finish(self, doc: Doc) -> None:
        """Ground the answers part by part and set `ents`, or the spans that may overlap."""
        notes = trace(doc)
        spans: list[Grounded] = []
        for (start, end), pairs in notes.pop("values", {}).items():
            whole = start == 0 and end == len(doc)
            grounded, dropped = ground(
                doc if whole else doc[start:end].as_doc(),
                pairs,
                fuzzy=self.fuzzy,
                overlapping=self.overlapping,
            )
            shift = 0 if whole else doc[start].idx
            spans += [replace(s, start=s.start + shift, end=s.end + shift) for s in grounded]
            notes["dropped"] += dropped
        notes["spans"] = spans
        marked = [doc.char_span(s.start, s.end, label=s.label) for s in spans]
        set_spans(doc, marked, overlapping=self.overlapping)


class CategoriesTask(Task):
    """Categories of a text: one field whose values are the scheme's categories."""

    FIELD = "Category"

    def __init__(self, *, exclusive: bool, **settings: Any) -> None:
        super().__init__(**settings)
        self.exclusive = exclusive
        # The definition of the field has those of its values.
        means = [f"{label} ({text})" for label, text in self.definitions.items()]
        self.definitions = {self.FIELD: "; ".join(means)}

    @property
    def fields(self) -> tuple[str, ...]:
        """One field, whose values are the categories."""
        return (self.FIELD,)

    def choices(self) -> list[str]:
        """The categories."""
        return list(self.labels)

    def values(self, record: Record, field: str) -> list[str]:
        """The record's categories, in the scheme's order."""
        return [label for label in self.labels if label in record.categories]

    def apply(self, doc: Doc, part: tuple[int, int], pairs: list[tuple[str, str]]) -> None:
        """Set `cats`. Of exclusive categories the first named one counts, also across the parts of a text."""
        dropped = trace(doc)["dropped"]
        known = {label.casefold(): label for label in self.labels}
        for _, value in pairs:
            label = known.get(grounding.unwrap(value).strip(" .").casefold())
            if label is None:
                dropped.append(Dropped(self.FIELD, value, "no such category"))
            elif self.exclusive and any(doc.cats.get(other) for other in self.labels if other != label):
                dropped.append(Dropped(self.FIELD, value, "another category came first"))
            else:
                doc.cats[label] = 1.0

    def finish(self, doc: Doc) -> None:
        """Categories not named are absent."""
        doc.cats = {**doc.cats, **{label: doc.cats.get(label, 0.0) for label in self.labels}}


class RelationsTask(Task):
    """Relations between the entities a document already has: values `head > child`."""

    @property
    def value_form(self) -> str:
        """Both ends with an arrow between them, where `apply` splits."""
        return '"first > second", both ends'

    def applies(self, doc: Doc) -> bool:
        """A relation needs two entities."""
        return len(annotated_spans(doc)) > 1

    def values(self, record: Record, field: str) -> list[str]:
        """The record's relations with the strings of their spans."""
        texts = [one_line(record.text[span.start : span.end]) for span in record.spans]
        pairs = [(r.head, r.child) for r in record.relations if r.label == field]
        return list(dict.fromkeys(texts[head] + " > " + texts[child] for head, child in sorted(pairs)))

    def apply(self, doc: Doc, part: tuple[int, int], pairs: list[tuple[str, str]]) -> None:
        """Relate the two nearest mentions of the two strings."""
        notes = trace(doc)
        mentions: dict[str, list[int]] = {}
        spans = annotated_spans(doc)
        for number, ent in enumerate(spans):
            if part[0] <= ent.start < part[1]:
                mentions.setdefault(grounding.fold(one_line(ent.text))[0], []).append(number)
        for label, value in pairs:
            ends = [grounding.fold(grounding.unwrap(end))[0] for end in ARROW.split(value)]
            if len(ends) != 2:
                notes["dropped"].append(Dropped(label, value, "malformed answer"))
                continue
            heads, children = (
                mentions.get(end) or mentions.get(end.rstrip(grounding.ENDINGS), []) for end in ends
            )
            candidates = [(head, child) for head in heads for child in children if ends[0] != ends[1]]
            if not candidates:
                notes["dropped"].append(Dropped(label, value, "names no two entities"))
                continue
            head, child = min(candidates, key=lambda p: (abs(spans[p[0]].start - spans[p[1]].start), p))
            if (head, child, label) not in notes["relations"]:
                notes["relations"].append((head, child, label))


@registry.llm_tasks("ie.Spans.v1")
def spans_task(
    labels: list[str],
    label_definitions: dict[str, str] = {},  # noqa: B006 (confection copies defaults)
    label_names: dict[str, str] = {},  # noqa: B006
    form: Form = "joint",
    answer: AnswerFormat = "lines",
    template: str = "configs/prompts/lines.jinja",
    instruction: str = "",
    examples: Callable[[], FewShotExamples] | None = None,
    separator: str = " | ",
    empty: str = "none",
    max_tokens: int = 64,
    max_words: int = 200,
    fuzzy: float = 0.9,
    overlapping: bool = False,
) -> SpansTask:
    """Spans; see `Task` for the arguments and `grounding.ground` for `fuzzy` and `overlapping`."""
    return SpansTask(**locals())


@registry.llm_tasks("ie.Relations.v1")
def relations_task(
    labels: list[str],
    label_definitions: dict[str, str] = {},  # noqa: B006
    label_names: dict[str, str] = {},  # noqa: B006
    form: Form = "joint",
    answer: AnswerFormat = "lines",
    template: str = "configs/prompts/lines.jinja",
    instruction: str = "",
    examples: Callable[[], FewShotExamples] | None = None,
    separator: str = " | ",
    empty: str = "none",
    max_tokens: int = 64,
    max_words: int = 200,
) -> RelationsTask:
    """Relations between the entities found before; see `Task` for the arguments."""
    return RelationsTask(**locals())


@registry.llm_tasks("ie.Categories.v1")
def categories_task(
    labels: list[str],
    label_definitions: dict[str, str] = {},  # noqa: B006
    exclusive: bool = True,
    answer: AnswerFormat = "lines",
    template: str = "configs/prompts/lines.jinja",
    instruction: str = "",
    examples: Callable[[], FewShotExamples] | None = None,
    separator: str = " | ",
    empty: str = "none",
    max_tokens: int = 16,
    max_words: int = 200,
) -> CategoriesTask:
    """Categories of the text (one of them if `exclusive`); see `Task` for the arguments."""
    return CategoriesTask(label_names={}, form="joint", **locals())
