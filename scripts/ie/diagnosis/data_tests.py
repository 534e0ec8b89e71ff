"""Tests of the data as it lies there: texts, offsets, tokens, labels, leakage between splits, drift."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from spacy.language import Language
from spacy.vocab import Vocab

from ie.data import splits
from ie.data.docs import from_doc
from ie.data.records import Record, Span
from ie.diagnosis import thresholds
from ie.diagnosis.findings import SIDES, Finding, ProjectData, chosen, enough, percent, shown, untested
from ie.evaluation import scoring

# What splits of a text may count in, from the offset in characters. Python and this project count characters.
UNITS: dict[str, Callable[[str], int]] = {
    "bytes of UTF-8": lambda character: len(character.encode("utf-8", "surrogatepass")),
    "units of UTF-16 (JavaScript, Java)": lambda character: 1 + (character > "\uffff"),
}
EDGES = " \t\r\n\u00a0,;:!?\"'()[]{}"


def run(project: ProjectData, nlp: Language) -> Iterator[Finding]:
    """All tests of the data, in the order of this file.

    Args:
        nlp: an initialised pipeline of the config (its tokenizer is what counts), or the project's own.
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
    """Empty texts, and the same text twice on one side."""
    empty, twice, otherwise, n, worst = 0, 0, 0, 0, 0.0
    for side in SIDES:
        before = twice
        seen: dict[str, list] = {}
        for record in project[side]:
            n += 1
            empty += not record.text.strip()
            annotation = sorted((s.start, s.end, s.label) for s in record.spans)
            if record.text in seen:
                twice += 1
                otherwise += seen[record.text] != annotation
            seen.setdefault(record.text, annotation)
        worst = max(worst, (twice - before) / max(len(project[side]), 1))
    bad = empty + twice
    contradictory = bool(otherwise) and bad > thresholds.FAULTY_SPANS * n
    return Finding(
        "texts",
        "data",
        "There are empty or repeated texts.",
        "Some lines have no words, or the words of another line of the same file.",
        "Compare every text with the others of its side.",
        f"Of {n:,} texts {empty:,} are empty and {twice:,} repeat another, {otherwise:,} of these annotated "
        "otherwise.",
        "broken" if contradictory or worst > thresholds.REPEATED else "watch" if bad else "fine",
        "the same text is there with different annotations"
        if otherwise
        else "the same texts are there again and again"
        if worst > thresholds.REPEATED
        else "empty or repeated texts",
        'Delete empty lines, keep one of equal texts (`duplicates = "first"` in configs/data.cfg), and agree '
        "on its annotation.",
        {"texts": n, "empty": empty, "repeated": twice, "annotated_otherwise": otherwise},
    )


def _edges(project: ProjectData, record: Record) -> tuple[set[int], set[int]]:
    doc = project.nlp.make_doc(record.text)
    return {token.idx for token in doc}, {token.idx + len(token) for token in doc}


def _misplaced(record: Record, span: Span, starts: set[int], ends: set[int]) -> bool:
    return span.start not in starts or span.end not in ends or not span.start < span.end


def encoding(project: ProjectData) -> Finding:
    """Offsets that count bytes or UTF-16 units: right again once converted."""
    told = {
        "name": "encoding",
        "group": "data",
        "hypothesis": "Offsets were counted on another encoding of the texts.",
        "question": "Spans behind the first €, é or emoji are off, and fit once their offsets are converted.",
        "test": "Convert such offsets from UTF-8 bytes and from UTF-16 units to characters.",
    }
    behind = misplaced = 0
    mended: Counter[str] = Counter()
    examples: list[str] = []
    for side in SIDES:
        for record in project[side]:
            first = next((i for i, c in enumerate(record.text) if c > "\x7f"), None)
            concerned = [s for s in record.spans if first is not None and s.end > first]
            if not concerned:
                continue
            behind += len(concerned)
            starts, ends = _edges(project, record)
            wrong = [s for s in concerned if _misplaced(record, s, starts, ends)]
            misplaced += len(wrong)
            for unit, size in UNITS.items() if wrong else ():
                back = {0: 0}
                position = 0
                for i, character in enumerate(record.text):
                    position += size(character)
                    back[position] = i + 1
                for span in wrong:
                    start, end = back.get(span.start, -1), back.get(span.end, -1)
                    if start in starts and end in ends and start < end:
                        mended[unit] += 1
                        examples.append(
                            f"{shown(record, span.start, span.end)} is {shown(record, start, end)} in {unit}"
                        )
    if not behind:
        return untested(told, "No span lies behind a character outside ASCII, so every unit counts the same.")
    unit, right = max(mended.items(), key=lambda item: item[1], default=("", 0))
    broken = (
        misplaced > thresholds.FAULTY_SPANS * behind and right > thresholds.MENDED * misplaced and right > 1
    )
    return Finding(
        **told,
        observation=f"Of {behind:,} spans behind such a character {misplaced:,} are on no tokens"
        + (f"; {right:,} of these would be if offsets counted {unit}." if unit else "."),
        verdict="broken" if broken else "fine",
        cause=f"offsets count {unit}" if unit else "",
        remedy="Convert the offsets to Unicode characters (Python's string indices) where you export them.",
        figures={"spans": behind, "misplaced": misplaced, "mended": right},
        examples=tuple(examples[:5]),
    )


