"""Currency data for the `money` component: CLDR's, by way of Babel, and the additions of a TOML file.

The component reads the result without Babel, so what ships needs spaCy alone.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import babel
from babel import Locale
from babel.core import get_global
from babel.languages import get_official_languages
from babel.numbers import get_decimal_symbol

from components.money import fold, writing_key
from ie.core.errors import UserError
from ie.core.files import read_text

SECTIONS = {
    "scale_languages": list,
    "name_languages": list,
    "capitals": list,
    "ambiguous": list,
    "roles": dict,
    "glued": dict,
    "writings": dict,
    "firm": dict,
    "usual": dict,
    "minor": list,
    "scales": dict,
    "numerals": dict,
    "multiples": dict,
    "fractions": dict,
    "places": dict,
}
ROLES = (
    "range", "and", "between", "minus", "article", "of", "point", "open", "slash", "some", "vague", "filler",
)  # fmt: skip
CODE = re.compile(r"[A-Z]{3}")


def read_additions(path: Path) -> dict[str, Any]:
    """Read the TOML file of writings that CLDR lacks.

    Raises:
        UserError: no such file, not TOML, a section or role missing, unknown or of the wrong kind, a currency
            that isn't three capitals.
    """
    try:
        additions = tomllib.loads(read_text(path, "restore it from the template"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML ({error}); correct it.") from None
    for name, kind in SECTIONS.items():
        if not isinstance(additions.get(name), kind):
            raise UserError(f"{path}: {name} is missing or no {kind.__name__}; restore it.")
    unknown = sorted(set(additions) - set(SECTIONS))
    if unknown:
        raise UserError(f"{path}: there is no section {unknown[0]}; it may be {', '.join(SECTIONS)}.")
    for where, codes in _codes(path, additions):
        for code in codes:
            if not isinstance(code, str) or not CODE.fullmatch(code):
                raise UserError(f"{path}: {where}: {code!r} is no ISO 4217 code; write it as in USD.")
    for role, words in additions["roles"].items():
        if role not in ROLES:
            raise UserError(f"{path}: there is no role {role}; it may be {', '.join(ROLES)}.")
        if not _are_words(words):
            raise UserError(f"{path}: roles.{role} must be a list of words; correct it.")
    for name in ("capitals", "ambiguous"):
        if not _are_words(additions[name]):
            raise UserError(f"{path}: {name} must be a list of words; correct it.")
    for scale, power in additions["glued"].items():
        if not isinstance(power, int):
            raise UserError(f"{path}: glued.{scale} must be a power of ten such as 6; correct it.")
    return additions


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _codes(path: Path, additions: dict[str, Any]) -> Iterator[tuple[str, Iterable[Any]]]:
    for writing, codes in additions["writings"].items():
        yield writing, codes if isinstance(codes, list) else [codes]
    for section in ("firm", "usual"):
        for writing, code in additions[section].items():
            yield f"{section}.{writing}", [code]
    for group in additions["minor"]:
        if not isinstance(group, dict) or set(group) != {"words", "digits", "currencies"}:
            raise UserError(f"{path}: each [[minor]] must have words, digits and currencies; correct it.")
        yield "minor", group["currencies"]


def build(additions: dict[str, Any]) -> dict[str, Any]:
    """The data of the `money` component, sorted, so that the same versions give the same bytes.

    Writings (symbols, codes, names) may stand for several currencies. A part of a name that several share
    ("dollar") stands for those in use, and for past ones only if none is ("markka").
    """
    current = sorted(set(_current_by_territory().values()))
    spread: dict[str, set[str]] = {}
    _add_names(spread, additions["name_languages"], set(current))
    for symbol, code in _symbols(additions["scale_languages"], current):
        spread.setdefault(symbol, set()).add(code)
    for code in current:
        spread.setdefault(key(code), set()).add(code)
    for code in spread["$"]:
        spread.setdefault(key(f"{code}$"), set()).add(code)
    names = [(code, name) for code, name in Locale.parse("en").currencies.items() if code in current]
    writings = {writing: sorted(codes) for writing, codes in spread.items()}
    writings |= {key(writing): codes for writing, codes in additions["writings"].items()}
    return {
        "source": f"Unicode CLDR by way of Babel {babel.__version__}",
        "roles": {key(word): role for role, words in additions["roles"].items() for word in words},
        "capitals": sorted(map(key, additions["capitals"])),
        "ambiguous": sorted(map(key, additions["ambiguous"])),
        "glued": {key(scale): power for scale, power in additions["glued"].items()},
        "writings": dict(sorted(writings.items())),
        "firm": {key(writing): code for writing, code in additions["firm"].items()},
        "usual": {key(writing): code for writing, code in additions["usual"].items()},
        "minor": {
            key(word): [group["digits"], group["currencies"]]
            for group in additions["minor"]
            for word in group["words"]
        },
        "scales": _scales(additions),
        "separators": _separators(additions["scale_languages"]),
        "numerals": {key(word): str(value) for word, value in additions["numerals"].items()},
        "multiples": {key(word): str(value) for word, value in additions["multiples"].items()},
        "fractions": {key(word): str(value) for word, value in additions["fractions"].items()},
        "adjectives": sorted({a for code, name in names if (a := _adjective(code, name))}),
        "places": dict(sorted(_places(additions).items())),
    }


def key(text: str) -> str:
    """The key under which the component looks a writing up."""
    return writing_key(fold(text))


def _current_by_territory() -> dict[str, str]:
    """Each territory's currency of today; of several its own, whose code begins as the territory's."""
    currencies = {}
    for territory, rows in get_global("territory_currencies").items():
        codes = [code for code, _, end, tender in rows if end is None and tender and CODE.fullmatch(code)]
        if codes:
            currencies[territory] = next((code for code in codes if code.startswith(territory)), codes[0])
    return currencies


def _add_names(spread: dict[str, set[str]], languages: Iterable[str], current: set[str]) -> None:
    """Names and their last words: "Canadian dollars", "dollars"; then those of past currencies."""
    for use_past in (False, True):
        taken = set(spread)
        for language in languages:
            locale = Locale.parse(language)
            for code, name in sorted(locale.currencies.items()):
                if (code not in current) != use_past or re.search(r"[\d(]", name) or code.startswith("X" * 2):
                    continue
                # "special drawing rights" and "troy ounces of gold", but neither "rights" nor "gold"
                is_special = code.startswith("X") and code not in current
                plurals = locale._data["currency_names_plural"].get(code, {})
                for form in {name, *plurals.values()}:
                    words = key(form).split()
                    # "Bank dollars" are none, though China had some
                    starts = {0, len(words) - 1} if use_past else range(len(words))
                    if is_special:
                        starts = {0} if len(words) > 1 else set()
                    for start in sorted(starts):
                        writing = " ".join(words[start:])
                        if writing not in taken:
                            spread.setdefault(writing, set()).add(code)


def _symbols(languages: Iterable[str], current: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Symbols of the currencies in use: as written in the given languages, and at home."""
    for language in languages:
        symbols = Locale.parse(language).currency_symbols
        for code in current:
            if code in symbols and key(symbols[code]):
                yield key(symbols[code]), code
    money = _current_by_territory()
    for locale in _regional():
        symbol = locale.currency_symbols.get(money[locale.territory])
        if symbol and key(symbol):
            yield key(symbol), money[locale.territory]


