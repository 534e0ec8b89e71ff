"""The agenda of an annotation meeting, as a page and as Markdown, from the same content."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ie.core import stats
from ie.data.guidelines import GuidelineIndex
from ie.reports.html import Answer, PageLink, page
from ie.review.agreement import LabelAgreement, Matched, Side
from ie.review.disagreements import KINDS, Difference, Group

CONTEXT = 70
# The range of scores that are corrected for chance.
BOUNDS = {"kappa": (-1.0, 1.0), "alpha": (-1.0, 1.0)}
STEPS = (
    "Add each decision to the list at the end of {path}, one numbered item each: what is marked, what isn't, "
    "and an example. Correct the sentence above it where it says otherwise.",
    "Commit the file. Its version is the start of its SHA-256; it was {version} for this agenda, and each "
    "later answer records its version as meta.guidelines.",
    "Settle the texts of disagreements.jsonl in `review`; what is decided becomes gold.",
    "Run `weasel run agreement` again: fewer disagreements of a pattern show that its decision is clear.",
)


@dataclass(frozen=True)
class Agenda:
    """The content of the page and of the Markdown file.

    Attributes:
        patterns: how many groups of a kind are shown, and `examples` how many differences of a group.
    """

    sides: tuple[Side, Side]
    matched: Matched
    spans: Sequence[LabelAgreement]
    relations: Sequence[LabelAgreement]
    categories: Sequence[LabelAgreement]
    groups: Sequence[Group]
    guidelines: GuidelineIndex
    patterns: int = 12
    examples: int = 3

    @property
    def names(self) -> tuple[str, str]:
        """Names of the sides."""
        return self.sides[0].name, self.sides[1].name


def content(agenda: Agenda) -> dict[str, Any]:
    """The content as plain data for templates."""
    n = len(agenda.matched.first)
    total = sum(len(group.differences) for group in agenda.groups)
    texts = len({d.text for group in agenda.groups for d in group.differences})
    path, version = agenda.guidelines.path.as_posix(), agenda.guidelines.version
    return {
        "names": agenda.names,
        "summary": f"{n:,} texts annotated by both; {total:,} disagreements in {texts:,} of them. "
        f"Guidelines: {path}, version {version}.",
        "notes": notes(agenda),
        "tables": tables(agenda),
        "kinds": [_kind(agenda, kind) for kind in dict.fromkeys(group.kind for group in agenda.groups)],
        "steps": [step.format(path=path, version=version) for step in STEPS],
        "total": total,
    }


def html(agenda: Agenda, links: Sequence[PageLink] = ()) -> str:
    """A page that needs no other file; `links` lead to other pages."""
    shown = content(agenda)
    total, n = shown.pop("total"), len(agenda.matched.first)
    headline = f"{agenda.names[0]} and {agenda.names[1]} agree on all of {n:,} texts."
    following = "There are no disagreements to decide."
    if total:
        headline = f"{agenda.names[0]} and {agenda.names[1]}: {shown['summary'].partition('. ')[0]}."
        following = (
            "Decide the patterns below, the most frequent first; then run `weasel run agreement` again."
        )
    overall = [
        f"{part['title']}: {part['header'][4]} {row[4]}"
        for part in shown["tables"]
        for row in part["rows"]
        if row[0] == "all"
    ]
    sure = [f"Agreement on all labels: {'; '.join(overall)}."] if overall else []
    guidelines = shown["summary"].partition(". ")[2]
    return page(
        "agenda.html.j2", answer=Answer(headline, [*sure, guidelines], following), links=links, **shown
    )


def markdown(agenda: Agenda) -> str:
    """The same as Markdown, to edit during the meeting."""
    shown = content(agenda)
    lines = [f"# Agenda for the annotation meeting: {_text(' and '.join(shown['names']))}", ""]
    for sentence in (shown["summary"], *shown["notes"]):
        lines += [_text(sentence), ""]
    lines += ["## Agreement", ""]
    for part in shown["tables"]:
        lines += [f"### {part['title']}", "", _row(part["header"]), _row(["---"] * len(part["header"]))]
        lines += [*(_row(map(_text, row)) for row in part["rows"]), "", part["note"], ""]
    lines += ["## Where they differ, most frequent first", ""]
    for kind in shown["kinds"]:
        lines += [f"### {_text(kind['title'])}: {kind['n']:,}", ""]
        for item in kind["groups"]:
            plural = "s" if item["texts"] != 1 else ""
            lines += [f"#### {_text(item['title'])} ({item['n']} in {item['texts']} text{plural})", ""]
            if item["sentence"]:
                topic = f"**{_text(item['sentence'].topic)}**: " if item["sentence"].topic else ""
                lines += [f"> {topic}{_text(item['sentence'].text)}", ""]
            else:
                lines += ["> No sentence of the guidelines fits: the meeting should write one.", ""]
            for example in item["examples"]:
                lines.append(f"- {_text(example['id'])}")
                lines += [f"  - {_text(answer['name'])}: {_answer(answer)}" for answer in example["answers"]]
            if item["more"]:
                lines.append(f"- and {item['more']:,} more, in disagreements.jsonl")
            lines += ["", "Decision:", ""]
        lines += [kind["rest"], ""] if kind["rest"] else []
    lines += ["## How to record what was decided", ""]
    lines += [f"{i}. {step}" for i, step in enumerate(shown["steps"], start=1)]
    return "\n".join(lines) + "\n"


def tables(agenda: Agenda) -> list[dict[str, Any]]:
    """The tables of scores: title, header, rows of cells and a note; a table without rows is left out."""
    ends = "± the 95 % bootstrap interval over texts"
    candidates = [
        (
            "Spans",
            agenda.spans,
            {"exact": "F, exact", "overlap": "F, overlapping", "kappa": "κ, tokens", "alpha": "α, tokens"},
            "F is the same in both directions. Exact: same edges and label. Overlapping: the same label and "
            "a common character. Cohen's κ and Krippendorff's α are of the tokens' labels, corrected for "
            f"chance; {ends}.",
        ),
        (
            "Relations",
            agenda.relations,
            {"exact": "F", "shared": "F, spans that both marked"},
            f"Two relations are the same if they have the same label and spans; {ends}.",
        ),
        (
            "Categories",
            agenda.categories,
            {"kappa": "κ", "alpha": "α"},
            f"Each category against the rest; all: the chosen category; {ends}.",
        ),
    ]
    return [
        {
            "title": title,
            "header": ["Label", *agenda.names, "Texts", *columns.values()],
            "rows": [
                [
                    row.label,
                    f"{row.first:,}",
                    f"{row.second:,}",
                    f"{row.n:,}",
                    *(_score(row, name) for name in columns),
                ]
                for row in rows
            ],
            "note": note,
        }
        for title, rows, columns, note in candidates
        if any(row.first or row.second for row in rows)
    ]


def _score(row: LabelAgreement, name: str) -> str:
    bounds = BOUNDS.get(name, (0.0, 1.0))
    return stats.format_score(row.scores[name], documents=row.n, bounds=bounds)


def notes(agenda: Agenda) -> list[str]:
    """What was left out, and what couldn't be compared, one sentence each."""
    matched, sentences = agenda.matched, []
    for side, lone in zip(agenda.sides, (matched.only_first, matched.only_second), strict=True):
        parts = [
            (lone, "annotated by this side alone"),
            (side.aside, "rejected or ignored"),
            (side.revised, "earlier answers to the same text"),
        ]
        if listed := ", ".join(f"{n:,} {what}" for n, what in parts if n):
            sentences.append(f"Left out of {side.name}: {listed}.")
    if matched.moved:
        sentences.append(
            f"{matched.moved:,} of these have an id that the other side has with another text; was it edited?"
        )
    if matched.outside:
        sentences.append(
            f"Left out of both: {matched.outside:,} answers to texts of other parts of the split."
        )
    for name, what in (("relations", "Relations"), ("cats", "Categories")):
        silent = [
            side for side, has_some in zip(agenda.names, matched.has_any(name), strict=True) if not has_some
        ]
        if len(silent) == 1:
            sentences.append(f"{what} can't be compared: {silent[0]} has none in these texts.")
    return sentences


