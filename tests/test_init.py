"""The command `init`: what users bring, what it refuses, and that it changes everything or nothing."""

import json
import shutil
from pathlib import Path

import pytest
import srsly
from running import ROOT, run_command, write_lines
from weasel.cli.document import MARKER_END, MARKER_START

from ie.core.settings import load_settings
from ie.data.records import read_records
from ie.data.scheme import load_scheme
from ie.database import guard, sqlite_file, text_to_sql
from ie.deploy import model_card
from ie.deploy.service.settings import ServiceSettings
from ie.llm import pipeline
from ie.setup import demo
from ie.setup.project_file import md5

COPIED = ("project.yml", "configs", "docs", ".ci")
# with numbers instead of words they would be near-duplicates, all on one side
TEXTS = [f"Velto sold {a}{b}ats to Anker in Bergen." for a in "bcfhmr" for b in "aeiou"]
DEALS = """
# A deal.
[deals]
amounts = {"RAISED": "head"}
investors = {"INVESTOR": "child"}
main = "largest"
"""
TABLES = """[ask.tables]
deals = ["company", "amount", "currency", "category"]
investments = ["investor", "company"]
documents = ["text"]
companies = ["name"]
"""


def annotated(text: str, n: int) -> dict:
    return {
        "text": text,
        "spans": [
            {"start": 0, "end": 5, "label": "SELLER"},
            {"start": text.index("Anker"), "end": text.index("Anker") + 5, "label": "BUYER"},
        ],
        "meta": {"desk": "north" if n % 2 else "south"},
    }


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of what `init` changes, with a demo of its own, in which the test runs."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    write_lines(folder / "assets/reviewed.jsonl", [annotated("Hooli sold Anker.", 0)])
    monkeypatch.setattr(demo, "GOLD_MD5", md5((folder / "assets/reviewed.jsonl").read_text("utf-8")))
    data = (folder / "configs/data.cfg").read_text("utf-8")
    (folder / "configs/data.cfg").write_text(data.replace(f'lang = "{lang_of(data)}"', 'lang = "en"'))
    (folder / "docs/demo.md").write_text("# The demo\n\n![](demo.png)\n")
    (folder / "docs/demo.png").write_text("x")
    write_lines(folder / "training/history.jsonl", [{}])
    write_lines(folder / "tests/demo/test_figures.py", [""])
    monkeypatch.chdir(folder)
    return folder


def lang_of(data_config: str) -> str:
    return data_config.partition('lang = "')[2].partition('"')[0]


def init(capsys, **options: object):
    options = {"scheme": "configs/llm.cfg", **options}
    words = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    return run_command("init", words, capsys)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def variables() -> dict:
    return srsly.read_yaml("project.yml")["vars"]


@pytest.fixture
def sales(tmp_path) -> Path:
    """Annotated texts of a user."""
    return write_lines(tmp_path / "sales.jsonl", (annotated(text, n) for n, text in enumerate(TEXTS)))


def test_annotations_make_a_project(project, sales, capsys):
    before = Path("project.yml").read_text("utf-8")
    outcome = init(capsys, annotations=sales)
    assert outcome.status == 0, outcome.output
    scheme = load_scheme(Path("configs/llm.cfg"))
    assert scheme.span_labels == ("BUYER", "SELLER")
    assert not scheme.relation_labels
    assert not scheme.categories
    gold = read_records(Path("assets/reviewed.jsonl"), labels=scheme)
    assert [record.text for record in gold] == TEXTS
    assert len(read_records(Path("assets/texts.jsonl"))) == 30
    values = variables()
    assert (values["name"], values["config"], values["database"]) == ("en_sales", "crf-tags", "sales")
    assert (values["gazetteer_label"], values["money_label"]) == ("", "")
    # comments and layout stay: a few lines differ, in place
    after = Path("project.yml").read_text("utf-8")
    assert len(set(after.splitlines()) - set(before.splitlines())) < 13
    assert after.count("#") == before.count("#")
    assets = {asset["dest"]: asset for asset in srsly.read_yaml("project.yml")["assets"]}
    assert assets["assets/texts.jsonl"]["checksum"] == md5(Path("assets/texts.jsonl").read_text("utf-8"))
    rules = [json.loads(line) for line in Path("assets/patterns.jsonl").read_text("utf-8").splitlines()]
    assert ("SELLER", [{"LOWER": "velto"}]) in [(rule["label"], rule["pattern"]) for rule in rules]
    assert "right in texts held out" in rules[0]["id"]
    output = " ".join(outcome.output.split())
    assert "rules mined from train; on 5 dev texts P .4 to 1.0, R .4 to 1.0" in output
    assert "undefined" not in outcome.output
    assert "raise F most with few examples" in output


