"""Amounts of money as data: from the text of an entity to a decimal amount and an ISO 4217 currency.

A lexicon (symbols, codes and names of currencies, minor units, scales, numerals) turns the text into tokens,
and a small grammar reads them:

    money     = filler amount [("-" | "to" | "or" | "and") filler amount] {filler | "(" amount ")"}
    amount    = [sign] [scale] {currency} [scale] quantity {currency} [scale] [["and"] number [minor unit]]
    quantity  = term {["and"] term} ["and" "a" fraction], each term smaller than the unit of the one before
    term      = (number | numerals | "half" | ...) {scale}

Every token must fit the grammar. If one doesn't (an unknown word, a second number, a second currency), there
is no amount, and the rule names the piece that was not understood: unknown words are never skipped.

Everything that depends on the language is data: that of CLDR, and the additions of assets/money.toml.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, InvalidOperation, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import from_bytes, from_disk, to_bytes, to_disk
from spacy.vocab import Vocab

REQUIREMENTS: tuple[str, ...] = ()
UNKNOWN = "XXX"  # ISO 4217: no currency
DATA = Path(__file__).with_name("money.json")
LONGEST_WRITING = 7  # atoms of "US$" (2), "west african cfa francs" (4), "u.s. dollars" (5)
DECIMALS = 6  # of an amount; a third of a million has none that are exact
PRECISION = 400  # digits; more than the longest text that is read can hold
GLUED = range(3, 8)  # letters of "tkr" and "EURmrd"
HUNDRED = 2  # the power of ten that a coefficient may hold: "two hundred", "three hundred million"
MILLION = 6  # the power of ten from which on a scale multiplies no other one
SHOWN = 30  # characters of what was not understood

# Scripts without spaces between words: each character is an atom, and the longest writing counts.
UNSPACED = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
# A number with its separators; a space or an apostrophe may precede three digits.
ATOM = re.compile(
    r"(?P<number>\d{1,3}(?:[ ']\d{3})+(?!\d)(?:[.,]\d+)*|\d+(?:[.,]\d+)*|(?<![\w/])\.\d+)"
    rf"|[{UNSPACED}]|(?:(?![{UNSPACED}])[^\W\d_])+|\S"
)
# Thousands in groups of three, or as in India of two and then three.
GROUPS = re.compile(r"\d{1,3}([.,])\d{3}(?:\1\d{3})*|\d{1,3}([.,])(?:\d{2}\2)*\d{3}")
DASHES = str.maketrans("‐‑‒–—−﹣－’‘ʼ´`٫٬", "--------'''''.,")
BAR = "\u2044"  # of "½", which is a fraction and never a range as "10/12" may be
PLAIN_FRACTIONS = ("1/2", "1/3", "2/3", "1/4", "3/4")
# Words before or after an amount that don't change it.
FILLERS = ("filler", "some", "article", "of")


class UnclearError(ValueError):
    """A text that the grammar can't read with certainty; the message is the piece in question."""

    def __init__(self, piece: str, why: str = "") -> None:
        super().__init__(f"{piece[:SHOWN]!r}{why and f' ({why})'}")


@dataclass(frozen=True)
class LexiconEntry:
    """The meanings of a writing; its neighbours decide between those of a token such as "m" or "p".

    Attributes:
        currencies: ISO codes of possible currencies.
        minor: (power of ten, ISO codes) of a minor unit.
        scale: power of ten.
        value: of a numeral.
        times: of a word that multiplies the number before it: "dozen".
        fraction: of a word such as "half".
        places: ISO codes of the currencies of the place or people it names.
        adjective: whether that stands beside amounts: "$5m Canadian".
        role: of a word of the grammar itself, see [roles] in assets/money.toml.
        decimal: the decimal separator of the language that a scale word belongs to.
    """

    currencies: tuple[str, ...] = ()
    minor: tuple[int, tuple[str, ...]] | None = None
    scale: int | None = None
    value: Decimal | None = None
    times: Decimal | None = None
    fraction: Fraction | None = None
    places: tuple[str, ...] = ()
    adjective: bool = False
    role: str = ""
    decimal: str = ""


@dataclass(frozen=True)
class Token:
    """A piece of text with its meanings; `number` has the digits as written, `start` is its position."""

    text: str
    start: int
    entry: LexiconEntry = LexiconEntry()
    number: str = ""


@dataclass
class Amount:
    """One amount as the grammar reads it, before its currency is settled.

    Attributes:
        value: None where the text names no definite one ("hundreds of millions").
        base, number, scale: of "three hundred million" 3, 300 and the power of ten 6, which ranges share.
        leading: the power of ten of a scale in front: "MUSD 5".
        writings: the currency tokens around it.
        closed: whether a currency stands behind it, so that it shares nothing with what follows.
        rule: "plain", "scaled", "words", "minor", "compound" or "vague".
    """

    value: Decimal | None
    base: Decimal | None = None
    number: Decimal | None = None
    scale: int = 0
    leading: int = 0
    writings: list[Token] = field(default_factory=list)
    closed: bool = False
    rule: str = "plain"


