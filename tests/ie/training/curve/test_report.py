import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pages import check_page
from running import ROOT

from ie.core.stats import Estimate
from ie.reports import figures
from ie.training.curve import learning_curve, projection, report

GOLDEN = Path(__file__).parent / "golden"
LABELS = ("COMPANY", "MONEY")


def row(percent: float, n: int, f: float, width: float, *scores: float, sd: float = float("nan")) -> dict:
    estimate = Estimate(f, f - width, f + width)
    return {
        "percent": percent,
        "examples": n,
        "score": f,
        "scores": list(scores),
        "sd": sd,
        "f": estimate,
        "labels": dict.fromkeys(LABELS, estimate),
        "label_sd": dict.fromkeys(LABELS, sd),
    }


ONE = [row(0, 0, 0.0, 0.0), row(50, 60, 0.6, 0.05, 0.6), row(100, 120, 0.7, 0.04, 0.7)]
SEEDS = [
    row(0, 0, 0.0, 0.0),
    row(25, 30, 0.61, 0.05, 0.6, 0.61, 0.62, sd=0.01),
    row(50, 60, 0.70, 0.05, 0.69, 0.7, 0.71, sd=0.0104),
    row(75, 90, 0.74, 0.04, 0.73, 0.74, 0.75, sd=0.01),
    row(100, 120, 0.73, 0.04, 0.72, 0.73, 0.74, sd=0.01),
]
FURTHER = projection.project([30, 60, 90, 120], [r["scores"] for r in SEEDS[1:]], [150, 180], targets=[0.9])
LLM = Estimate(0.5, 0.45, 0.55)


def check(found: str, name: str) -> None:
    """Compare with a golden file; a new one is written by deleting the old."""
    path = GOLDEN / name
    if not path.exists():
        path.write_text(found + "\n", encoding="utf-8")
        pytest.fail(f"{path} didn't exist; it has been written, look at it")
    assert found == path.read_text(encoding="utf-8").rstrip("\n")


def test_the_talks_table():
    scores = [(0, 0.0), (25, 0.31), (50, 0.44), (75, 0.434), (100, 0.434)]
    check(report.table([{"percent": p, "score": s} for p, s in scores], 120), "curve_table.txt")


def test_several_seeds_add_their_spread_and_the_labels_on_the_right():
    table = report.table(SEEDS, 120)
    check(table, "curve_table_seeds.txt")
    plain = report.table([{"percent": r["percent"], "score": r["score"]} for r in SEEDS], 120)
    for line, talk in zip(table.split("\n"), plain.split("\n"), strict=True):
        assert line.startswith(talk)


def test_the_table_names_its_component_and_keeps_odd_percentages():
    rows = [{"percent": 0, "score": 0.0}, {"percent": 12.5, "score": 1.0}]
    table = report.table(rows, 120, "spancat")
    assert table.split("\n")[0].endswith("spancat")
    assert "12.5%   1.00 ▲   1.00 ▲" in table


@pytest.mark.parametrize("dev", [2, 99])
def test_few_dev_texts_get_fewer_digits(dev):
    last = report.table(SEEDS, dev).split("\n")[-1]
    assert last.split() == ["100%", "0.7", "▼", "0.7", "▼", "±0.01", "0.7", "±0.01", "0.7", "±0.01"]
    html = report.page(SEEDS, dev=dev, train="train.spacy", notes=[], projection=FURTHER)
    text = Page(html).all_text()
    assert re.search(r"sd \.01\b", text)
    assert not re.search(r"\.\d\d\d", text.split("Score by amount")[0])
    assert re.search(r"150 % 180 \.\d \.\d to (\.\d|1\.0)\b", text)


def test_many_dev_texts_keep_the_talks_two_digits():
    assert report.table(SEEDS, 5000) == report.table(SEEDS, 120)


