"""Tests of the data itself: texts, offsets, tokens, labels, leakage between splits, drift."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from spacy.language import Language
from spacy.vocab import Vocab

from components.span_classifier import annotated_spans
from ie.core.text import count_words, counted
from ie.data import splits
from ie.data.docs import from_doc
from ie.data.records import Record, Span
from ie.diagnosis import thresholds
from ie.diagnosis.findings import SPLITS, Finding, ProjectData, grade, percent, shown, untested
from ie.evaluation import scoring

# Units that offsets may count instead of characters, and the size of a character in them.
UNITS: dict[str, Callable[[str], int]] = {
    "bytes of UTF-8": lambda character: len(character.encode("utf-8", "surrogatepass")),
    "units of UTF-16 (JavaScript, Java)": lambda character: 1 + (character > "\uffff"),
}
EDGES = " \t\r\n\u00a0,;:!?\"'()[]{}"
PUNCTUATION = "with punctuation at an edge"


def run(project: ProjectData, nlp: Language) -> Iterator[Finding]:
    """All tests of the data, in the order of this file.

    Args:
        nlp: a pipeline with the config's tokenizer.
    """
    yield texts(project)
    yield encoding(project)
    yield off_token(project)
    yield other_tokens(project, nlp)
    yield stale(project)
    yield labels(project)
    yield balance(project)
    yield density(project)
    yield leak(project, near=False)
    yield leak(project, near=True)
    yield known_strings(project)
    yield drift(project)


def texts(project: ProjectData) -> Finding:
    """Empty texts, and the same text twice in one split."""
    empty, repeated, contradictions, n, worst = 0, 0, 0, 0, 0.0
    for split in SPLITS:
        before = repeated
        seen: dict[str, set] = {}
        for record in project[split]:
            n += 1
            empty += not record.text.strip()
            if record.text in seen:
                repeated += 1
                contradictions += seen[record.text] != _spans(record)
            seen.setdefault(record.text, _spans(record))
        worst = max(worst, (repeated - before) / max(len(project[split]), 1))
    many = worst > thresholds.REPEATED
    if contradictions:
        cause = "the same text has different annotations"
    else:
        cause = "the same texts are repeated many times" if many else "empty or repeated texts"
    faulty = empty + repeated
    return Finding(
        name="texts",
        hypothesis="There are empty or repeated texts.",
        question="Some lines have no words, or the words of another line of the same file.",
        test="Compare every text with the others of its split.",
        observation=f"Of {n:,} texts {empty:,} are empty and {repeated:,} repeat another, {contradictions:,} "
        "of these with other annotations.",
        verdict=grade(many or (contradictions and faulty > thresholds.FAULTY_SPANS * n), faulty),
        cause=cause,
        remedy='Delete empty lines, keep one of equal texts (`duplicates = "first"` in configs/data.cfg), '
        "and agree on its annotation.",
        figures={
            "texts": n,
            "empty": empty,
            "repeated": repeated,
            "annotated_otherwise": contradictions,
        },
    )


def _spans(record: Record) -> set[tuple[int, int, str]]:
    return {(s.start, s.end, s.label) for s in record.spans}


def _edges(project: ProjectData, record: Record) -> tuple[set[int], set[int]]:
    """Offsets at which a token starts, and at which one ends."""
    doc = project.nlp.make_doc(record.text)
    return {token.idx for token in doc}, {token.idx + len(token) for token in doc}


def encoding(project: ProjectData) -> Finding:
    """Offsets in bytes or UTF-16 units, which are right once converted."""
    hypothesis = {
        "name": "encoding",
        "hypothesis": "Offsets count bytes or UTF-16 units instead of characters.",
        "question": "Spans behind the first €, é or emoji are off, and fit once their offsets are converted.",
        "test": "Convert such offsets from UTF-8 bytes and from UTF-16 units to characters.",
    }
    behind = misplaced = 0
    converted: Counter[str] = Counter()
    examples: list[str] = []
    for record in (record for split in SPLITS for record in project[split]):
        first = next((i for i, c in enumerate(record.text) if c > "\x7f"), len(record.text))
        spans = [s for s in record.spans if first < len(record.text) and s.end > first]
        if not spans:
            continue
        behind += len(spans)
        starts, ends = _edges(project, record)
        wrong = [s for s in spans if s.start not in starts or s.end not in ends or s.start >= s.end]
        misplaced += len(wrong)
        for unit, size in UNITS.items() if wrong else ():
            offset_of = {0: 0}  # characters by units
            position = 0
            for i, character in enumerate(record.text):
                position += size(character)
                offset_of[position] = i + 1
            for span in wrong:
                start, end = offset_of.get(span.start, -1), offset_of.get(span.end, -1)
                if start in starts and end in ends and start < end:
                    converted[unit] += 1
                    before, after = shown(record, span.start, span.end), shown(record, start, end)
                    examples.append(f"{before} is {after} in {unit}")
    if not behind:
        reason = "No span lies behind a character outside ASCII, so every unit counts the same."
        return untested(hypothesis, reason)
    unit, right = max(converted.items(), key=lambda item: item[1], default=("", 0))
    many = misplaced > thresholds.FAULTY_SPANS * behind
    return Finding(
        **hypothesis,
        observation=f"Of {behind:,} spans behind such a character {misplaced:,} don't lie on tokens"
        + (f"; {right:,} of these would if offsets counted {unit}." if unit else "."),
        verdict=grade(many and right > thresholds.MENDED * misplaced and right > 1),
        cause=f"offsets count {unit}" if unit else "",
        remedy="Convert the offsets to Unicode characters (Python's string indices) where you export them.",
        figures={"spans": behind, "misplaced": misplaced, "mended": right},
        examples=tuple(examples[:5]),
    )


def off_token(project: ProjectData) -> Finding:
    """Spans outside the text, off the tokens, overlapping, or with whitespace or punctuation at an edge."""
    counts: Counter[str] = Counter()
    examples = []
    overlapping = project.overlapping
    for split in SPLITS:
        for record in project[split]:
            starts, ends = _edges(project, record)
            before = -1
            for span in sorted(record.spans, key=lambda s: (s.start, s.end)):
                fault = _fault(record.text, span, before, starts, ends)
                if fault not in ("", PUNCTUATION):
                    examples.append(f"{split} {record.id}: {shown(record, span.start, span.end)} is {fault}")
                counts[fault] += 1
                before = -1 if overlapping else max(before, span.end)
    n = counts.total()
    faulty = n - counts[""] - counts[PUNCTUATION]
    found = {fault: count for fault, count in sorted(counts.items()) if fault}
    faults = ", ".join(f"{count:,} {fault}" for fault, count in found.items())
    limit = thresholds.FAULTY_SPANS * n
    return Finding(
        name="off-token",
        hypothesis="Spans don't lie on the tokens that the pipeline sees.",
        question="Edges inside tokens, whitespace or commas at edges, spans outside the text or overlapping.",
        test="Look each span up among the tokens of its text.",
        observation=f"Of {n:,} spans {faults or 'all lie on whole tokens'}.",
        verdict=grade(faulty > limit, faulty or counts[PUNCTUATION] > limit),
        cause="spans off the tokens" if faulty else "punctuation at the edges of spans",
        remedy='Correct the offsets (the examples show some), or set `misaligned = "snap"` in '
        "configs/data.cfg.",
        figures={"spans": n} | found,
        examples=tuple(examples[:5]),
    )


def _fault(text: str, span: Span, before: int, starts: set[int], ends: set[int]) -> str:
    """What is wrong with a span, or "".

    Args:
        before: end of the spans before. starts, ends: edges of tokens.
    """
    string = text[max(span.start, 0) : span.end]
    if not 0 <= span.start < span.end <= len(text):
        return "outside the text"
    if span.start < before:
        return "overlapping"
    if string != string.strip():
        return "with whitespace at an edge"
    if span.start not in starts or span.end not in ends:
        return "inside a token"
    # Brackets or quotes with their partner within are part of the name.
    paired = any(a in string and b in string[1:] for a, b in ("()", "[]", "{}", '""', "''"))
    return PUNCTUATION if string.strip(EDGES) != string and not paired else ""


def other_tokens(project: ProjectData, nlp: Language) -> Finding:
    """Texts whose tokens in the .spacy files aren't those of the config's tokenizer."""
    differ = lost = n = spans = 0
    examples = []
    for split in ("train", "dev"):
        for doc in project.docs(split, nlp.vocab, thresholds.TRAIN_TEXTS):
            n += 1
            again = nlp.make_doc(doc.text)
            ours, theirs = ({(t.idx, len(t)) for t in d} for d in (again, doc))
            spans += len(annotated_spans(doc))
            lost += sum(again.char_span(e.start_char, e.end_char) is None for e in annotated_spans(doc))
            if ours != theirs:
                differ += 1
                where = min(ours ^ theirs)[0]
                one, other = (next(t.text for t in d if t.idx + len(t) > where) for d in (doc, again))
                examples.append(f"{one!r} in the corpus, {other!r} in the pipeline")
    return Finding(
        name="tokenizer",
        hypothesis="The training corpus was tokenized by another tokenizer than the pipeline's.",
        question="The pipeline splits the same texts elsewhere, and some spans lie on none of its tokens.",
        test="Tokenize the texts of the .spacy files again with the tokenizer of the config.",
        observation=f"{differ:,} of {n:,} texts have other tokens; {lost:,} of {spans:,} spans lie on none "
        "of the pipeline's tokens.",
        verdict=grade(differ > thresholds.OTHER_TOKENS * n, differ),
        cause="the corpus was tokenized by another tokenizer than the pipeline's",
        remedy="Write the corpus with the config's own tokenizer (`weasel run split`), or put the corpus's "
        "tokenizer into [initialize.before_init] of the config.",
        figures={"texts": n, "differ": differ, "spans": spans, "lost": lost},
        examples=tuple(dict.fromkeys(examples))[:5],
    )


def stale(project: ProjectData) -> Finding:
    """The .spacy files against the JSONL files beside them."""
    hypothesis = {
        "name": "stale",
        "hypothesis": "Training reads other data than what people look at.",
        "question": "The .spacy file has other texts or other spans than the .jsonl file beside it.",
        "test": "Compare both, text by text.",
    }
    if not project.bins:
        return untested(hypothesis, "There are no .spacy files beside the .jsonl files.")
    differ = n = 0
    for split in project.bins:
        trained = {doc.text: _spans(from_doc(doc)) for doc in project.docs(split, Vocab())}
        lines = {record.text: _spans(record) for record in project[split]}
        n += len(trained.keys() | lines.keys())
        differ += sum(trained.get(text) != lines.get(text) for text in trained.keys() | lines.keys())
    # Spans that no conversion can keep are the finding of `off_token`.
    return Finding(
        **hypothesis,
        observation=f"{differ:,} of {n:,} texts are in only one of the files, or have other spans there.",
        verdict=grade(differ > thresholds.LEAKED * n, differ),
        cause="the .spacy files differ from the .jsonl files",
        remedy="Run `weasel run split` again, and edit assets/reviewed.jsonl, never the files in corpus.",
        figures={"texts": n, "differ": differ},
    )


def labels(project: ProjectData) -> Finding:
    """Labels that have no or few training examples, or aren't in the scheme."""
    counts = {split: Counter(s.label for r in project[split] for s in r.spans) for split in SPLITS}
    known = scoring.labels_of([r for split in SPLITS for r in project[split]], project.labels)
    absent = [label for label in known if not counts["train"][label]]
    unmeasured = [label for label in known if project["dev"] and not counts["dev"][label]]
    foreign = [label for label in known if label not in project.labels]
    rare = [label for label in known if 0 < counts["train"][label] < thresholds.RARE]
    numbers = ", ".join(f"{label} {counts['train'][label]:,}" for label in known)
    sentences = [f"Spans in {counted(len(project['train']), 'training text')}: {numbers or 'none'}."]
    for names, what in (
        (absent, "has no training example"),
        (unmeasured, "isn't in dev and can't be measured there"),
        (foreign, "isn't in the scheme"),
        (rare, f"has fewer than {thresholds.RARE}"),
    ):
        sentences += [f"{label} {what}." for label in names]
    nothing = not counts["train"].total()
    if nothing:
        cause = "the training data has no annotation at all"
    elif absent:
        cause = f"{' and '.join(absent)} has no training example"
    else:
        cause = (
            f"{' and '.join(foreign)} isn't in the scheme"
            if foreign
            else "labels that are rare or not in dev"
        )
    return Finding(
        name="no-annotation" if nothing else "labels",
        hypothesis="A label can't be learned or measured.",
        question="A label of the scheme, or of dev, has no or hardly any span in training.",
        test="Count the spans of each label by split.",
        observation=" ".join(sentences),
        verdict=grade(absent or foreign, rare or unmeasured),
        cause=cause,
        remedy="Annotate texts with that label, or take it out of the scheme; look for a filter or a "
        "conversion that lost it.",
        figures={split: {label: counts[split][label] for label in known} for split in SPLITS},
    )