@dataclass
class Term:
    """A number with its scales: 300 million, of which `base` is 3, `number` 300, `power` 6.

    `last` is its last scale, `words` whether it is written in words.
    """

    base: Decimal
    number: Decimal
    power: int = 0
    last: Token | None = None
    words: bool = False

    @property
    def value(self) -> Decimal:
        """Of the whole term."""
        return self.number.scaleb(self.power)


class Lexicon:
    """All writings by their key, for some languages in order of preference.

    Args:
        data: as `weasel run make-currencies tests/benchmarks` writes it.
        locales: languages whose separators and scale words go before those of others.
    """

    def __init__(self, data: dict[str, Any], locales: Sequence[str]) -> None:
        self.firm: dict[str, str] = data.get("firm", {})
        self.usual: dict[str, str] = data.get("usual", {})
        separators = data.get("separators", {})
        # "de_CH", then "de"
        locales = [part for name in locales for part in dict.fromkeys((name, name.split("_")[0]))]
        self.decimal = next((separators[name] for name in locales if name in separators), ".")
        entries: dict[str, LexiconEntry] = {}

        def add(key: str, **meaning: Any) -> None:
            entries[key] = replace(entries.get(key, LexiconEntry()), **meaning)

        adjectives = set(data.get("adjectives", ()))
        for key, role in data.get("roles", {}).items():
            add(key, role=role)
        for key, codes in data.get("places", {}).items():
            add(key, places=tuple(codes), adjective=key in adjectives)
        for key, codes in data.get("writings", {}).items():
            add(key, currencies=tuple(codes))
        for key, (power, codes) in data.get("minor", {}).items():
            add(key, minor=(power, tuple(codes)))
        scales = data.get("scales", {})
        preferred = [name for name in locales if name in scales]
        for name in [*(n for n in reversed(scales) if n not in preferred), *reversed(preferred)]:
            for key, power in scales[name].items():
                # "e" and "rb" are thousands to Hungarians and Indonesians alone
                if len(key) > 2 or name in ("en", *locales) or not key.isascii():
                    add(key, scale=power, decimal=separators.get(name, ""))
        for key, value in data.get("numerals", {}).items():
            add(key, value=Decimal(value))
        for key, value in data.get("multiples", {}).items():
            add(key, times=Decimal(value))
        for key, value in data.get("fractions", {}).items():
            above, below = value.split("/")
            add(key, fraction=Fraction(int(above), int(below)))
        self.ambiguous = frozenset(data.get("ambiguous", ()))
        for key in self.ambiguous:
            entries.pop(key, None)
        self.entries = entries
        self.capitals = frozenset(data.get("capitals", ()))
        self.glued: dict[str, int] = data.get("glued", {})
        # prefixes of all keys: one look-up rejects most words
        self._beginnings = {key[:end] for key in entries for end in range(len(key) + 1)}

    def tokens(self, text: str, *, spaced: bool = False) -> list[Token]:
        """The tokens of folded text: of the writings that begin at a place, the longest.

        Args:
            spaced: read signs written apart ("c $ 5", as treebanks do); "a $5m round" holds none.
        """
        atoms = list(ATOM.finditer(text))
        tokens, i = [], 0
        while i < len(atoms):
            atom = atoms[i]
            if atom.lastgroup == "number":
                tokens.append(Token(atom[0], atom.start(), number=atom[0]))
                i += 1
                continue
            longest, i = None, i + 1
            for end in range(i, min(i + LONGEST_WRITING, len(atoms) + 1)):
                piece = text[atom.start() : atoms[end - 1].end()]
                keys = self._keys(atom[0], piece, text[atoms[end - 1].end() :], spaced)
                if entry := self._meaning(piece, keys):
                    longest, i = Token(piece, atom.start(), entry), end
                if not any(key in self._beginnings for key in keys):
                    break
            tokens.extend([longest] if longest else self._glued(atom[0], atom.start()))
        return tokens

    def _keys(self, first: str, piece: str, rest: str, spaced: bool) -> list[str]:
        """The keys of a piece of text that begins with the atom `first` and ends before `rest`."""
        key = writing_key(piece)
        if piece == first:
            return [key]
        role = self.entries.get(writing_key(first), LexiconEntry()).role
        if role and key != writing_key(first) and piece.startswith(f"{first.lower()}."):
            return []  # "c.$5m" is circa
        # "US $5m" and "us $ 5", but neither "a $ 5" nor "can $5"; and "c $ 5" is CAD, but "c $5m" circa
        sure = rest.startswith(" ") or (len(first) > 1 and first.isupper())
        apart = spaced and role != "article" and sure
        if apart and any(not c.isalpha() and c not in " ." for c in piece):
            return [key, key.replace(" ", "")]
        return [key]

    def _meaning(self, piece: str, keys: Iterable[str]) -> LexiconEntry | None:
        """The entry of a writing; "ALL" and "D" are currencies in capitals only."""
        for key in keys:
            entry = self.entries.get(key)
            # "Bs 5" and "ALL 5", but neither "bs" nor "All"
            small = piece.islower() or (len(key) > 2 and not piece.isupper())
            if entry and small and (len(key) == 1 or key in self.capitals):
                entry = replace(entry, currencies=())
            if entry and entry != LexiconEntry():
                return entry
        return None

    def _glued(self, word: str, start: int) -> list[Token]:
        """ "MUSD", "TEUR", "SEKm" and "mkr": a scale and a code in one word; any other word means nothing."""
        if len(word) not in GLUED or writing_key(word) in self.ambiguous:
            return [Token(word, start)]
        for cut, in_front in ((len(word) - 3, True), (len(word) - 2, True), (3, False)):
            scale, code = (word[:cut], word[cut:]) if in_front else (word[cut:], word[:cut])
            power = self.glued.get(writing_key(scale))
            currencies = self.entries.get(writing_key(code), LexiconEntry()).currencies
            # "USDT" is no scaled dollar: behind a code, a scale is written small
            is_code = currencies == (code,) or code == "kr"
            if power is not None and is_code and (in_front or scale.islower()):
                # "MAUD": the M is no loti here
                meant = LexiconEntry(scale=power), LexiconEntry(currencies=currencies)
                left, right = meant if in_front else meant[::-1]
                return [Token(word[:cut], start, left), Token(word[cut:], start + cut, right)]
        return [Token(word, start)]


