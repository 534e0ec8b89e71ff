"""Training texts in lower and upper case, so that a pipeline doesn't depend on capitals (slides 50-54)."""

import random
from collections.abc import Callable, Iterator

from spacy.language import Language
from spacy.training import Example
from spacy.util import registry

from ie.core.errors import UserError


@registry.augmenters("ie.case.v1")
def create_case_augmenter(lower: float, upper: float) -> Callable[[Language, Example], Iterator[Example]]:
    """For `[corpora.train.augmenter]`: another case for some of the texts.

    Drawn when spaCy reads the corpus: once per training, or in each epoch with `max_epochs = -1`.

    Args:
        lower, upper: shares (0 to 1) of the texts that are changed to lower and to upper case.
    """
    if not (lower >= 0 and upper >= 0 and lower + upper <= 1):
        raise UserError(
            f"[corpora.train.augmenter]: lower = {lower} and upper = {upper} must be shares from 0 to 1, "
            "together 1 at most."
        )

    def augment(nlp: Language, example: Example) -> Iterator[Example]:
        drawn = random.random()  # spaCy sets its seed from the config's
        if drawn < lower:
            yield recased(nlp, example, str.lower)
        elif drawn < lower + upper:
            yield recased(nlp, example, str.upper)
        else:
            yield example

    return augment


def recased(nlp: Language, example: Example, change: Callable[[str], str]) -> Example:
    """The example with the case of its letters changed, and the same annotation.

    Letters that would become several ("ß" in upper case) stay as they are, as offsets would change.
    """

    def letters(text: str) -> str:
        return "".join(new if len(new := change(letter)) == 1 else letter for letter in text)

    annotation = example.to_dict()
    # to_dict turns tokens without annotation into "outside"
    known = example.get_aligned_ner() if example.reference.has_annotation("ENT_IOB") else []
    if None in known:
        annotation["doc_annotation"]["entities"] = [tag or "-" for tag in known]
    annotation["token_annotation"]["ORTH"] = [letters(token.text) for token in example.reference]
    return example.from_dict(nlp.make_doc(letters(example.text)), annotation)
