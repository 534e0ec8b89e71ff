"""The OpenAPI description of the service, with its limits."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from ie.data.records import Record
from ie.deploy.service.settings import RequestLimits

NO_NULL = r"^[^\u0000]*$"
REFUSED = {
    400: "Not JSON, or an invalid Host",
    403: "From another page, or for another host",
    408: "The request took too long to arrive",
    413: "The request is too large",
    415: "The request is not application/json",
    422: "Invalid JSON fields, too many or too long texts, or a text that the pipeline can't work on",
    503: "Not ready yet, too busy, or not done in time: try again after Retry-After seconds",
}


def _probability(of: str) -> dict[str, Any]:
    return {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": f"Probability that {of}; missing where it isn't calibrated",
    }


# Fields that spans have in addition to those of the data format; all but the text are optional.
SPAN = {
    "text": {"type": "string", "description": "The characters from start to end"},
    "kb_id": {"type": "string", "description": "Id from the linker; NIL for none"},
    "confidence": _probability("span and label are right"),
    "link_confidence": _probability("span, label and link are right"),
    "amount_confidence": _probability("span, label and amount are right"),
    "value": {"type": "string", "description": "A definite amount, such as 5000000 USD or 10-15 EUR"},
    "money": {"type": "object", "description": "The parsed amount"},
}


class Batch(BaseModel):
    """A request: texts, which are answered in their order, and how sure a span must be to be in the answer.

    With `min_confidence`, spans without a confidence are left out as well.
    """

    model_config = ConfigDict(extra="forbid")
    texts: list[StrictStr]
    min_confidence: float = Field(0, ge=0, le=1, allow_inf_nan=False, strict=True)


class Records(BaseModel):
    """An answer: one record per text, in order."""

    records: list[Record]


class Fault(BaseModel):
    """The reason for a refusal, in one sentence."""

    error: str = Field(min_length=1)


def describe(limits: RequestLimits, example: str) -> dict[str, Any]:
    """The OpenAPI 3.1 description, with an example text."""
    batch = Batch.model_json_schema()
    batch["properties"]["texts"] |= {
        "minItems": 1,
        "maxItems": limits.texts,
        "items": {
            "type": "string",
            "maxLength": limits.characters,
            "pattern": NO_NULL,
            "description": f"At most {limits.stretch} characters in a row without whitespace",
        },
        "examples": [[example]],
    }
    answers = Records.model_json_schema(ref_template="#/components/schemas/{model}")
    span = answers["$defs"]["Span"]
    span["properties"] |= SPAN
    span["required"].append("text")
    schemas = {**answers.pop("$defs"), "Batch": batch, "Records": answers, "Fault": Fault.model_json_schema()}

    def answer(description: str, name: str = "", kind: str = "application/json") -> dict[str, Any]:
        schema = {"$ref": f"#/components/schemas/{name}"} if name else {"type": "string"}
        return {"description": description, "content": {kind: {"schema": schema}}}

    def refused(*statuses: int) -> dict[str, Any]:
        answers = {str(status): answer(REFUSED[status], "Fault") for status in statuses}
        if "503" in answers:
            answers["503"]["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
        return answers

    def state(summary: str) -> dict[str, Any]:
        free = {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}
        return {"summary": summary, "responses": {"200": free, **refused(400, 403)}}

    ready = state("Whether the pipeline is loaded and works")
    ready["responses"] |= refused(503)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Annotate texts",
            "version": "1",
            "description": "Spans with their links and amounts, relations and categories of texts.",
        },
        "paths": {
            "/annotate": {
                "post": {
                    "summary": "Annotate texts",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Batch"}},
                        },
                    },
                    "responses": {"200": answer("The records", "Records"), **refused(*REFUSED)},
                }
            },
            "/health": {"get": state("Whether the server runs")},
            "/ready": {"get": ready},
            "/metrics": {
                "get": {
                    "summary": "Counts and times for Prometheus",
                    "responses": {"200": answer("Text", kind="text/plain"), **refused(400, 403)},
                }
            },
        },
        "components": {"schemas": schemas},
    }