def test_it_ends_with_the_next_step(project, sales, capsys):
    output = init(capsys, annotations=sales).output
    assert "A first model needs" not in output
    assert "Status 30 texts accepted (train " in output
    assert output.endswith("Next weasel run all: it trains, measures and packages")


def test_shares_fit_a_small_set(project, tmp_path, capsys):
    few = write_lines(tmp_path / "few.jsonl", (annotated(text, n) for n, text in enumerate(TEXTS[:12])))
    before = Path("configs/data.cfg").read_text("utf-8")
    outcome = init(capsys, annotations=few)
    assert "A first model needs" not in outcome.output
    assert "30 and 15 % for test and dev, not 37 and 10 %" in " ".join(outcome.output.split())
    changed = set(Path("configs/data.cfg").read_text("utf-8").splitlines()) - set(before.splitlines())
    assert changed == {"test_percent = 30", "dev_percent = 15"}
    # raw texts alone: review finds enough of each part
    assert init(capsys, texts=few, labels="BUYER", overwrite="yes").status == 0
    assert "dev_percent = 15" in Path("configs/data.cfg").read_text("utf-8")


def test_raw_texts_are_reviewed_next(project, sales, capsys):
    output = init(capsys, texts=sales, labels="BUYER").output
    assert "Status 30 texts, none reviewed" in output
    assert "A first model needs 6 train, 3 dev and 3 test texts more: `weasel run review` asks for" in output
    assert output.endswith("Next weasel run review: a dozen texts are enough to begin")