def _regional() -> Iterator[Locale]:
    """The official languages of each territory with a currency, as spoken there."""
    for territory in sorted(_current_by_territory()):
        for language in get_official_languages(territory, de_facto=True):
            # some languages CLDR has no data of
            with suppress(babel.UnknownLocaleError, ValueError):
                yield Locale.parse(f"{language}_{territory}")


def _separators(languages: Iterable[str]) -> dict[str, str]:
    """The decimal separator by language, and by region where it is another."""
    regional = list(_regional())
    names = {*languages, *(locale.language for locale in regional)}
    separators = {name: _decimal(Locale.parse(name)) for name in sorted(names)}
    for locale in regional:
        if _decimal(locale) != separators[locale.language]:
            separators[str(locale)] = _decimal(locale)
    return separators


def _decimal(locale: Locale) -> str:
    return fold(get_decimal_symbol(locale, numbering_system="default"))


def _scales(additions: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Words for powers of ten by language, from CLDR's compact formats ("0 Mio'.'" under 1000000)."""
    scales: dict[str, dict[str, int]] = {}
    for language in additions["scale_languages"]:
        words: dict[str, int] = {}
        for forms in Locale.parse(language)._data["compact_decimal_formats"].values():
            for patterns in forms.values():
                for magnitude, pattern in patterns.items():
                    if not magnitude.isdigit():
                        continue
                    text = str(pattern.pattern)
                    word = key(re.sub("[0']", "", text).replace("\xa0", " "))
                    power = len(magnitude) - max(1, text.count("0"))  # "mille" is a number by itself
                    if word and power > 0:
                        words.setdefault(word, power)
        scales[language] = dict(sorted(words.items()))
    for language, words in additions["scales"].items():
        scales.setdefault(language, {}).update({key(word): power for word, power in words.items()})
    return scales


def _adjective(code: str, name: str) -> str:
    """What comes before the noun in a currency's name: "canadian", "hong kong"; "" if nothing does."""
    words = key(name).split()[:-1]
    # "us" is a pronoun more often than a country
    usable = words and words[0] != "us" and not re.search(r"[\d(]", name)
    return " ".join(words) if usable else ""


def _places(additions: dict[str, Any]) -> dict[str, list[str]]:
    """Countries, the cities that time zones are named after, and adjectives of currencies' names."""
    english = Locale.parse("en")
    money = _current_by_territory()
    places: dict[str, set[str]] = {}

    def add(name: str, code: str) -> None:
        if name:
            places.setdefault(name, set()).add(code)

    for territory, name in english.territories.items():
        if territory in money:
            add(key(name), money[territory])
    for zone, territory in get_global("zone_territories").items():
        if "/" in zone and territory in money:
            add(key(zone.rpartition("/")[2].replace("_", " ")), money[territory])
    current = set(money.values())
    for code, name in english.currencies.items():
        if code in current and (adjective := _adjective(code, name)):
            add(adjective, code)
    for name, territory in additions["places"].items():
        if territory in money:
            places[key(name)] = {money[territory]}
    return {name: sorted(codes) for name, codes in places.items()}