def fold(text: str) -> str:
    """Text without insignificant variants: width, accents, kinds of spaces, dashes and apostrophes.

    Case is kept. Vulgar fractions become digits ("2½" is "2 1⁄2"), and superscripts and subscripts are set
    apart ("5²" is "5 2"). Marks that aren't accents stay: vowel signs, the dakuten of kana.
    """
    if text.isascii():
        return re.sub(r"\s", " ", text.translate(DASHES))
    spread = "".join(f" {c}" if _is_apart(c) else c for c in text)
    plain = unicodedata.normalize("NFKD", spread)
    # Latin, Greek and Cyrillic accents are all in one block
    plain = "".join(c for c in plain if not "\u0300" <= c <= "\u036f" and unicodedata.category(c) != "Cf")
    plain = "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else c for c in unicodedata.normalize("NFC", plain)
    )
    return re.sub(r"\s", " ", plain.translate(DASHES))


def _is_apart(character: str) -> bool:
    """Whether it is a number of its own, however close it stands: "½", "²", "①"."""
    kind = unicodedata.decomposition(character).partition(" ")[0]
    return kind in ("<fraction>", "<super>", "<sub>", "<circle>")


def writing_key(text: str) -> str:
    """The key of a writing in the lexicon: folded text without case, periods and repeated spaces."""
    return " ".join(text.casefold().replace(".", "").split())


def read_number(text: str, decimal: str) -> Decimal:
    """Digits with separators as a number.

    The form decides where it can: the last of two kinds of separators is the decimal one; a separator that
    occurs several times separates thousands; one that isn't followed by three digits is decimal. Otherwise,
    as in "1.234", `decimal` decides.

    Raises:
        UnclearError: groups of digits that aren't thousands: "1.2.3".
    """
    digits = text.replace(" ", "").replace("'", "")
    marks = [c for c in digits if c in ".,"]
    if len(set(marks)) == 2:
        point = marks[-1]
    elif len(marks) == 1:
        before, after = digits.split(marks[0])
        groups = len(after) == 3 and before.lstrip("0") and len(before) <= 3 and digits == text
        point = "" if groups and marks[0] != decimal else marks[0]
    else:
        point = ""
    whole, _, part = digits.rpartition(point) if point else (digits, "", "")
    if any(mark in whole for mark in ".,") and not GROUPS.fullmatch(whole):
        raise UnclearError(text)
    return Decimal(f"{re.sub('[.,]', '', whole) or 0}.{part or 0}")