def test_the_readme_is_about_their_data(project, sales, capsys):
    words = Path("words.cfg")
    words.write_text('[label_definitions]\nSELLER = "who sells | who sold"\n')
    Path("README.md").write_text("# The demo\n")
    assert init(capsys, annotations=sales, definitions=words, name="hat_sales").status == 0
    readme = Path("README.md").read_text("utf-8")
    assert readme.startswith("# Hat sales: information extraction\n\nIt finds BUYER, SELLER.\n")
    assert "| SELLER | span | 30 | who sells \\| who sold |\n" in readme
    assert "30 of them are reviewed: " in readme
    assert "weasel run check" in readme
    for page in Path("docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme
    start, end = MARKER_START.format(tag="WEASEL"), MARKER_END.format(tag="WEASEL")
    assert "| `check` |" in readme.partition(start)[2].partition(end)[0]
    assert "demo" not in readme.partition("## Documentation")[0]


def test_what_people_write_is_begun(project, sales, capsys):
    assert init(capsys, annotations=sales).status == 0
    card = Path("assets/model_card.md").read_text("utf-8")
    assert model_card.UNWRITTEN in card
    assert model_card.first_paragraph(card) == "A small pipeline that finds BUYER, SELLER."
    assert "- **SELLER**: to be written." in Path("assets/guidelines.md").read_text("utf-8")
    assert "| span labels | BUYER 30, SELLER 30 |" in Path("assets/CARD.md").read_text("utf-8")
    assert Path("assets/example.txt").read_text("utf-8").strip() in TEXTS
    assert 'license = ""' in Path("configs/package.cfg").read_text("utf-8")


def test_its_config_can_be_prompted_with(project, tmp_path, sales, capsys):
    words = tmp_path / "words.cfg"
    words.write_text('[label_names]\nSELLER = "Sellers"\n[label_definitions]\nSELLER = "who sells"\n')
    german = {"lang": "de", "money_label": "BUYER"}
    assert init(capsys, annotations=sales, definitions=words, **german).status == 0
    nlp = pipeline.assemble(pipeline.load_config(Path("configs/llm.cfg")), Path("configs/llm.cfg"))
    assert nlp.lang == "de"
    assert nlp.get_pipe("spans").task.names == {"BUYER": "Buyer", "SELLER": "Sellers"}
    assert load_scheme(Path("configs/llm.cfg")).definitions == {"BUYER": "", "SELLER": "who sells"}
    for name in ("data", "crf", "efficient"):
        assert 'lang = "de"' in Path(f"configs/{name}.cfg").read_text("utf-8")
    assert 'locales = ["de", "en"]' in Path("configs/money.cfg").read_text("utf-8")
    assert variables()["name"] == "de_sales"
    options = ["--config", "configs/crf.cfg", "--data", "configs/data.cfg"]
    checked = run_command("check", options, capsys)
    assert "no definition of BUYER;" in checked.output


def test_a_span_on_part_of_a_word_takes_split_on(project, tmp_path, capsys):
    """The German tokenizer keeps "Siemens-Gruppe" whole, and annotators mark "Siemens" alone."""
    spans = [{"start": 4, "end": 13, "label": "SELLER"}]
    lines = [{"text": f"Die Nordlicht-Gruppe verkauft Werk {n}.", "spans": spans} for n in range(40)]
    gold = write_lines(tmp_path / "gold.jsonl", lines)
    outcome = init(capsys, annotations=gold, lang="de")
    assert outcome.status == 1
    assert "(split_on there allows spans on parts of words)" in outcome.output
    data = Path("configs/data.cfg")
    data.write_text(data.read_text("utf-8").replace('split_on = ""', 'split_on = "-"'), encoding="utf-8")
    assert init(capsys, annotations=gold, lang="de").status == 0
    assert len(read_records(Path("assets/reviewed.jsonl"))) == 40


def test_chinese_texts_may_have_no_spaces(project, tmp_path, capsys):
    texts = write_lines(
        tmp_path / "texts.jsonl", [{"text": f"星河科技收购了第{n}家公司。"} for n in range(9)]
    )
    assert init(capsys, texts=texts, labels="COMPANY", lang="zh", name="deals").status == 0
    assert variables()["name"] == "zh_deals"
    limits = load_settings(Path("configs/serve.cfg"), ServiceSettings).limits
    assert limits.stretch == limits.characters


@pytest.mark.parametrize(
    ("lang", "message"),
    [
        ("zz", "lang 'zz': spaCy has no such language; take a code of https://spacy.io"),
        ("vi", "lang 'vi': spaCy's tokenizer for it can't be loaded (Pyvi not installed."),
    ],
)
def test_a_language_without_tokenizer_is_refused_and_nothing_is_written(
    project, sales, capsys, lang, message
):
    before = contents(project)
    outcome = init(capsys, annotations=sales, lang=lang)
    assert outcome.status == 1
    assert message in outcome.output
    assert contents(project) == before


def test_without_an_option_the_language_is_that_of_the_data_settings(project, sales, capsys):
    data = Path("configs/data.cfg")
    data.write_text(data.read_text("utf-8").replace('lang = "en"', 'lang = "de"'))
    assert init(capsys, annotations=sales, name="de_sales").status == 0
    assert 'lang = "de"' in Path("configs/crf.cfg").read_text("utf-8")
    assert variables()["name"] == "de_sales"


@pytest.mark.parametrize(
    ("values", "config", "exclusive"),
    [({"A": 1, "B": 0}, "categories", True), ({"A": 0, "B": 0}, "multilabel", False)],
)
def test_categories_alone_choose_their_config(project, tmp_path, capsys, values, config, exclusive):
    lines = [{"text": t, "cats": values if n % 3 else {"A": 0, "B": 1}} for n, t in enumerate(TEXTS)]
    outcome = init(capsys, annotations=write_lines(tmp_path / "kinds.jsonl", lines))
    assert outcome.status == 0, outcome.output
    scheme = load_scheme(Path("configs/llm.cfg"))
    assert scheme.scored == ("category" if exclusive else "categories")
    assert variables()["config"] == config
    assert f"one_category = {str(exclusive).lower()}" in Path("configs/review.cfg").read_text("utf-8")


def test_annotations_that_overlap_choose_their_config(project, tmp_path, sales, capsys):
    nested = [annotated(text, n) for n, text in enumerate(TEXTS)]
    for line in nested[:3]:
        line["spans"].append({"start": 0, "end": line["spans"][1]["end"], "label": "SALE"})
    outcome = init(capsys, annotations=write_lines(tmp_path / "nested.jsonl", nested))
    assert outcome.status == 0, outcome.output
    shown = "Spans overlap in 3 texts (first: 0-5 SELLER 'Velto' and 0-"
    assert shown in outcome.output
    scheme = load_scheme(Path("configs/llm.cfg"))
    assert (scheme.overlapping, variables()["config"]) == (True, "spancat")
    assert len(read_records(Path("assets/reviewed.jsonl"), labels=scheme)[0].spans) == 3
    outcome = init(capsys, annotations=sales, overwrite="yes")
    assert "overlap" not in outcome.output
    assert (load_scheme(Path("configs/llm.cfg")).overlapping, variables()["config"]) == (False, "crf-tags")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\ufeffOne text\r\n\r\nAnother text\r\nOne text\r\n"),
        ("a.csv", '\ufeffid,text\r\n1,One text\r\n2,\r\n3,Another text\r\n4,"One text"\r\n'),
        (
            "a.jsonl",
            '\ufeff{"text": "One text"}\r\n{"text": " "}\r\n{"text": "Another text"}\r\n'
            '{"text": "One text"}\r\n',
        ),
    ],
)
def test_texts_come_in_several_forms(project, tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content.encode())
    outcome = init(capsys, texts=tmp_path / name, labels="PRODUCT,BRAND")
    assert outcome.status == 0, outcome.output
    assert "2 texts, 1 empty, 1 repeated left out" in outcome.output.replace(
        "1 empty left out, 1", "1 empty, 1"
    )
    assert {record.text for record in read_records(Path("assets/texts.jsonl"))} == {
        "One text",
        "Another text",
    }
    assert Path("assets/reviewed.jsonl").read_text() == ""
    assert 'then = "auto"' in Path("configs/review.cfg").read_text("utf-8")
    assert "weasel run review" in outcome.output