def test_labels_that_do_not_fit_the_terminal_are_left_to_the_page():
    names = [f"LABEL_{i}" for i in range(9)]
    many = [
        r | {"labels": dict.fromkeys(names, r["f"]), "label_sd": dict.fromkeys(names, r["sd"])} for r in SEEDS
    ]
    lines = report.table(many, 120).split("\n")
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["%", "Score", "ner", "±", "sd"]
    assert [line.split()[0] for line in lines[2:]] == ["0%", "25%", "50%", "75%", "100%"]


def text_of(figure) -> str:
    return " ".join("".join(ET.fromstring(figures.svg(figure, "curve", "")).itertext()).split())


def test_the_curve_is_drawn_with_numbers_of_examples():
    text = text_of(report.figure(ONE, 120))
    for shown in ("50 % 60", "100 % 120", "dev n=120", "95 % interval"):
        assert shown in text
    for absent in ("projection", "LLM", "each seed"):
        assert absent not in text
    png = figures.png(report.figure(ONE, 120))
    assert png.startswith(b"\x89PNG")
    assert b"Software" not in png


def test_projection_seeds_and_llm_are_drawn_where_there_are_any():
    assert not FURTHER.refused
    text = text_of(report.figure(SEEDS, 120, projection=FURTHER, llm=LLM))
    for shown in (
        "125 %",
        "150",
        "150 %",
        "180",
        "projection, 90 % interval",
        "each seed",
        "LLM as prompted .5",
    ):
        assert shown in text
    refused = projection.Projection(refused="too little")
    assert "projection" not in text_of(report.figure(SEEDS, 120, projection=refused))


class Page(HTMLParser):
    """Collects the text, and whatever a page would fetch."""

    def __init__(self, html: str):
        super().__init__()
        self.text: list[str] = []
        self.fetched: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        assert tag != "script"
        self.fetched += [
            str(value)
            for name, value in attrs
            if name in ("src", "href", "xlink:href") and not str(value).startswith("#")
        ]

    def handle_data(self, data):
        self.text.append(data)

    def all_text(self) -> str:
        return " ".join(" ".join(self.text).split())


def test_the_page_fetches_nothing_and_says_all():
    html = report.page(
        SEEDS, dev=120, train="train.spacy", notes=["It rose <b>."], projection=FURTHER, llm=LLM
    )
    page = Page(html)
    assert page.fetched == []
    assert "url(" not in re.sub(r"url\(#", "", html)
    text = page.all_text()
    for shown in ("It rose <b>.", "3 seeds each", "60 .70 ±.05, sd .010", "150 %", "90 % interval"):
        assert shown in text
    assert html == report.page(
        SEEDS, dev=120, train="train.spacy", notes=["It rose <b>."], projection=FURTHER, llm=LLM
    )


def test_the_page_of_one_seed_without_projection():
    text = Page(report.page(ONE, dev=120, train="train.spacy", notes=[])).all_text()
    assert "1 seed each" in text
    assert "60 .60 ±.05" in text
    assert "Projected" not in text


@pytest.mark.parametrize("kind", report.HEADLINES)
def test_the_page_answers_first(kind):
    text = Page(report.page(SEEDS, dev=120, train="train.spacy", notes=["Why."], kind=kind)).all_text()
    headline, following = report.HEADLINES[kind]
    assert f"{headline} Why. Next {following.replace('`', '')}" in text.replace(" : ", ": ")


def test_every_kind_of_verdict_has_a_headline():
    source = Path(learning_curve.__file__).read_text(encoding="utf-8")
    source += (ROOT / "scripts" / "train-curve.py").read_text(encoding="utf-8")
    assert set(re.findall(r'CurveVerdict\(\s*"(\w+)"', source)) == set(report.HEADLINES)


def test_the_page_fits(browser):
    shown = report.page(
        SEEDS, dev=120, train="train.spacy", notes=["Why."] * 3, projection=FURTHER, llm=LLM, kind="rise"
    )
    check_page(browser, shown)