def balance(project: ProjectData) -> Finding:
    """The share of the most frequent label."""
    hypothesis = {
        "name": "balance",
        "hypothesis": "One label outweighs the others.",
        "question": "Nearly all spans have one label, so that the average says nothing about the others.",
        "test": "Share of the most frequent label in training.",
    }
    counts = Counter(s.label for r in project["train"] for s in r.spans)
    if len(project.labels) < 2:
        return untested(hypothesis, "There is only one label.")
    if not counts:
        return untested(hypothesis, "There is no span.")
    label, most = max(counts.items(), key=lambda item: (item[1], item[0]))
    share = most / counts.total()
    least, few = min(((x, counts[x]) for x in project.labels), key=lambda item: (item[1], item[0]))
    return Finding(
        **hypothesis,
        observation=f"{label} is {percent(share)} of {counts.total():,} spans, {least} is "
        f"{percent(few / counts.total())}.",
        verdict=grade(False, share > thresholds.DOMINANT),
        cause="one label outweighs the others",
        remedy="Look at scores by label, and annotate texts that have the rare ones.",
        figures={"spans": counts.total(), "largest_share": round(share, 4)},
    )


def density(project: ProjectData) -> Finding:
    """Spans per hundred words, train against dev."""
    hypothesis = {
        "name": "density",
        "hypothesis": "Train and dev were annotated by different rules.",
        "question": "Dev has far more, or far fewer, spans for its length than train.",
        "test": "Spans per hundred words in both.",
    }
    if reason := project.too_small("train") or project.too_small("dev"):
        return untested(hypothesis, reason)
    rates = {}
    for split in ("train", "dev"):
        words = sum(count_words(record.text) for record in project[split])
        rates[split] = 100 * sum(len(record.spans) for record in project[split]) / max(words, 1)
    ratio = rates["dev"] / rates["train"]
    return Finding(
        **hypothesis,
        observation=f"{rates['train']:.1f} in train ({len(project['train']):,} texts), {rates['dev']:.1f} in "
        f"dev ({len(project['dev']):,} texts).",
        verdict=grade(False, not thresholds.DENSITY < ratio < 1 / thresholds.DENSITY),
        cause="train and dev were annotated by different rules",
        remedy="Compare some texts of both with the guidelines; unannotated texts may have slipped in.",
        figures={split: round(rate, 4) for split, rate in rates.items()},
    )


