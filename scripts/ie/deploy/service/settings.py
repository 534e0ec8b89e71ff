"""The settings of the service, from configs/serve.cfg."""

from pydantic import Field, model_validator

from ie.core.settings import Section


class RequestLimits(Section):
    """`[limits]`: limits of requests."""

    body: int = Field(4_000_000, ge=100)
    texts: int = Field(1000, ge=1)
    characters: int = Field(20_000, ge=1, le=1_000_000)  # spaCy's own limit
    stretch: int = Field(1000, ge=1)
    entities: int = Field(60, ge=1)
    arrive: float = Field(10, gt=0)
    answer: float = Field(30, gt=0)
    queue: int = Field(4000, ge=1)
    retry_after: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _fits(self) -> "RequestLimits":
        if self.texts > self.queue:
            raise ValueError("texts must not be more than queue, or such a request would always be refused")
        return self


class WorkSettings(Section):
    """`[work]`: batches and memory."""

    batch: int = Field(64, ge=1)
    batch_characters: int = Field(100_000, ge=1)
    warm_texts: int = Field(2000, ge=0)
    new_words: int = Field(1_000_000, ge=1000)


class CountSettings(Section):
    """`[watch]`: anonymous counters."""

    counters: bool = False
    interval: float = Field(60, gt=0)


class ServiceSettings(Section):
    """The whole file."""

    limits: RequestLimits = RequestLimits()
    work: WorkSettings = WorkSettings()
    watch: CountSettings = CountSettings()