class Parser:
    """Recursive-descent parser of the tokens of one entity.

    Its methods read from the token `i` on. If they find nothing, they return None and leave `i` unchanged.
    """

    def __init__(self, tokens: Sequence[Token], decimal: str) -> None:
        self.tokens = tokens
        self.i = 0
        # The language of a scale word gives the separators of the number: 96.000 millones.
        foreign = [t.entry.decimal for t in tokens if len(t.text) > 2 and t.entry.scale is not None]
        self.decimal = foreign[0] if foreign and foreign[0] else decimal

    def money(self) -> list[Amount]:
        """One amount, or the two ends of a range; [] if there is none.

        Raises:
            UnclearError: a part of the text doesn't fit the grammar.
        """
        first = self._first()
        if first is None or first.value is None:
            return [first] if first else []
        amounts, back = [first], self.i
        link = self._peek().entry.role
        if link in ("range", "and"):
            self.i += 1
            self._fillers()
            second = self.amount()
            if second and second.value is not None and (link == "range" or second.writings):
                amounts.append(second)
            else:
                self.i = back
        written = any(a.writings for a in amounts)
        self._rest(written=written)
        if self.tokens[0].text == "(" and not written:
            raise UnclearError("(", "may be a minus")
        return amounts

    def _first(self) -> Amount | None:
        """The first amount; before it, only words that change nothing ("nearly", "more than")."""
        for start in range(len(self.tokens)):
            self.i = start
            amount = self.amount()
            if amount:
                for token in self.tokens[:start]:
                    if amount.value is not None and token.entry.role not in (*FILLERS, "between", "open"):
                        raise UnclearError(token.text)
                return amount
        return None

    def _fillers(self) -> None:
        while self._peek().entry.role in FILLERS:
            self.i += 1

    def _rest(self, *, written: bool) -> None:
        """Read the rest: the same amount in another currency, and words that change nothing."""
        while self._peek().entry.role == "open":
            token = self._peek()
            self.i += 1
            self._fillers()
            inside = self.amount()
            if not written or not inside or not inside.writings or self._peek().text != ")":
                raise UnclearError(token.text)
            self.i += 1
        self._fillers()
        token = self._peek()
        if token is not END and (token.text != ")" or self.i < len(self.tokens) - 1):
            # "seven-figure": the hyphen alone would be an unclear message
            raise UnclearError(token.text + (self._peek(1).text if token.text == "-" else ""))

    def amount(self) -> Amount | None:
        """An amount with the currencies around it."""
        back, sign = self.i, 1
        if self._peek().text == "-" or self._peek().entry.role == "minus":
            sign, self.i = -1, self.i + 1
        scale = self._scale() if self._peek(1).entry.currencies else None  # "MUSD 5"
        writings = self._currencies(prefix=True)
        if self._peek().text == "-" and writings:
            sign, self.i = -sign, self.i + 1
        if scale is None and writings and self._peek(1).number:
            scale = self._scale()  # "SEKm 5"
        leading = scale or 0
        amount, bracketed = self._bracketed()
        if amount is None:
            self.i = back
            return None
        if self._peek().text == "-" and self._is_unit(self._peek(1)) and not self._number_follows(1):
            self.i += 1  # "a two-million-dollar grant", "a 12-cent dividend"
        elif self._peek().entry.role == "of" and self._is_unit(self._peek(1)):
            self.i += 1  # "5 millions d'euros"
        if len(writings) > 1 and any(t.entry.minor and not t.entry.currencies for t in writings):
            raise UnclearError(" ".join(t.text for t in writings))  # "pence $5"
        units = [t for t in writings or [self._peek()] if t.entry.minor]
        if units and amount.value is not None and (not writings or not units[0].entry.currencies):
            # "p" behind a number is pence, whatever it is before one
            unit = replace(units[0], entry=LexiconEntry(minor=units[0].entry.minor))
            self.i += not writings
            amount.closed = not writings
            writings = [unit]
            amount.value = amount.value.scaleb(-units[0].entry.minor[0])
            amount.rule = "minor"
        else:
            behind = self._currencies(prefix=False)
            amount.closed = bool(behind)
            writings += behind
            if scale is None and writings and not amount.scale:
                scale = self._scale()  # "75 USD million"
            if scale is not None and amount.value is not None:
                if amount.scale:
                    raise UnclearError(self._peek(-1).text, "a second scale")
                amount.leading = leading
                amount.value, amount.scale, amount.rule = amount.value.scaleb(scale), scale, "scaled"
            self._minor_part(amount, writings)
        amount.writings = writings
        if bracketed:
            if not writings or sign < 0:
                raise UnclearError("(", "may be a minus")
            sign = -1
        if sign < 0 and amount.value is not None:
            amount.value = -amount.value
        return amount

    def _bracketed(self) -> tuple[Amount | None, bool]:
        """A quantity, and whether it is in parentheses without its currency: "$(5.2)m" is a minus."""
        if self._peek().text != "(" or not self._peek(1).number:
            return self.quantity(), False
        back = self.i
        self.i += 1
        amount = self.quantity()
        if amount is None or self._peek().text != ")":
            self.i = back
            return None, False
        self.i += 1
        return amount, True

    def _scale(self) -> int | None:
        scale = self._peek().entry.scale
        self.i += scale is not None
        return scale

    @staticmethod
    def _is_unit(token: Token) -> bool:
        return bool(token.entry.currencies or token.entry.minor or token.entry.adjective)

    def _currencies(self, *, prefix: bool) -> list[Token]:
        currencies = []
        while True:
            token = self._peek()
            entry = token.entry
            # "c 5" is circa; "5 D" and "5G" are no currencies
            unit = entry.currencies or entry.adjective or (prefix and entry.minor and not _is_letter(token))
            if not unit or (not prefix and _is_letter(token)):
                return currencies
            if prefix and not self._number_follows():
                return currencies
            currencies.append(token)
            self.i += 1

    def _number_follows(self, ahead: int = 0) -> bool:
        """Whether a number comes after the currencies here: "K 5" is kwacha, "5 K" is thousands."""
        ahead += 1
        while self._peek(ahead).entry.currencies or self._peek(ahead).entry.adjective:
            ahead += 1
        token = self._peek(ahead)
        if token.text in ("-", "(") or token.entry.scale is not None:
            token = self._peek(ahead + 1) if not self._starts_quantity(token) else token
        return self._starts_quantity(token)

    @staticmethod
    def _starts_quantity(token: Token) -> bool:
        entry = token.entry
        numeral = entry.value is not None or entry.times is not None or entry.fraction is not None
        return bool(token.number or numeral or entry.role in ("article", "some", "vague"))

    def _minor_part(self, amount: Amount, writings: list[Token]) -> None:
        """ "13 dollars and 45 cents", "15 dollars and 50", "17 USD 25"."""
        if not writings or amount.scale or amount.value is None or amount.value != int(amount.value):
            return
        if self._peek().start == writings[-1].start + len(writings[-1].text):
            return  # "2019 $50"
        back = self.i
        joined = self._peek().entry.role == "and"
        self.i += joined
        part = self.quantity()
        if part and part.value is not None and not part.scale and part.value >= 0:
            unit = self._peek()
            power = unit.entry.minor[0] if unit.entry.minor else 2
            whole = unit is END and part.value == int(part.value)
            # "17 USD 25", but "$ 5 $ 60" are two amounts, and nobody writes "1 USD 5"
            named = len(writings) == 1 and amount.closed and writings[0].text.replace(" ", "").isalpha()
            unnamed = whole and (joined or (named and part.value >= 10))
            if part.value < 10**power and (unit.entry.minor or unnamed):
                amount.value += part.value.scaleb(-power)
                amount.rule, amount.closed = "compound", True
                if unit.entry.minor:
                    writings.append(replace(unit, entry=LexiconEntry(minor=unit.entry.minor)))
                    self.i += 1
                return
        self.i = back

    def quantity(self) -> Amount | None:
        """A number in digits or words with its scales."""
        vague = self._vague()
        if vague:
            return vague
        first = self._term(None)
        if first is None:
            return None
        total, last, words = first.value, first, first.words
        while last.last is not None:
            back = self.i
            extra = self._and_fraction() if self._peek().entry.role == "and" else None
            if extra is not None:  # "a million and a half"
                total, words = total + extra.scaleb(last.power), True
                break
            self.i += self._peek().entry.role == "and" and self._peek(1).entry.value is not None
            term = self._term(last)
            if term is None:
                self.i = back
                break
            total, last, words = total + term.value, term, words or term.words
        rule = "words" if words else "scaled" if first.power else "plain"
        return Amount(total, first.base, first.number, first.power, rule=rule)

    def _vague(self) -> Amount | None:
        """ "several million", "hundreds of millions of": a scale with no number to it."""
        back, seen, scaled = self.i, False, False
        while True:
            entry = self._peek().entry
            if entry.role in ("vague", "some"):
                seen = True
            elif seen and (entry.scale is not None or entry.times is not None):
                scaled = True
            elif entry.role not in ("article", "of"):
                break
            self.i += 1
        if seen and scaled:
            return Amount(None, rule="vague")
        self.i = back
        return None

    def _term(self, before: Term | None) -> Term | None:
        """A coefficient and its scales.

        Args:
            before: the term in front of it, which must have the larger unit: "one million two hundred".
        """
        back = self.i
        article = before is None and self._peek().entry.role == "article" and self._continues()
        self.i += article
        digits = bool(self._peek().number)
        if before and (self._peek().entry.fraction is not None or not (digits or before.words)):
            return None  # "$5 million two" and "a million quarter"
        term = self._coefficient(alone=article)
        if term is None:
            # "a million", "thousand million"
            if before is None and (article or self._peek(1).entry.scale is not None):
                term = Term(Decimal(1), Decimal(1), words=True)
            else:
                self.i = back
                return None
        while (ahead := self._scale_ahead(term)) is not None:
            self.i += ahead
            term.last = self._peek()
            term.power += term.last.entry.scale or 0
            self.i += 1
        unread = term.last is None and term.number == 1 and self.i == back + article
        if unread or (before and not self._may_follow(term, before, digits)):
            self.i = back
            return None
        return term

    def _scale_ahead(self, term: Term) -> int | None:
        """How far ahead the next scale of a term is: 0, or 1 behind a hyphen; None if there is none."""
        ahead = int(self._peek().text == "-" and not self._peek(2).number)
        token = self._peek(ahead)
        scale = token.entry.scale
        if scale is None or scale == HUNDRED:
            return None
        # "lakh crore" and "thousand million", but neither "5 k m" nor "5 million billion"
        if term.last:
            spelled = _is_spelled(token) and _is_spelled(term.last)
            return ahead if spelled and (term.last.entry.scale or 0) < min(scale, MILLION) else None
        return ahead

    @staticmethod
    def _may_follow(term: Term, before: Term, digits: bool) -> bool:
        unit = Decimal(10) ** before.power
        if term.value >= unit or before.last is None:
            return False
        # "1億2000" and "1 crore 50 lakh", but not "$5 million 200"
        return not digits or term.power > 0 or not before.last.text.isascii()

    def _coefficient(self, *, alone: bool) -> Term | None:
        """Digits, or numerals up to "nine hundred and ninety-nine", and what multiplies them.

        Args:
            alone: whether "hundred" may begin it, as in "a hundred".
        """
        token = self._peek()
        if token.number:
            number = self._digits(token)
            self.i += 1
            if self._peek(-2).entry.role == "slash":
                self._of_a()  # "3/4 of a million"
            return self._multiplied(Term(number, number))
        if token.entry.fraction is not None:
            self.i += 1
            number = _times(Decimal(1), token.entry.fraction)
            self._of_a()
            return self._multiplied(Term(number, number, words=True))
        if token.entry.value is not None:
            number = self._numerals()
            return self._multiplied(Term(number, number, words=True))
        # "a hundred", "hundred million", "dozen"
        is_hundred = token.entry.scale == HUNDRED and (alone or self._peek(1).entry.scale is not None)
        if is_hundred or token.entry.times is not None:
            return self._multiplied(Term(Decimal(1), Decimal(1), words=True))
        return None

    def _numerals(self) -> Decimal:
        """Numerals below a hundred: "twelve", "twenty-five"."""
        value = self._peek().entry.value
        assert value is not None
        self.i += 1
        ahead = int(self._peek().text == "-")
        unit = self._peek(ahead).entry.value
        if value >= 20 and value % 10 == 0 and unit is not None and 0 < unit < 10:
            value, self.i = value + unit, self.i + ahead + 1
        return value

    def _multiplied(self, term: Term) -> Term:
        """What may follow a number: a point, a fraction, "dozen", "hundred" and what is added to that."""
        if self._peek().entry.role == "point":
            term.number = term.base = term.number + self._point()
        self._add_fraction(term)
        ahead = int(self._peek().text == "-")
        fraction = self._peek(ahead).entry.fraction
        singular = not self._peek(ahead).text.casefold().endswith("s")
        # "three quarters" and "three-quarters", but not "3 quarter"
        if fraction is not None and not (singular and term.number > 1):
            self.i += ahead + 1
            term.number = term.base = _times(term.number, fraction)
            self._of_a()
            ahead = int(self._peek().text == "-")
        entry = self._peek(ahead).entry
        if entry.times is not None:
            self.i += ahead + 1
            term.number, term.words = term.number * entry.times, True
        elif entry.scale == HUNDRED and term.number < 100:
            self.i += ahead + 1
            term.number, term.words = term.number * 100, True
            ahead = int(self._peek().entry.role == "and" or self._peek().text == "-")
            if self._peek(ahead).entry.value is not None and self._peek(ahead + 1).entry.times is None:
                back, self.i = self.i, self.i + ahead
                value = self._numerals()
                if self._peek().entry.scale == HUNDRED or self._peek().entry.fraction is not None:
                    self.i = back
                else:
                    term.number = term.base = term.number + value
            self._add_fraction(term)
        return term

    def _add_fraction(self, term: Term) -> None:
        """ "two and a half"."""
        ahead = int(self._peek().text == "-")
        if self._peek(ahead).entry.role == "and":
            back, self.i = self.i, self.i + ahead
            extra = self._and_fraction()
            if extra is None:
                self.i = back
            else:
                term.number = term.base = term.number + extra
                term.words = True

    def _of_a(self) -> None:
        """The words between a fraction and its scale: "a quarter of a million", "half a million"."""
        for role in ("of", "article"):
            ahead = int(self._peek().text == "-")
            self.i += (ahead + 1) * (self._peek(ahead).entry.role == role)

    def _digits(self, token: Token) -> Decimal:
        """The number at a token and, behind it, the fraction of "2 1/2"; `i` is at its last token then."""
        after = self._peek(1)
        if after.entry.role == "slash" and self._peek(2).number:
            below = self._peek(2)
            written = f"{token.number}/{below.number}"
            apart = self._peek(3).start > below.start + len(below.text) or self._peek(3) is END
            # "€10/12m" is a range, and "€3/4m" may be one
            if after.text != BAR and (written not in PLAIN_FRACTIONS or not apart):
                raise UnclearError(written, "a range or a fraction")
            self.i += 2
            return _ratio(token.number, below.number)
        value = read_number(token.number, self.decimal)
        if after.number and self._peek(2).entry.role == "slash" and self._peek(3).number:
            self.i += 3
            fraction = _ratio(after.number, self._peek().number)
            if fraction >= 1:
                raise UnclearError(f"{after.number}/{self._peek().number}")
            return value + fraction
        return value

    def _continues(self) -> bool:
        entry = self._peek(1).entry
        values = (entry.scale, entry.fraction, entry.value, entry.times)
        return any(value is not None for value in values)

    def _point(self) -> Decimal:
        """ "point five": digits in words behind the point; 0 and nothing read if there are none."""
        digits, back = "", self.i
        self.i += 1
        while (value := self._peek().entry.value) is not None and value < 10:
            digits += str(value)
            self.i += 1
        if not digits:
            self.i = back
        return Decimal(f"0.{digits or 0}")

    def _and_fraction(self) -> Decimal | None:
        """ "and a half", "and three quarters": read and returned, else None and nothing read."""
        back = self.i
        self.i += 1
        self.i += self._peek().text == "-"
        times = Decimal(1)
        if self._peek().entry.role == "article":
            self.i += 1
        elif self._peek().entry.value is not None and self._peek(1).entry.fraction is not None:
            times = self._peek().entry.value
            self.i += 1
        self.i += self._peek().text == "-"
        fraction = self._peek().entry.fraction
        if fraction is None:
            self.i = back
            return None
        self.i += 1
        return _times(times, fraction)

    def _peek(self, ahead: int = 0) -> Token:
        i = self.i + ahead
        return self.tokens[i] if 0 <= i < len(self.tokens) else END


