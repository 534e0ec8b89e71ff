"""Links names to a table of known ones: candidates by exact, normalised and fuzzy match, chosen by context.

The table is stored as sorted arrays that are memory-mapped when a pipeline is loaded from disk, so a million
names take neither time to load nor private memory. A logistic regression over the candidates'
features (how the names match, what the text says) chooses one; below a threshold the answer is NIL.

spaCy's own KnowledgeBase supports exact aliases only and keeps them as objects. Its interface is followed
where it fits: `get_candidates`, `ent.kb_id_`, the entity_linker scorer.
"""

import hashlib
import io
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from rapidfuzz import fuzz, process
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.strings import hash_string
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import from_bytes, from_disk, to_bytes, to_disk
from spacy.vocab import Vocab

REQUIREMENTS = ("rapidfuzz",)
NIL = "NIL"
# How a name matches, from the most to the least certain.
EXACT, FOLDED, STRIPPED, ACRONYM, SHORT, FUZZY = range(6)
MATCHES = ("exact", "folded", "stripped", "acronym", "short", "fuzzy")
FEATURES = (
    *MATCHES,
    "similarity",
    "candidates",
    "worse",
    "elsewhere",
    "overlap",
    "near",
    "kind",
)
NEAR = 6  # words to either side of a mention that are near it
LONGEST = 200  # characters of a name; the rest is ignored
BUCKETS = 1 << 18
CACHED = 20_000  # folded names: those of a table occur again and again
STEM = 5  # letters of a word that count: "clinic" and "clinics", "robot" and "robotics"
JOINED = re.compile(r"\b\w(?: \w\b)+")
# Invisible characters: soft hyphens, joiners, direction marks.
INVISIBLE = frozenset(c for c in map(chr, range(0x10000)) if unicodedata.category(c) == "Cf")
MARKS = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c).startswith("M"))
# Words with the vowel signs of Indic, Thai and other scripts, which Python's \w leaves out.
WORDS = re.compile(rf"[\w{MARKS}]+")
LETTERS = re.compile(rf"(?:[^\W\d_]|[{MARKS}])+")
# Letters that Unicode does not decompose, as people write them without that key.
PLAIN = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ŧ": "t", "ı": "i",
     "ŋ": "n", "ĸ": "k", "ə": "e", "ɓ": "b", "ɗ": "d", "ƙ": "k", "ß": "ss", "ё": "е"}
)  # fmt: skip
FRONT = "^"  # marks a legal form that stands in front of a name
# Scripts without a space between a legal form and a name: "株式会社日立".
UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]{2,}")
POSSESSIVE = re.compile(r"['’]s?$")
ARRAYS = ("ids", "id_ends", "names", "name_ends", "owners", "hashes", "targets", "postings", "bounds")

if not Span.has_extension("link_score"):
    Span.set_extension("link_score", default=None)


@dataclass(frozen=True)
class Candidate:
    """An entry that a mention may stand for.

    Attributes:
        entry: its number in the table.
        match: kind of match, one of EXACT to FUZZY.
        similarity: of the mention and the name that matched, 0 to 1.
        name: that name.
    """

    entry: int
    match: int
    similarity: float
    name: str


@lru_cache(CACHED)
def fold(text: str) -> str:
    """A name without variants of spelling: case, accents, punctuation, "&", a leading "the", a possessive."""
    text = POSSESSIVE.sub("", text[:LONGEST].strip())
    text = strip_accents(text).replace("&", " and ").replace("+", " and ")
    words = re.sub(r"['’]", "", text).replace(".", " ")
    plain = " ".join(WORDS.findall(words))
    # "s.a.e." and "a. p. moller": single letters belong together
    plain = JOINED.sub(lambda match: match[0].replace(" ", ""), plain)
    return plain.removeprefix("the ") or plain or " ".join(text.split())