def off_token(project: ProjectData) -> Finding:
    """Spans outside the text, off the tokens, overlapping, or with blanks or punctuation at their edges."""
    counts: Counter[str] = Counter()
    examples, n = [], 0
    for side in SIDES:
        for record in project[side]:
            starts, ends = _edges(project, record)
            before = -1
            for span in sorted(record.spans, key=lambda s: (s.start, s.end)):
                n += 1
                text = record.text[max(span.start, 0) : span.end]
                outside = not 0 <= span.start < span.end <= len(record.text)
                kind = ""
                if outside:
                    kind = "outside the text"
                elif span.start < before:
                    kind = "overlapping"
                elif text != text.strip():
                    kind = "with a blank at an edge"
                elif span.start not in starts or span.end not in ends:
                    kind = "inside a token"
                if kind:
                    examples.append(f"{side} {record.id}: {shown(record, span.start, span.end)} is {kind}")
                elif text.strip(EDGES) != text and not _paired(text):
                    kind = "with punctuation at an edge"
                counts[kind] += 1
                before = max(before, span.end)
    faulty = n - counts[""] - counts["with punctuation at an edge"]
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()) if kind)
    edges = counts["with punctuation at an edge"] > thresholds.FAULTY_SPANS * n
    verdict = "broken" if faulty > thresholds.FAULTY_SPANS * n else "watch" if faulty or edges else "fine"
    return Finding(
        "off-token",
        "data",
        "Spans don't lie on the tokens that the pipeline sees.",
        "Edges inside tokens, blanks or commas at edges, spans outside their text or over another.",
        "Look each span up among the tokens of its text.",
        f"Of {n:,} spans {told or 'all lie on whole tokens'}.",
        verdict,
        "spans off the tokens" if faulty else "punctuation at the edges of spans",
        'Correct the offsets (the examples show some), or set `misaligned = "snap"` in configs/data.cfg.',
        {"spans": n} | {kind: count for kind, count in sorted(counts.items()) if kind},
        tuple(examples[:5]),
    )


def _paired(text: str) -> bool:
    """Whether brackets or quotes at an edge have their partner within: part of a name, most likely."""
    return any(opening in text and closing in text[1:] for opening, closing in ("()", "[]", "{}", '""', "''"))


def other_tokens(project: ProjectData, nlp: Language) -> Finding:
    """Texts that the .spacy files cut into other tokens than the pipeline of the config does."""
    told = {
        "name": "tokenizer",
        "group": "data",
        "hypothesis": "The training corpus was cut into tokens by another tokenizer than the pipeline's.",
        "question": "The pipeline cuts the same texts elsewhere, and some spans lie on none of its tokens.",
        "test": "Cut the texts of the .spacy files again with the tokenizer of the config.",
    }
    differ = lost = n = spans = 0
    examples = []
    for side in ("train", "dev"):
        docs = project.docs(side, nlp.vocab) if project[side] or side in project.bins else []
        for doc in (docs[i] for i in chosen(len(docs), thresholds.TRAIN_TEXTS, project.seed)):
            n += 1
            again = nlp.make_doc(doc.text)
            ours, theirs = ({(t.idx, len(t)) for t in d} for d in (again, doc))
            spans += len(doc.ents)
            lost += sum(again.char_span(e.start_char, e.end_char) is None for e in doc.ents)
            if ours != theirs:
                differ += 1
                where = min(ours ^ theirs)[0]
                one, other = (next(t.text for t in d if t.idx + len(t) > where) for d in (doc, again))
                examples.append(f"{one!r} in the corpus, {other!r} in the pipeline")
    broken = differ > thresholds.OTHER_TOKENS * n
    return Finding(
        **told,
        observation=f"{differ:,} of {n:,} texts are cut otherwise; {lost:,} of {spans:,} spans lie on none "
        "of the pipeline's tokens.",
        verdict="broken" if broken else "watch" if differ else "fine",
        cause="the corpus was cut into tokens by another tokenizer than the pipeline's",
        remedy="Write the corpus with the config's own tokenizer (`weasel run split`), or put the corpus's "
        "tokenizer into [initialize.before_init] of the config.",
        figures={"texts": n, "differ": differ, "spans": spans, "lost": lost},
        examples=tuple(dict.fromkeys(examples))[:5],
    )


