"""The language setting reaches every tokenizer: of records, of training configs, of the LLM's pipeline."""

from pathlib import Path

import pytest
from running import ROOT
from spacy.util import load_config, load_model_from_config, registry

from ie.core.errors import UserError
from ie.data import language, records
from ie.data.config import DataConfig
from ie.data.language import LanguageSettings
from ie.llm import pipeline
from ie.training import loop

GERMAN = "Die Nordlicht-Gruppe und die Ost- und West-Bank zahlen 3,5 Mio. Euro."
TEXTS = {
    "de": GERMAN,
    "es": "Telar S.A. pagó 3,5 millones de euros por el 40 % de Cobre Andino.",
    "ar": "استحوذت مدار للتقنية على حصة بقيمة ٣٫٥ مليون دولار.",
    "zh": "星河科技以3.5亿元收购了云帆。",
    "ja": "星野製作所は35億円で青葉電機を買収した。",
}


def blank(lang: language.Lang):
    """The empty pipeline, unless the language's package is missing."""
    try:
        return records.blank(lang)
    except UserError as error:
        if "requirements/languages.txt" in str(error):
            pytest.skip(str(error))
        raise


def tokens(nlp, text: str) -> list[str]:
    return [token.text for token in nlp.make_doc(text)]


def training_pipeline(settings: LanguageSettings):
    """What a training starts with: the config with the overrides of commands, and its callback called."""
    config = load_config(ROOT / "configs/crf.cfg", overrides=loop.overrides(settings), interpolate=True)
    nlp = load_model_from_config(config, auto_fill=True)
    return registry.resolve({"callback": config["initialize"]["before_init"]})["callback"](nlp)


@pytest.mark.parametrize("split_on", ["", "-"])
@pytest.mark.parametrize("lang", TEXTS)
def test_all_tokenizers_are_those_of_the_data_settings(lang, split_on):
    settings = DataConfig.model_validate({"texts": {"lang": lang, "split_on": split_on}})
    expected = tokens(blank(settings.texts), TEXTS[lang])
    assert tokens(settings.blank(), TEXTS[lang]) == expected
    assert tokens(training_pipeline(settings.texts), TEXTS[lang]) == expected
    overrides = pipeline.example_overrides(Path("x.jsonl"), None, settings)
    path = ROOT / "tests/configs/llm.cfg"
    llm = pipeline.assemble(pipeline.load_config(path, None, {**overrides, "nlp.pipeline": []}), path)
    assert llm.lang == lang
    assert tokens(llm, TEXTS[lang]) == expected


def test_split_on_divides_words_and_nothing_else():
    whole, split = blank("de"), blank(LanguageSettings(lang="de", split_on="-"))
    assert tokens(whole, GERMAN)[1:7] == ["Nordlicht-Gruppe", "und", "die", "Ost-", "und", "West-Bank"]
    pieces = ["Nordlicht", "-", "Gruppe", "und", "die", "Ost", "-", "und", "West", "-", "Bank"]
    assert tokens(split, GERMAN)[1:12] == pieces
    assert tokens(split, GERMAN)[12:] == tokens(whole, GERMAN)[7:]


def test_the_packaged_tokenizer_needs_no_code_of_ours(tmp_path):
    split = blank(LanguageSettings(lang="de", split_on="-"))
    split.to_disk(tmp_path)
    again = split.__class__().from_disk(tmp_path)
    assert tokens(again, GERMAN) == tokens(split, GERMAN)


def test_english_configs_get_no_other_tokenizer():
    assert loop.overrides("en") == {"nlp.lang": "en"}
    assert loop.overrides("de", 5) == {"nlp.lang": "de", "training.max_steps": 5}
    assert loop.overrides("zh")["nlp.tokenizer"]["segmenter"] == "char"


def test_the_limit_on_characters_in_a_row_is_for_rules_alone():
    assert language.longest_stretch("ar", 1000, 50_000) == 1000
    assert language.longest_stretch("zh", 1000, 50_000) == 50_000


def test_a_missing_package_is_named():
    error = language.missing_package("ja", ImportError("no sudachipy"))
    assert "pip install -r requirements/languages.txt" in str(error)
    assert "no natto" in str(language.missing_package("ko", ImportError("no natto")))