LEAK = {
    "name": "leak",
    "hypothesis": "Texts of dev or test are in train.",
    "question": "The score is that of memory: the answers were seen in training.",
    "test": "The same words in the same order, ignoring case, digits and punctuation.",
}
NEAR_LEAK = {
    "name": "near-leak",
    "hypothesis": "Nearly the same texts are in train and in dev or test.",
    "question": "The score is that of memory: a copy changed by a word gives the answer away.",
    "test": f"Pairs across splits that share at least {percent(thresholds.SIMILAR)} of their word pairs.",
}


def leak(project: ProjectData, *, near: bool) -> Finding:
    """Texts of dev and test that training has too, word for word or (`near`) nearly."""
    hypothesis = NEAR_LEAK if near else LEAK
    figures, examples, parts, broken = {}, [], [], False
    for split in ("dev", "test"):
        n = len(project[split])
        if not n:
            continue
        copies = _copies(project["train"], project[split], near)
        figures[split] = {"texts": n, "leaked": len(copies)}
        parts.append(f"{len(copies):,} of {n:,} in {split}")
        broken |= len(copies) > thresholds.LEAKED * n and len(copies) > 1
        like = "like " if near else ""
        examples += [
            f"{split} {project[split][i].id} is {like}train {project['train'][j].id}"
            for i, j in sorted(copies.items())
        ]
    if not figures:
        return untested(hypothesis, "There is neither dev nor test.")
    return Finding(
        **hypothesis,
        observation=f"{' and '.join(parts)} {'have a near-duplicate' if near else 'are'} in train "
        f"({len(project['train']):,} texts).",
        verdict=grade(broken, any(counts["leaked"] for counts in figures.values())),
        cause=f"{'near-duplicates' if near else 'texts'} of dev or test are in train",
        remedy="Split again with `weasel run split`, which keeps near-duplicates together; until then no "
        "score counts.",
        figures=figures,
        examples=tuple(examples[:5]),
    )


