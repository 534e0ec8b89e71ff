"""Amounts of money as data: from the text of an entity to a decimal amount and an ISO 4217 currency.

A lexicon (symbols, codes and names of currencies, minor units, scales, numerals) turns the text into tokens,
and a small grammar reads them:

    money     = amount [("-" | "to" | "or" | "and") amount]
    amount    = [sign] [scale] {currency} [scale] quantity {currency} [scale] [["and"] number [minor unit]]
    quantity  = (number | numerals | "half" | ...) {scale} ["and" "a" fraction]

All that differs from language to language is data: CLDR's, and what assets/money.toml adds to it.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import from_bytes, from_disk, to_bytes, to_disk

REQUIREMENTS: tuple[str, ...] = ()
UNKNOWN = "XXX"  # ISO 4217: no currency
DATA = Path(__file__).with_name("money.json")
LONGEST_WRITING = 7  # atoms of "US$" (2), "west african cfa francs" (4), "u.s. dollars" (5)
MINOR_LIMIT = 100  # what stands behind "15 dollars and" is a minor unit below this
DECIMALS = 6  # of an amount; a third of a million has none that are exact
PRECISION = 400  # digits; more than the longest text that is read can hold

# A number with its separators; one blank or apostrophe may stand before three digits.
ATOM = re.compile(
    r"(?P<number>\d{1,3}(?:[ ']\d{3})+(?!\d)(?:[.,]\d+)*|\d+(?:[.,]\d+)*|(?<![\w/])\.\d+)|[^\W\d_]+|\S"
)
DASHES = str.maketrans("‐‑‒–—−﹣－’‘ʼ´`٫٬", "--------'''''.,")
ROLES = {
    "-": "range", "to": "range", "or": "range", "and": "and", "between": "between", "from": "between",
    "minus": "minus", "a": "article", "an": "article", "of": "of", "point": "point",
    "(": "open", "/": "slash",
    **dict.fromkeys(("several", "few", "couple", "many", "some", "tens", "dozens", "hundreds"), "vague"),
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What a writing may mean; a token such as "m" or "p" may mean several things until its neighbours tell.

    Attributes:
        currencies: ISO codes it may stand for.
        minor: (power of ten, ISO codes) of a minor unit.
        scale: power of ten.
        value: of a numeral.
        fraction: of a word such as "half".
        places: ISO codes of the currencies of the place or people it names.
        role: of a word of the grammar itself.
        decimal: the decimal separator of the language that a scale word belongs to.
    """

    currencies: tuple[str, ...] = ()
    minor: tuple[int, tuple[str, ...]] | None = None
    scale: int | None = None
    value: Decimal | None = None
    fraction: Fraction | None = None
    places: tuple[str, ...] = ()
    role: str = ""
    decimal: str = ""


@dataclass(frozen=True)
class Token:
    """A piece of text with its meanings; `number` is the digits as written, `start` where it begins."""

    text: str
    start: int
    entry: Entry = Entry()
    number: str = ""


@dataclass
class Amount:
    """One amount as the grammar reads it, before its currency is settled.

    Attributes:
        value: None where the text names no definite one ("hundreds of millions").
        number, scale: the value without its last scale, and the power of ten of that, which ranges share.
        writings: the currency tokens around it.
        rule: "plain", "scaled", "words", "minor", "compound" or "vague".
    """

    value: Decimal | None
    number: Decimal | None = None
    scale: int = 0
    writings: list[Token] = field(default_factory=list)
    rule: str = "plain"