def test_a_folder_of_texts_and_a_single_one(project, tmp_path, capsys):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/one.txt").write_text("A text of\ntwo lines\n")
    outcome = init(capsys, texts=tmp_path / "texts", categories="GOOD,BAD")
    assert outcome.status == 0, outcome.output
    (record,) = read_records(Path("assets/texts.jsonl"))
    assert (record.text, record.id) == ("A text of\ntwo lines", "one")


def mistakes(tmp_path: Path) -> dict[str, tuple[dict, str]]:
    """Options of `init` by case, and what it says."""
    good = write_lines(tmp_path / "good.jsonl", (annotated(t, n) for n, t in enumerate(TEXTS)))
    texts = write_lines(tmp_path / "texts.jsonl", [{"text": "One text"}])
    (tmp_path / "empty.txt").write_text("\n\n")
    off = write_lines(
        tmp_path / "off.jsonl", [{"text": "Velto", "spans": [{"start": 0, "end": 3, "label": "A"}]}]
    )
    repeated = write_lines(tmp_path / "twice.jsonl", [annotated(TEXTS[0], 0), annotated(TEXTS[0], 0)])
    bare = write_lines(tmp_path / "bare.jsonl", [{"text": "One text"}])
    odd = write_lines(
        tmp_path / "odd.jsonl", [{"text": "Velto", "spans": [{"start": 0, "end": 5, "label": "A=B"}]}]
    )
    (tmp_path / "words.cfg").write_text('[label_definitions]\nSELER = "who sells"\n')
    (tmp_path / "nocolumn.csv").write_text("title\nx\n")
    return {
        "nothing": ({}, "there are no texts; give --vars.init_texts"),
        "no file": ({"texts": tmp_path / "none.jsonl"}, "there is no such file"),
        "no text": ({"texts": tmp_path / "empty.txt", "labels": "A"}, "there is no text in it"),
        "no labels": ({"texts": texts}, "there are no labels"),
        "odd character": ({"texts": texts, "labels": "A, B:C"}, "'B:C' can't be a label"),
        "label twice": ({"texts": texts, "labels": "Brand,BRAND"}, "'brand' is listed twice"),
        "reserved": ({"texts": texts, "labels": "ALL"}, "'ALL' can't be a label"),
        "odd in annotations": ({"annotations": odd}, "'A=B' can't be a label"),
        "label not in list": (
            {"annotations": good, "labels": "SELLER"},
            "aren't in the list: BUYER (30)",
        ),
        "misaligned": ({"annotations": off}, 'or set misaligned = "snap" in configs/data.cfg'),
        "duplicates": ({"annotations": repeated}, "1 duplicates (first: line 2: repeats line 1"),
        "no annotation": ({"annotations": bare}, "there are no labels: the annotations have none"),
        "unknown definition": (
            {"annotations": good, "definitions": tmp_path / "words.cfg"},
            "'SELER', which is no label",
        ),
        "no column": (
            {"texts": tmp_path / "nocolumn.csv", "labels": "A"},
            "no column is called text (there are title)",
        ),
    }


