import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pages import check_page

from ie.core import stats
from ie.data.records import Record, Span
from ie.evaluation.comparison import SystemComparison, compare_systems
from ie.evaluation.report import (
    evaluation_page,
    format_megabytes,
    format_rate,
    scores_figure,
    scores_notes,
    scores_table,
)
from ie.evaluation.systems import SystemResult
from ie.reports import figures, html

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = '<script>alert("x")</script>'


def example(n: int) -> Record:
    text = f"Velto {n} raises ${n}m"
    start = text.index("$")
    return Record(
        text=text,
        spans=[Span(start=0, end=5, label="COMPANY"), Span(start=start, end=len(text), label="MONEY")],
        meta={"id": f"text-{n}"},
    )


GOLD = [example(n) for n in range(1, 121)]


def without(record: Record, label: str) -> Record:
    return Record(text=record.text, spans=[s for s in record.spans if s.label != label])


def result(gold: list[Record] = GOLD) -> SystemComparison:
    """Four systems whose scores can be reckoned by hand, one of them missing."""
    answers = [
        SystemResult("llm", "LLM as prompted", missing="corpus/llm.jsonl: there is no such file."),
        SystemResult(
            "rules", "Rules", [without(r, "COMPANY") for r in gold], mb=0.01, seconds=[0.02, 0.021, 0.025]
        ),
        SystemResult(
            "memoriser",
            "Dictionary",
            [without(r, "MONEY") if i % 2 else r for i, r in enumerate(gold)],
            notes=["1 string."],
        ),
        SystemResult(
            "both",
            "Pipeline",
            [without(r, "MONEY") if i % 2 and i != 1 else r for i, r in enumerate(gold)],
            mb=3.56,
            seconds=[0.05, 0.05, 0.05],
        ),
    ]
    return compare_systems(gold, gold[:60], answers, ("COMPANY", "MONEY"), words=[5] * len(gold))


@pytest.fixture(scope="module")
def evaluated() -> SystemComparison:
    return result()


def check(found: str, name: str) -> None:
    """Compare with a golden file; a new one is written by deleting the old."""
    path = GOLDEN / name
    if not path.exists():
        path.write_text(found + "\n", encoding="utf-8")
        pytest.fail(f"{path} didn't exist; it has been written, look at it")
    assert found == path.read_text(encoding="utf-8").rstrip("\n")


def test_the_terminal_table(evaluated):
    notes = "\n".join(scores_notes(evaluated))
    lines = [line.rstrip() for line in scores_table(evaluated).split("\n")]
    assert max(map(len, lines)) <= 80
    check("\n".join(lines) + "\n\n" + notes, "scores_table.txt")