class Lexicon:
    """All writings by their key, for some languages in order of preference.

    Args:
        data: as `make-currencies` writes it.
        locales: languages whose separators and scale words go before those of others.
    """

    def __init__(self, data: dict[str, Any], locales: Sequence[str]) -> None:
        self.firm: dict[str, str] = data.get("firm", {})
        self.usual: dict[str, str] = data.get("usual", {})
        separators = data.get("separators", {})
        # "de_CH", then "de"
        locales = [part for name in locales for part in dict.fromkeys((name, name.split("_")[0]))]
        self.decimal = next((separators[name] for name in locales if name in separators), ".")
        entries: dict[str, Entry] = {}

        def add(key: str, **meaning: Any) -> None:
            entries[key] = replace(entries.get(key, Entry()), **meaning)

        for key, role in ROLES.items():
            add(key, role=role)
        for key, codes in data.get("places", {}).items():
            add(key, places=tuple(codes))
        for key, codes in data.get("writings", {}).items():
            add(key, currencies=tuple(codes))
        for key, (power, codes) in data.get("minor", {}).items():
            add(key, minor=(power, tuple(codes)))
        scales = data.get("scales", {})
        preferred = [name for name in locales if name in scales]
        for name in [*(n for n in reversed(scales) if n not in preferred), *reversed(preferred)]:
            for key, power in scales[name].items():
                add(key, scale=power, decimal=separators.get(name, ""))
        for key, value in data.get("numerals", {}).items():
            add(key, value=Decimal(value))
        for key, value in data.get("fractions", {}).items():
            above, below = value.split("/")
            add(key, fraction=Fraction(int(above), int(below)))
        self.entries = entries
        # so that most words are known to begin no writing at one look
        self._beginnings = {key[:end] for key in entries for end in range(len(key) + 1)}

    def tokens(self, text: str, *, spaced: bool = False) -> list[Token]:
        """The tokens of folded text: of the writings that begin at a place, the longest.

        Args:
            spaced: read signs written apart ("c $ 5", as treebanks do); "a $5m round" holds none.
        """
        atoms = list(ATOM.finditer(text))
        found, i = [], 0
        while i < len(atoms):
            atom = atoms[i]
            if atom.lastgroup == "number":
                found.append(Token(atom[0], atom.start(), number=atom[0]))
                i += 1
                continue
            longest, i = None, i + 1
            for end in range(i, min(i + LONGEST_WRITING, len(atoms) + 1)):
                piece = text[atom.start() : atoms[end - 1].end()]
                keys = [writing_key(piece)]
                if spaced:
                    keys.append(keys[0].replace(" ", ""))
                if entry := next(filter(None, map(self.entries.get, keys)), None):
                    longest, i = Token(piece, atom.start(), entry), end
                if not any(key in self._beginnings for key in keys):
                    break
            found.extend([longest] if longest else self._glued(atom[0], atom.start()))
        return found

    def _glued(self, word: str, start: int) -> list[Token]:
        """ "MUSD", "kEUR" and "SEKm": a scale and a code in one word; any other word means nothing."""
        if len(word) in (4, 5):
            for cut in (1, 2, len(word) - 2, len(word) - 1):
                first, second = (self.entries.get(writing_key(part)) for part in (word[:cut], word[cut:]))
                if first and second:
                    for code, scale in ((first, second), (second, first)):
                        if len(code.currencies) == 1 and scale.scale is not None:
                            # "MAUD": the M is no loti here
                            meant = Entry(scale=scale.scale), Entry(currencies=code.currencies)
                            pair = meant if scale is first else meant[::-1]
                            return [
                                Token(word[:cut], start, pair[0]),
                                Token(word[cut:], start + cut, pair[1]),
                            ]
        return [Token(word, start)]


def fold(text: str) -> str:
    """Text without differences that mean nothing: width, accents, kinds of blanks, dashes and apostrophes.

    Case is kept. Vulgar fractions become digits ("2½" is "2 1/2").
    """
    if text.isascii():
        return re.sub(r"\s", " ", text.translate(DASHES))
    spread = "".join(f" {c}" if unicodedata.decomposition(c).startswith("<fraction>") else c for c in text)
    plain = unicodedata.normalize("NFKD", spread.replace("\u2044", "/")).replace("\u2044", "/")
    plain = "".join(c for c in plain if unicodedata.category(c) not in ("Mn", "Cf"))
    plain = "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else c for c in unicodedata.normalize("NFC", plain)
    )
    return re.sub(r"\s", " ", plain.translate(DASHES))


def writing_key(text: str) -> str:
    """The key of a writing in the lexicon: folded text without case, periods and runs of blanks."""
    return " ".join(text.casefold().replace(".", "").split())