def strip_accents(text: str) -> str:
    """Lower-case text, without width, ligatures and the accents of Latin and Greek.

    "Ø" becomes "o" and "Æ" becomes "ae". The marks of other scripts stay, as they distinguish words: the
    dakuten of kana, the vowel signs of Indic scripts, Arabic and Hebrew. In Cyrillic й, ї, ў, ѓ and ќ are
    letters of their own and stay; ё is often written as е and becomes that; stress marks are removed.
    """
    if text.isascii():
        return text.casefold()
    text = unicodedata.normalize("NFKC", text).casefold()
    text = "".join(unicodedata.normalize("NFKD", c) if _has_accents(c) else c for c in text)
    return "".join(c for c in text if not "\u0300" <= c <= "\u036f" and c not in INVISIBLE).translate(PLAIN)


def _has_accents(character: str) -> bool:
    """Whether it is a Latin or Greek letter."""
    return character < "\u0400" or "\u1e00" <= character <= "\u1fff"


def legal_form(text: str) -> str:
    """A line of assets/legal_forms.txt, folded like names; "^" in front of it stays."""
    return FRONT + fold(text[1:]) if text.startswith(FRONT) else fold(text)


@lru_cache(CACHED)
def strip_forms(folded: str, forms: frozenset[str]) -> str:
    """A folded name without the legal forms at its ends; at least one word stays."""
    words = folded.split(" ")
    cut = True
    while cut:
        cut = False
        for size in range(min(4, len(words) - 1), 0, -1):
            if " ".join(words[-size:]) in forms:
                words, cut = words[:-size], True
                break
            if FRONT + " ".join(words[:size]) in forms:
                words, cut = words[size:], True
                break
    stripped = " ".join(words)
    return stripped if stripped.isascii() else _strip_unspaced(stripped, forms)


def _strip_unspaced(name: str, forms: frozenset[str]) -> str:
    """ "株式会社日立" and "日立株式会社" without the longest matching form."""
    for form in sorted(forms, key=lambda form: (-len(form), form)):
        if not UNSPACED.fullmatch(form.removeprefix(FRONT)):
            continue
        rest = name.removeprefix(form[1:]) if form.startswith(FRONT) else name.removesuffix(form)
        if rest and rest != name:
            return rest.strip()
    return name