class Page(HTMLParser):
    """Collects tags, the text, and whatever a page would fetch."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.fetched: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [
            str(value)
            for name, value in attrs
            if name in ("src", "href", "xlink:href") and not str(value).startswith("#")
        ]

    def handle_data(self, data):
        self.text.append(data)

    def all_text(self) -> str:
        return " ".join(" ".join(self.text).split())


def test_the_report_has_everything_and_fetches_nothing(evaluated):
    html = evaluation_page(evaluated, inspected="both", documents=7)
    page = Page(html)
    assert page.fetched == []
    assert "script" not in page.tags
    assert "url(" not in re.sub(r"url\(#", "", html)
    text = page.all_text()
    for shown in ("Better, or noise?", "boundary", "in training", "Dictionary: 1 string.", "(n=120"):
        assert shown in text
    assert "LLM as prompted missing: corpus/llm.jsonl" in text
    assert "the 7 worst of 59 texts with errors" in text
    assert page.tags.count("article") == 7
    assert 'missing: MONEY "$10m"' in text


@pytest.mark.parametrize(("n", "places"), [(2, 1), (12, 2), (120, 3)])
def test_pairs_have_no_more_digits_than_the_texts_allow(n, places):
    html = evaluation_page(result(GOLD[:n]), inspected="both")
    shown = re.findall(r"(\S+) \(95 % interval (\S+) to (\S+)\)", Page(html).all_text())
    # an interval as wide as .1 leaves a score one digit, however many texts there are
    assert max(len(number.split(".")[1]) for numbers in shown for number in numbers) == places


def test_pages_and_pictures_have_the_same_bytes_every_time(evaluated):
    first = evaluation_page(evaluated, inspected="both")
    assert first == evaluation_page(result(), inspected="both")
    assert figures.png(scores_figure(evaluated)) == figures.png(scores_figure(result()))


def test_a_report_without_errors_says_so():
    gold = GOLD[:20]
    perfect = compare_systems(gold, [], [SystemResult("both", "P", gold)], ("COMPANY",), words=[5] * 20)
    text = Page(evaluation_page(perfect, inspected="both")).all_text()
    assert "None: every text is right" in text
    assert "Better, or noise?" not in text


def test_texts_labels_and_names_are_escaped_everywhere():
    text = f"{HOSTILE} sold Velto"
    gold = [
        Record(text=f"{text} {i}", spans=[Span(start=0, end=8, label=HOSTILE)], meta={"id": HOSTILE + str(i)})
        for i in range(3)
    ]
    wrong = [Record(text=r.text, spans=[Span(start=3, end=12, label=HOSTILE)]) for r in gold]
    answers = [SystemResult("a", HOSTILE, wrong, notes=[HOSTILE]), SystemResult("b", "b", missing=HOSTILE)]
    hostile = compare_systems(gold, gold, answers, (HOSTILE,), words=[3, 4, 5], meta_key="id")
    page = Page(evaluation_page(hostile, inspected="a"))
    assert "script" not in page.tags
    assert HOSTILE in page.all_text()


def test_svg_is_well_formed_and_described(evaluated):
    drawing = figures.svg(scores_figure(evaluated), "scores", 'F & its "interval"')
    root = ET.fromstring(drawing)
    assert root.get("aria-label") == 'F & its "interval"'
    assert "Pipeline" in "".join(root.itertext())
    assert "all (n=240 spans)" in "".join(root.itertext())


def test_ids_of_two_pictures_on_a_page_do_not_clash(evaluated):
    figure = scores_figure(evaluated)
    ids = [set(re.findall(r'clip-path="url\(#(\w+)\)', figures.svg(figure, name, ""))) for name in ("a", "b")]
    assert all(ids)
    assert not ids[0] & ids[1]


def test_rates_and_sizes_deserve_few_digits():
    assert format_rate(None) == "–"
    assert format_rate((11234.0, 10900.0, 11300.0)) == "11,000 ±330"
    assert format_rate((11234.0, 11234.0, 11234.0)) == "11,000"
    assert [format_megabytes(mb) for mb in (None, 0.01, 3.56, 253.1)] == ["–", "<.1", "3.6", "253"]
    assert [stats.two_digits(x) for x in (0, 7.4, 1234, 98765)] == [0, 7, 1200, 99000]


def test_probabilities():
    assert [stats.format_p(p) for p in (0.0001, 0.034, 0.42, 1.0)] == [".0001", ".03", ".4", "1"]


def test_spans_are_marked_where_they_are():
    record = Record(text="ab & cd", spans=[Span(start=5, end=7, label="X")])
    page = Page(str(html.marked(record, {"X": "#9fd0ee"})))
    assert page.all_text() == "ab & cd X"
    assert page.tags.count("mark") == 1


def test_a_system_with_nothing_to_score_is_shown_as_undefined():
    gold = GOLD[:30]
    silent = [Record(text=r.text) for r in gold]
    found = compare_systems(gold, [], [SystemResult("a", "A", silent)], ("COMPANY",), words=[5] * 30)
    assert "–" in scores_table(found)
    assert np.isnan(found.scores["a"]["all"][0].value)


def test_the_report_answers_first_and_fits(browser, evaluated, tmp_path):
    (tmp_path / "curve").mkdir()
    (tmp_path / "curve" / "curve.html").touch()
    answer = html.Answer("Good: F is <.9>.", ["On 120 texts."], "`weasel run package`: a wheel.")
    links = html.page_links(tmp_path / "report.html", tmp_path)
    shown = evaluation_page(evaluated, inspected="both", answer=answer, links=links)
    assert "<code>weasel run package</code>: a wheel." in shown
    assert "F is &lt;.9&gt;." in shown
    check_page(browser, shown, tmp_path)
