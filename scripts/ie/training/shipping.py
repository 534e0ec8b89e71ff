"""The pipeline that is shipped: a trained one, with rules in it where dev shows that they help."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language

from ie.core.files import published, write_json
from ie.core.pipelines import load_pipeline
from ie.data.records import Record
from ie.evaluation import rules_and_model
from ie.evaluation.rules_and_model import RulesChoice
from ie.training import confidence_training


def ship(
    trained_on: str, patterns: Sequence[dict[str, Any]], dev: Sequence[Record], corpus: Path, training: Path
) -> RulesChoice:
    """Write model-best, confidence.json and rules.json (the choice) into the folder `shipped`.

    Args:
        trained_on: which pipeline of `training`, the folder of a training config.
        patterns: see `rules_and_model.patterns_of`.
        dev: records that decide on the rules.
        corpus: folder with train.spacy and dev.spacy, on which the confidence is calibrated again: rules
            change which entities there are, so what is known of the recogniser's doesn't hold for them.

    Raises:
        UserError: the pipeline doesn't exist, or can't be loaded.
    """

    model, output = training / trained_on / "model-best", training / rules_and_model.SHIPPED

    def load() -> Language:
        return load_pipeline(model, "run `weasel run train`")

    load()
    choice = rules_and_model.choose(load, patterns, dev)
    with published(output / "model-best") as folder:
        if choice.order == rules_and_model.ALONE:
            shutil.copytree(model, folder)
            confidence = model.with_name("confidence.json")
            if confidence.is_file():
                shutil.copy(confidence, output)
        else:
            nlp = rules_and_model.add_rules(load(), patterns, choice)
            confidence_training.calibrate_again(nlp, corpus / "train.spacy", corpus / "dev.spacy", output)
            nlp.to_disk(folder)
    write_json(output / "rules.json", {"trained_on": trained_on} | choice.to_json())
    return choice
