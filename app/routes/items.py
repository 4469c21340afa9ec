"""PUT /items, GET /items/{id} and GET /items/{id}/similar: the catalogue, which grows while serving."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query

from app.answers import ItemOut, ItemsStored, Recommended, SimilarItems
from app.errors import NotFound, TooLarge
from app.routes.access import RecommenderPart, SettingsPart
from app.schemas import Id, ItemsIn
from models.item import Item

router = APIRouter(tags=["items"])

# `:path`, because an item's id may hold a slash.
ItemId = Annotated[Id, Path(description="The item's id.")]


@router.put("/items", summary="Add items or change them")
async def put_items(
    body: Annotated[ItemsIn, Body()], settings: SettingsPart, recommender: RecommenderPart
) -> ItemsStored:
    """All of them or none. A new item can be recommended at once, through its text, before anyone has touched it.

    The first request after a start waits some seconds more, for the text encoder to be loaded.
    """
    if len(body.items) > settings.max_items:
        raise TooLarge(
            f"At most {settings.max_items} items fit in one request; this has {len(body.items)}.", field="items"
        )
    items = [
        Item(given.item_id, given.title, given.text, tuple(dict.fromkeys(given.categories)), given.available)
        for given in body.items
    ]
    version = await recommender.put(items)
    return ItemsStored(items=len(items), catalogue=version)


@router.get("/items/{item_id:path}/similar", summary="Items like this one")
async def get_similar(
    item_id: ItemId, recommender: RecommenderPart, k: Annotated[int, Query(ge=1, le=100)] = 10
) -> SimilarItems:
    answer = await recommender.similar(item_id, k)
    pairs = zip(answer.items, answer.scores, strict=True)
    return SimilarItems(
        item_id=item_id,
        items=[Recommended(item_id=other, score=score) for other, score in pairs],
        snapshot=answer.snapshot,
    )


@router.get("/items/{item_id:path}", summary="One item")
async def get_item(item_id: ItemId, recommender: RecommenderPart) -> ItemOut:
    item = recommender.item(item_id)
    if item is None:
        raise NotFound(f"There is no item {item_id!r}.", field="item_id")
    return ItemOut(
        item_id=item.id, title=item.title, text=item.text, categories=list(item.categories), available=item.available
    )