def read_number(text: str, decimal: str) -> Decimal:
    """Digits with separators as a number.

    The shape decides where it can: the last of two kinds of separators is the decimal one; one kind several
    times, or before other than three digits, can't be both. Where it can't ("1.234"), `decimal` does.
    """
    digits = text.replace(" ", "").replace("'", "")
    marks = [c for c in digits if c in ".,"]
    if len(set(marks)) == 2:
        point = marks[-1] if marks.count(marks[-1]) == 1 else ""
    elif len(marks) == 1:
        before, after = digits.split(marks[0])
        groups = len(after) == 3 and before.lstrip("0") and len(before) <= 3 and digits == text
        point = "" if groups and marks[0] != decimal else marks[0]
    else:
        point = ""
    whole, _, part = digits.rpartition(point) if point else (digits, "", "")
    return Decimal(f"{re.sub('[.,]', '', whole) or 0}.{part or 0}")


class Parser:
    """Recursive descent over the tokens of one entity."""

    def __init__(self, tokens: Sequence[Token], decimal: str) -> None:
        self.tokens = tokens
        self.i = 0
        # A scale word of another language tells whose separators the number has: 96.000 millones.
        foreign = [t.entry.decimal for t in tokens if len(t.text) > 2 and t.entry.scale is not None]
        self.decimal = foreign[0] if foreign and foreign[0] else decimal

    def money(self) -> list[Amount]:
        """One amount, or the two ends of a range; [] if there is none."""
        first = self._first()
        if first is None:
            return []
        back = self.i
        link = self._peek().entry.role
        if link in ("range", "and"):
            self.i += 1
            second = self.amount()
            if second and second.value is not None and (link == "range" or second.writings):
                return [first, second]
            self.i = back
        return [first]

    def _first(self) -> Amount | None:
        """The first amount, whatever stands before it ("nearly", "more than")."""
        for start in range(len(self.tokens)):
            self.i = start
            found = self.amount()
            if found:
                return found
        return None

    def amount(self) -> Amount | None:
        """An amount with the currencies around it; None (and nothing read) if there is none here."""
        back, sign = self.i, 1
        if self._peek().entry.role in ("range", "minus", "open") and self._peek().text not in ("to", "or"):
            sign = -1 if self._peek().text != "(" or self.tokens[-1].text == ")" else 1
            self.i += 1
        scale = self._scale() if self._peek(1).entry.currencies else None
        writings = self._currencies(prefix=True)
        if self._peek().text == "-" and writings:
            sign, self.i = -1, self.i + 1
        if scale is None and writings and self._peek(1).number:
            scale = self._scale()
        found = self.quantity()
        if found is None:
            self.i = back
            return None
        if self._peek().text == "-" and self._is_unit(self._peek(1)) and not self._number_follows(1):
            self.i += 1  # "a two-million-dollar grant", "a 12-cent dividend"
        units = [t for t in writings or [self._peek()] if t.entry.minor]
        if units and found.value is not None and (not writings or not units[0].entry.currencies):
            # "p" behind a number is pence, whatever it is before one
            unit = replace(units[0], entry=Entry(minor=units[0].entry.minor))
            self.i += not writings
            writings = [unit]
            found.value = found.number = found.value.scaleb(-units[0].entry.minor[0])
            found.rule = "minor"
        else:
            writings += self._currencies(prefix=False)
            if scale is None and writings and not found.scale:
                scale = self._scale()  # "75 USD million"
            if scale is not None and found.value is not None:
                found.value, found.scale, found.rule = found.value.scaleb(scale), scale, "scaled"
            self._minor_part(found, writings)
        found.writings = writings
        if sign < 0 and found.value is not None:
            found.value = -found.value
        return found

    def _scale(self) -> int | None:
        scale = self._peek().entry.scale
        self.i += scale is not None
        return scale

    @staticmethod
    def _is_unit(token: Token) -> bool:
        return bool(token.entry.currencies or token.entry.minor)

    def _currencies(self, *, prefix: bool) -> list[Token]:
        found = []
        while True:
            entry = self._peek().entry
            if not (entry.currencies or entry.places or (prefix and entry.minor)):
                return found
            if prefix and not self._number_follows():
                return found
            found.append(self._peek())
            self.i += 1

    def _number_follows(self, ahead: int = 0) -> bool:
        """Whether a number comes after the currencies here: "K 5" is kwacha, "5 K" is thousands."""
        ahead += 1
        while self._peek(ahead).entry.currencies or self._peek(ahead).entry.places:
            ahead += 1
        token = self._peek(ahead)
        if token.text == "-" or token.entry.scale is not None:
            token = self._peek(ahead + 1) if not self._starts_quantity(token) else token
        return self._starts_quantity(token)

    @staticmethod
    def _starts_quantity(token: Token) -> bool:
        entry = token.entry
        return bool(
            token.number
            or entry.value is not None
            or entry.fraction is not None
            or entry.role in ("article", "vague")
        )

    def _minor_part(self, found: Amount, writings: list[Token]) -> None:
        """ "13 dollars and 45 cents", "15 dollars and 50", "17 USD 25"."""
        if not writings or found.scale or found.value is None or found.value != int(found.value):
            return
        back = self.i
        if self._peek().entry.role == "and":
            self.i += 1
        part = self.quantity()
        if part and part.value is not None and not part.scale and 0 <= part.value < MINOR_LIMIT:
            minor = self._peek().entry.minor
            ends = self.i >= len(self.tokens)
            if minor or (ends and part.value == int(part.value)):
                found.value += part.value.scaleb(-(minor[0] if minor else 2))
                found.rule = "compound"
                self.i += bool(minor)
                return
        self.i = back

    def quantity(self) -> Amount | None:
        """A number in digits or words with its scales; None (and nothing read) if there is none here."""
        back = self.i
        total, current, unit = Decimal(0), None, Decimal(1)
        scale, words, vague, last = 0, False, False, ""
        number: Decimal | None = None
        while True:
            token, entry = self._peek(), self._peek().entry
            if token.number and last in ("", "vague"):
                current, vague, last = self._digits(token), False, "number"
            elif entry.fraction is not None and last != "scale":
                if last in ("number", "numeral") and current is not None:
                    # "three quarters"; "three and a quarter" comes through "and" below
                    current = _times(current, entry.fraction)
                else:
                    current = _times(Decimal(1), entry.fraction)
                words, last = True, "numeral"
                self.i += 1
                if self._peek().entry.role == "of":
                    self.i += 1
                if self._peek().entry.role == "article":
                    self.i += 1
                continue
            elif entry.value is not None and last in ("", "numeral", "hundred"):
                current, words, last = (current or 0) + entry.value, True, "numeral"
            elif entry.value is not None and last == "scale":
                current, words, last = entry.value, True, "numeral"
            elif entry.scale is not None and (last or self._peek(1).entry.scale is not None or vague):
                if entry.scale == 2:
                    current, last, words = (current or 1) * 100, "hundred", True
                else:
                    number = current if current is not None else number
                    if current is None and last == "scale":
                        total = total.scaleb(entry.scale)
                        scale += entry.scale
                    else:
                        total += (1 if current is None else current) * Decimal(10) ** entry.scale
                        scale = entry.scale
                    unit, current, last = Decimal(10) ** entry.scale, None, "scale"
            elif entry.role == "vague":
                vague, last = True, "vague"
            elif entry.role == "of" and vague:
                pass
            elif entry.role == "article" and last in ("", "vague") and self._continues():
                last = "article"
            elif entry.role == "range" and token.text == "-" and self._hyphen(last):
                pass
            elif entry.role == "point" and last in ("numeral", "number"):
                current = self._point(current or Decimal(0))
                continue
            elif entry.role == "and" and last and (extra := self._and_fraction()) is not None:
                if last == "scale":
                    total += extra * unit
                else:
                    current = (current or 0) + extra
                words = True
                continue
            elif (
                entry.role == "and" and last in ("hundred", "scale") and self._peek(1).entry.value is not None
            ):
                pass
            else:
                break
            self.i += 1
        if last in ("", "article", "vague"):
            self.i = back
            return None
        if vague:
            return Amount(None, rule="vague")
        value = total + (current or 0)
        rule = "words" if words else "scaled" if scale else "plain"
        return Amount(value, number if scale and current is None else value, scale, rule=rule)

    def _digits(self, token: Token) -> Decimal:
        """The number at a token and, behind it, the fraction of "2 1/2"."""
        after = self._peek(1)
        if after.entry.role == "slash" and self._peek(2).number:
            self.i += 2
            return _ratio(token.number, self._peek().number)
        value = read_number(token.number, self.decimal)
        if after.number and self._peek(2).entry.role == "slash" and self._peek(3).number:
            self.i += 3
            return value + _ratio(after.number, self._peek().number)
        return value

    def _continues(self) -> bool:
        entry = self._peek(1).entry
        return (
            entry.scale is not None
            or entry.fraction is not None
            or entry.value is not None
            or entry.role == "vague"
        )

    def _hyphen(self, last: str) -> bool:
        """Whether a hyphen only joins: "twenty-five", "one-and-a-half", "$1.5-billion"."""
        entry = self._peek(1).entry
        if last in ("numeral", "hundred"):
            joined = entry.scale is not None or entry.role == "and" or entry.fraction is not None
            return joined or (entry.value is not None and entry.value < 10)
        return last == "number" and entry.scale is not None and not self._peek(1).number

    def _point(self, current: Decimal) -> Decimal:
        """ "two point five": digits in words behind the point."""
        self.i += 1
        digits = ""
        while (value := self._peek().entry.value) is not None and value < 10:
            digits += str(value)
            self.i += 1
        return current + Decimal(f"0.{digits or 0}")

    def _and_fraction(self) -> Decimal | None:
        """ "and a half", "and three quarters": read and returned, else None and nothing read."""
        back = self.i
        self.i += 1
        if self._peek().text == "-":
            self.i += 1
        times = Decimal(1)
        if self._peek().entry.role == "article":
            self.i += 1
        elif self._peek().entry.value is not None and self._peek(1).entry.fraction is not None:
            times = self._peek().entry.value
            self.i += 1
        if self._peek().text == "-":
            self.i += 1
        fraction = self._peek().entry.fraction
        if fraction is None:
            self.i = back
            return None
        self.i += 1
        return _times(times, fraction)

    def _peek(self, ahead: int = 0) -> Token:
        i = self.i + ahead
        return self.tokens[i] if i < len(self.tokens) else END