def stale(project: ProjectData) -> Finding:
    """The .spacy files against the JSONL files beside them."""
    told = {
        "name": "stale",
        "group": "data",
        "hypothesis": "Training reads other data than what people look at.",
        "question": "The .spacy file has other texts or other spans than the .jsonl file beside it.",
        "test": "Compare both, text by text.",
    }
    differ, n, compared = 0, 0, False
    for side in SIDES:
        if side not in project.bins:
            continue
        compared = True
        inside = {doc.text: _spans(from_doc(doc)) for doc in project.docs(side, Vocab())}
        lines = {record.text: _spans(record) for record in project[side]}
        n += len(inside.keys() | lines.keys())
        differ += sum(inside.get(text) != lines.get(text) for text in inside.keys() | lines.keys())
    if not compared:
        return untested(told, "There are no .spacy files beside the .jsonl files.")
    # Spans that no conversion can keep are another test's finding.
    return Finding(
        **told,
        observation=f"{differ:,} of {n:,} texts are in one only or annotated otherwise.",
        verdict="broken" if differ > thresholds.LEAKED * n else "watch" if differ else "fine",
        cause="the .spacy files don't hold what the .jsonl files say",
        remedy="Run `weasel run split` again, and edit assets/reviewed.jsonl, never the files in corpus.",
        figures={"texts": n, "differ": differ},
    )


def _spans(record: Record) -> set[tuple[int, int, str]]:
    return {(s.start, s.end, s.label) for s in record.spans}


def labels(project: ProjectData) -> Finding:
    """Labels that training has none of, few of, or that the scheme doesn't know."""
    counts = {side: Counter(s.label for r in project[side] for s in r.spans) for side in SIDES}
    known = scoring.labels_of([r for side in SIDES for r in project[side]], project.labels)
    absent = [label for label in known if not counts["train"][label]]
    unmeasured = [label for label in known if project["dev"] and not counts["dev"][label]]
    foreign = [label for label in known if label not in project.labels]
    rare = [label for label in known if 0 < counts["train"][label] < thresholds.RARE]
    lines = ", ".join(f"{label} {counts['train'][label]:,}" for label in known)
    n = len(project["train"])
    said = [f"Spans in {n:,} training text{'s' * (n != 1)}: {lines or 'none'}."]
    for names, what in (
        (absent, "has no training example"),
        (unmeasured, "isn't in dev and can't be measured there"),
        (foreign, "isn't in the scheme"),
        (rare, f"has fewer than {thresholds.RARE}"),
    ):
        said += [f"{label} {what}." for label in names]
    nothing = not counts["train"].total()
    cause = (
        "the training data has no annotation at all"
        if nothing
        else f"{' and '.join(absent)} has no training example"
        if absent
        else f"{' and '.join(foreign)} isn't in the scheme"
        if foreign
        else "labels that are rare or not in dev"
    )
    return Finding(
        "no-annotation" if nothing else "labels",
        "data",
        "A label can't be learned or measured.",
        "A label of the scheme, or of dev, has no or hardly any span in training.",
        "Count the spans of each label by side.",
        " ".join(said),
        "broken" if absent or foreign else "watch" if rare or unmeasured else "fine",
        cause,
        "Annotate texts with that label, or take it out of the scheme; look for a filter or a conversion "
        "that lost it.",
        {side: {label: counts[side][label] for label in known} for side in SIDES},
    )


