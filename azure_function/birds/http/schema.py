"""Describe requests and responses in the OpenAPI document; responses are not validated by it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .problems import Problem, problem_document

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
    "photo": {
        **{"width": 4000, "height": 3000, "crop": [2310, 840, 1150, 1150]},
        "crop_from": "finder",
    },
    "heatmap": {"width": 2, "height": 2, "values": [0.0, 0.4, 0.1, 1.0]},
    "model": {"name": "cub100", "version": "2026.11.22"},
    "milliseconds": {"prepare": 88.7, "find": 9.1, "model": 10.2, "total": 108.0},
}
BLUE_JAY["birds"] = [
    {
        **{"box": [2385.0, 915.5, 1000.0, 760.0], "score": 0.93, "crop": [2310, 840, 1150, 1150]},
        **{key: BLUE_JAY[key] for key in ("predictions", "answer")},
    }
]
DAMAGED = problem_document(Problem(422, "damaged-photo", "This photo is damaged. Save it again."))


class Prediction(BaseModel):
    """A label and its probability."""

    label: str = Field(description="The photo folder's name, with spaces for underscores.")
    common_name: str
    scientific_name: str | None
    probability: float = Field(ge=0, le=1)


class Taxon(BaseModel):
    """The smallest taxon that all species of a shortlist belong to."""

    rank: Literal["genus", "family", "order"]
    name: str
    text: str


class Decision(BaseModel):
    """What to show to a person."""

    kind: Literal["species", "shortlist", "unknown"]
    labels: list[str] = Field(
        description="One for species, several for shortlist, none for unknown."
    )
    text: str
    taxon: Taxon | None = Field(None, description="Of a shortlist whose species share one.")
    unknown_score: float = Field(description="Higher for less familiar photos.")


class Photo(BaseModel):
    """Size of the upright photo, and the crop: left, top, width and height in its pixels."""

    width: int
    height: int
    crop: tuple[int, int, int, int]
    crop_from: Literal["finder", "center", "request"] = Field(
        description="How the crop was decided: a bird that the finder found, the middle square, "
        "or the crop that was requested."
    )


class Heatmap(BaseModel):
    """Evidence for the first prediction over the area of the crop: row by row, 0 to 1."""

    width: int
    height: int
    values: list[float]


class Bird(BaseModel):
    """One bird in the photo: the finder's box, and the crop that was classified."""

    box: tuple[float, float, float, float] | None = Field(
        description="Left, top, width and height in pixels of the upright photo. Null if the crop "
        "is not the finder's."
    )
    score: float | None = Field(description="The finder's, 0 to 1.")
    crop: tuple[int, int, int, int]
    predictions: list[Prediction]
    answer: Decision


class Version(BaseModel):
    """Name and version of the model."""

    name: str
    version: str


class Milliseconds(BaseModel):
    """Duration of each step."""

    prepare: float
    find: float
    model: float
    total: float


class Answer(BaseModel):
    """The response for one photo."""

    model_config = {"json_schema_extra": {"examples": [BLUE_JAY]}}

    predictions: list[Prediction]
    answer: Decision
    photo: Photo
    heatmap: Heatmap | None = Field(
        description="Null unless requested, and for models without an exact heat map."
    )
    birds: list[Bird] | None = Field(
        description="Null unless requested. The first has the answer of the whole response."
    )
    model: Version
    milliseconds: Milliseconds


class ProblemDocument(BaseModel):
    """An RFC 9457 error: a stable type, and a sentence for the person who caused it."""

    model_config = {"json_schema_extra": {"examples": [DAMAGED]}}

    type: str = Field(pattern="^urn:fieldmark:")
    title: str
    status: int
    detail: str


class Combined(BaseModel):
    """One answer for several photos of the same bird."""

    predictions: list[Prediction]
    answer: Decision
    photos: int = Field(description="Of the form, without those that could not be read.")


class Results(BaseModel):
    """The response to a form: an answer or a problem for each photo, in order."""

    model_config = {"json_schema_extra": {"examples": [{"results": [BLUE_JAY, DAMAGED]}]}}

    results: list[Answer | ProblemDocument]
    combined: Combined | None = Field(
        None,
        description="Only with same_bird=true. Null if no photo could be read.",
    )


class PhotoAddress(BaseModel):
    """Where a photo is, instead of its bytes: for functions whose owner allows it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    url: str = Field(max_length=2048, description="The photo's address, https only.")


class FinderState(Version):
    """The finder, and whether it is the one that the model was calibrated with."""

    sha256: str
    matches: bool


class Health(BaseModel):
    """The state of a function that accepts photos now."""

    status: Literal["ready"] = "ready"
    model: Version
    finder: FinderState | None = Field(description="Null if the middle square is classified.")
    uptime_seconds: float
    resident_bytes: int | None = Field(description="Null where the system does not report it.")
    in_flight: int = Field(description="Photos being processed or queued.")
    max_in_flight: int
    buffered_bytes: int = Field(description="Of photos that arrive or are in flight.")
    max_buffered_bytes: int
    refused: int = Field(description="Requests refused as busy or too slow since the start.")


class Alive(BaseModel):
    """The process responds, with or without a model."""

    status: Literal["alive"] = "alive"
    uptime_seconds: float


def problem_responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problem documents that a route may respond with."""
    content = {"application/problem+json": {"schema": ProblemDocument.model_json_schema()}}
    return {code: {"description": "A problem document", "content": content} for code in codes}


BINARY = {"type": "string", "format": "binary"}
PHOTOS = {"type": "array", "items": BINARY, "minItems": 1, "maxItems": 32}
FORM = {"type": "object", "required": ["photo"], "properties": {"photo": PHOTOS}}
ADDRESS = PhotoAddress.model_json_schema()
BODIES = {"image/*": BINARY, "application/octet-stream": BINARY, "multipart/form-data": FORM}
BODIES["application/json"] = ADDRESS
CONTENT = {media_type: {"schema": body} for media_type, body in BODIES.items()}
# FastAPI cannot declare a photo's bytes, a form and JSON together
REQUEST_BODY = {"requestBody": {"required": True, "content": CONTENT}}
