"""What others published on these data: where the goals came from. None of it is measured here."""

from __future__ import annotations

from typing import NamedTuple


class Said(NamedTuple):
    """A figure, or several, and who said so."""

    data: str
    metrics: str
    model: str
    figures: str
    source: str


BEAUTY = "leave-one-out, amazon-beauty", "HR@10 / NDCG@10"
ML_1M = "leave-one-out, ml-1m", "HR@10 / NDCG@10"
OTHER = "leave-one-out, another version of ml-1m", "HR@10 / NDCG@10"
RATINGS = "ratings, ml-1m", "MAE user-cold / item-cold / both"
ESASREC = "Tikhonovich et al. 2025, arXiv:2508.06450"
GSASREC = "Petrov & Macdonald 2023, arXiv:2308.07192"
HSTU = "Zhai et al. 2024, arXiv:2402.17152"

ELSEWHERE = (
    Said(*BEAUTY, "TIGER", ".0648 / .0384", f"Rajput et al. 2023, arXiv:2305.05065, as listed by {ESASREC}"),
    Said(*BEAUTY, "ICLRec", ".0744 / .0403", "Chen et al. 2022, arXiv:2202.02519"),
    Said(*BEAUTY, "ActionPiece", ".0775 / .0424", f"Hou et al. 2025, arXiv:2502.13581, as listed by {ESASREC}"),
    Said(*BEAUTY, "SASRec, sampled softmax", ".0921 / .0531", ESASREC),
    Said(*BEAUTY, "eSASRec", ".0928 / .0523", ESASREC),
    Said(*ML_1M, "SASRec, binary cross-entropy", ".239 / .126", GSASREC),
    Said(*ML_1M, "gSASRec", ".300 / .173", GSASREC),
    Said(*OTHER, "HSTU", ".310 / .172", HSTU),
    Said(*OTHER, "HSTU-large", ".329 / .189", HSTU),
    Said(*OTHER, "eSASRec", ".313 / .177", ESASREC),
    Said(*RATINGS, "MeLU", ".79 / .92 / .92", "Lee et al. 2019, arXiv:1908.00413"),
)


def elsewhere() -> list[str]:
    """The table, in Markdown, with what it is and is not."""
    return [
        "## Published elsewhere, on these data",
        "",
        "**Not measured here**: figures that the papers give for the same data, with full ranking and, but for",
        "the ratings, the last item of every user as the test. The goals of leave-one-out and ratings came from them",
        "and from three that no paper stands for: a SASRec with full softmax in our own prototype, .094 / .057 on",
        "amazon-beauty, one seed; MeLU tuned again, MAE .74 / .90 / .89; and a bias model, .730 / .890 / .881. Another",
        "version of ml-1m has other items: those figures are not comparable exactly. MeLU's own are of all 733 cold",
        "items, of which this version has 674.",
        "",
        "| data | metrics | model | figures | source |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(said)} |" for said in ELSEWHERE),
        "",
    ]