def balance(project: ProjectData) -> Finding:
    """How far one label outweighs the rest."""
    told = {
        "name": "balance",
        "group": "data",
        "hypothesis": "One label outweighs the others.",
        "question": "Nearly all spans have one label, so that the average says nothing of the others.",
        "test": "Share of the commonest label in training.",
    }
    counts = Counter(s.label for r in project["train"] for s in r.spans)
    if len(project.labels) < 2:
        return untested(told, "There is only one label.")
    if not counts:
        return untested(told, "There is no span.")
    label, most = max(counts.items(), key=lambda item: (item[1], item[0]))
    share = most / counts.total()
    least, few = min(((x, counts[x]) for x in project.labels), key=lambda item: (item[1], item[0]))
    return Finding(
        **told,
        observation=f"{label} is {percent(share)} of {counts.total():,} spans, {least} is "
        f"{percent(few / counts.total())}.",
        verdict="watch" if share > thresholds.DOMINANT else "fine",
        cause="one label outweighs the others",
        remedy="Look at scores by label, and annotate texts that have the rare ones.",
        figures={"spans": counts.total(), "largest_share": round(share, 4)},
    )


def density(project: ProjectData) -> Finding:
    """Spans for each hundred words, train against dev."""
    told = {
        "name": "density",
        "group": "data",
        "hypothesis": "Train and dev were annotated by different rules.",
        "question": "Dev has far more, or far fewer, spans for its length than train.",
        "test": "Spans for a hundred words on both sides.",
    }
    for side in ("train", "dev"):
        if why := enough(project, side):
            return untested(told, why)
    rates = {}
    for side in ("train", "dev"):
        words = sum(len(record.text.split()) for record in project[side])
        rates[side] = 100 * sum(len(record.spans) for record in project[side]) / max(words, 1)
    ratio = rates["dev"] / rates["train"]
    return Finding(
        **told,
        observation=f"{rates['train']:.1f} in train ({len(project['train']):,} texts), {rates['dev']:.1f} in "
        f"dev ({len(project['dev']):,} texts).",
        verdict="fine" if thresholds.DENSITY < ratio < 1 / thresholds.DENSITY else "watch",
        cause="train and dev were annotated by different rules",
        remedy="Compare some texts of both with the guidelines; unannotated texts may have slipped in.",
        figures={side: round(rate, 4) for side, rate in rates.items()},
    )


def leak(project: ProjectData, *, near: bool) -> Finding:
    """Texts of dev and test that training has too, word for word or nearly."""
    told = {
        "name": "near-leak" if near else "leak",
        "group": "data",
        "hypothesis": f"{'Nearly the same texts' if near else 'Texts of dev or test'} are in train"
        f"{' and in dev or test' if near else ''}.",
        "question": "The score is that of memory: a copy changed by a word gives the answer away."
        if near
        else "The score is that of memory: the answers were seen in training.",
        "test": f"Pairs across splits that share at least {percent(thresholds.SIMILAR)} of their word pairs."
        if near
        else "The same words in the same order, case, digits and punctuation aside.",
    }
    words = {side: [splits.normalise(record.text) for record in project[side]] for side in SIDES}
    train = {tuple(text): i for i, text in enumerate(words["train"])}
    figures, examples, worst = {}, [], 0.0
    said = []
    for side in ("dev", "test"):
        n = len(words[side])
        if not n:
            continue
        same = {i for i, text in enumerate(words[side]) if tuple(text) in train}
        if near:
            everything = [*words["train"], *words[side]]
            pairs = splits.near_earlier(everything, thresholds.SIMILAR, indexed=len(words["train"]))
            found = {}
            for i, similar in enumerate(pairs):
                where = i - len(words["train"])
                if where >= 0 and similar and where not in same:
                    found[where] = max(similar, key=lambda pair: pair[1])[0]
        else:
            found = {i: train[tuple(words[side][i])] for i in same}
        figures[side] = {"texts": n, "leaked": len(found)}
        said.append(f"{len(found):,} of {n:,} in {side}")
        if len(found) > thresholds.LEAKED * n and len(found) > 1:
            worst = max(worst, len(found) / n)
        examples += [
            f"{side} {project[side][i].id} is {'like ' if near else ''}train {project['train'][j].id}"
            for i, j in sorted(found.items())
        ]
    if not figures:
        return untested(told, "There is neither dev nor test.")
    any_ = any(entry["leaked"] for entry in figures.values())
    what = "near-duplicates of dev or test are in train" if near else "texts of dev or test are in train"
    return Finding(
        **told,
        observation=f"{' and '.join(said)} {'have a near-duplicate' if near else 'are'} in train "
        f"({len(project['train']):,} texts).",
        verdict="broken" if worst else "watch" if any_ else "fine",
        cause=what,
        remedy="Split again with `weasel run split`, which keeps near-duplicates on one side; until then no "
        "score counts.",
        figures=figures,
        examples=tuple(examples[:5]),
    )


