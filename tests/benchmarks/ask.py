"""How often questions are answered rightly: by SQL over what was extracted, or by reading snippets.

An answer is right if it is the gold set of rows, numbers by their value. The rival is retrieval-augmented
generation (slide 18): the snippets that BM25 finds go into a prompt, and the model writes the answer.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import numpy as np
from pydantic import BaseModel, ConfigDict

from components.money import UNKNOWN, MoneyNormaliser
from ie.core.errors import UserError
from ie.core.stats import FN, FP, TP
from ie.database.text_to_sql import Ask, SolvedQuestion, SqlAnswer
from ie.llm.types import Prompt

NOTHING = "none"
SEPARATOR = " | "
Cell = str | Decimal
Row = tuple[Cell, ...]


class RagSettings(BaseModel):
    """[rag] of configs/ask.cfg: snippets in a prompt, solved questions before it, length of an answer."""

    model_config = ConfigDict(extra="forbid")
    snippets: int = 5
    examples: int = 3
    max_tokens: int = 60


def cell(value: object) -> Cell:
    """A value as it is compared: numbers with nine digits, texts without case and spare blanks."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return +Decimal(f"{value:.9g}")
    try:
        return Decimal(str(value).replace(",", "").replace(" ", ""))
    except InvalidOperation:
        return " ".join(str(value).casefold().split())


def rowset(rows: Iterable[Sequence]) -> frozenset[Row]:
    """Rows as a set; rows of nothing but NULL, as SUM makes of no rows, are none."""
    return frozenset(
        tuple(cell(value) for value in row) for row in rows if any(value is not None for value in row)
    )


def counts(found: frozenset, gold: frozenset) -> tuple[int, int, int]:
    """Right, spurious and missing rows of one answer."""
    return len(found & gold), len(found - gold), len(gold - found)


def likeness(found: frozenset, gold: frozenset) -> float:
    """F of the rows of one answer; 1 for rightly nothing."""
    tp, fp, fn = counts(found, gold)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 1.0


def outcomes(right: Sequence[bool]) -> np.ndarray:
    """Right answers as counts (questions, 3) of which `ie.core.stats` takes the precision as their share."""
    found = np.zeros((len(right), 3), dtype=np.int64)
    found[:, TP] = right
    # wrong once as spurious and once as missing, so that P, R and F are all the share of right answers
    found[:, FP] = found[:, FN] = [not r for r in right]
    return found


def rows_of(answer: SqlAnswer) -> frozenset[Row] | None:
    """The rows of an answer; None if it broke down, which isn't the same as "there is no answer"."""
    return None if answer.error else rowset(answer.rows)


