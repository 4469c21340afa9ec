"""GET /metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.routes.access import MetricsPart

router = APIRouter(tags=["service"])


@router.get("/metrics", response_class=Response, summary="Numbers for Prometheus")
async def get_metrics(metrics: MetricsPart) -> Response:
    return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)