def known_strings(project: ProjectData) -> Finding:
    """How many strings of dev and test were annotated in training: leakage of entities only."""
    told = {
        "name": "known-strings",
        "group": "data",
        "hypothesis": "Dev and test hold the names that training holds.",
        "question": "Most of their spans are strings that training has with the same label.",
        "test": "Look each string up among those of training, case aside.",
    }
    known = scoring.known_strings(project["train"])
    figures, said = {}, []
    for side in ("dev", "test"):
        strings = [pair for record in project[side] for pair in sorted(scoring.known_strings([record]))]
        if strings:
            share = sum(pair in known for pair in strings) / len(strings)
            figures[side] = {"strings": len(strings), "known": round(share, 4)}
            said.append(f"{percent(share)} of {len(strings):,} in {side}")
    if not figures:
        return untested(told, "There is no span in dev or test.")
    high = any(
        e["known"] > thresholds.KNOWN_STRINGS
        for e in figures.values()
        if e["strings"] >= thresholds.MINIMUM_SPANS
    )
    return Finding(
        **told,
        observation=f"{' and '.join(said)} are known from {len(known):,} strings of training.",
        verdict="watch" if high else "fine",
        cause="most names of dev or test are known from training",
        remedy="Read the scores of unseen strings in the report of `evaluate`; they are what to expect of "
        "new names.",
        figures=figures,
    )


def drift(project: ProjectData) -> Finding:
    """Can a classifier tell by words which side a text is from?"""
    told = {
        "name": "drift",
        "group": "data",
        "hypothesis": "Dev or test is from another source than train.",
        "question": "A classifier can tell from the words which of the two a text is from.",
        "test": "Two-sample test: cross-validated AUC of a linear classifier over TF-IDF of cased words.",
    }
    figures, said, worst, reasons = {}, [], 0.0, []
    for side in ("dev", "test"):
        small = next((s for s in ("train", side) if len(project[s]) < thresholds.MINIMUM_TEXTS), None)
        if small:
            n = len(project[small])
            reasons.append(f"{small} has {n} text{'s' * (n != 1)}; this takes {thresholds.MINIMUM_TEXTS}.")
            continue
        one, other = (
            project.sample("train", thresholds.TRAIN_TEXTS),
            project.sample(side, thresholds.CHECK_TEXTS),
        )
        auc, low = tells_apart([r.text for r in one], [r.text for r in other], project.seed)
        figures[side] = {"texts": [len(one), len(other)], "auc": round(auc, 4), "low": round(low, 4)}
        said.append(f"{auc:.2f} for {side} (n={len(one):,} and {len(other):,}, 95 % above {low:.2f})")
        worst = max(worst, low)
    if not figures:
        return untested(told, reasons[0])
    return Finding(
        **told,
        observation=f"AUC {' and '.join(said)}; .5 is no difference, 1 is two worlds.",
        verdict="broken"
        if worst > thresholds.DRIFT
        else "watch"
        if worst > thresholds.DRIFT_WATCH
        else "fine",
        cause="dev or test is from another domain than train",
        remedy="Draw all three from one source (`split` does), or annotate training texts like those of dev.",
        figures=figures,
    )


def tells_apart(one: Sequence[str], other: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """AUC by which texts of two samples are told apart, each by models that didn't see it; lower 95 % bound.

    The standard error is that of Hanley and McNeil (1982).
    """
    texts_, side = [*one, *other], np.array([0] * len(one) + [1] * len(other))
    features = TfidfVectorizer(lowercase=False, sublinear_tf=True, min_df=2).fit_transform(texts_)
    score = np.zeros(len(texts_))
    for train, held in StratifiedKFold(5, shuffle=True, random_state=seed).split(features, side):
        model = LogisticRegression(class_weight="balanced", max_iter=300).fit(features[train], side[train])
        score[held] = model.decision_function(features[held])
    auc = float(roc_auc_score(side, score))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    n, m = len(other), len(one)
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m)
    return auc, max(0.0, auc - 1.645 * variance**0.5)
