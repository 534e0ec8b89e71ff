"""What the service says of itself: its OpenAPI description, from the limits that it keeps."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from ie.data.records import Record
from ie.deploy.service.settings import RequestLimits

NO_NULL = r"^[^\u0000]*$"
REFUSED = {
    400: "Not JSON, or a Host that can't be read",
    403: "From another page, or for a host that isn't this one",
    408: "The request took too long to arrive",
    413: "The request is too large",
    415: "The request is not application/json",
    422: "JSON of another shape, too many or too long texts, or a text that the pipeline can't work on",
    503: "Not ready yet, too much to do, or not done in time: come again after Retry-After seconds",
}
# What spans of the service have beside those of the data contract; all but the text only where it applies.
SPAN = {
    "text": {"type": "string", "description": "The characters from start to end"},
    "kb_id": {"type": "string", "description": "What the linker links it to, NIL for nothing"},
    "value": {"type": "string", "description": "A definite amount, such as 5000000 USD or 10-15 EUR"},
    "money": {"type": "object", "description": "The amount as the money component gives it"},
}


class Batch(BaseModel):
    """What is sent: texts, which are answered in their order."""

    model_config = ConfigDict(extra="forbid")
    texts: list[StrictStr]


class Records(BaseModel):
    """What comes back: a record for each text, in order."""

    records: list[Record]


class Fault(BaseModel):
    """Why something is refused, in one sentence."""

    error: str = Field(min_length=1)


def describe(limits: RequestLimits, example: str) -> dict[str, Any]:
    """The OpenAPI 3.1 description, with a text that may be sent."""
    batch = Batch.model_json_schema()
    batch["properties"]["texts"] |= {
        "minItems": 1,
        "maxItems": limits.texts,
        "items": {
            "type": "string",
            "maxLength": limits.characters,
            "pattern": NO_NULL,
            "description": f"At most {limits.stretch} characters in a row without a blank",
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
        found = {str(status): answer(REFUSED[status], "Fault") for status in statuses}
        if "503" in found:
            found["503"]["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
        return found

    def state(summary: str) -> dict[str, Any]:
        free = {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}
        return {"summary": summary, "responses": {"200": free, **refused(400, 403)}}

    ready = state("Whether the pipeline is loaded and was tried")
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
            "/health": {"get": state("Whether the server lives")},
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