def _copies(train: Sequence[Record], held_out: Sequence[Record], near: bool) -> dict[int, int]:
    """Index in `train` of the original, or of the most similar text, by index in `held_out`."""
    known, words = ([splits.normalise(record.text) for record in records] for records in (train, held_out))
    original = {tuple(text): i for i, text in enumerate(known)}
    exact = {i: original[tuple(text)] for i, text in enumerate(words) if tuple(text) in original}
    if not near:
        return exact
    similar = list(splits.near_earlier([*known, *words], thresholds.SIMILAR, indexed=len(known)))[
        len(known) :
    ]
    return {
        i: max(pairs, key=lambda pair: pair[1])[0]
        for i, pairs in enumerate(similar)
        if pairs and i not in exact
    }


def known_strings(project: ProjectData) -> Finding:
    """The share of the strings of dev and test that were annotated in training."""
    hypothesis = {
        "name": "known-strings",
        "hypothesis": "Dev and test have the same names as train.",
        "question": "Most of their spans are strings that training has with the same label.",
        "test": "Look each string up among those of training, ignoring case.",
    }
    known = scoring.known_strings(project["train"])
    figures, parts, many = {}, [], False
    for split in ("dev", "test"):
        strings = [pair for record in project[split] for pair in sorted(scoring.known_strings([record]))]
        if strings:
            share = sum(pair in known for pair in strings) / len(strings)
            figures[split] = {"strings": len(strings), "known": round(share, 4)}
            parts.append(f"{percent(share)} of {len(strings):,} in {split}")
            many |= len(strings) >= thresholds.MINIMUM_SPANS and round(share, 4) > thresholds.KNOWN_STRINGS
    if not figures:
        return untested(hypothesis, "There is no span in dev or test.")
    return Finding(
        **hypothesis,
        observation=f"{' and '.join(parts)} are known from {len(known):,} strings of training.",
        verdict=grade(False, many),
        cause="most names of dev or test are known from training",
        remedy="Read the scores of unseen strings in the report of `evaluate`; they are what to expect of "
        "new names.",
        figures=figures,
    )