class NameTable:
    """Names in arrays, for look-up by exact keys and by trigrams.

    Attributes:
        ids, id_ends: ids of the entries as UTF-8, and where each ends.
        names, name_ends, owners: likewise all names and aliases, and the entry each belongs to.
        hashes, targets: hashes of keys, sorted, and the name each leads to.
        postings, bounds: numbers of the names by hashed trigram; where each bucket of them begins.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], forms: frozenset[str]) -> None:
        self.arrays = dict(arrays)
        self.forms = forms

    @classmethod
    def build(cls, rows: Iterable[tuple[str, Sequence[str]]], forms: frozenset[str]) -> "NameTable":
        """Index (id, names) rows. Names that an entry has twice count once."""
        ids, names = bytearray(), bytearray()
        id_ends, name_ends, owners = array("q"), array("q"), array("i")
        hashes, targets, folded = array("Q"), array("i"), []
        for number, (id_, own) in enumerate(rows):
            ids += id_.encode()
            id_ends.append(len(ids))
            for name in dict.fromkeys(name[:LONGEST] for name in own):
                plain = fold(name)
                for key in keys(plain, forms):
                    hashes.append(hash_string(key))
                    targets.append(len(owners))
                names += name.encode()
                name_ends.append(len(names))
                owners.append(number)
                folded.append(strip_forms(plain, forms))
        order = np.argsort(np.frombuffer(hashes, dtype=np.uint64), kind="stable")
        postings, bounds = trigram_index(folded)
        return cls(
            {
                "ids": np.frombuffer(bytes(ids), dtype=np.uint8),
                "id_ends": np.frombuffer(id_ends, dtype=np.int64),
                "names": np.frombuffer(bytes(names), dtype=np.uint8),
                "name_ends": np.frombuffer(name_ends, dtype=np.int64),
                "owners": np.frombuffer(owners, dtype=np.int32),
                "hashes": np.frombuffer(hashes, dtype=np.uint64)[order],
                "targets": np.frombuffer(targets, dtype=np.int32)[order],
                "postings": postings,
                "bounds": bounds,
            },
            forms,
        )

    def __len__(self) -> int:
        return len(self.arrays["id_ends"])

    def id(self, entry: int) -> str:
        """The id of an entry."""
        return self._text("ids", "id_ends", entry)

    def name(self, number: int) -> str:
        """A name or alias by its own number."""
        return self._text("names", "name_ends", number)

    def names_of(self, entry: int) -> list[str]:
        """All names of an entry, the first being that of its row."""
        first, last = np.searchsorted(self.arrays["owners"], [entry, entry + 1])
        return [self.name(number) for number in range(int(first), int(last))]

    def _text(self, blob: str, ends: str, number: int) -> str:
        where = self.arrays[ends]
        start = where[number - 1] if number else 0
        return self.arrays[blob][start : where[number]].tobytes().decode()

    def find(self, key: str, most: int) -> np.ndarray:
        """Numbers of the names under a key; none if there are more than `most`: such a key is no evidence."""
        wanted = np.uint64(hash_string(key))
        left = int(np.searchsorted(self.arrays["hashes"], wanted, side="left"))
        numbers = self.arrays["targets"][left : left + most + 1]
        numbers = numbers[self.arrays["hashes"][left : left + most + 1] == wanted]
        return numbers if len(numbers) <= most else numbers[:0]

    def similar(self, folded: str, *, budget: int, most: int) -> list[int]:
        """Names that share the rarest trigrams of a folded name, those with most in common first.

        Args:
            budget: maximum names to compare, over all trigrams.
            most: maximum names to return.
        """
        buckets = np.unique(trigrams([folded])[0])
        bounds = self.arrays["bounds"]
        sizes = bounds[buckets + 1] - bounds[buckets]
        pieces, taken = [], 0
        for i in np.argsort(sizes, kind="stable"):
            if not sizes[i]:
                continue
            if pieces and taken + sizes[i] > budget:
                break
            start = bounds[buckets[i]]
            pieces.append(self.arrays["postings"][start : start + min(int(sizes[i]), budget)])
            taken += len(pieces[-1])
        if not pieces:
            return []
        numbers, counts = np.unique(np.concatenate(pieces), return_counts=True)
        if len(numbers) > most:
            best = np.argpartition(-counts, most)[:most]
            numbers, counts = numbers[best], counts[best]
        return [int(n) for n in numbers[np.lexsort((numbers, -counts))]]


def keys(folded: str, forms: frozenset[str]) -> list[str]:
    """The keys under which a name is indexed; the first character gives their kind."""
    stripped = strip_forms(folded, forms)
    words = stripped.split(" ")
    result = [f"={folded}", f"-{stripped}"]
    if len(words) > 2:
        result.append("@" + "".join(word[0] for word in words))
        result.append("@" + "".join(word[0] for word in words if word != "and"))
        result.append("~" + " ".join(words[:-1]))
    if len(words) > 1:
        result.append(f"~{words[0]}")
    return list(dict.fromkeys(result))


def trigrams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashed trigrams of the padded texts, and the number of the text that each belongs to."""
    codes = np.frombuffer("".join(f"  {text} " for text in texts).encode("utf-32-le"), dtype=np.uint32)
    sizes = np.array([len(text) + 3 for text in texts])
    owners = np.repeat(np.arange(len(texts), dtype=np.int32), sizes)
    wide = codes.astype(np.uint64)
    mixed = wide[:-2] * np.uint64(0x9E3779B1) ^ wide[1:-1] * np.uint64(0x85EBCA77) ^ wide[2:]
    mixed = (mixed * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(64 - 18)
    inside = owners[:-2] == owners[2:]
    return mixed[inside].astype(np.int64), owners[:-2][inside]


def trigram_index(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the texts in the order of their trigrams' buckets, and where each bucket begins.

    Working on 100,000 texts at a time bounds the memory that building takes.
    """
    counts = np.zeros(BUCKETS + 1, dtype=np.int64)
    parts = []
    for start in range(0, len(texts), 100_000):
        buckets, owners = trigrams(texts[start : start + 100_000])
        counts[1:] += np.bincount(buckets, minlength=BUCKETS)
        parts.append((buckets.astype(np.uint32), owners + np.int32(start)))
    if not parts:
        return np.zeros(0, np.int32), counts
    buckets = np.concatenate([part for part, _ in parts])
    owners = np.concatenate([part for _, part in parts])
    del parts
    return owners[np.argsort(buckets, kind="stable")], np.cumsum(counts)


def stems(text: str) -> list[str]:
    """Words of a text, cut to their first letters, without the shortest."""
    return [word[:STEM] for word in fold_words(text) if len(word) > 2]


def fold_words(text: str) -> list[str]:
    """The words of a text as `fold` spells them, without numbers."""
    return LETTERS.findall(strip_accents(text))


@lru_cache(1)
def key_version() -> str:
    """A hash that changes with the output of `fold`, `keys` and `trigrams`, by which a table is indexed.

    It covers their output for every letter of the scripts they handle, and for names of many forms.
    """
    forms = frozenset(map(legal_form, ("gmbh", "and co", "s.p.a.", "^uab", "株式会社", "^株式会社")))
    spans = ((0x20, 0x600), (0x900, 0x980), (0x1E00, 0x2100), (0x3040, 0x3100), (0xFF00, 0xFFA0))
    names = [f"x{chr(code)}x" for first, end in spans for code in range(first, end)]
    names += [
        "The A. P. Møller & Co. GmbH",
        "O’Reilly's",
        "UAB Žabolis",
        "株式会社日立",
        "日立 株式会社",
        "a+b s.p.a.",
    ]
    indexed = [keys(fold(name), forms) for name in names]
    return hashlib.sha256(repr((indexed, trigrams(names[::50])[0].tolist())).encode()).hexdigest()[:16]


def _check_version(version: str) -> None:
    """Raise ValueError for a table indexed by other keys, which would find no names, or wrong ones."""
    if version != key_version():
        raise ValueError(
            "the linker's table was indexed by another version of the linker; train the linker again"
        )


def context_features(span: Span, neighbours: Sequence[str] = ()) -> list[str]:
    """Features of the text around a mention: the words next to it by position, and all words of the text.

    Args:
        neighbours: features of the names beside it.
    """
    doc = span.doc
    features = [f"w={stem}" for stem in set(stems(f"{doc[: span.start].text} {doc[span.end :].text}"))]
    features += [f"n={stem}" for stem in near_stems(span)]
    for place, i, step in (("l", span.start - 1, -1), ("r", span.end, 1)):
        near = [doc[j].lower_ for j in range(i, i + 3 * step, step) if 0 <= j < len(doc)]
        near += ["|"] * (3 - len(near))
        features += [f"{place}{n}={word}" for n, word in enumerate(near, start=1)]
        features.append(f"{place}12={near[0]} {near[1]}")
    return sorted({*features, *neighbours})


def near_stems(span: Span) -> set[str]:
    """Stems of the words within NEAR of a mention."""
    doc = span.doc
    return set(
        stems(f"{doc[max(0, span.start - NEAR) : span.start].text} {doc[span.end : span.end + NEAR].text}")
    )


class Linker(Pipe):
    """Sets `ent.kb_id_` of entities with certain labels to an id of the table, or to "NIL".

    `ent._.link_score` is the probability of the likeliest entry, whether it is chosen or not.

    Args:
        labels: of the entities.
        similarity: least similarity (0 to 1) of a name found by its trigrams.
        most: a key shared by more names than this is no evidence.
        budget: names whose trigrams are looked at, for one mention.
    """

    def __init__(
        self, vocab: Vocab, name: str, settings: dict[str, Any], scorer: Callable | None = None
    ) -> None:
        self.vocab = vocab
        self.name = name
        self.scorer = scorer
        self.cfg = settings
        self.model: dict[str, Any] = {}
        self.facts: dict[str, list[str]] = {}
        self.table: NameTable | None = None

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]] | None = None,
        *,
        nlp: Language | None = None,
        rows: Iterable[Mapping[str, Any]] = (),
        legal_forms: Iterable[str] = (),
    ) -> None:
        """Index the table; the weights come from `train-components`, and without them the best match wins.

        Args:
            rows: `id`, `name`, `aliases` (a list) and, where known, `kind`, `country`, `description`.
            legal_forms: what may be missing at the end of a name, such as "gmbh"; "^uab" at its front.
        """
        rows = list(rows)
        forms = frozenset(map(legal_form, legal_forms))
        self.table = NameTable.build(((row["id"], (row["name"], *row["aliases"])) for row in rows), forms)
        # Most tables have only names, so only further columns are stored.
        self.facts = {
            row["id"]: [row.get("kind", ""), f"{row.get('country', '')} {row.get('description', '')}".strip()]
            for row in rows
            if any(row.get(column) for column in ("kind", "country", "description"))
        }
        self.model = {}

    def __call__(self, doc: Doc) -> Doc:
        if self.table is None:
            raise ValueError(f"{self.name}: no table; call initialize() or load a trained pipeline.")
        ents = []
        for ent in doc.ents:
            if ent.label_ in self.cfg["labels"]:
                id_, score = self.link(ent)
                ent = Span(doc, ent.start, ent.end, label=ent.label, kb_id=id_, span_id=ent.id)
                ent._.link_score = score
            ents.append(ent)
        doc.set_ents(ents, default="unmodified")
        return doc

    def link(self, mention: Span) -> tuple[str, float]:
        """The id of the entry that a mention stands for, or "NIL", and the probability of the likeliest."""
        candidates = self.get_candidates(mention)
        if not candidates:
            return NIL, 0.0
        scores = self.scores(mention, candidates)
        best = likeliest(scores)
        if scores.sum() < self.model.get("threshold", 0.0):
            return NIL, float(scores[best])
        assert self.table is not None
        return self.table.id(candidates[best].entry), float(scores[best])

    def get_candidates(self, mention: Span) -> list[Candidate]:
        """The entries that a mention may stand for, each once, with its best match."""
        return self.look_up(mention.text)

    def look_up(self, text: str) -> list[Candidate]:
        """The entries that a name may stand for: by keys, and by trigrams where no key is found."""
        table, most = self.table, self.cfg["most"]
        assert table is not None
        folded = fold(text)
        stripped = strip_forms(folded, table.forms)
        candidates: dict[int, Candidate] = {}

        def add(numbers: Iterable[int], match: int) -> None:
            for number in map(int, numbers):
                entry, name = int(table.arrays["owners"][number]), table.name(number)
                if entry not in candidates:
                    kind = EXACT if match == FOLDED and name == text else match
                    likeness = 1.0 if kind <= FOLDED else fuzz.ratio(folded, fold(name)) / 100
                    candidates[entry] = Candidate(entry, kind, likeness, name)

        add(table.find(f"={folded}", most), FOLDED)
        add(table.find(f"-{stripped}", most), STRIPPED)
        if 2 < len(folded) < 7 and text.strip().isupper():
            add(table.find(f"@{folded}", most), ACRONYM)
        if not candidates:
            add(table.find(f"~{stripped}", most), SHORT)
            numbers = table.similar(stripped, budget=self.cfg["budget"], most=64)
            names = [strip_forms(fold(table.name(number)), table.forms) for number in numbers]
            close = process.extract(
                stripped, names, scorer=fuzz.ratio, score_cutoff=100 * self.cfg["similarity"], limit=10
            )
            add([numbers[i] for _, _, i in close], FUZZY)
        return sorted(candidates.values(), key=lambda c: (c.match, -c.similarity, c.entry))

    def scores(self, mention: Span, candidates: Sequence[Candidate]) -> np.ndarray:
        """The probability of each candidate; the rest to 1 is that of NIL.

        One regression predicts whether the table has the right entry, another which of them it is. Without
        weights, only the match of the names counts.
        """
        if not self.model:
            return np.array([1 - c.match / 10 + c.similarity / 100 for c in candidates]) / len(candidates)
        rows = self.features(mention, candidates, self.model)
        link, choice = self.model["link"], np.array(self.model["choice"])
        alone = 1 / (1 + np.exp(-(rows @ np.array(link["coefficients"]) + link["intercept"])))
        odds = np.exp(rows @ choice - (rows @ choice).max())
        return min(1.0, float(alone.sum())) * odds / odds.sum()

    def features(
        self, mention: Span, candidates: Sequence[Candidate], knowledge: Mapping[str, Any]
    ) -> np.ndarray:
        """The features of each candidate, (candidates, FEATURES).

        Args:
            knowledge: learnt weights: `kinds` (of context features by kind), `idf` of stems, and `rare`, the
                idf of an unknown stem.
        """
        assert self.table is not None
        ids = [self.table.id(c.entry) for c in candidates]
        best = min(c.match for c in candidates)
        rows = np.zeros((len(candidates), len(FEATURES)))
        for row, candidate in zip(rows, candidates, strict=True):
            row[candidate.match] = 1
            row[len(MATCHES) :][:3] = candidate.similarity, math.log(len(candidates)), candidate.match > best
        if len(candidates) == 1 and best < ACRONYM:
            return rows  # one good match: the text is not needed
        kinds = [self.facts.get(id_, [""])[0] for id_ in ids]
        context = context_features(mention, self.neighbours(mention) if len(set(kinds)) > 1 else ())
        speaks = self._kinds(context, kinds, knowledge["kinds"])
        text_stems = {name[2:] for name in context if name.startswith("w=")}
        near_mention = {name[2:] for name in context if name.startswith("n=")}
        text = f" {' '.join(fold_words(mention.doc.text))} "
        shown, own = " ".join(fold_words(mention.text)), set(stems(mention.text))
        idf, rare = knowledge["idf"], knowledge["rare"]
        for row, candidate, id_, kind in zip(rows, candidates, ids, speaks, strict=True):
            names = self.table.names_of(candidate.entry)
            fuller = [
                name for name in (" ".join(fold_words(name)) for name in names) if len(name) > len(shown)
            ]
            about = set(stems(f"{self.facts.get(id_, ['', ''])[1]} {' '.join(names)}")) - own
            row[len(MATCHES) + 3 :] = (
                any(len(name) > len(shown) and f" {name} " in text for name in fuller),
                min(2.0, math.fsum(idf.get(stem, rare) for stem in about & text_stems) / rare),
                min(2.0, math.fsum(idf.get(stem, rare) for stem in about & near_mention) / rare),
                kind,
            )
        return rows

    def neighbours(self, mention: Span) -> list[str]:
        """The kinds of entries that are clearly named beside a mention, as in a list of investors."""
        features = []
        doc = mention.doc
        for ent in doc.ents:
            if ent.label_ not in self.cfg["labels"] or ent.start == mention.start:
                continue
            left, right = sorted((ent, mention), key=lambda span: span.start)
            between = [token.lower_ for token in doc[left.end : right.start]]
            if len(between) > 3:
                continue
            kinds = {self.facts.get(self._id(c), [""])[0] for c in self.get_candidates(ent)}
            if len(kinds) == 1 and (kind := kinds.pop()):
                listed = set(between) <= {",", "and", "&", ";"}
                features.append(f"{'list' if listed else 'beside'}={kind}")
        return features

    def _id(self, candidate: Candidate) -> str:
        assert self.table is not None
        return self.table.id(candidate.entry)

    @staticmethod
    def _kinds(
        context: Sequence[str], kinds: Sequence[str], weights: Mapping[str, Mapping[str, float]]
    ) -> list[float]:
        """Evidence of the context for each kind against the other candidates' kinds, as log odds."""
        values = [
            sum(weights[kind].get(name, 0.0) for name in (*context, "")) if kind in weights else 0.0
            for kind in kinds
        ]
        middle = sum(values) / len(values)
        return [max(-4.0, min(4.0, value - middle)) for value in values]

    def _parts(self) -> dict[str, Any]:
        return {"cfg": self.cfg, "model": self.model, "facts": self.facts}

    def _take(self, name: str, value: Any) -> None:
        if name == "cfg":
            self.cfg.update(value)
        else:
            setattr(self, name, value)

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Settings, weights and table, in a folder."""
        parts: dict[str, Callable[[Path], None]] = {
            name: lambda p, part=part: srsly.write_json(p.with_suffix(".json"), part)
            for name, part in self._parts().items()
        }
        to_disk(Path(path), parts | {"table": self._write_table}, exclude)

    def _write_table(self, folder: Path) -> None:
        if self.table is None:
            return
        folder.mkdir(exist_ok=True)
        srsly.write_json(folder / "forms.json", sorted(self.table.forms))
        srsly.write_json(folder / "version.json", key_version())
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", self.table.arrays[name])

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "Linker":
        """Read what `to_disk` wrote; the table stays on disk and is memory-mapped."""
        parts: dict[str, Callable[[Path], None]] = {
            name: lambda p, name=name: self._take(name, srsly.read_json(p.with_suffix(".json")))
            for name in self._parts()
        }
        from_disk(Path(path), parts | {"table": self._map_table}, exclude)
        return self

    def _map_table(self, folder: Path) -> None:
        if not (folder / "forms.json").exists():
            return
        version = folder / "version.json"
        _check_version(srsly.read_json(version) if version.exists() else "")
        arrays = {}
        for name in ARRAYS:
            file = folder / f"{name}.npy"
            # an empty array can't be mapped
            small = file.stat().st_size < 4096
            arrays[name] = np.load(file, mmap_mode=None if small else "r", allow_pickle=False)
        self.table = NameTable(arrays, frozenset(srsly.read_json(folder / "forms.json")))

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Settings, weights and table."""
        parts: dict[str, Callable[[], bytes]] = {
            name: lambda part=part: srsly.json_dumps(part).encode() for name, part in self._parts().items()
        }
        return to_bytes(parts | {"table": self._table_bytes}, exclude)

    def _table_bytes(self) -> bytes:
        if self.table is None:
            return b""
        buffer = io.BytesIO()
        forms = np.array(sorted(self.table.forms), dtype=np.str_)
        np.savez(buffer, forms=forms, version=np.array(key_version()), **self.table.arrays)
        return buffer.getvalue()

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "Linker":
        """Read what `to_bytes` wrote."""
        parts: dict[str, Callable[[bytes], None]] = {
            name: lambda b, name=name: self._take(name, srsly.json_loads(b)) for name in self._parts()
        }
        from_bytes(data, parts | {"table": self._take_table}, exclude)
        return self

    def _take_table(self, data: bytes) -> None:
        if data:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                _check_version(str(arrays["version"]) if "version" in arrays else "")
                forms = frozenset(arrays["forms"].tolist())
                self.table = NameTable({name: arrays[name] for name in ARRAYS}, forms)


def likeliest(scores: np.ndarray) -> int:
    """The candidate with the highest score; ties go to the first.

    Scores are rounded first: those of equal candidates differ in the last bits, depending on the processor.
    """
    return int(np.argmax(np.round(scores, 9)))


def word_weights(texts: Iterable[Iterable[str]]) -> tuple[dict[str, float], float]:
    """Inverse document frequency of stems, and that of an unknown stem."""
    counts: Counter[str] = Counter()
    n = 0
    for stems_ in texts:
        counts.update(set(stems_))
        n += 1
    rare = math.log(n + 1) or 1.0
    return {stem: math.log((n + 1) / (c + 1)) for stem, c in sorted(counts.items())}, rare


@Language.factory(
    "linker",
    requires=["doc.ents", "token.ent_iob", "token.ent_type"],
    assigns=["token.ent_kb_id"],
    default_config={
        "labels": ["COMPANY"],
        "similarity": 0.85,
        "most": 50,
        "budget": 30_000,
        "scorer": {"@scorers": "spacy.entity_linker_scorer.v1"},
    },
    default_score_weights={"nel_micro_f": 1.0, "nel_micro_r": None, "nel_micro_p": None},
)
def make_linker(
    nlp: Language,
    name: str,
    labels: list[str],
    similarity: float,
    most: int,
    budget: int,
    scorer: Callable | None,
) -> Linker:
    """The `linker` component; see Linker for its settings."""
    settings = {"labels": labels, "similarity": similarity, "most": most, "budget": budget}
    return Linker(nlp.vocab, name, settings, scorer)
