"""The form of an answer: how examples show it, and how to read what a model makes of it.

Reading is tolerant, as models without structured output add code fences, bullets, remarks and trailing
commas. What can't be read is returned as well, so that it is counted instead of lost.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence

from ie.core.files import finite, json_text

BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
FENCE = re.compile(r"\s*```\w*\s*")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
TRAILING_COMMA = re.compile(rf"({STRING.pattern})|,(?=\s*[\]}}])", re.DOTALL)
# The start of an object or list; a quote follows where it isn't prose
OPENING = re.compile(r'[{\[]\s*(")?')
# A backslash before a character that JSON doesn't escape, such as \' or \$
BAD_ESCAPE = re.compile(r'(\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))|\\(?!u)')
REASONING_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
REASONING_START = re.compile(r"^\s*<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
# An object as Python writes it, with single quotes
PYTHON = re.compile(r"\s*(?:```\w*\s*)?[{\[]\s*'")
# Deeper nesting isn't an answer, and Python's own parser has limits.
DEEPEST = 50
# Brackets in prose that are skipped: each takes time proportional to the length of the answer.
BRACKETS_SKIPPED = 1000
# How many broken objects to look at, and how far to go back in each for something whole
SALVAGE_TRIES = 8


def example(values: Mapping[str, Sequence[str]], separator: str, empty: str) -> dict[str, object]:
    """How an example answers: `lines`, one string per field, and `json`, the whole object."""
    lines = {name: separator.join(strings) or empty for name, strings in values.items()}
    return {"lines": lines, "json": json_text(values)}


def schema(names: Sequence[str], choices: Sequence[str] | None, value_form: str = "") -> dict:
    """JSON schema of an object with a list of strings for each name, in that order.

    `value_form` describes the strings in words, if they aren't just pieces of the text.
    """
    item: dict[str, object] = {"type": "string", "enum": list(choices)} if choices else {"type": "string"}
    if value_form:
        item["description"] = f"{value_form} copied letter by letter from the text"
    return {
        "type": "object",
        "properties": {name: {"type": "array", "items": item} for name in names},
        "required": list(names),
        "additionalProperties": False,
    }


def after_reasoning(answer: str) -> str:
    """The answer without what a reasoning model writes before it.

    Only what follows the last `</think>` counts, even without an opening tag, which may be in the prompt.
    Reasoning that never ends has no answer.
    """
    answer = REASONING_END.split(answer)[-1]
    return "" if REASONING_START.match(answer) else answer


def is_readable(answer: str, names: Mapping[str, str], form: str, separator: str, empty: str) -> bool:
    """Whether anything in an answer can be read as the prompt asked for, "nothing found" included.

    The arguments are those of `parse`. A refusal in words, or a table instead of JSON, is unreadable: it says
    nothing about the text, so it must not count as "nothing found".
    """
    if not after_reasoning(answer).strip():
        return not answer.strip()
    read = _read(answer, names, form, separator)
    return bool(read[0]) or not any(read[1])


def parse(
    answer: str, names: Mapping[str, str], form: str, separator: str, empty: str
) -> tuple[list[tuple[str, str]], list[str]]:
    """Read an answer.

    Args:
        names: field names as the prompt shows them, in order, each with the field it stands for.
        form: "lines" or "json".

    Returns:
        (field, value) pairs in the order of the answer, and the pieces that were not understood.
    """
    pairs, malformed = _read(answer, names, form, separator)
    pairs = [(field, encodable(value)) for field, value in pairs]
    nothing = ("", empty.casefold())
    known = {pair: None for pair in pairs if pair[1].strip(" .").casefold() not in nothing}
    return list(known), [encodable(piece) for piece in malformed if piece]


def _read(
    answer: str, names: Mapping[str, str], form: str, separator: str
) -> tuple[list[tuple[str, str]], list[str]]:
    """(field, value) pairs, "nothing found" included, and the pieces that were not understood."""
    answer = encodable(after_reasoning(answer))
    return _parse_json(answer, names) if form == "json" else _parse_lines(answer, names, separator)


def encodable(text: str) -> str:
    """The text without lone surrogates, which an escape such as \\ud83d leaves and UTF-8 can't encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _parse_lines(
    answer: str, names: Mapping[str, str], separator: str
) -> tuple[list[tuple[str, str]], list[str]]:
    folded = {name.casefold(): field for name, field in names.items()}
    header = re.compile(
        r"^\W*("
        + "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        + r")\W*?:(.*)$",
        re.IGNORECASE,
    )
    between = _separator(separator)
    pairs: list[tuple[str, str]] = []
    malformed: list[str] = []
    # The prompt ends with the first field's name, so an answer begins with its values.
    field: str | None = next(iter(names.values()))
    values_follow = True
    for line in answer.split("\n"):
        line = "" if FENCE.fullmatch(line) else line.strip().strip("`").strip()
        if not line:
            continue
        bulleted, line = BULLET.match(line), BULLET.sub("", line)
        if match := header.match(line):
            field, line = folded[match[1].casefold()], match[2].lstrip("*_ ")
            # Some models put the values below the name.
            values_follow = not line
        elif bulleted:
            pass
        elif not values_follow:
            malformed.append(line)  # a remark
            continue
        elif not pairs:
            values_follow = False  # the first line goes on with the prompt's
        pairs += [(field, value.strip()) for value in between.split(line) if value.strip()]
    return pairs, malformed


