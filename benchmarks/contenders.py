"""Every ranking contender by its name on the command line."""

from __future__ import annotations

from benchmarks.opponents.classic import IALS, POPULARITY
from benchmarks.opponents.content_knn import ContentKNN
from benchmarks.opponents.innerloop import InnerLoopContender
from benchmarks.opponents.place import PlaceContender
from benchmarks.opponents.recency import EASE_PLAIN, EASE_RECENCY, ITEM_KNN, ITEM_KNN_RECENCY
from benchmarks.opponents.rectools_adapter import RECTOOLS
from benchmarks.opponents.sasrec import SASRec
from benchmarks.task import Contender

RANKERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        POPULARITY,
        PlaceContender(),
        ITEM_KNN,
        ITEM_KNN_RECENCY,
        IALS,
        EASE_PLAIN,
        EASE_RECENCY,
        SASRec(),
        ContentKNN(),
        ContentKNN(words=True),
        InnerLoopContender(),
        InnerLoopContender("fomaml"),
        InnerLoopContender("reptile"),
        *RECTOOLS,
    )
}