END = Token("", -1)


def _ratio(above: str, below: str) -> Decimal:
    try:
        return Decimal(above) / Decimal(below)
    except (InvalidOperation, DivisionByZero):
        raise ValueError(f"{above}/{below}") from None


def _times(value: Decimal, fraction: Fraction) -> Decimal:
    return value * fraction.numerator / fraction.denominator


class MoneyNormaliser(Pipe):
    """Sets `span._.money` of entities with certain labels: amount, low, high, currency, rule.

    `amount`, `low` and `high` are decimals as text, in the major unit; low and high are the ends of a range,
    the amount is its middle. They are None where no definite amount is named. `currency` is an ISO 4217 code,
    "XXX" where none can be known. `rule` says how both were found, such as "range, symbol".

    Rules for the amount: plain, scaled, words (numerals or fractions), minor, compound, range, vague, too
    long, too large, none. For the currency: written (the writing has one meaning), firm (it has one unless
    another writing in the text says otherwise), text, place, usual, default, unknown.

    Args:
        labels: of the entities.
        default_currency: where the text tells none; an ISO code or "XXX".
        locales: languages whose separators and scale words are tried first.
        context: characters to either side in which writings and places are looked for.
        longest: characters of an entity that is read.
        largest: amount, as a decimal, beyond which it is taken for a mistake.
    """

    def __init__(
        self,
        vocab: Any,
        name: str = "money",
        *,
        labels: Sequence[str] = ("MONEY",),
        default_currency: str = UNKNOWN,
        locales: Sequence[str] = ("en",),
        context: int = 600,
        longest: int = 200,
        largest: str = "1e18",
    ) -> None:
        if not re.fullmatch("[A-Z]{3}", default_currency):
            raise ValueError(f"{name}: default_currency {default_currency!r} is no ISO 4217 code such as USD")
        try:
            Decimal(largest)
        except InvalidOperation:
            raise ValueError(f"{name}: largest {largest!r} is no number such as 1e18") from None
        self.vocab = vocab
        self.name = name
        self.cfg: dict[str, Any] = {
            "labels": list(labels),
            "default_currency": default_currency,
            "locales": list(locales),
            "context": context,
            "longest": longest,
            "largest": largest,
        }
        self._load({})
        if not Span.has_extension("money"):
            Span.set_extension("money", default=None)

    def _load(self, data: dict[str, Any]) -> None:
        self.data = data
        self.lexicon = Lexicon(data, self.cfg["locales"])

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]] | None = None,
        *,
        nlp: Language | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Take the currency data; without any, that beside this file."""
        self._load(srsly.read_json(DATA) if data is None else data)

    def __call__(self, doc: Doc) -> Doc:
        if not self.data:
            raise ValueError(f"{self.name}: no currency data; call initialize() or load a trained pipeline.")
        for ent in doc.ents:
            if ent.label_ in self.cfg["labels"]:
                ent._.money = self.normalise(ent.text, doc.text, ent.start_char)
        return doc

    def normalise(self, text: str, around: str = "", start: int = 0) -> dict[str, str | None]:
        """What an amount says.

        Args:
            text: of the entity.
            around: the text it stands in, at `start`.
        """
        if len(text) > self.cfg["longest"]:
            return self._result(None, None, UNKNOWN, "too long", "unknown")
        with localcontext(Context(prec=PRECISION)):
            tokens = self.lexicon.tokens(fold(text), spaced=True)
            try:
                amounts = Parser(tokens, self.lexicon.decimal).money()
            except ValueError:  # 1/0
                amounts = []
            writings = [t for a in amounts for t in a.writings]
            if not amounts:
                writings = [t for t in tokens if t.entry.currencies and not _is_word(t)]
            currency, how = self._currency(writings, around, start, start + len(text))
            if not amounts:
                return self._result(None, None, currency, "none", how)
            low, high, rule = _ends(amounts)
            if low is None or high is None:
                return self._result(None, None, currency, rule, how)
            if max(abs(low), abs(high)) > Decimal(self.cfg["largest"]):
                return self._result(None, None, currency, "too large", how)
            return self._result(low, high, currency, rule, how)

    @staticmethod
    def _result(
        low: Decimal | None, high: Decimal | None, currency: str, rule: str, how: str
    ) -> dict[str, str | None]:
        middle = None if low is None or high is None else (low + high) / 2
        return {
            "amount": plain(middle),
            "low": plain(low),
            "high": plain(high),
            "currency": currency,
            "rule": f"{rule}, {how}",
        }

    def _currency(self, writings: Sequence[Token], around: str, start: int, end: int) -> tuple[str, str]:
        """The currency of an amount and the rule that settled it."""
        # "all 5 million dollars": a code in small letters counts only where no other writing stands
        sure = [token for token in writings if not _is_word(token)]
        candidates = _common([_meanings(token) for token in sure or writings])
        if len(candidates) == 1:
            return candidates[0], "written"
        nearby = self._nearby(around, start, end)
        for _, token in nearby:
            meant = _meanings(token)
            if len(meant) == 1 and _is_distinct(token) and (meant[0] in candidates or not candidates):
                return meant[0], "text"
        if not candidates:
            default = self.cfg["default_currency"]
            return (default, "default") if default != UNKNOWN else (UNKNOWN, "unknown")
        keys = [writing_key(token.text) for token in writings]
        for key in keys:
            if self.lexicon.firm.get(key) in candidates:
                return self.lexicon.firm[key], "firm"
        for _, token in nearby:
            meant = [code for code in token.entry.places if code in candidates]
            if len(meant) == 1:
                return meant[0], "place"
        if self.cfg["default_currency"] in candidates:
            return self.cfg["default_currency"], "default"
        for key in keys:
            if self.lexicon.usual.get(key) in candidates:
                return self.lexicon.usual[key], "usual"
        return UNKNOWN, "unknown"

    def _nearby(self, around: str, start: int, end: int) -> list[tuple[int, Token]]:
        """Tokens of the text around that name a currency or a place, the nearest first."""
        reach = self.cfg["context"]
        found = []
        for offset, piece in ((-1, around[max(0, start - reach) : start]), (1, around[end : end + reach])):
            folded = fold(piece)
            for token in self.lexicon.tokens(folded):
                if token.entry.currencies or token.entry.places:
                    distance = len(folded) - token.start if offset < 0 else token.start
                    found.append((distance, token))
        return sorted(found, key=lambda pair: pair[0])

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Settings and data."""
        return to_bytes(
            {"cfg": lambda: srsly.json_dumps(self.cfg), "data": lambda: srsly.json_dumps(self.data)}, exclude
        )

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "MoneyNormaliser":
        """Settings and data, as `to_bytes` gave them."""
        from_bytes(
            data,
            {
                "cfg": lambda b: self.cfg.update(srsly.json_loads(b)),
                "data": lambda b: self._load(srsly.json_loads(b)),
            },
            exclude,
        )
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Settings and data, in a folder."""
        to_disk(
            Path(path),
            {
                "cfg": lambda p: srsly.write_json(p.with_suffix(".json"), self.cfg),
                "data": lambda p: srsly.write_json(p.with_suffix(".json"), self.data),
            },
            exclude,
        )

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "MoneyNormaliser":
        """Settings and data, as `to_disk` wrote them."""
        from_disk(
            Path(path),
            {
                "cfg": lambda p: self.cfg.update(srsly.read_json(p.with_suffix(".json"))),
                "data": lambda p: self._load(srsly.read_json(p.with_suffix(".json"))),
            },
            exclude,
        )
        return self


def plain(value: Decimal | None) -> str | None:
    """A decimal as text without exponent and trailing zeros, rounded to DECIMALS."""
    if value is None:
        return None
    text = f"{round(value, DECIMALS):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _ends(amounts: Sequence[Amount]) -> tuple[Decimal | None, Decimal | None, str]:
    """Low, high and rule; the low end borrows the scale of the high one if it stays the low end."""
    first = amounts[0]
    if len(amounts) == 1 or first.value is None:
        return first.value, first.value, first.rule
    second = amounts[1]
    assert second.value is not None
    low, high = first.value, second.value
    if second.scale and not first.scale and second.number is not None and low <= second.number:
        low = low.scaleb(second.scale)
    elif second.rule == "minor" and first.rule != "minor" and not first.writings:
        minor = second.writings[-1].entry.minor
        assert minor is not None
        low = low.scaleb(-minor[0])
    return min(low, high), max(low, high), "range"


def _meanings(token: Token) -> tuple[str, ...]:
    entry = token.entry
    if entry.minor and not entry.currencies:
        return entry.minor[1]
    return entry.currencies or entry.places


def _common(meanings: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What all the writings around an amount may stand for; of those that disagree, the first counts."""
    common: tuple[str, ...] = ()
    for codes in meanings:
        shared = tuple(code for code in common if code in codes)
        common = shared if shared or common else codes
    return common