def _separator(separator: str) -> re.Pattern[str]:
    """What a line is split at. Where it is ` | `, `A|B` is one value: the spaces around it are part of it."""
    before, after = (
        (r"(?<!\S)" if separator[0].isspace() else ""),
        (r"(?!\S)" if separator[-1].isspace() else ""),
    )
    return re.compile(before + re.escape(separator.strip()) + after)


def _parse_json(answer: str, names: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    folded = {name.casefold(): field for name, field in names.items()}
    folded |= {field.casefold(): field for field in names.values()}
    pairs: list[tuple[str, str]] = []
    malformed: list[str] = []

    def read(name: str, values: object) -> None:
        field = folded.get(name.casefold())
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, dict) and folded.keys() & {key.casefold() for key in value}:
                # An object around the answer, or one for each value
                for inner, containers in value.items():
                    read(inner, containers)
            elif isinstance(value, str) and field:
                pairs.append((field, value.strip()))
            elif value is not None:
                malformed.append(json_text(finite({name: value} if name else value)))

    try:
        containers, rest = _json_values(answer)
        # A list without a name can only be meant for the one field that was asked for.
        only = next(iter(names)) if len(names) == 1 else ""
        for value in containers:
            if isinstance(value, dict):
                for name, values in value.items():
                    read(name, values)
            else:
                read(only, value)
        if not (pairs or malformed or only) and not any(isinstance(value, dict) for value in containers):
            # Empty lists beside something else: YAML, say
            return [], [] if answer.strip() == "[]" else [answer.strip()]
    except RecursionError:
        return [], [answer.strip()]
    return pairs, malformed + rest


def _json_values(answer: str) -> tuple[list[dict | list], list[str]]:
    """The JSON objects and lists in an answer, and the part of it that can't be read.

    Prose around them doesn't count, unless there is nothing else.
    """
    if (literal := _python_literal(answer)) is not None:
        return [literal], []
    decoder = json.JSONDecoder(object_pairs_hook=_merged, strict=False)
    values: list[dict | list] = []
    opening = OPENING.search(answer)
    # Only commas outside of strings: a name may end in one.
    text = TRAILING_COMMA.sub(lambda m: m[1] or "", answer[opening.start() :]) if opening else ""
    text = BAD_ESCAPE.sub(lambda m: m[1] or "", text)
    opening = OPENING.search(text)
    broken, tries, skipped = "", SALVAGE_TRIES, 0
    while opening and skipped < BRACKETS_SKIPPED:
        try:
            value, end = decoder.raw_decode(text, opening.start())
            values.append(value)
            broken = ""
        except ValueError:
            end, skipped = opening.start() + 1, skipped + 1
            if opening[1] and tries:
                broken = broken or text[opening.start() :].strip()
                if saved := _salvaged(text[opening.start() :], decoder):
                    return [*values, saved[0]], [saved[1]]
                tries -= 1
        opening = OPENING.search(text, end)
    return values, [broken if values else answer.strip()]


def _python_literal(answer: str) -> dict | list | None:
    """An object in Python's notation, with single quotes; None unless the whole answer is one."""
    if not PYTHON.match(answer) or max(answer.count("{"), answer.count("[")) > DEEPEST:
        return None
    try:
        value = ast.literal_eval(answer.strip().strip("`").removeprefix("json").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, (dict, list)) else None


def _merged(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose repeated keys keep all their values."""
    merged: dict[str, object] = {}
    for name, value in pairs:
        if name in merged:
            both = [v if isinstance(v, list) else [v] for v in (merged[name], value)]
            value = [*both[0], *both[1]]
        merged[name] = value
    return merged


def _salvaged(text: str, decoder: json.JSONDecoder) -> tuple[dict | list, str] | None:
    """What can be read of an object that was cut off: up to its last whole string, and the rest."""
    ends = [match.end() for match in STRING.finditer(text)]
    for end in ends[: -SALVAGE_TRIES - 1 : -1]:
        try:
            return decoder.decode(text[:end] + _closing(text[:end])), text[end:].strip(" ,]}`\n")
        except ValueError:
            continue
    return None


def _closing(text: str) -> str:
    """The brackets that are open at the end of `text`, closed."""
    opened: list[str] = []
    for character in STRING.sub("", text):
        if character in "[{":
            opened.append("]" if character == "[" else "}")
        elif character in "]}" and opened:
            opened.pop()
    return "".join(reversed(opened))
