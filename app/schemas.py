"""The wire, inwards: what a request may hold. Names here are the API's, for good."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetPydanticSchema,
    StringConstraints,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core.core_schema import no_info_wrap_validator_function

from models.interaction import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CONTROL = r"^[^\x00-\x1f\x7f-\x9f]+$"
DAY = 86_400.0
MOST_USERS = 256
"""Of one request."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=CONTROL)]
Value = Annotated[float, Field(ge=-1e9, le=1e9)]
Kind = Literal[KINDS]  # type: ignore[valid-type]


def explain(errors: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(field, what is allowed) for each of pydantic's errors; a field is a path such as `events.3.user_id`."""
    return [(_path(error["loc"]), _message(error)) for error in errors]


def _path(location: Iterable[Any]) -> str:
    # A part in round brackets is the tag of a union, not a field.
    parts = [str(part) for part in location if not str(part).startswith("(")]
    if len(parts) > 1 and parts[0] in ("body", "query", "path", "header"):
        parts = parts[1:]
    return ".".join(parts) or "event"


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] in _MESSAGES:
        return _MESSAGES[error["type"]]
    text = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return text[:1].lower() + text[1:]


_MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "there is no such field",
    "string_pattern_mismatch": "must hold no control characters",
    "string_unicode": "must be text that UTF-8 can hold",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


def _whole(value: object) -> object:
    """To JSON 10.0 is an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _seconds(value: object) -> float:
    """Seconds since the epoch, from ISO-8601 with an offset or from a number."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be ISO-8601, such as 2026-01-31T12:00:00Z, or seconds since the epoch") from None
        if moment.tzinfo is None:
            raise ValueError("must have an offset, such as Z or +02:00")
        seconds: int | float = moment.timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    else:
        raise ValueError("must be ISO-8601 with an offset, or seconds since the epoch")
    if not 0 <= seconds <= time.time() + DAY:
        raise ValueError("must lie between 1970 and a day from now, in seconds (not milliseconds)")
    return float(seconds)


Timestamp = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number", "minimum": 0}],
            "description": "ISO-8601 with an offset, or seconds since the epoch; now, when absent.",
        }
    ),
]


class Wire(BaseModel):
    """Every request body: a field that does not exist is an error, not a silence, and `true` is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class EventIn(Wire):
    """Something a user did with an item."""

    event_id: Id | None = Field(None, description="Yours, so that a repeat counts once; made for you when absent.")
    user_id: Id
    item_id: Id
    kind: Kind = Field(description="What was done.")
    value: Value | None = Field(
        None, validate_default=True, description="The rating of a `rating`, a quantity otherwise."
    )
    timestamp: Timestamp | None = None
    recommendation_id: Id | None = Field(None, description="Of the answer that showed the item.")
    context: dict[str, Any] | None = Field(None, description="Accepted, and not used yet.")

    @field_validator("value")
    @classmethod
    def _rating_has_a_value(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is None and info.data.get("kind") == "rating":
            raise ValueError("a rating needs a value")
        return value


class Refused(NamedTuple):
    """An event of a batch that is not valid, and why."""

    event_id: str | None
    detail: str


def _by_itself(value: object, check: ValidatorFunctionWrapHandler) -> object:
    try:
        return check(value)
    except ValidationError as error:
        given = value.get("event_id") if isinstance(value, dict) else None
        named = isinstance(given, str) and 0 < len(given) <= 256 and given.isprintable()
        return Refused(
            given if named else None, "; ".join(f"{field}: {text}" for field, text in explain(error.errors()))
        )


EachEvent = Annotated[
    EventIn | Refused,
    GetPydanticSchema(lambda _, schema_of: no_info_wrap_validator_function(_by_itself, schema_of(EventIn))),
]


class EventBatch(Wire):
    """Many events. Each is checked by itself, so one bad event does not cost the good ones."""

    events: list[EachEvent] = Field(min_length=1)
    history_only: bool = Field(
        False,
        description="Keep them in the histories alone, where the model was trained on them: they start no refresh.",
    )


EventBody = Annotated[
    Annotated[EventIn, Tag("(event)")] | Annotated[EventBatch, Tag("(batch)")],
    Discriminator(lambda body: "(batch)" if isinstance(body, dict) and "events" in body else "(event)"),
]


class PastEvent(Wire):
    """One thing of an inline history; a plain item id stands for a view of it."""

    item_id: Id
    kind: Kind = "view"
    value: Value | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_id(cls, value: object) -> object:
        return {"item_id": value} if isinstance(value, str) else value


class ItemFilter(Wire):
    """Which items may be recommended."""

    categories: list[Id] | None = Field(None, max_length=100, description="Items in any of these.")
    fallback: bool = Field(False, description="When nothing passes, answer without the filter instead of with nothing.")


def _ids_or_events(schema: dict[str, Any]) -> None:
    """Tell the schema of `history` what PastEvent accepts: ids among its objects."""
    for choice in schema.get("anyOf", ()):
        if choice.get("type") == "array":
            plain = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": CONTROL}
            choice["items"] = {"anyOf": [plain, choice["items"]]}


class RecommendIn(Wire):
    """Whom to recommend to, and what may be recommended."""

    user_id: Id | None = Field(None, description="Unknown users are fine: they get what suits most.")
    history: list[PastEvent] | None = Field(
        None,
        max_length=1000,
        description="Oldest first, in place of the stored history. Unknown items are ignored.",
        json_schema_extra=_ids_or_events,
    )
    k: Annotated[int, BeforeValidator(_whole)] = Field(10, ge=1, le=100)
    exclude: list[Id] = Field(default=[], max_length=10_000)
    candidates: list[Id] | None = Field(
        None, max_length=10_000, description="Rank these alone. Unknown items are ignored."
    )
    filter: ItemFilter | None = None
    include_seen: bool = Field(False, description="Also recommend what is in the history.")
    scores: bool = Field(False, description="Give each item's score.")


class RecommendBatchIn(Wire):
    """Users who are all to be recommended to, under the same conditions."""

    users: list[Id] = Field(min_length=1, max_length=MOST_USERS, description="Unknown users are fine.")
    k: Annotated[int, BeforeValidator(_whole)] = Field(10, ge=1, le=100)
    include_seen: bool = Field(False, description="Also recommend what is in the histories.")
    scores: bool = Field(False, description="Give each item's score.")


class ItemIn(Wire):
    """An item as it is to be from now on."""

    item_id: Id
    title: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    text: Annotated[str, StringConstraints(max_length=20_000)] = ""
    categories: list[Id] = Field(default=[], max_length=100)
    available: bool = Field(True, description="False: known, and never recommended.")


class ItemsIn(Wire):
    items: list[ItemIn] = Field(min_length=1)
