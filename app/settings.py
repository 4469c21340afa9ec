"""The environment, parsed once. This is the only file that reads it; a bad value stops start-up and names itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.manifest import pinned

PREFIX = "INNERLOOP_"


class SettingsError(ValueError):
    """A setting is not allowed; the message names each variable at fault and what it may be."""


class Settings(BaseSettings):
    """Every setting of the service and its worker. The README's table is made from this class."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, populate_by_name=True, env_ignore_empty=True, frozen=True)

    host: str = Field("127.0.0.1", description="The address to listen on; `0.0.0.0` for every interface.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    data_folder: Path = Field(
        Path(".innerloop"), description="Where the embedded Redis, the demo and cached content vectors are kept."
    )
    snapshot: Path = Field(
        Path("snapshots"), description="The snapshots folder, its `current` link, or one version to stay on."
    )
    redis_url: str | None = Field(
        None,
        validation_alias=AliasChoices(f"{PREFIX}REDIS_URL", "REDIS_URL"),
        pattern=r"^(redis|rediss|unix)://",
        description="Redis, as `redis://`, `rediss://` or `unix://`. Plain `REDIS_URL` works too. "
        "Without it `innerloop serve` starts a private redis-server of its own.",
    )
    redis_timeout: float = Field(
        1.0, ge=0.5, le=60, description="Seconds to wait for Redis before an answer goes on without it."
    )
    redis_connections: int = Field(64, ge=1, le=10_000, description="The most connections to Redis a process opens.")
    history_length: int = Field(200, ge=1, le=10_000, description="The newest events kept for each user.")
    history_days: int = Field(0, ge=0, le=36_500, description="Days until an idle user's history expires; 0 for never.")
    stream_length: int = Field(
        100_000, ge=16, le=100_000_000, description="The most events that may wait for the worker."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]+)?|mps)$",
        description="Where the model runs: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. `auto` takes a GPU that is there.",
    )
    threads: int = Field(
        0, ge=0, le=1024, description="Threads of the model on the CPU; 0 for half the cores, up to 4."
    )
    batch: int = Field(
        64,
        ge=1,
        le=4096,
        description="The most users the engine computes at once; a request for more of them is computed by itself.",
    )
    queue: int = Field(
        1024, ge=1, le=1_000_000, description="Users whose answers may wait for the engine; more get a 429."
    )
    cache: int = Field(
        20_000, ge=0, le=10_000_000, description="Users whose adapted vectors and last answers are kept in memory."
    )
    poll: float = Field(1.0, gt=0, le=3600, description="Seconds between looks at the snapshot's `current` link.")
    refresh_events: int = Field(
        4000, ge=1, le=1_000_000, description="The worker refreshes the model as soon as so many events are fresh,"
    )
    refresh_seconds: float = Field(300.0, ge=1, le=86_400, description="or after so many seconds, if there are any.")
    refresh_steps: int = Field(
        12,
        ge=0,
        le=10_000,
        description="Meta-steps of one refresh; of many users half as many, on larger batches.",
    )
    refresh_keep: int = Field(10, ge=2, le=10_000, description="Snapshots left in their folder after a refresh.")
    max_events: int = Field(1000, ge=1, le=100_000, description="The most events in one POST /events.")
    max_items: int = Field(256, ge=1, le=100_000, description="The most items in one PUT /items.")
    max_body: int = Field(4_194_304, ge=1024, le=1_073_741_824, description="The largest request body, in bytes.")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Keys that open the API, with commas between them. None: everyone may call it, with a warning.",
    )
    admin_key: SecretStr | None = Field(
        None, description="The key that opens POST /model/rollback. None: that route stays shut."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least serious log line.")

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(key.strip() for key in value.split(",") if key.strip())
        return value

    @property
    def snapshots(self) -> Path:
        """The folder that snapshots are published in: `snapshot`, or where that is `current`, the folder it is in."""
        return self.snapshot.parent if self.snapshot.name == "current" else self.snapshot

    @property
    def pinned(self) -> bool:
        """Whether `snapshot` is one version, to be served as it is and never refreshed."""
        return pinned(self.snapshot)

    def environment(self, **changes: str) -> dict[str, str]:
        """The environment for a process of ours, with settings changed by field name."""
        return dict(os.environ) | {variable(name): value for name, value in changes.items()}


def address(host: str, port: int) -> str:
    """The URL to ask, on this machine, of what listens there."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def load(**overrides: Any) -> Settings:
    """The settings of this process. An override that is None leaves the environment's value.

    Raises:
        SettingsError: naming each variable at fault and what is allowed, never a secret's value.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def variable(name: str) -> str:
    """The environment variable of a field: `port` is INNERLOOP_PORT."""
    return PREFIX + name.upper()


def markdown() -> str:
    """The README's table of settings."""
    rows = ["| Variable | Default | Allowed | What it is |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        rows.append(f"| `{variable(name)}` | {default} | {_allowed(field)} | {field.description} |")
    return "\n".join(rows)


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        field_name = name.removeprefix(PREFIX).lower()
        field = Settings.model_fields.get(field_name)
        if field is None:
            lines.append(f"{name}: {problem['msg']}")
            continue
        # The value of a key, or of an address that may hold a password, is not for the log.
        secret = field_name in ("api_keys", "admin_key", "redis_url")
        given = "" if secret else f" {problem.get('input')!r} is not allowed;"
        lines.append(f"{variable(field_name)}:{given} it must be {_allowed(field)}.")
    return "\n".join(lines)


def _allowed(field: FieldInfo) -> str:
    """What a field may be, in words, from its type and bounds."""
    kind = field.annotation
    bounds = {type(rule).__name__: rule for rule in field.metadata}
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if kind in (int, float):
        number = "a whole number" if kind is int else "a number"
        low = f"from {bounds['Ge'].ge:g}" if "Ge" in bounds else f"above {bounds['Gt'].gt:g}"
        return f"{number} {low} to {bounds['Le'].le}"
    if kind is Path:
        return "a path"
    pattern = next((rule.pattern for rule in field.metadata if getattr(rule, "pattern", None)), None)
    if pattern and "redis" in pattern:
        return "a `redis://`, `rediss://` or `unix://` address"
    if pattern:
        return "`auto`, `cpu`, `cuda`, `cuda:N` or `mps`"
    return "keys with commas between them" if kind == tuple[SecretStr, ...] else "text"