def drift(project: ProjectData) -> Finding:
    """Can a classifier tell by the words which split a text is from?"""
    hypothesis = {
        "name": "drift",
        "hypothesis": "Dev or test is from another source than train.",
        "question": "A classifier can tell from the words which of the two a text is from.",
        "test": "Two-sample test: cross-validated AUC of a linear classifier over TF-IDF of cased words.",
    }
    figures, parts, worst, reasons = {}, [], 0.0, []
    for split in ("dev", "test"):
        small = next((s for s in ("train", split) if len(project[s]) < thresholds.MINIMUM_TEXTS), None)
        if small:
            n = counted(len(project[small]), "text")
            reasons.append(f"{small} has {n}; this takes {thresholds.MINIMUM_TEXTS}.")
            continue
        one = project.sample("train", thresholds.TRAIN_TEXTS)
        other = project.sample(split, thresholds.CHECK_TEXTS)
        auc, low = separability([r.text for r in one], [r.text for r in other], project.seed)
        figures[split] = {"texts": [len(one), len(other)], "auc": round(auc, 4), "low": round(low, 4)}
        parts.append(f"{auc:.2f} for {split} (n={len(one):,} and {len(other):,}, 95 % above {low:.2f})")
        worst = max(worst, low)
    if not figures:
        return untested(hypothesis, reasons[0])
    return Finding(
        **hypothesis,
        observation=f"AUC {' and '.join(parts)}; .5 is no difference, 1 is two different sources.",
        verdict=grade(worst > thresholds.DRIFT, worst > thresholds.DRIFT_WATCH),
        cause="dev or test is from another domain than train",
        remedy="Draw all three from one source (`split` does), or annotate training texts like those of dev.",
        figures=figures,
    )


def separability(one: Sequence[str], other: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """AUC of a classifier that tells two samples apart, cross-validated, and its lower 95 % bound.

    The standard error is that of Hanley and McNeil (1982).
    """
    texts, source = [*one, *other], np.array([0] * len(one) + [1] * len(other))
    features = TfidfVectorizer(lowercase=False, sublinear_tf=True, min_df=2).fit_transform(texts)
    score = np.zeros(len(texts))
    for train, held_out in StratifiedKFold(5, shuffle=True, random_state=seed).split(features, source):
        model = LogisticRegression(class_weight="balanced", max_iter=300).fit(features[train], source[train])
        score[held_out] = model.decision_function(features[held_out])
    auc = float(roc_auc_score(source, score))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    n, m = len(other), len(one)
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m)
    return auc, max(0.0, auc - 1.645 * variance**0.5)
