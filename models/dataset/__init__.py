"""Datasets: files in the formats people have, read into interactions and items.

read(path) -> formats (which format is it?)
                movielens | recbole | sequences | generic     one file a format: where the columns are
                  table       text, Parquet or JSONL -> rows with their line numbers
                  rows        rows -> checked interactions; what is refused is counted and explained
                  describe    rows -> items
                dataset       both together, numbered and reported
"""

from __future__ import annotations

from models.dataset.columns import Columns
from models.dataset.dataset import Dataset
from models.dataset.error import DatasetError
from models.dataset.formats import read
from models.dataset.report import Refusal, Report

__all__ = ["Columns", "Dataset", "DatasetError", "Refusal", "Report", "read"]