CASES = (
    "nothing",
    "no file",
    "no text",
    "no labels",
    "odd character",
    "label twice",
    "reserved",
    "odd in annotations",
    "label not in list",
    "misaligned",
    "duplicates",
    "no annotation",
    "unknown definition",
    "no column",
)


@pytest.mark.parametrize("case", CASES)
def test_mistakes_change_nothing(project, tmp_path, capsys, case):
    options, message = mistakes(tmp_path)[case]
    before = contents(project)
    outcome = init(capsys, **options)
    assert outcome.status == 1
    assert message in outcome.output
    assert "Traceback" not in outcome.output
    assert contents(project) == before


def test_only_gold_of_the_demo_is_replaced_without_a_word(project, tmp_path, sales, capsys):
    write_lines(Path("assets/reviewed.jsonl"), [annotated("Velto sold Anker", 0)])
    before = contents(project)
    refused = init(capsys, annotations=sales)
    assert (refused.status, "annotations that aren't the demo's" in refused.output) == (1, True)
    assert contents(project) == before
    assert init(capsys, annotations=sales, overwrite="yes").status == 0
    # nothing is lost where the annotations are the same
    assert init(capsys, annotations=sales, labels="SELLER,BUYER,BROKER").status == 0
    other = write_lines(tmp_path / "other.jsonl", [annotated(TEXTS[0], 0)])
    assert init(capsys, annotations=other).status == 1


def test_a_second_time_changes_nothing(project, sales, capsys):
    assert init(capsys, annotations=sales).status == 0
    before = contents(project)
    assert init(capsys, annotations=sales).status == 0
    assert contents(project) == before


def test_known_names_need_their_label(project, tmp_path, sales, capsys):
    names = tmp_path / "names.csv"
    names.write_text("id,name\n1,Velto\n")
    assert "of which label are these names?" in init(capsys, annotations=sales, gazetteer=names).output
    assert init(capsys, annotations=sales, gazetteer=names, gazetteer_label="SELLER").status == 0
    assert variables()["gazetteer_label"] == "SELLER"
    assert "Velto" in Path("assets/companies.csv").read_text()
    assert 'labels = ["SELLER"]' in Path("configs/linker.cfg").read_text("utf-8")


def test_what_is_about_the_demo_goes(project, sales, capsys):
    outcome = init(capsys, annotations=sales)
    assert outcome.status == 0, outcome.output
    gone = ["tests/demo", "docs/demo.md", "docs/demo.png", "training/history.jsonl"]
    assert [path for path in gone if Path(path).exists()] == []
    assert all(path in outcome.output for path in gone)
    assert Path("assets/questions.jsonl").read_text("utf-8") == ""


def test_without_its_relations_the_database_has_no_deals(project, tmp_path, sales, capsys):
    database_config, ask_config = Path("configs/database.cfg"), Path("configs/ask.cfg")
    if "\n[deals]" not in database_config.read_text("utf-8"):
        database_config.write_text(database_config.read_text("utf-8") + DEALS)
    head, _, rest = ask_config.read_text("utf-8").partition("[ask.tables]")
    ask_config.write_text(head + TABLES + "\n#" + rest.partition("\n#")[2])
    outcome = init(capsys, annotations=sales)
    assert outcome.status == 0, outcome.output
    assert "\n[deals]" not in database_config.read_text("utf-8")
    assert "# A deal" not in database_config.read_text("utf-8")
    database = tmp_path / "found.db"
    filled = run_command("database", ["--gold", "assets/reviewed.jsonl", "--output", database], capsys)
    assert filled.status == 0, filled.output
    assert f"mentions 0 {2 * len(TEXTS)}" in filled.output
    with sqlite_file.open_readonly(database) as connection:
        _, known = text_to_sql.read_config(ask_config)
        counted = guard.run(connection, "SELECT COUNT(*) FROM mentions WHERE label = 'BUYER'", known.limits)
    assert counted.rows == [(len(TEXTS),)]


def test_with_its_relations_the_deals_stay(project, tmp_path, capsys):
    Path("configs/database.cfg").write_text(DEALS)
    lines = [
        annotated(text, n) | {"relations": [{"head": 0, "child": 1, "label": "INVESTOR"}]}
        for n, text in enumerate(TEXTS)
    ]
    assert init(capsys, annotations=write_lines(tmp_path / "deals.jsonl", lines)).status == 0
    assert "\n[deals]" in Path("configs/database.cfg").read_text("utf-8")


