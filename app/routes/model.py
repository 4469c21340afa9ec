"""GET /model and POST /model/rollback: which snapshot is served, and the way back to the one before."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends

from app.routes.access import RecommenderPart, authorise_admin

router = APIRouter(tags=["model"])


@router.get("/model", summary="The manifest of the snapshot that is served")
async def get_model(recommender: RecommenderPart) -> dict[str, Any]:
    return asdict(recommender.manifest)


@router.post(
    "/model/rollback",
    dependencies=[Depends(authorise_admin)],
    summary="Go back one version",
    responses={
        403: {"description": "No admin key is set."},
        409: {"description": "There is no sound version to go back to."},
    },
)
async def post_rollback(recommender: RecommenderPart) -> dict[str, Any]:
    """Publishes the version before the one served, checks and loads it, and answers with its manifest."""
    return asdict(await recommender.rollback())