def _is_spelled(token: Token) -> bool:
    """Whether a scale is a whole word, not an abbreviation."""
    return len(token.text) > 3 or not token.text.isascii()


END = Token("", -1)


def _ratio(above: str, below: str) -> Decimal:
    if not above.isdigit() or not below.strip("0").isdigit():
        raise UnclearError(f"{above}/{below}")
    return Decimal(above) / Decimal(below)


def _times(value: Decimal, fraction: Fraction) -> Decimal:
    return value * fraction.numerator / fraction.denominator


def _is_letter(token: Token) -> bool:
    """Whether it is a single letter, such as "c" and "D."."""
    text = token.text.rstrip(". ")
    return len(text) == 1 and text.isascii() and text.isalpha()


class MoneyNormaliser(Pipe):
    """Sets `span._.money` of entities with certain labels: amount, low, high, currency, rule.

    `amount`, `low` and `high` are decimals as text, in the major unit; low and high are the ends of a range,
    the amount is its middle. They are None if there is no definite amount or a part of the text is not
    understood. `currency` is an ISO 4217 code, "XXX" if it is unknown. `rule` gives the reasons for both,
    such as "range, text".

    Rules for the amount: plain, scaled, words (numerals or fractions), minor, compound, range; and where it
    is None: vague, too long, too large, none, and "not understood: 'mkr'" with the piece in question. For
    the currency: written (the writing has one meaning), firm (it has one unless another writing in the text
    says otherwise), text, place, usual, default, unknown.

    Args:
        labels: of the entities.
        default_currency: an ISO code for amounts without one, or "XXX".
        locales: languages whose separators and scale words are preferred.
        context: characters on either side that are searched for currencies and places.
        longest: maximum characters of an entity.
        largest: maximum amount, as a decimal; larger ones are probably errors.
    """

    def __init__(self, vocab: Vocab, name: str, settings: dict[str, Any]) -> None:
        currency, largest = settings["default_currency"], settings["largest"]
        if not re.fullmatch("[A-Z]{3}", currency):
            raise ValueError(f"{name}: default_currency {currency!r} is not an ISO 4217 code such as USD")
        try:
            Decimal(largest)
        except InvalidOperation:
            raise ValueError(f"{name}: largest {largest!r} is not a number such as 1e18") from None
        self.vocab = vocab
        self.name = name
        self.cfg = settings
        self._load({})
        if not Span.has_extension("money"):
            Span.set_extension("money", default=None)

    def _load(self, data: dict[str, Any]) -> None:
        if data and "roles" not in data:
            raise ValueError(f"{self.name}: its data is of an older version; make the pipeline again.")
        self.data = data
        self.lexicon = Lexicon(data, self.cfg["locales"])

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]] | None = None,
        *,
        nlp: Language | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        """Load the currency data; the default is the file beside this one."""
        self._load(srsly.read_json(DATA) if data is None else data)

    def __call__(self, doc: Doc) -> Doc:
        if not self.data:
            raise ValueError(f"{self.name}: no currency data; call initialize() or load a trained pipeline.")
        for ent in doc.ents:
            if ent.label_ in self.cfg["labels"]:
                ent._.money = self.normalise(ent.text, doc.text, ent.start_char)
        return doc

    def normalise(self, text: str, around: str = "", start: int = 0) -> dict[str, str | None]:
        """Normalise an amount.

        Args:
            text: of the entity.
            around: the text that contains it, at `start`.
        """
        if len(text) > self.cfg["longest"]:
            return self._result(None, None, UNKNOWN, "too long", "unknown")
        with localcontext(Context(prec=PRECISION)):
            tokens = self.lexicon.tokens(fold(text), spaced=True)
            try:
                amounts = Parser(tokens, self.lexicon.decimal).money()
                writings = [t for a in amounts for t in a.writings]
                _check_agreement(writings)
                low, high, rule = _ends(amounts)
            except UnclearError as error:
                return self._result(None, None, UNKNOWN, f"not understood: {error}", "unknown")
            if not amounts:
                writings = [t for t in tokens if t.entry.currencies]
            currency, how = self._currency(writings, around, start, start + len(text))
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
        """The currency of an amount, and the rule that decided it."""
        candidates = _common([_meanings(token) for token in writings])
        if len(candidates) == 1:
            return candidates[0], "written"
        nearby = self._nearby(around, start, end)
        for _, token in nearby:
            meant = _meanings(token)
            # the words "real" and "mark" nearby don't turn "71m" into reais or marks
            named = meant[0] in candidates or (not candidates and not token.text.islower())
            if len(meant) == 1 and _is_distinct(token) and named:
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
        nearby = []
        for offset, piece in ((-1, around[max(0, start - reach) : start]), (1, around[end : end + reach])):
            folded = fold(piece)
            for token in self.lexicon.tokens(folded):
                if token.entry.currencies or token.entry.places:
                    distance = len(folded) - token.start if offset < 0 else token.start
                    nearby.append((distance, token))
        return sorted(nearby, key=lambda pair: pair[0])

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Settings and data."""
        parts = {"cfg": lambda: srsly.json_dumps(self.cfg), "data": lambda: srsly.json_dumps(self.data)}
        return to_bytes(parts, exclude)

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = ()) -> "MoneyNormaliser":
        """Read what `to_bytes` wrote."""
        from_bytes(data, self._readers(srsly.json_loads), exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Settings and data, in a folder."""
        parts = {
            "cfg": lambda p: srsly.write_json(p.with_suffix(".json"), self.cfg),
            "data": lambda p: srsly.write_json(p.with_suffix(".json"), self.data),
        }
        to_disk(Path(path), parts, exclude)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "MoneyNormaliser":
        """Read what `to_disk` wrote."""
        from_disk(Path(path), self._readers(lambda p: srsly.read_json(p.with_suffix(".json"))), exclude)
        return self

    def _readers(self, read: Callable[[Any], Any]) -> dict[str, Callable[[Any], None]]:
        return {
            "cfg": lambda source: self.cfg.update(read(source)),
            "data": lambda source: self._load(read(source)),
        }


