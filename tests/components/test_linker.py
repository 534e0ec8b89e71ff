"""Candidates are found however a name is written, the context chooses, and the table stays on disk."""

import time
from pathlib import Path

import numpy as np
import pytest
import spacy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from running import ROOT
from spacy.language import Language
from spacy.tokens import Span
from spacy.training import Example

from components import linker as module
from components.linker import (
    ARRAYS,
    FEATURES,
    MATCHES,
    Linker,
    NameTable,
    fold,
    keys,
    legal_form,
    strip_forms,
    trigrams,
)
from ie.training.linker_training import read_forms

FORMS = frozenset({"inc", "ltd", "gmbh", "ag", "and co", "co", "plc", "sae", "holdings"})
ROWS = [
    {
        "id": "1",
        "name": "Hooli",
        "aliases": ["Hooli Inc."],
        "kind": "company",
        "description": "search engine",
    },
    {"id": "2", "name": "ACME Ventures", "aliases": ["ACME"], "kind": "fund"},
    {"id": "3", "name": "Müller & Söhne GmbH", "aliases": []},
    {"id": "4", "name": "Meridian Health", "aliases": ["Meridian"], "description": "hospitals and clinics"},
    {"id": "5", "name": "Meridian Capital Partners", "aliases": ["Meridian"], "kind": "fund"},
    {"id": "6", "name": "Delta Rice Straw S.A.E.", "aliases": []},
    {"id": "7", "name": "International Widget Makers Ltd", "aliases": []},
    {"id": "8", "name": 'Robert"); DROP TABLE companies;--', "aliases": ["O'Reilly's \"Best\""]},
    {"id": "9", "name": "x" * 10_000, "aliases": []},
    {"id": "10", "name": "!!!", "aliases": ["!!!", "!!!"]},
    {"id": "11", "name": "株式会社日立", "aliases": ["日立"]},
    # each the other's alias
    {"id": "12", "name": "Ouro", "aliases": ["Boros"]},
    {"id": "13", "name": "Boros", "aliases": ["Ouro"]},
]


def make(rows: list[dict] = ROWS, **config: object) -> Linker:
    linker = spacy.blank("en").add_pipe("linker", config=config)
    linker.initialize(rows=rows, legal_forms=FORMS)
    return linker


@pytest.fixture(scope="module")
def linker() -> Linker:
    return make()


def ids(linker: Linker, text: str) -> list[str]:
    return [linker.table.id(c.entry) for c in linker.look_up(text)]


@pytest.mark.parametrize(
    ("text", "expected", "match"),
    [
        ("Hooli", "1", "exact"),
        ("HOOLI", "1", "folded"),
        ("Hooli's", "1", "folded"),
        ("the Hooli", "1", "folded"),
        ("Hooli, Inc", "1", "folded"),
        ("Hooli Holdings plc", "1", "stripped"),
        ("Muller and Sohne", "3", "stripped"),
        ("MÜLLER & SÖHNE AG", "3", "stripped"),
        ("Delta Rice Straw SAE", "6", "folded"),
        ("Delta Rice Straw", "6", "stripped"),
        ("IWM", "7", "acronym"),
        ("International Widget", "7", "short"),
        ("Internatonal Widget Makers", "7", "fuzzy"),
        ('Robert"); DROP TABLE companies;--', "8", "exact"),
        ("o’reilly’s best", "8", "folded"),
        ("x" * 9_000, "9", "folded"),
        ("!!!", "10", "exact"),
        ("日立", "11", "exact"),
    ],
)
def test_a_name_is_found_as_people_write_it(linker: Linker, text: str, expected: str, match: str) -> None:
    found = linker.look_up(text)
    assert [linker.table.id(c.entry) for c in found] == [expected]
    assert MATCHES[found[0].match] == match


