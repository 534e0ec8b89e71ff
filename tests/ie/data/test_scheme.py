from pathlib import Path

import pytest

from ie.core.errors import UserError
from ie.data.scheme import load_scheme

CONFIG = """
[nlp]
lang = "en"
pipeline = ["spans"]

[components]

[components.spans]
factory = "llm"

[components.spans.task]
@llm_tasks = "ie.Spans.v1"
labels = ["COMPANY", "MONEY"]

[components.spans.task.label_definitions]
MONEY = "An amount."
COMPANY = "A business."

[components.relations]
factory = "llm"

[components.relations.task]
@llm_tasks = "ie.Relations.v1"
labels = ["RAISED"]

[components.categories]
factory = "llm"

[components.categories.task]
@llm_tasks = "ie.Categories.v1"
labels = ["FUNDING", "OTHER"]

[components.categories.task.label_definitions]
FUNDING = "A round."
"""


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "llm.cfg"
    path.write_text(text, encoding="utf-8")
    return path


def one_task(name: str, labels: str) -> str:
    head = '[components]\n[components.x]\nfactory = "llm"\n[components.x.task]\n'
    return f'{head}@llm_tasks = "{name}"\nlabels = {labels}\n'


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("spacy.NER.v3", "span"),
        ("spacy.SpanCat.v2", "span"),
        ("my.Own.v1", "span"),
        ("spacy.REL.v1", "relation"),
        ("spacy.TextCat.v3", "category"),
    ],
)
def test_built_in_tasks_are_known(tmp_path, name, kind):
    scheme = load_scheme(config(tmp_path, one_task(name, '"A, B"')))
    assert scheme.labels(kind) == ("A", "B")
    assert len(scheme.span_labels + scheme.relation_labels + scheme.categories) == 2


def test_labels_may_refer_to_variables(tmp_path):
    text = '[vars]\nnames = ["A"]\n' + one_task("ie.Spans.v1", "${vars.names}")
    assert load_scheme(config(tmp_path, text)).span_labels == ("A",)


def test_variables_elsewhere_may_be_left_open(tmp_path):
    text = one_task("ie.Spans.v1", '["A"]') + "[components.x.model]\nname = ${vars.unknown}\n"
    assert load_scheme(config(tmp_path, text)).span_labels == ("A",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[nlp]\nlang = "en"\n', "no component has a task with labels"),
        (one_task("ie.Spans.v1", "[]"), "no component has a task with labels"),
        (one_task("ie.Spans.v1", '["A", "A"]'), "lists the span label 'A' twice"),
        (one_task("ie.Spans.v1", '[" A"]'), "without spaces"),
        (one_task("ie.Spans.v1", "[1]"), "must be a list of names"),
        (one_task("ie.Spans.v1", "${vars.unknown}"), "must be a list of names"),
        (CONFIG.replace('MONEY = "An amount."', 'MONY = "An amount."'), "'MONY', which is no span label"),
        (CONFIG.replace('MONEY = "An amount."', "MONEY = 5"), "must be a text in quotes"),
        (CONFIG.replace('[components.spans]\nfactory = "llm"', ""), "can't be read as a config"),
        (CONFIG.replace('labels = ["COMPANY"', "labels = [COMPANY"), "labels"),
        ("no config at all", "can't be read as a config"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    path = config(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_scheme(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        load_scheme(tmp_path / "none.cfg")
    with pytest.raises(UserError, match="this is a folder"):
        load_scheme(tmp_path)
    (tmp_path / "latin.cfg").write_bytes(b"# caf\xe9")
    with pytest.raises(UserError, match="not UTF-8"):
        load_scheme(tmp_path / "latin.cfg")