def plain(value: Decimal | None) -> str | None:
    """A decimal as text without exponent and trailing zeros, rounded to DECIMALS."""
    if value is None:
        return None
    text = f"{round(value, DECIMALS):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _ends(amounts: Sequence[Amount]) -> tuple[Decimal | None, Decimal | None, str]:
    """Low, high and rule.

    An end without a scale takes that of the other: "two to three hundred million".

    Raises:
        UnclearError: the low end, or what it borrows, is ambiguous.
    """
    if not amounts:
        return None, None, "none"
    first = amounts[0]
    if len(amounts) == 1 or first.value is None:
        return first.value, first.value, first.rule
    second = amounts[1]
    assert None not in (second.value, second.base, second.number)
    low, high, base, number = first.value, second.value, second.base, second.number
    if first.leading and not second.writings:  # "MUSD 5-6"
        if second.scale:
            raise UnclearError(f"{plain(low)} to {plain(high)}", "a second scale")
        high = high.scaleb(first.leading)
    elif not first.scale and not first.closed and not second.leading:
        if 0 <= low < base:
            low = (low * number / base).scaleb(second.scale)
        elif low < number:
            low = low.scaleb(second.scale)
        elif second.scale and not (first.writings and second.writings):
            raise UnclearError(f"{plain(low)} to {plain(high)}", "a range of unlike ends")
    if second.rule == "minor" and first.rule != "minor" and not first.writings:
        low = low.scaleb(-second.writings[-1].entry.minor[0])
    elif first.rule == "minor" and not first.closed and not second.writings:
        raise UnclearError(f"{plain(low)} to {plain(high)}", "a range of unlike ends")
    if low > high:
        raise UnclearError(f"{plain(low)} to {plain(high)}", "a range that falls")
    return low, high, "range"


