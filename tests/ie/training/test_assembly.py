"""Which components become part of the assembled pipeline."""

from pathlib import Path

import pytest
from running import run_command, write_lines

from ie.data.records import blank
from ie.training import assembly

MONEY = """
[nlp]
lang = "en"
pipeline = ["money"]
[components]
[components.money]
factory = "money"
labels = ["PRICE"]
"""


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "money.cfg").write_text(MONEY, encoding="utf-8")
    return {"relations": tmp_path / "relations/model-best", "money": tmp_path / "money.cfg"}


def test_a_component_that_reads_other_entities_is_left_out(sources: dict[str, Path]) -> None:
    assert list(assembly.gather(sources, ["PRICE", "BRAND"]).pipelines) == ["money"]
    parts = assembly.gather(sources, ["BRAND"])
    assert not parts.pipelines
    assert parts.missing == {
        "relations": f"{sources['relations']} isn't there",
        "money": "it reads PRICE, which the pipeline doesn't find",
    }


def test_spans_alone_make_a_pipeline(
    tmp_path: Path, sources: dict[str, Path], capsys: pytest.CaptureFixture
) -> None:
    nlp = blank("en")
    nlp.add_pipe("ner").add_label("BRAND")
    nlp.initialize()
    nlp.to_disk(tmp_path / "ner")
    write_lines(tmp_path / "dev.jsonl", [{"text": "Velto sells hats"}])
    lines = [f'{name} = "{path.as_posix()}"' for name, path in sources.items()]
    (tmp_path / "assemble.cfg").write_text("\n".join(["[sources]", *lines]), encoding="utf-8")
    options = {"config": "assemble.cfg", "ner": "ner", "dev": "dev.jsonl", "output": "out"}
    words = [word for name, value in options.items() for word in (f"--{name}", tmp_path / value)]
    outcome = run_command("assemble", words, capsys)
    assert outcome.status == 0, outcome.output
    assert "relations is left out" in outcome.output
    assert assembly.load(tmp_path / "out/model-best").pipe_names == ["ner"]
