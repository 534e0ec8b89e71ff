"""Another label set on real data, by the README's "Your own data in ten minutes": assets, configs, vars."""

import json
import re

import pytest
from running import real_data

pytestmark = [pytest.mark.slow, pytest.mark.llm, pytest.mark.timeout(1800)]


def retarget(text: str) -> str:
    """The edit of configs/llm.cfg: labels, names and definitions of the spans; no other tasks."""
    text = text[: text.index("# Not in the pipeline yet")]
    text = text.replace('labels = ["COMPANY", "MONEY"]', 'labels = ["FASHION_BRAND"]')
    text = re.sub(r'instruction = ".*"', 'instruction = "Fashion brands in each comment."', text)
    text = re.sub(r'COMPANY = "Companies"\nMONEY = "Money"', 'FASHION_BRAND = "Brands"', text)
    return re.sub(
        r'COMPANY = "names.*"\nMONEY = ".*"',
        'FASHION_BRAND = "names of makers of clothes, shoes and bags"',
        text,
    )


def test_fashion_brands(clone):
    lines = [
        json.loads(line) for line in real_data("fashion_brands/train.jsonl").read_text("utf-8").splitlines()
    ]
    lines = [line for line in lines if len(line["text"].split()) < 60]
    with_span = [line for line in lines if line["spans"]]
    without = [line for line in lines if not line["spans"]]
    gold = [line for pair in zip(with_span[:70], without[:70], strict=True) for line in pair]
    clone.write("assets/texts.jsonl", ({"text": line["text"]} for line in [*gold, *without[70:90]]))
    clone.write("assets/reviewed.jsonl", gold)
    clone.write("assets/patterns.jsonl", [{"label": "FASHION_BRAND", "pattern": [{"LOWER": "uniqlo"}]}])
    (clone.folder / "assets/companies.csv").write_text("id,name,aliases\n1,Nike,\n", encoding="utf-8")
    clone.edit("configs/llm.cfg", retarget)
    done = clone.run(
        *("weasel", "run", "all", "."),
        *("--vars.name", "brands", "--vars.gazetteer_label", "FASHION_BRAND"),
        *("--vars.sentence", "My Uniqlo jacket is better than the one from Zara."),
        *("--vars.test_percent", "25", "--vars.dev_percent", "15", "--vars.max_steps", "100"),
    )
    assert "FASHION_BRAND" in done.stdout
    assert (clone.folder / "packages").glob("en_brands-*.whl")
    assert clone.read("corpus/split.json")["splits"]["test"]
    silver = (clone.folder / "corpus/llm.jsonl").read_text("utf-8").splitlines()
    assert {span["label"] for line in silver for span in json.loads(line)["spans"]} <= {"FASHION_BRAND"}