SAME = [
    ("Ørsted", "Orsted"),
    ("MÆRSK", "Maersk"),
    ("Łódź Œuvre", "Lodz Oeuvre"),
    ("Đuro Đaković", "Duro Dakovic"),
    ("Þór Guðrún", "Thor Gudrun"),
    ("Straße", "STRASSE"),
    ("Yıldız İstanbul", "Yildiz Istanbul"),
    ("Åre Ñandú", "Are Nandu"),
    ("Ελληνικά", "Ελληνικα"),
    ("ｶﾞｽﾄ", "ガスト"),
    ("か\u3099", "が"),
    ("ＨＯＯＬＩ", "Hooli"),
    ("Hoo\u00adli", "Hooli"),
    ("Ёлка", "Елка"),
    ("за\u0301мок", "замок"),
]
DIFFERENT = [
    ("カスト", "ガスト"),
    ("ハス", "パス"),
    ("はす", "ばす"),
    ("Край", "Краи"),
    ("Київ", "Киів"),
    ("Ўзбек", "Узбек"),
    ("हिन्दी", "हन्द"),
    ("की", "कि"),
    ("עִברִית", "עברית"),
    ("น้ำ", "นำ"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_accents_and_letters_that_keyboards_lack_do_not_matter(one: str, other: str) -> None:
    assert fold(one) == fold(other)
    assert ids(make([{"id": "1", "name": one, "aliases": []}]), other) == ["1"]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_marks_that_tell_words_apart_are_no_accents(one: str, other: str) -> None:
    assert fold(one) != fold(other)
    assert ids(make([{"id": "1", "name": one, "aliases": []}], similarity=1.0), other) == []


SHIPPED = frozenset(map(legal_form, read_forms(ROOT / "assets" / "legal_forms.txt")))


@pytest.mark.parametrize(
    ("name", "stripped"),
    [
        ("SIA Rimi Latvia", "rimi latvia"),
        ("UAB „Vinted“", "vinted"),
        ("OOO Yandex", "yandex"),
        ("ООО «Ромашка»", "ромашка"),
        ("ПАО Сбербанк", "сбербанк"),
        ("S.p.A. Egidio Galbani", "egidio galbani"),
        ("Egidio Galbani S.p.A.", "egidio galbani"),
        ("PT Astra International Tbk", "astra international"),
        ("AS Tallink Grupp", "tallink grupp"),
        ("OÜ Bolt", "bolt"),
        ("Bolt Technology OÜ", "bolt technology"),
        ("株式会社日立", "日立"),
        ("日立株式会社", "日立"),
        ("株式会社 日立", "日立"),
        ("(株)日立", "日立"),
        ("㈱日立", "日立"),
        ("주식회사 카카오", "카카오"),
        ("华为技术有限公司", "华为技术"),
        ("Ørsted A/S", "orsted"),
        # nothing but a form, or words that only look like one
        ("UAB", "uab"),
        ("SIA SIA", "sia"),
        ("株式会社", "株式会社"),
        ("有楽町", "有楽町"),
        ("A. O. Smith", "ao smith"),
        ("SAS Institute Inc.", "sas institute"),
    ],
)
def test_legal_forms_stand_at_either_end(name: str, stripped: str) -> None:
    assert strip_forms(fold(name), SHIPPED) == stripped


def test_a_name_is_found_without_the_legal_form_at_its_front() -> None:
    rows = [
        {"id": "1", "name": "UAB Vinted", "aliases": []},
        {"id": "2", "name": "株式会社日立", "aliases": []},
    ]
    linker = spacy.blank("en").add_pipe("linker")
    linker.initialize(rows=rows, legal_forms=["^uab", "株式会社", "^株式会社"])
    assert ids(linker, "Vinted") == ["1"]
    assert ids(linker, "日立株式会社") == ["2"]
    assert ids(linker, "Vinted UAB") == []


@pytest.mark.parametrize("change", ["fold", "strip_forms", "trigrams"])
def test_a_table_indexed_by_other_keys_is_refused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linker = make()
    linker.to_disk(tmp_path / "linker")
    data = linker.to_bytes()
    fresh = spacy.blank("en").create_pipe("linker")
    fresh.from_disk(tmp_path / "linker").from_bytes(data)
    other = {
        "fold": lambda text: fold(text).replace("ø", "oe").replace("o", "0"),
        "strip_forms": lambda folded, forms: folded,
        "trigrams": lambda texts: tuple(part + 1 for part in trigrams(texts)),
    }
    monkeypatch.setattr(module, change, other[change])
    module.key_version.cache_clear()
    try:
        for load in (lambda: fresh.from_disk(tmp_path / "linker"), lambda: fresh.from_bytes(data)):
            with pytest.raises(ValueError, match="train the linker again"):
                load()
    finally:
        monkeypatch.undo()
        module.key_version.cache_clear()


def test_a_table_without_a_version_is_refused(tmp_path: Path) -> None:
    make().to_disk(tmp_path / "linker")
    (tmp_path / "linker" / "table" / "version.json").unlink()
    with pytest.raises(ValueError, match="train the linker again"):
        spacy.blank("en").create_pipe("linker").from_disk(tmp_path / "linker")


def test_what_is_not_there_is_not_found(linker: Linker) -> None:
    for text in ("Initech", "", " ", "?", "Hoo", "ventures", "a" * 10_000, "'; SELECT 1"):
        assert ids(linker, text) == [], text


def test_names_may_be_shared_and_refer_to_each_other(linker: Linker) -> None:
    assert ids(linker, "Meridian") == ["4", "5"]
    assert ids(linker, "Ouro") == ids(linker, "Boros") == ["12", "13"]


def test_a_short_form_that_many_share_tells_nothing() -> None:
    rows = [{"id": str(i), "name": f"First {word} Bank", "aliases": []} for i, word in enumerate("abcdef")]
    assert len(ids(make(rows, most=6), "First")) == 6
    assert ids(make(rows, most=5), "First") == []


def test_an_empty_table_links_nothing(tmp_path: Path) -> None:
    linker = make([])
    linker.to_disk(tmp_path / "linker")
    loaded = spacy.blank("en").create_pipe("linker").from_disk(tmp_path / "linker")
    for one in (linker, loaded):
        assert ids(one, "Hooli") == []


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
@example("!  ! ?")
def test_folding_leaves_something_of_every_name(text: str) -> None:
    folded = fold(text)
    assert folded == folded.strip()
    assert strip_forms(folded, FORMS) or not folded
    assert keys(folded, FORMS)[0] == f"={folded}"
    if any(c.isalnum() for c in text):
        assert folded


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=8, unique=True))
def test_every_name_leads_to_its_own_entry(names: list[str]) -> None:
    table = NameTable.build([(str(i), [name]) for i, name in enumerate(names)], FORMS)
    for i, name in enumerate(names):
        owners = table.arrays["owners"][table.find(f"={fold(name)}", 50)]
        assert i in owners
        assert table.name(i) == name
        assert table.id(i) == str(i)