def _kind(agenda: Agenda, kind: str) -> dict[str, Any]:
    groups = [group for group in agenda.groups if group.kind == kind]
    hidden = groups[agenda.patterns :]
    rest = sum(len(group.differences) for group in hidden)
    return {
        "name": kind,
        "title": KINDS[kind].format(first=agenda.names[0], second=agenda.names[1]),
        "n": sum(len(group.differences) for group in groups),
        "groups": [_group(agenda, group) for group in groups[: agenda.patterns]],
        "rest": f"{len(hidden):,} rarer patterns with {rest:,} disagreements are in disagreements.jsonl."
        if hidden
        else "",
    }


def _group(agenda: Agenda, group: Group) -> dict[str, Any]:
    # one of each text first
    firsts = {difference.text: difference for difference in reversed(group.differences)}
    ordered = sorted(group.differences, key=lambda d: firsts[d.text] is not d)
    shown = ordered[: agenda.examples]
    return {
        "n": f"{len(group.differences):,}",
        "texts": group.texts,
        "title": f"{group.label}: {group.pattern}" if group.label else group.pattern,
        "sentence": group.sentence,
        "examples": [_example(agenda, difference) for difference in shown],
        "more": len(group.differences) - len(shown),
    }


def _example(agenda: Agenda, difference: Difference) -> dict[str, Any]:
    record = agenda.matched.first[difference.text]
    text = record.text
    edges = [e for e in (difference.first_edges, difference.second_edges) if e]
    # both answers with the same context, so that the difference is easy to see
    low, high = _window(text, edges)
    answers = []
    for name, words, own in zip(
        agenda.names,
        (difference.first, difference.second),
        (difference.first_edges, difference.second_edges),
        strict=True,
    ):
        start, end = own or (high, high)
        # For spans, the label is in the mark; a relation or category is in words.
        spans = difference.kind not in ("relation", "category")
        answers.append(
            {
                "name": name,
                "before": ("…" if low else "") + text[low:start],
                "marked": text[start:end],
                "after": text[end:high] + ("…" if high < len(text) else ""),
                "label": words[: -(end - start) - 1] if words and spans else "",
                "words": "" if words and spans else words or "nothing",
            }
        )
    return {"id": record.title, "answers": answers}


def _window(text: str, edges: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Where the text around some edges begins and ends, at whitespace if there is any."""
    if not edges:
        return 0, len(text)
    first, last = min(start for start, _ in edges), max(end for _, end in edges)
    low, high = first - CONTEXT, last + CONTEXT
    low = 0 if low <= 0 else max(low, text.find(" ", low, first) + 1)
    high = len(text) if high >= len(text) else max(last, text.rfind(" ", last, high))
    return low, high


def _answer(answer: dict[str, Any]) -> str:
    marked = f"**{_text(answer['marked'])}**" if answer["marked"] else ""
    label = f" _{_text(answer['label'])}_" if answer["label"] else ""
    words = f" [{_text(answer['words'])}]" if answer["words"] else ""
    return f"{_text(answer['before'])}{marked}{label}{_text(answer['after'])}{words}"


def _text(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>#|~$])", r"\\\1", " ".join(text.split()) if "\n" in text else text)


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
