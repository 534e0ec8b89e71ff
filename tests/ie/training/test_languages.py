"""The default config learns from thirty texts in each language, and the pipeline loads without our code."""

from pathlib import Path

import pytest
import spacy
from running import ROOT

from ie.core import stats
from ie.core.errors import UserError
from ie.data.config import DataConfig
from ie.data.docs import docbin, to_doc
from ie.data.records import read_records
from ie.evaluation import baselines, scoring
from ie.training import loop

LABELS = ("COMPANY", "MONEY")


@pytest.mark.parametrize("lang", ["de", "es", "ar", "zh", "ja"])
def test_a_pipeline_of_the_language_is_trained(lang: str, tmp_path: Path) -> None:
    settings = DataConfig.model_validate({"texts": {"lang": lang}})
    try:
        nlp = settings.blank()
    except UserError as error:
        pytest.skip(str(error))
    records = read_records(ROOT / f"tests/languages/{lang}.jsonl", tokenizer=nlp.tokenizer)
    assert len(records) == 60
    split = settings.assign(records, [])
    assert len(split.train) + len(split.dev) + len(split.test) == 60, "no text is a near-duplicate of another"
    for part in ("train", "dev"):
        docbin(to_doc(record, nlp) for record in getattr(split, part)).to_disk(tmp_path / f"{part}.spacy")
    files = {part: tmp_path / f"{part}.spacy" for part in ("train", "dev")}
    config = ROOT / "configs/crf.cfg"
    loop.train(config, **files, output=tmp_path, overrides=loop.overrides(settings.texts))
    trained = spacy.load(tmp_path / "model-best")
    assert trained.lang == lang
    text = split.test[0].text
    assert [token.text for token in trained.make_doc(text)] == [token.text for token in nlp.make_doc(text)]
    predicted = baselines.predict_with(trained)([record.text for record in split.test])
    counts = scoring.count(split.test, predicted, LABELS).sum(axis=(0, 1))
    assert stats.prf(counts)[2] > 0.3
