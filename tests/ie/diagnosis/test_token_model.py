"""Predictions for tokens come from models of other texts, and don't depend on last bits."""

import numpy as np
import pytest
from tiny_project import text

from ie.data.records import Record, Span, blank
from ie.diagnosis import token_model


class TestTokens:
    def test_neighbours_end_with_the_text(self) -> None:
        found = token_model.tokens([text(0), text(1)], ("COMPANY", "CITY"), blank("en").make_doc)
        first = (found.text == 0).sum()
        after = found.neighbour(1)
        assert after[0] == 1
        assert after[first - 1] == -1
        assert found.neighbour(-1)[first] == -1

    def test_predictions_are_out_of_fold(self) -> None:
        # each text has a word of its own that decides; a model that had seen it would be right
        rng = np.random.default_rng(0)
        texts = [
            Record(
                text=f"q{i}z",
                spans=[Span(start=0, end=len(f"q{i}z"), label="X")] if rng.random() < 0.5 else [],
            )
            for i in range(100, 200)
        ]
        found = token_model.tokens(texts, ("X",), blank("en").make_doc)
        predicted = token_model.out_of_fold(found.own, found.label, found.text)
        right = ((predicted[:, 1] > 0.5) == found.inside).mean()
        assert right < 0.75

    def test_predictions_are_equal_where_only_last_bits_differ(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Tokens are ranked by them: another processor's last bits must not change the order of equals."""
        found = token_model.tokens([text(i) for i in range(40)], ("COMPANY", "CITY"), blank("en").make_doc)
        before = token_model.out_of_fold(found.window(), found.label, found.text)
        exact, rng = token_model.SGDClassifier.predict_proba, np.random.default_rng(0)

        def noisy(self: object, rows: object) -> np.ndarray:
            known = exact(self, rows)
            return known * (1 + rng.choice([-2e-16, 0, 2e-16], known.shape))

        monkeypatch.setattr(token_model.SGDClassifier, "predict_proba", noisy)
        assert (token_model.out_of_fold(found.window(), found.label, found.text) == before).all()