def _is_word(token: Token) -> bool:
    """Whether it looks like a code in small letters, which may be a word: "all", "try", "top"."""
    return len(token.text) == 3 and token.text.islower() and token.text.upper() in token.entry.currencies


def _is_distinct(token: Token) -> bool:
    """Whether a writing can be trusted in running text: a code in capitals, a sign, or a name."""
    text = token.text
    if not token.entry.currencies:
        return False
    if any(unicodedata.category(c) == "Sc" for c in text):
        return True
    return len(text) > 3 or (len(text) == 3 and text.isupper())


@Language.factory(
    "money",
    assigns=["span._.money"],
    requires=["doc.ents"],
    default_config={
        "labels": ["MONEY"],
        "default_currency": UNKNOWN,
        "locales": ["en"],
        "context": 600,
        "longest": 200,
        "largest": "1e18",
    },
)
def make_money(
    nlp: Language,
    name: str,
    labels: list[str],
    default_currency: str,
    locales: list[str],
    context: int,
    longest: int,
    largest: str,
) -> MoneyNormaliser:
    """The `money` component; see MoneyNormaliser for its settings."""
    return MoneyNormaliser(
        nlp.vocab,
        name,
        labels=labels,
        default_currency=default_currency,
        locales=locales,
        context=context,
        longest=longest,
        largest=largest,
    )