def _meanings(token: Token) -> tuple[str, ...]:
    entry = token.entry
    if entry.minor and not entry.currencies:
        return entry.minor[1]
    return entry.currencies or entry.places


def _common(meanings: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The currencies that fit all writings around an amount."""
    common = meanings[0] if meanings else ()
    for codes in meanings[1:]:
        common = tuple(code for code in common if code in codes)
    return common


def _check_agreement(writings: Sequence[Token]) -> None:
    """Raise UnclearError if no currency fits all the writings around an amount."""
    if writings and not _common([_meanings(token) for token in writings]):
        raise UnclearError(" and ".join(dict.fromkeys(token.text for token in writings)))


def _is_distinct(token: Token) -> bool:
    """Whether a writing is reliable in running text: a code in capitals, a sign, or a name."""
    text = token.text
    if not token.entry.currencies:
        return False
    if any(unicodedata.category(c) == "Sc" for c in text):
        return True
    return len(text) > 3 or (len(text) == 3 and text.isupper())


@Language.factory("money", assigns=["span._.money"], requires=["doc.ents"])
def make_money(
    nlp: Language,
    name: str,
    labels: list[str] = ["MONEY"],  # noqa: B006 (spaCy copies the defaults to configs)
    default_currency: str = UNKNOWN,
    locales: list[str] = ["en"],  # noqa: B006
    context: int = 600,
    longest: int = 200,
    largest: str = "1e18",
) -> MoneyNormaliser:
    """The `money` component; see MoneyNormaliser for its settings."""
    settings = {
        "labels": labels,
        "default_currency": default_currency,
        "locales": locales,
        "context": context,
        "longest": longest,
        "largest": largest,
    }
    return MoneyNormaliser(nlp.vocab, name, settings)
