import json

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import write_lines
from sklearn.metrics import cohen_kappa_score

from ie.core.errors import UserError
from ie.data.records import Record, blank
from ie.data.scheme import Scheme
from ie.review import agreement

NLP = blank("en")
SCHEME = Scheme(("COMPANY", "MONEY"), ("RAISED",), ("FUNDING", "OTHER"))
TEXT = "Velto GmbH raises $5m today"
COMPANY = {"start": 0, "end": 10, "label": "COMPANY"}
MONEY = {"start": 18, "end": 21, "label": "MONEY"}
RAISED = {"head": 0, "child": 1, "label": "RAISED"}


def record(*spans: dict, n: int = 0, **more) -> Record:
    return Record(text=f"{TEXT} {n}", spans=list(spans), **more)


def matched(first: list[Record], second: list[Record]) -> agreement.Matched:
    return agreement.Matched(first, second, 0, 0, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_kappa_and_alpha_are_those_of_the_libraries(pairs):
    first, second = zip(*pairs, strict=True)
    table = np.zeros((4, 4))
    np.add.at(table, (first, second), 1)
    if len(set(first + second)) == 1:
        assert np.isnan(agreement.kappa(table))
        assert np.isnan(agreement.alpha(table))
        return
    theirs = krippendorff.alpha(np.array([first, second]), level_of_measurement="nominal")
    assert agreement.alpha(table) == pytest.approx(theirs)
    expected = cohen_kappa_score(first, second, labels=range(4))
    assert agreement.kappa(table) == pytest.approx(expected, abs=1e-9)


class TestSpans:
    def rows(self, first: list[Record], second: list[Record]) -> dict[str, agreement.LabelAgreement]:
        found = agreement.spans(matched(first, second), ("COMPANY", "MONEY"), NLP)
        return {row.label: row for row in found}

    def test_a_shorter_span_overlaps_and_isn_t_exact(self):
        first = [record(COMPANY, MONEY, n=n) for n in range(20)]
        second = [record({**COMPANY, "end": 5}, MONEY, n=n) for n in range(20)]
        rows = self.rows(first, second)
        scores = {label: {k: e.value for k, e in row.scores.items()} for label, row in rows.items()}
        assert (scores["COMPANY"]["exact"], scores["COMPANY"]["overlap"]) == (0, 1)
        assert (scores["all"]["exact"], scores["all"]["overlap"]) == (0.5, 1)
        assert (rows["all"].first, rows["all"].second, rows["all"].n) == (40, 40, 20)
        # 8 tokens: Velto GmbH raises $ 5 m today N; of COMPANY both have one, the first two
        table = [[6, 0], [1, 1]]
        assert scores["COMPANY"]["kappa"] == pytest.approx(agreement.kappa(np.array(table)))
        assert scores["MONEY"]["kappa"] == scores["MONEY"]["alpha"] == 1

    def test_a_token_in_two_spans_has_both_labels(self):
        phrase = {"start": 0, "end": 21, "label": "MONEY"}
        first = [record(phrase, COMPANY, n=n) for n in range(20)]
        second = [record(phrase, n=n) for n in range(20)]
        rows = self.rows(first, second)
        scores = {label: row.scores["kappa"].value for label, row in rows.items()}
        # of 8 tokens 6 are in the phrase, for both, and 2 of these in the company, for one
        assert scores["MONEY"] == 1
        assert scores["COMPANY"] == pytest.approx(agreement.kappa(np.array([[6, 0], [2, 0]])), abs=1e-9)
        table = np.array([[2, 0, 0], [0, 4, 0], [0, 2, 0]])
        assert scores["all"] == pytest.approx(agreement.kappa(table))

    def test_which_side_is_called_first_changes_nothing(self):
        first = [record(COMPANY, n=n) if n % 3 else record(MONEY, n=n) for n in range(12)]
        second = [record(COMPANY, MONEY, n=n) if n % 2 else record(n=n) for n in range(12)]
        there, back = self.rows(first, second), self.rows(second, first)
        for label, row in there.items():
            for name, estimate in row.scores.items():
                other = back[label].scores[name]
                assert (estimate.value, estimate.low) == pytest.approx((other.value, other.low))


class TestRelations:
    def test_those_between_spans_both_marked(self):
        swapped = record(MONEY, COMPANY, relations=[{"head": 1, "child": 0, "label": "RAISED"}])
        other = record({**COMPANY, "end": 5}, MONEY, relations=[RAISED], n=1)
        first = [record(COMPANY, MONEY, relations=[RAISED], n=n) for n in range(2)]
        rows = agreement.relations(matched(first, [swapped, other]), ("RAISED",))
        assert [row.scores["exact"].value for row in rows] == [0.5, 0.5]
        assert rows[0].scores["shared"].value == 1
        assert (rows[0].first, rows[0].second) == (2, 2)

    def test_labels_beside_the_scheme_count_too(self):
        both = [record(COMPANY, MONEY, relations=[{**RAISED, "label": "LENT"}])]
        rows = agreement.relations(matched(both, both), ("RAISED",))
        assert [(row.label, row.first) for row in rows] == [("RAISED", 0), ("LENT", 1), ("all", 1)]

    def test_a_side_without_any_wasn_t_asked(self):
        first = [record(COMPANY, MONEY, relations=[RAISED])]
        assert agreement.relations(matched(first, [record(COMPANY, MONEY)]), ("RAISED",)) == []


class TestCategories:
    def test_the_choice_and_each_category(self):
        def texts(chosen: str) -> list[Record]:
            cats = [{"FUNDING": float(c == "F"), "OTHER": float(c == "O")} for c in chosen]
            return [record(cats=c, n=n) for n, c in enumerate(cats)]

        first, second = "FFOOFFOOFF", "FFOOFFOOOO"
        rows = agreement.categories(matched(texts(first), texts(second)), SCHEME.categories)
        assert [row.label for row in rows] == ["FUNDING", "OTHER", "all"]
        expected = cohen_kappa_score(list(first), list(second))
        assert [row.scores["kappa"].value for row in rows] == pytest.approx([expected] * 3)
        assert [(row.first, row.second) for row in rows] == [(6, 4), (4, 6), (10, 10)]

    def test_texts_without_an_answer_don_t_count(self):
        first = [record(cats={"FUNDING": 1, "OTHER": 1}), record(cats={"FUNDING": 1}, n=1)]
        second = [record(cats={"FUNDING": 0}), record(n=1)]
        [row] = agreement.categories(matched(first, second), SCHEME.categories)
        assert (row.label, row.n) == ("FUNDING", 1)


class TestSides:
    def file(self, tmp_path, name: str, *rows: tuple[str, str, str]) -> object:
        lines = [
            {"text": text, "answer": answer, "meta": {"annotator": who} if who else {}}
            for text, who, answer in rows
        ]
        return write_lines(tmp_path / name, lines)

    def test_two_annotators_of_one_file_need_no_names(self, tmp_path):
        rows = [("a", "ben", "accept"), ("b", "ben", "reject"), *[("a", "anna", "accept")] * 2]
        path = self.file(tmp_path, "a.jsonl", *rows)
        first, second = agreement.sides(path, path, ("gold", "LLM"), SCHEME)
        assert (first.name, second.name) == ("anna", "ben")
        assert (first.revised, second.aside) == (1, 1)

    def test_of_three_two_are_named(self, tmp_path):
        rows = [(text, who, "accept") for text in "ab" for who in ("anna", "ben", "cleo")]
        path = self.file(tmp_path, "a.jsonl", *rows)
        first, second = agreement.sides(path, path, ("cleo", "anna"), SCHEME)
        assert (first.name, second.name) == ("cleo", "anna")
        with pytest.raises(UserError, match=r"a.jsonl: has answers of anna, ben, cleo, but none of"):
            agreement.sides(path, path, ("anna", "LLM"), SCHEME)

    def test_prodigy_s_sessions_are_annotators(self, tmp_path):
        lines = [{"text": "a", "_annotator_id": f"deals-{who}"} for who in ("anna", "ben")]
        path = write_lines(tmp_path / "a.jsonl", lines)
        assert agreement.sides(path, path, ("", ""), SCHEME)[1].name == "deals-ben"

    def test_one_annotator_is_not_enough(self, tmp_path):
        path = self.file(tmp_path, "a.jsonl", ("a", "anna", "accept"))
        with pytest.raises(UserError, match=r"a.jsonl: all its answers are of one annotator \(anna\)"):
            agreement.sides(path, path, ("gold", "LLM"), SCHEME)

    def test_a_side_without_an_accepted_answer(self, tmp_path):
        one = self.file(tmp_path, "a.jsonl", ("a", "", "accept"))
        two = self.file(tmp_path, "b.jsonl", ("a", "", "ignore"))
        with pytest.raises(UserError, match=r"b.jsonl: no accepted answer of 'ben'"):
            agreement.sides(one, two, ("anna", "ben"), SCHEME)

    def test_texts_are_matched_and_the_rest_counted(self, tmp_path):
        one = [{"text": t, "meta": {"id": t.strip()}} for t in ("a", "b", "c", "e")]
        two = [{"text": t, "meta": {"id": t.strip()}} for t in ("b ", "c", "d", "a")]
        paths = write_lines(tmp_path / "a", one), write_lines(tmp_path / "b", two)
        both = agreement.sides(*paths, ("anna", "ben"), SCHEME)
        found = agreement.match(*both)
        assert [r.text for r in found.first] == [r.text for r in found.second] == ["a", "c"]
        assert (found.only_first, found.only_second, found.moved) == (2, 2, 1)
        only = agreement.match(*both, {"a", "b"})
        assert (len(only.first), only.only_first, only.outside) == (1, 1, 5)
        with pytest.raises(UserError, match=r"anna and ben have no text in common among those asked for"):
            agreement.match(*both, {"e", "d"})


def test_json_has_no_numbers_that_json_lacks():
    rows = agreement.spans(matched([record()], [record()]), ("COMPANY",), NLP)
    data = json.loads(json.dumps(agreement.as_json(rows), allow_nan=False))
    assert data["COMPANY"]["kappa"] is None
