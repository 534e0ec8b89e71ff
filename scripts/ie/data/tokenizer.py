"""The tokenizer of the project: spaCy's, with other rules for amounts, names and emoji.

Spans must start and end on tokens. Some of spaCy's tokens include punctuation after an amount or a name, and
some divide what is read as one character: an emoji of several code points, a flag. A pipeline keeps these
rules in its own `tokenizer` file, so the package doesn't need this code.
"""

import re
from collections.abc import Callable
from functools import partial

from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.util import compile_infix_regex, compile_prefix_regex, compile_suffix_regex, registry

# spaCy's English reads any letter with a period as an initial, also at the end of "raised $240m.".
SCALES = ("k.", "m.", "b.", "t.", "K.", "M.", "B.", "T.")
SUFFIXES = [
    r"(?<=[a-z0-9][A-Z])\.",  # "Velto GmbH.", "$210M."
    r"(?<=[A-Z]\.)\.",  # "Maison Bertrand S.A.." where the name's own period comes first
    r"(?<=[\u0300-\u036f\u0640\u064b-\u0652\u0670])\.",  # after a decomposed accent or an Arabic vowel sign
    r"(?<=[\u0640\u064b-\u0652\u0670][\u0620-\u064a])\.",  # after the last letter of a word with vowel signs
]
ELLIPSIS = {r"\.\.+": r"(?<![A-Z])\.\.+"}
INFIXES = [r"(?<=\S)—(?=\S)"]  # "Ironwood Ledger—$33 million"
# Grapheme clusters that begin with a sign (Unicode Standard Annex 29): spaCy takes signs off a word one code
# point at a time. A cluster that begins with a letter stays whole anyway.
# Combining marks, no-joiner, variation selectors, skin tones, tags:
_EXTEND = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
_EXTEND += "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
_FLAG = "\U0001f1e6-\U0001f1ff"  # regional indicators, two of which are a flag
_SIGN = rf"[^\w\s\u200d{_EXTEND}{_FLAG}]"
CLUSTERS = [rf"(?:{_SIGN}(?:[{_EXTEND}]|\u200d{_SIGN}?)+|[0-9]\ufe0f?\u20e3)"]
# At the start of a word flags are tokens; elsewhere a run of them is one, as only its start shows the pairs.
FIRST_FLAG, FLAGS = [rf"[{_FLAG}]{{1,2}}"], [rf"(?<![{_FLAG}])[{_FLAG}]+"]


def adapt(nlp: Language, split_on: str = "") -> Language:
    """Change the tokenizer of `nlp` in place; languages with a tokenizer of another kind stay as they are.

    Args:
        split_on: characters that are tokens of their own inside words, too: with "-", the German
            "Siemens-Gruppe" is three tokens instead of one.
    """
    tokenizer = nlp.tokenizer
    if isinstance(tokenizer, Tokenizer):
        rules = {text: rule for text, rule in tokenizer.rules.items() if text not in SCALES}
        # After each change below the tokenizer processes its rules again, so they are removed until the end.
        tokenizer.rules = {}
        # the first matching alternative is used
        prefixes = [*CLUSTERS, *FIRST_FLAG, *(nlp.Defaults.prefixes or [])]
        suffixes = [*CLUSTERS, *FLAGS, *(ELLIPSIS.get(s, s) for s in nlp.Defaults.suffixes or []), *SUFFIXES]
        infixes = [*CLUSTERS, *FLAGS, *(nlp.Defaults.infixes or []), *INFIXES]
        if split_on:
            infixes.append(rf"(?<=\w)[{re.escape(split_on)}]")
        tokenizer.prefix_search = compile_prefix_regex(prefixes).search
        tokenizer.suffix_search = compile_suffix_regex(suffixes).search
        tokenizer.infix_finditer = compile_infix_regex(infixes).finditer
        tokenizer.rules = rules
    return nlp


# The default limit on characters in a row without whitespace.
STRETCH = 1000


def stretch_fault(text: str, most: int = STRETCH) -> str | None:
    """Why spaCy's tokenizer would take too long for a text; None if it wouldn't.

    It splits punctuation, emoji and the like off a word one by one, and scans the rest each time, so the time
    is quadratic in the length.
    """
    if max(map(len, text.split()), default=0) <= most:
        return None
    return f"more than {most} characters in a row without whitespace"


@registry.callbacks("ie.tokenizer.v1")
def create_tokenizer_callback() -> Callable[[Language], Language]:
    """For `[initialize.before_init]` of a training config: train on the tokens that `split` wrote."""
    return adapt


@registry.callbacks("ie.splitting_tokenizer.v1")
def create_splitting_tokenizer_callback(split_on: str) -> Callable[[Language], Language]:
    """The same where configs/data.cfg has `split_on`; commands put it in place of the other callback."""
    return partial(adapt, split_on=split_on)
