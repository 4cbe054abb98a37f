"""Describe the API's answers to the readers of its OpenAPI document; answers aren't built by it."""

from typing import Any, Literal

from pydantic import BaseModel, Field

BLUE_JAY = {
    "predictions": [
        {
            "label": "Blue Jay",
            "common_name": "Blue Jay",
            "scientific_name": "Cyanocitta cristata",
            "probability": 0.87,
        }
    ],
    "answer": {
        "kind": "species",
        "labels": ["Blue Jay"],
        "text": "Blue Jay, 87 % sure.",
        "taxon": None,
        "unknown_score": 0.13,
    },
    "photo": {"width": 4000, "height": 3000, "crop": [500, 0, 3000, 3000]},
    "heatmap": {"width": 2, "height": 2, "values": [0.0, 0.4, 0.1, 1.0]},
    "model": {"name": "cub100", "version": "2026.11.22"},
    "milliseconds": {"prepare": 18.7, "model": 10.2, "total": 28.9},
}
DAMAGED = {
    "type": "urn:fieldmark:damaged-photo",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "This photo is damaged or was cut short on its way. Save or send it once more.",
}


class Prediction(BaseModel):
    """A label and how probable it is."""

    label: str = Field(description="The photo folder's name, with spaces for underscores.")
    common_name: str
    scientific_name: str | None
    probability: float = Field(ge=0, le=1)


class Taxon(BaseModel):
    """What all species of a shortlist are, where they agree."""

    rank: Literal["genus", "family"]
    name: str
    text: str


class Verdict(BaseModel):
    """What to tell a person."""

    kind: Literal["species", "shortlist", "unknown"]
    labels: list[str] = Field(description="One, several, or none of the labels, by kind.")
    text: str
    taxon: Taxon | None = Field(None, description="Of a shortlist that agrees on one.")
    unknown_score: float = Field(description="The higher, the stranger the photo.")


class Place(BaseModel):
    """The upright photo, and the square that the model saw: left, top, width, height in pixels."""

    width: int
    height: int
    crop: tuple[int, int, int, int]


class Heatmap(BaseModel):
    """What spoke for the first prediction, laid over the crop: row by row, 0 to 1."""

    width: int
    height: int
    values: list[float]


class Version(BaseModel):
    """Which model answered."""

    name: str
    version: str


class Milliseconds(BaseModel):
    """How long the stages took."""

    prepare: float
    model: float
    total: float


class Answer(BaseModel):
    """The answer for one photo."""

    model_config = {"json_schema_extra": {"examples": [BLUE_JAY]}}

    predictions: list[Prediction]
    answer: Verdict
    photo: Place
    heatmap: Heatmap | None = Field(
        description="Null unless asked for, and where the model has no map that is exact."
    )
    model: Version
    milliseconds: Milliseconds


class ProblemDocument(BaseModel):
    """An error as RFC 9457 writes it: a stable type, and a sentence to act on."""

    model_config = {"json_schema_extra": {"examples": [DAMAGED]}}

    type: str = Field(pattern="^urn:fieldmark:")
    title: str
    status: int
    detail: str


class Results(BaseModel):
    """What a form is answered with: an answer or a problem for each photo, in their order."""

    model_config = {"json_schema_extra": {"examples": [{"results": [BLUE_JAY, DAMAGED]}]}}

    results: list[Answer | ProblemDocument]


class Health(BaseModel):
    """The state of a function that is ready."""

    status: Literal["ready"]
    model: Version
    uptime_seconds: float
    resident_bytes: int | None = Field(description="Null where the system doesn't tell.")
    in_flight: int = Field(description="Photos worked on or waiting now.")


class Alive(BaseModel):
    """The process answers, whether or not it has a model."""

    status: Literal["alive"]
    uptime_seconds: float


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problem documents that a route may answer with."""
    content = {"application/problem+json": {"schema": ProblemDocument.model_json_schema()}}
    return {code: {"description": "A problem document", "content": content} for code in codes}


BINARY = {"type": "string", "format": "binary"}
PHOTO = {  # FastAPI can't say: either the bytes, or a form
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": BINARY},
            "application/octet-stream": {"schema": BINARY},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["photo"],
                    "properties": {
                        "photo": {"type": "array", "items": BINARY, "minItems": 1, "maxItems": 32}
                    },
                }
            },
        },
    }
}
