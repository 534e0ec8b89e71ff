"""The language of the texts: its settings, and what follows from them in configs."""

from typing import Any

from spacy.util import get_lang_class

from ie.core.errors import UserError
from ie.core.settings import Section
from ie.core.text import one_line

# The tokenizer of most languages: words between whitespace, which rules divide further.
RULES = {"@tokenizers": "spacy.Tokenizer.v1"}
# What spaCy's tokenizer of a language imports, as requirements of a package; see requirements/languages.in.
PACKAGES = {"ja": ("sudachidict_core", "sudachipy>=0.5.2,!=0.6.1")}


class LanguageSettings(Section):
    """The language, by spaCy's code, and characters at which words are split, such as "-"."""

    lang: str = "en"
    split_on: str = ""


# A code alone stands for the language without further settings.
Lang = str | LanguageSettings


def settings_of(lang: Lang) -> LanguageSettings:
    """The settings of a language that may be given by its code."""
    return LanguageSettings(lang=lang) if isinstance(lang, str) else lang


def overrides(lang: Lang, callback: str, *, tokenizer: bool = True) -> dict[str, Any]:
    """Overrides of a config by dotted name: it gets the language and the tokenizer of the data settings.

    Args:
        callback: name of the setting that holds the tokenizer's callback.
        tokenizer: whether the config has a section [nlp.tokenizer], which is replaced where the language's
            tokenizer is of another kind.

    Raises:
        UserError: spaCy doesn't have the language.
    """
    language = settings_of(lang)
    values: dict[str, Any] = {"nlp.lang": language.lang}
    if tokenizer and (own := tokenizer_config(language.lang)) != RULES:
        values["nlp.tokenizer"] = own
    if language.split_on:
        values[callback] = {"@callbacks": "ie.splitting_tokenizer.v1", "split_on": language.split_on}
    return values


def tokenizer_config(lang: str) -> dict[str, Any]:
    """The section [nlp.tokenizer] of a language.

    Raises:
        UserError: spaCy doesn't have the language.
    """
    return dict(language_class(lang).default_config["nlp"]["tokenizer"])


def longest_stretch(lang: str, most: int, characters: int) -> int:
    """The limit on characters in a row without whitespace: `most`, see `tokenizer.stretch_fault`.

    Tokenizers of another kind, as in Chinese, take no longer for such texts: only `characters`, the limit on
    whole texts, counts.
    """
    return most if tokenizer_config(lang) == RULES else characters


def language_class(lang: str) -> Any:
    """spaCy's class of a language.

    Raises:
        UserError: spaCy doesn't have it.
    """
    try:
        return get_lang_class(lang)
    except ImportError:
        raise UserError(
            f"lang {lang!r}: spaCy has no such language; take a code of https://spacy.io/usage/models#languages"
            ", or 'xx' for any other language that puts spaces between words."
        ) from None


def missing_package(lang: str, error: ImportError) -> UserError:
    """The error for a tokenizer that needs a package that isn't installed."""
    if lang in PACKAGES:
        return UserError(
            f"lang {lang!r}: its tokenizer needs a package that isn't installed; run `pip install -r "
            "requirements/languages.txt`."
        )
    return UserError(f"lang {lang!r}: spaCy's tokenizer for it can't be loaded ({one_line(error)}).")
