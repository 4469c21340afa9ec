"""GET /health/live, /health/ready and /health: is the process up, can it answer, and how is each part."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from app.answers import Check, Health
from app.errors import NotReady, StoreUnavailable
from app.routes.access import HeartbeatPart, RecommenderPart

router = APIRouter(tags=["health"])


class HealthJson(JSONResponse):
    media_type = "application/health+json"


@router.get("/health/live", summary="Is the process up?")
async def get_live() -> Health:
    """Asks nothing of anything else: a Redis that is away is no reason to restart this."""
    return Health(status="pass")


@router.get("/health/ready", summary="Can it answer?", responses={503: {"description": "Not yet, or no longer."}})
async def get_ready(recommender: RecommenderPart) -> Health:
    """A snapshot is loaded and warm, and the engine is alive."""
    if not recommender.ready:
        raise NotReady("No snapshot is loaded and warm, or the engine has died.")
    return Health(status="pass")


@router.get("/health", response_class=HealthJson, response_model=Health, summary="How is each part?")
async def get_health(recommender: RecommenderPart, heartbeat: HeartbeatPart) -> Response:
    """`fail` where it cannot answer, `warn` where it answers with less: without histories, or without a worker."""
    checks = {"engine": Check(status="pass" if recommender.alive else "fail")}
    checks["snapshot"] = _snapshot(recommender)
    try:
        beat = await heartbeat.read()
        checks["redis"] = Check(status="pass")
        checks["worker"] = (
            Check(status="warn", output="no worker has given a sign of life lately: the model is not refreshed")
            if beat is None
            else Check(status="pass", observed=beat)
        )
    except StoreUnavailable as error:
        checks["redis"] = Check(status="warn", output=f"{error.detail} Recommendations are degraded, events refused.")
        checks["worker"] = Check(status="warn", output="unknown while Redis is away")
    found = {check.status for check in checks.values()}
    status = "fail" if "fail" in found else "warn" if "warn" in found else "pass"
    health = Health.model_validate({"status": status, "checks": checks})
    return HealthJson(health.model_dump(), status_code=503 if status == "fail" else 200)


def _snapshot(recommender: RecommenderPart) -> Check:
    try:
        manifest = recommender.manifest
    except NotReady as error:
        return Check(status="fail", output=error.detail)
    return Check(status="pass", observed={"version": manifest.version, "created": manifest.created})
