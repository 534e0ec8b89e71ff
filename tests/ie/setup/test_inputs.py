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


def test_documents_are_raw_texts(tmp_path):
    (tmp_path / "a.md").write_text("Hooli raised $5m.\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("Hooli raised $5m.\n", encoding="utf-8")
    (tmp_path / "c.csv").write_text("a,b\n", encoding="utf-8")
    given = inputs.read_inputs(inputs.Sources(texts=tmp_path, labels="COMPANY"), DataConfig())
    assert [record.text for record in given.texts] == ["Hooli raised $5m."]
    assert ("  kept beside the texts", "file, sha256, paragraphs") in given.findings
    assert (tmp_path.name, "2 documents read, 1 set aside") in given.findings
    assert (tmp_path.name, "1 texts, 1 repeated left out") in given.findings
    assert given.remarks[0].startswith(f"{tmp_path / 'c.csv'}: is no PDF")
    with pytest.raises(UserError, match="documents have no annotation"):
        inputs.read_inputs(inputs.Sources(annotations=tmp_path / "a.md", format="documents"), DataConfig())