def test_trigrams_do_not_reach_over_names() -> None:
    one, _ = trigrams(["ab", "cd"])
    apart = np.concatenate([trigrams(["ab"])[0], trigrams(["cd"])[0]])
    assert sorted(one) == sorted(apart)


@pytest.fixture
def nlp() -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [
            {"label": "COMPANY", "pattern": name}
            for name in ("Hooli", "ACME Ventures", "Initech", "Meridian", "Meridian Capital Partners")
        ]
        + [{"label": "MONEY", "pattern": "$5m"}]
    )
    nlp.add_pipe("linker").initialize(rows=ROWS, legal_forms=FORMS)
    return nlp


TEXT = "Hooli raises $5m to revolutionize search, led by ACME Ventures, not Initech"


def test_entities_get_ids_or_nil_and_keep_the_rest(nlp: Language) -> None:
    doc = nlp(TEXT)
    assert [(ent.text, ent.label_, ent.kb_id_) for ent in doc.ents] == [
        ("Hooli", "COMPANY", "1"),
        ("$5m", "MONEY", ""),
        ("ACME Ventures", "COMPANY", "2"),
        ("Initech", "COMPANY", "NIL"),
    ]


def test_spacys_scorer_scores_it(nlp: Language) -> None:
    reference = nlp.make_doc(TEXT)
    reference.set_ents([Span(reference, 0, 1, label="COMPANY", kb_id="1")])
    assert nlp.evaluate([Example(nlp.make_doc(TEXT), reference)])["nel_micro_r"] == 1.0


def knowledge(**more: object) -> dict:
    return {
        "kinds": {},
        "idf": {"hospi": 2.0, "clini": 2.0},
        "rare": 3.0,
    } | more


