"""The data settings of the project, configs/data.cfg: language, split, and how faults are handled."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field
from spacy.language import Language

from ie.core.settings import Section, load_settings
from ie.data import records, splits
from ie.data.documents.collection import DocumentSettings
from ie.data.language import LanguageSettings
from ie.data.records import Reader, Record
from ie.data.scheme import Scheme


class TextSettings(LanguageSettings):
    """[texts]: the language, and the key of `meta` for scores by slice."""

    slice_by: str = ""


class SplitSettings(Section):
    """[split]: percent of the reviewed texts for test and dev, and the similarity of near-duplicates."""

    test_percent: float = Field(37, gt=0, lt=100)
    dev_percent: float = Field(10, gt=0, lt=100)
    near_duplicate: float = Field(0.8, gt=0, le=1)

    @property
    def train_share(self) -> float:
        """Share of the reviewed texts for training, between 0 and 1."""
        return 1 - (self.test_percent + self.dev_percent) / 100


class ReadingSettings(Section):
    """[reading]: how faults with a safe remedy are handled; see `records.Reader`."""

    misaligned: records.Misaligned = "error"
    duplicates: records.Duplicates = "error"
    bad_relations: records.BadRelations = "error"


class DataConfig(Section):
    """The settings of configs/data.cfg, and the objects that follow from them."""

    texts: TextSettings = TextSettings()
    split: SplitSettings = SplitSettings()
    reading: ReadingSettings = ReadingSettings()
    documents: DocumentSettings = DocumentSettings()

    @property
    def lang(self) -> str:
        return self.texts.lang

    def blank(self) -> Language:
        """An empty pipeline of the language, with the project's tokenizer."""
        return records.blank(self.texts)

    def reader(self, labels: Scheme | None, nlp: Language | None = None) -> Reader:
        """A reader of records that follows [reading]; `nlp` saves the creation of another tokenizer."""
        return Reader(labels, (nlp or self.blank()).tokenizer, **self.reading.model_dump())

    def assign(self, reviewed: Iterable[Record], texts: Iterable[Record]) -> splits.Split:
        """Divide the records by [split]; see `splits.assign`."""
        return splits.assign(list(reviewed), list(texts), **self.split.model_dump())


def load_data_config(path: Path) -> DataConfig:
    """Read configs/data.cfg."""
    config = load_settings(path, DataConfig)
    splits.check_shares(**config.split.model_dump())
    return config
