"""Annotations of users: what is read, counted and refused."""

from pathlib import Path

import pytest
from running import write_lines

from ie.core.errors import UserError
from ie.data.config import DataConfig
from ie.data.formats.conversion import Conversion
from ie.data.records import blank
from ie.setup import inputs


class TestAnnotations:
    def read(self, path: Path, form: str) -> tuple[list, Conversion]:
        job = Conversion(blank("en"))
        return inputs.read_annotations(path, form, job, DataConfig())[0], job

    def test_what_is_not_read_is_counted(self, tmp_path):
        row = {
            "text": "Hooli pays",
            "spans": [{"start": 0, "end": 5, "label": "A"}],
            "gold_tags": ["x"],
            "n": 3,
        }
        path = write_lines(tmp_path / "a.jsonl", [row])
        gold, job = self.read(path, "prodigy")
        assert gold[0].model_extra == {"gold_tags": ["x"], "n": 3}
        assert (job.unread, job.other_keys) == ({"gold_tags": 1}, {"n": 1})

    def test_answers_about_categories_are_merged_and_those_about_a_span_refused(self, tmp_path):
        rows = [{"text": "Hooli pays", "label": name, "answer": "accept"} for name in ("GOOD", "NEW")]
        gold, _ = self.read(write_lines(tmp_path / "a.jsonl", rows), "prodigy")
        assert [record.cats for record in gold] == [{"GOOD": 1, "NEW": 1}]
        row = {"text": "Hooli", "spans": [{"start": 0, "end": 5, "label": "A"}], "_is_binary": True}
        with pytest.raises(UserError, match=r"b\.jsonl:1: a yes or no to one span"):
            self.read(write_lines(tmp_path / "b.jsonl", [row]), "prodigy")

    def test_messages_name_the_users_file(self, tmp_path):
        rows = [{"text": text, "label": [], "meta": {"id": 1}} for text in ("Hooli", "Velm")]
        path = write_lines(tmp_path / "a.jsonl", rows)
        with pytest.raises(UserError, match=f"{path}:2: the id '1' is already used"):
            self.read(path, "doccano")