def test_without_gold_what_comes_next_works(project, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    assert init(capsys, texts=tmp_path / "texts.txt", labels="SELLER,BUYER").status == 0
    assert "None of them is reviewed yet." in Path("README.md").read_text("utf-8")
    planned = run_command("llm-annotate", ["--dry-run"], capsys)
    assert planned.status == 0, planned.output
    assert "prompts 30 to ask" in planned.output
    for name, options, message in (
        ("check", [], "nothing is reviewed yet. A first model needs 6 train, 3 dev and 3 test texts"),
        ("split", [], "review some texts first (`weasel run review`)"),
        ("suggest", ["--patterns", "assets/patterns.jsonl"], "none of its sources (llm, model, rules) has"),
    ):
        outcome = run_command(name, options, capsys)
        assert outcome.status == 1
        assert message in outcome.output
        assert "Warning" not in outcome.output
    # so CI has nothing to complain of
    checked = run_command("check", ["--gaps", "warn"], capsys)
    assert checked.status == 0, checked.output
    assert "nothing is reviewed yet. A first model needs" in checked.output


def test_outputs_for_earlier_texts_go(project, tmp_path, capsys):
    gone = [
        "corpus/llm.jsonl",
        "corpus/applied/0.parquet",
        "training/crf/pipeline/model-best/meta.json",
        "training/vectors/reviewed/model-best/meta.json",
        "training/variants/table.json",
        "packages/en_deal_news-0.1.0-py3-none-any.whl",
        "database/deals.db",
    ]
    kept = ["corpus/.gitkeep", "corpus/imported.jsonl", "corpus/own.txt", "training/own/notes.md"]
    source = write_lines(
        project / "corpus/llm-train.jsonl", (annotated(text, n) for n, text in enumerate(TEXTS))
    )
    elsewhere = tmp_path / "elsewhere/reviewed/meta.json"
    for path in (*map(Path, gone), *map(Path, kept), elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    Path("training/linked").symlink_to(tmp_path / "elsewhere")
    outcome = init(capsys, annotations=source, name="trade")
    assert outcome.status == 0, outcome.output
    assert [path for path in gone if Path(path).exists()] == []
    assert [path for path in (*kept, source, elsewhere) if not Path(path).exists()] == []
    assert sorted(path.name for path in Path("training").iterdir()) == ["linked", "own"]
    assert "2 in corpus, 1 in database, 1 in packages, " in outcome.output
    assert "so they stay: training/linked/reviewed" in outcome.output


def test_a_log_of_earlier_reviewing_is_renamed(project, sales, capsys):
    Path("assets/review-log.jsonl").write_text("{}\n")
    assert init(capsys, annotations=sales).status == 0
    (renamed,) = Path("assets").glob("review-log*")
    assert renamed.name != "review-log.jsonl"
    assert renamed.read_text() == "{}\n"


def test_amounts_of_another_label_are_read(project, tmp_path, capsys):
    lines = [
        {
            "text": f"{text} It cost $5m.",
            "spans": [
                {"start": len(text) + 9, "end": len(text) + 12, "label": "PRICE", "value": "5000000 USD"}
            ],
        }
        for text in TEXTS
    ]
    assert init(capsys, annotations=write_lines(tmp_path / "a.jsonl", lines), money_label="PRICE").status == 0
    assert 'labels = ["PRICE"]' in Path("configs/money.cfg").read_text("utf-8")
    assert variables()["money_label"] == "PRICE"


def test_examples_in_prompts_go_with_the_demo_and_stay_with_the_users_texts(project, sales, capsys):
    """Other examples would mean other prompts, and answers that are paid for again."""
    examples = Path("assets/examples.jsonl")
    write_lines(examples, [annotated("Hooli sold Anker.", 0)])
    assert init(capsys, annotations=sales).status == 0
    assert examples.read_bytes() == b""
    write_lines(examples, [annotated(TEXTS[0], 0)])
    before = examples.read_bytes()
    assert init(capsys, annotations=sales, overwrite="yes").status == 0
    assert examples.read_bytes() == before
    examples.unlink()
    assert init(capsys, annotations=sales, overwrite="yes").status == 0
    assert examples.read_bytes() == b"", "weasel wants a file where a command depends on one"
