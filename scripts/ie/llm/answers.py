"""The form of an answer: how examples show it, and how to read what a model makes of it.

Reading is tolerant, since models that can't be held to a schema add code fences, bullets, remarks and
trailing commas. What can't be read is handed back, so that it is counted instead of lost.
"""

import json
import re
from collections.abc import Mapping, Sequence

BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")


def example(values: Mapping[str, Sequence[str]], separator: str, empty: str) -> dict[str, object]:
    """How an example answers: `lines`, a string a field, and `json`, the whole object."""
    lines = {name: separator.join(found) or empty for name, found in values.items()}
    return {"lines": lines, "json": json.dumps(values, ensure_ascii=False)}


def schema(names: Sequence[str], choices: Sequence[str] | None) -> dict:
    """JSON schema of an object with a list of strings for each name, in that order."""
    item = {"type": "string", "enum": list(choices)} if choices else {"type": "string"}
    return {
        "type": "object",
        "properties": {name: {"type": "array", "items": item} for name in names},
        "required": list(names),
        "additionalProperties": False,
    }


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
    said, malformed = _parse_json(answer, names) if form == "json" else _parse_lines(answer, names, separator)
    known = {(field, value): None for field, value in said if value and value.casefold() != empty.casefold()}
    return list(known), malformed


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
    said: list[tuple[str, str]] = []
    malformed: list[str] = []
    # The prompt ends with the first field's name, so an answer begins with its values.
    field: str | None = next(iter(names.values()))
    for line in answer.strip().splitlines():
        if line.strip().startswith("```") or not line.strip():
            continue
        if match := header.match(line):
            field, line = folded[match[1].casefold()], match[2]
        elif said and not BULLET.match(line):
            # A line without a name is a remark, unless it is the first one or a bulleted value.
            malformed.append(line.strip())
            continue
        values = BULLET.sub("", line).split(separator.strip())
        said += [(field, value.strip()) for value in values]
    return said, malformed


def _parse_json(answer: str, names: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    found = _first_object(answer)
    if found is None:
        return [], [answer.strip()]
    folded = {name.casefold(): field for name, field in names.items()}
    folded |= {field.casefold(): field for field in names.values()}
    said: list[tuple[str, str]] = []
    malformed: list[str] = []
    for name, values in found.items():
        field = folded.get(str(name).casefold())
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str) and field:
                said.append((field, value.strip()))
            elif value is not None:
                malformed.append(json.dumps({name: value}, ensure_ascii=False))
    return said, malformed


def _first_object(answer: str) -> dict | None:
    """The first JSON object in the answer; with trailing commas or a missing end, what can be saved of it."""
    start = answer.find("{")
    if start < 0:
        return None
    text = re.sub(r",(\s*[\]}])", r"\1", answer[start:])
    try:
        found = json.JSONDecoder().raw_decode(text)[0]
        return found if isinstance(found, dict) else None
    except ValueError:
        pass
    # Cut off in the middle: close what is open after the last whole string.
    for end in [m.end() for m in re.finditer(r'"(?:[^"\\]|\\.)*"', text)][::-1]:
        try:
            found = json.loads(text[:end] + _closing(text[:end]))
            return found if isinstance(found, dict) else None
        except ValueError:
            continue
    return None


def _closing(text: str) -> str:
    """The brackets that are open at the end of `text`, closed."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    opened: list[str] = []
    for character in bare:
        if character in "[{":
            opened.append("]" if character == "[" else "}")
        elif character in "]}" and opened:
            opened.pop()
    return "".join(reversed(opened))
