"""The annotation guidelines: their version, and a search for the sentence about a topic."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from spacy.language import Language

from ie.core.errors import UserError
from ie.core.files import read_text, sha256_file

MARKS = re.compile(r"\*\*|__|[*`]")
STOPS = set(".,;:!?()[]\"'“”‘’…–—-→")
ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+")


@dataclass(frozen=True)
class Sentence:
    """A sentence without Markdown's marks, and the words that open its item or section."""

    text: str
    topic: str = ""


@dataclass
class GuidelineIndex:
    """A Markdown file of guidelines, searchable by TF-IDF over its sentences."""

    path: Path
    nlp: Language
    version: str = ""
    sentences: list[Sentence] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read and index the file."""
        self.version = version(self.path)
        self.sentences = split(read_text(self.path), self.nlp)
        if not self.sentences:
            raise UserError(f"{self.path}: there is no sentence in it; write down how to annotate.")
        self._index = TfidfVectorizer(analyzer=self._words, sublinear_tf=True)
        self._vectors = self._index.fit_transform(f"{s.topic} {s.text}" for s in self.sentences)

    def find(
        self,
        query: str,
        least: float,
        *,
        about: str = "",
        topics: Collection[str] = (),
        elsewhere: Collection[str] = (),
    ) -> Sentence | None:
        """The sentence most like a query, or None if none has a cosine of at least `least`.

        Args:
            about: the sentence must have one of its words, unless it is empty.
            topics: sentences on one of these are preferred.
            elsewhere: sentences on one of these are excluded.
        """
        # Rounded, as the last bits differ between processors; of equals the first in the file is taken.
        similarity = (self._vectors @ self._index.transform([query]).T).toarray()[:, 0].round(9)
        required = set(self._words(about))
        good = [
            i
            for i, sentence in enumerate(self.sentences)
            if similarity[i] >= least
            and sentence.topic not in elsewhere
            and (not required or required & set(self._words(sentence.text)))
        ]
        first = [i for i in good if self.sentences[i].topic in topics]
        return self.sentences[max(first or good, key=lambda i: similarity[i])] if good else None

    def _words(self, text: str) -> Iterable[str]:
        for token in self.nlp.tokenizer(text):
            # commas and the like have no meaning; & and % have
            if not token.is_space and token.text not in STOPS:
                yield token.lower_.replace("’", "'")


def version(path: Path) -> str:
    """Twelve hex digits that change with every edit; answers refer to the guidelines by them."""
    try:
        return sha256_file(path)[:12]
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); it must hold the guidelines.") from None


def split(markdown: str, nlp: Language) -> list[Sentence]:
    """The sentences of paragraphs and list items; their topic is the bold opening or the heading."""
    sentences: list[Sentence] = []
    heading, block = "", ""
    rules = nlp.create_pipe("sentencizer")

    def close() -> None:
        opening = re.match(r"\s*\*\*(.+?)\*\*", block)
        topic = MARKS.sub("", opening[1]) if opening else heading
        for sentence in rules(nlp.make_doc(MARKS.sub("", block))).sents if block.strip() else ():
            text = sentence.text.strip()
            text = text.removeprefix(topic).lstrip(": ") if opening else text
            if text:
                sentences.append(Sentence(text, topic))

    for line in [*markdown.splitlines(), ""]:
        item = ITEM.match(line)
        if line.lstrip().startswith("#") or item or not line.strip():
            close()
            block = line[item.end() :] if item else ""
            if line.lstrip().startswith("#"):
                heading = MARKS.sub("", line).strip("# ")
        else:
            block = f"{block} {line.strip()}".strip()
    return sentences
