"""Prompts and answers: strings, so that any spacy-llm task can use them."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from ie.core.errors import UserError
from ie.core.files import json_text

# Errors of the endpoint, which may be gone in the next run. Others are errors of the prompt.
TRANSIENT = ("unavailable", "empty", "malformed")
# The endpoint answered, but nothing in the requested form.
UNREADABLE = "unreadable answer"
CUT_OFF = "answer cut off at max_tokens"


class _AnnotatedString(str):
    """A string with attributes; their names and defaults are those of the class."""

    def __new__(cls, text: str = "", **attributes: Any) -> Self:
        if unknown := attributes.keys() - cls.__annotations__.keys():
            raise TypeError(f"{cls.__name__} has no attribute {sorted(unknown)[0]!r}")
        string = super().__new__(cls, text)
        vars(string).update(attributes)
        return string


class Prompt(_AnnotatedString):
    """A rendered prompt with settings of its request.

    A plain string is a prompt too, as from spacy-llm's own tasks.

    Attributes:
        prefix: number of leading characters that other prompts share (0: unknown).
        stop: strings at which the answer ends.
        max_tokens: upper limit of the answer's length, or None for the model's own.
        schema: JSON schema of the answer, or None.
        grammar: grammar of the answer in llama.cpp's GBNF, or None.
        group: name of the fields it asks for.
        readable: whether an answer can be read, or None if any can. Not part of the key.
    """

    prefix: int = 0
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    schema: dict | None = None
    grammar: str | None = None
    group: str = ""
    readable: Callable[[str], bool] | None = None

    @classmethod
    def of(cls, text: str) -> "Prompt":
        """The prompt itself, or a plain string as a prompt without settings."""
        return text if isinstance(text, cls) else cls(text)

    def key(self, identity: dict) -> str:
        """SHA-256 over the model's identity and all of the prompt that can change its answer."""
        parts = [identity, str(self), list(self.stop), self.max_tokens, self.schema, self.grammar]
        text = json_text(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()


class Answer(_AnnotatedString):
    """A model's answer. Its text is empty if there is an error, except for unreadable ones.

    Attributes:
        key: cache key of the call.
        prompt_tokens, completion_tokens: as the provider counted them.
        estimated: the provider reported no tokens; they are estimated from the length of the text.
        seconds: from sending the request to the whole answer.
        cached: it is from the store, or from the same prompt in this run.
        finish_reason: "stop", "length" or the provider's own word.
        error: None, or a short reason: "content_filter", "context_overflow", "refused: ...",
            "empty", "malformed: ...", "unavailable: ...", "unreadable answer" or "dry".
    """

    key: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    seconds: float = 0.0
    cached: bool = False
    finish_reason: str = "stop"
    error: str | None = None

    def replace(self, **changes: object) -> "Answer":
        """The same answer with some attributes changed."""
        return Answer(str(self), **{**vars(self), **changes})

    @property
    def transient(self) -> bool:
        """Whether the endpoint failed, so that the same call may succeed later."""
        return self.error is not None and self.error.split(":")[0] in TRANSIENT

    @property
    def fault(self) -> str | None:
        """Why the answer can't be used as a whole, or None: its error, or that it was cut off."""
        return self.error or (CUT_OFF if self.finish_reason == "length" else None)


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens read and a million tokens written.

    Raises:
        UserError: a price is negative or no number.
    """

    input: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for name, price in (("input", self.input), ("output", self.output)):
            if not math.isfinite(price) or price < 0:
                raise UserError(f"prices.{name} = {price} must be 0 or more, in dollars per million tokens.")

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Cost of one call, in dollars."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1_000_000

    def exact(self, prompt_tokens: int, completion_tokens: int) -> Decimal:
        """The same without rounding errors: a limit must not depend on the last bits of a sum."""
        # As written in the config, while Decimal(.1) is the nearest binary number.
        read, written = Decimal(str(self.input)), Decimal(str(self.output))
        return (prompt_tokens * read + completion_tokens * written) / 1_000_000


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has: four bytes each, the usual rule for English."""
    return max(1, round(len(text.encode("utf-8", "replace")) / 4))
