"""Pages: what they say first, their contents, and the links between them."""

from pathlib import Path

import pytest
from jinja2 import ChoiceLoader, DictLoader

from ie.data.records import Record, Span
from ie.reports import html
from ie.reports.html import Answer, PageLink, commands, contents, page_links


def test_pages_link_to_those_that_exist(tmp_path: Path) -> None:
    training = tmp_path / "training" / "crf"
    for path in ("training/crf/diagnosis.html", "training/agreement/agenda.html"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    expected = ["../report.html", "../diagnosis.html", "../../agreement/agenda.html"]
    assert [link.href for link in page_links(training / "curve" / "curve.html", training)] == expected
    agenda = tmp_path / "training" / "agreement" / "agenda.html"
    links = page_links(agenda, training)
    assert links[0] == PageLink("Scores", "../crf/report.html")
    assert "Agenda" not in [link.title for link in links]


def test_a_page_in_another_place_has_no_links(tmp_path: Path) -> None:
    assert page_links(tmp_path / "mine.html", tmp_path / "training") == []


def test_contents_are_the_parts_that_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    template = (
        '{% extends "base.html.j2" %}{% from "macros.html.j2" import section %}'
        "{% block title %}T{% endblock %}"
        '{% block body %}{% for name in ("a", "b", "c<") %}{% call section(name, name) %}x{% endcall %}'
        "{% endfor %}{% endblock %}"
    )
    shipped = html.FileSystemLoader(html.TEMPLATES)
    monkeypatch.setattr(
        html, "FileSystemLoader", lambda _: ChoiceLoader([DictLoader({"t": template}), shipped])
    )
    page = html.page("t", answer=Answer("Yes.", ["Sure."], "`weasel run all`: now."))
    assert contents(page) == [("a", "a"), ("b", "b"), ("c&lt;", "c&lt;")]
    assert page.count('<a href="#') == 3
    assert page.index("Yes.") < page.index("Sure.") < page.index("weasel run all") < page.index("<details")


def test_commands_are_code_and_all_else_is_escaped() -> None:
    assert commands("`weasel run all` & <b>") == "<code>weasel run all</code> &amp; &lt;b&gt;"


def test_arabic_texts_run_from_right_to_left():
    arabic = Record(text="NileSoft اشترت شركة مدار", spans=[Span(start=20, end=24, label="COMPANY")])
    assert "direction: rtl" in html.marked(arabic, {})
    assert "direction: ltr" in html.marked(Record(text="Acme bought مدار."), {})