class Rag:
    """Answers questions from the texts themselves.

    Args:
        texts: all texts.
        similar: the solved questions most like a question, the nearest last: shown with snippets of their
            own and the gold answer.
        money: reads amounts in what the model writes, so that "$5m" is as good as 5000000 USD.

    Raises:
        UserError: bm25s isn't installed.
    """

    def __init__(
        self,
        texts: Sequence[str],
        settings: RagSettings,
        similar: Callable[[str], Sequence[SolvedQuestion]],
        money: MoneyNormaliser,
    ) -> None:
        try:
            import bm25s
        except ImportError:
            raise UserError(
                "bm25s isn't installed; run `pip install -r tests/benchmarks/requirements.txt`."
            ) from None
        self.texts = list(texts)
        self.settings = settings
        self.money = money
        self._similar = similar
        self._index = bm25s.BM25()
        self._index.index(_tokens(self.texts), show_progress=False)

    def snippets(self, question: str) -> list[str]:
        """The texts that fit a question best, the best last, next to the question."""
        words = _tokens([question])[0]
        scores = self._index.get_scores(words) if words else np.zeros(len(self.texts))
        # Not `retrieve`, which leaves the order of equals to chance. Rounded, as last bits differ between
        # processors: of equals the first text counts.
        best = np.argsort(-scores.astype(float).round(4), kind="stable")[: self.settings.snippets]
        return [self.texts[i] for i in reversed(best)]

    def prompt(self, question: str) -> Prompt:
        """The prompt for a question."""
        head = (
            "Answer each question from the texts: names or amounts, several separated by "
            f'"{SEPARATOR.strip()}", or {NOTHING} if they don\'t say.\n\n'
        )
        n = self.settings.examples
        shown = "".join(
            f"{self._texts(e.question)}Question: {e.question}\nAnswer: {written(e.answer)}\n\n"
            for e in (self._similar(question)[-n:] if n else ())
        )
        return Prompt(
            f"{head}{shown}{self._texts(question)}Question: {question}\nAnswer:",
            prefix=len(head),
            stop=("\n",),
            max_tokens=self.settings.max_tokens,
        )

    def _texts(self, question: str) -> str:
        return "".join(f"Text: {' '.join(text.split())}\n" for text in self.snippets(question))

    def answer_all(self, questions: Sequence[str], ask: Ask) -> list[frozenset[Row] | None]:
        """The rows that the model writes, None where it gave no answer."""
        replies = ask([self.prompt(question) for question in questions])
        return [None if getattr(r, "error", None) else self.read(r) for r in replies]

    def read(self, reply: str) -> frozenset[Row]:
        """The rows in what a model wrote: a row each value, an amount with its currency."""
        found: set[Row] = set()
        for item in reply.strip().splitlines()[0].split("|") if reply.strip() else []:
            item = item.strip().strip(".")
            if not item or item.casefold() == NOTHING:
                continue
            amount = self.money.normalise(item)
            if amount["amount"] is not None and re.search(r"\d", item):
                number = cell(float(amount["amount"]))
                known = amount["currency"] not in (None, UNKNOWN)
                found.add((number, str(amount["currency"]).casefold()) if known else (number,))
            else:
                found.add((cell(item),))
        return frozenset(found)


def rag_right(found: frozenset[Row] | None, gold: frozenset[Row]) -> bool:
    """Whether what a model wrote is the gold rows; a currency that wasn't asked for is no fault."""
    if found is None:
        return False
    if all(len(row) == 1 for row in gold):
        found = frozenset(row[:1] for row in found)
    return found == gold


def written(answer: Sequence[Sequence]) -> str:
    """A gold answer as an example of what to write."""
    return SEPARATOR.join(" ".join(str(value) for value in row) for row in answer) or NOTHING


def _tokens(texts: Sequence[str]) -> list[list[str]]:
    return [re.findall(r"\w+", text.casefold()) for text in texts]


@dataclass(frozen=True)
class System:
    """A way of answering: for each question whether it was right, and how like gold its rows were.

    Attributes:
        refused, failed, repaired: of its SQL, in number of questions; None where there is none.
        broken: questions that ended in an error.
    """

    name: str
    right: list[bool]
    likeness: list[float]
    refused: int | None = None
    failed: int | None = None
    repaired: int | None = None
    broken: int | None = None


def score(name: str, answers: Sequence[SqlAnswer], gold: Sequence[frozenset[Row]]) -> System:
    """Score answers by SQL."""
    found = [rows_of(answer) for answer in answers]
    return System(
        name,
        [f is not None and f == g for f, g in zip(found, gold, strict=True)],
        [0.0 if f is None else likeness(f, g) for f, g in zip(found, gold, strict=True)],
        refused=sum(a.refused > 0 for a in answers),
        failed=sum(a.failed > 0 for a in answers),
        repaired=sum(a.repaired > 0 and not a.error for a in answers),
        broken=sum(a.error is not None for a in answers),
    )


def score_rag(name: str, found: Sequence[frozenset[Row] | None], gold: Sequence[frozenset[Row]]) -> System:
    """Score answers out of snippets."""
    return System(
        name,
        [rag_right(f, g) for f, g in zip(found, gold, strict=True)],
        [0.0 if f is None else likeness(f, g) for f, g in zip(found, gold, strict=True)],
        broken=sum(f is None for f in found),
    )