def test_the_text_tells_candidates_apart(nlp: Language) -> None:
    linker = nlp.get_pipe("linker")
    doc = nlp.tokenizer(
        "Clinics of Meridian in the old town were sold last week, says Meridian Capital Partners"
    )
    doc.set_ents([Span(doc, 2, 3, label="COMPANY"), Span(doc, 13, 16, label="COMPANY")])
    kinds = {"fund": {"": 0.0, "w=town": 1.0}}
    health, fund = linker.features(doc.ents[0], linker.get_candidates(doc.ents[0]), knowledge(kinds=kinds))
    column = FEATURES.index
    assert health[column("near")] > 0 == fund[column("near")]
    assert health[column("overlap")] > 0
    assert (health[column("elsewhere")], fund[column("elsewhere")]) == (0, 1)
    assert fund[column("kind")] > health[column("kind")]


def test_of_candidates_as_likely_the_first_is_meant_whatever_the_last_bits(
    nlp: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal features give other last bits in another row, and on another processor."""
    linker = nlp.get_pipe("linker")
    doc = nlp.tokenizer("Meridian grows")
    doc.set_ents([Span(doc, 0, 1, label="COMPANY")])
    first, second = linker.get_candidates(doc.ents[0])
    for scores in ([0.4, 0.4], [0.4, np.nextafter(0.4, 1)], [np.nextafter(0.4, 1), 0.4]):
        monkeypatch.setattr(linker, "scores", lambda *_, scores=scores: np.array(scores))
        assert linker.link(doc.ents[0])[0] == linker.table.id(first.entry)
    monkeypatch.setattr(linker, "scores", lambda *_: np.array([0.4, 0.4001]))
    assert linker.link(doc.ents[0])[0] == linker.table.id(second.entry)


def test_below_the_threshold_nobody_is_meant(nlp: Language) -> None:
    linker = nlp.get_pipe("linker")
    n = len(linker.features(nlp(TEXT).ents[0], linker.look_up("Hooli"), knowledge())[0])
    weights = {"coefficients": [0.0] * n, "intercept": 0.0}
    linker.model = knowledge(link=weights, choice=[0.0] * n, threshold=0.6)
    assert nlp(TEXT).ents[0].kb_id_ == "NIL"
    linker.model["threshold"] = 0.4
    assert nlp(TEXT).ents[0].kb_id_ == "1"


def test_it_is_saved_with_the_pipeline_and_mapped_when_loaded(nlp: Language, tmp_path: Path) -> None:
    rows = [{"id": f"n{i}", "name": f"Company {i} Ltd", "aliases": []} for i in range(2_000)]
    linker = nlp.get_pipe("linker")
    linker.initialize(rows=[*ROWS, *rows], legal_forms=FORMS)
    linker.cfg["similarity"] = 0.9
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    again = loaded.get_pipe("linker")
    assert (again.cfg, again.facts, again.table.forms) == (linker.cfg, linker.facts, linker.table.forms)
    assert isinstance(again.table.arrays["postings"], np.memmap)
    copy = spacy.blank("en").add_pipe("linker").from_bytes(linker.to_bytes())
    for one in (again, copy):
        assert all((one.table.arrays[name] == linker.table.arrays[name]).all() for name in ARRAYS)
        assert ids(one, "COMPANY 77") == ["n77"]
    assert [e.kb_id_ for e in loaded(TEXT).ents] == [e.kb_id_ for e in nlp(TEXT).ents]


def test_the_same_table_gives_the_same_bytes(linker: Linker) -> None:
    assert make().to_bytes() == linker.to_bytes()


def test_without_a_table_it_says_so() -> None:
    nlp = spacy.blank("en")
    with pytest.raises(ValueError, match="linker: no table"):
        nlp.add_pipe("linker")(nlp.make_doc("Hooli"))


@pytest.mark.parametrize("text", ["a" * 10_000, "Inc. " * 2_000, "& " * 5_000, "é" * 10_000, "a. " * 3_000])
def test_absurd_mentions_take_no_time(linker: Linker, text: str) -> None:
    started = time.process_time()
    linker.look_up(text)
    assert time.process_time() - started < 0.5
