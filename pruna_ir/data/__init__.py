"""Datasets and metrics: what calibrates, guards and scores a model."""

from __future__ import annotations

from pruna_ir.data.agreement import Agreement
from pruna_ir.data.dataset import BoundDataset, Dataset
from pruna_ir.data.metrics import FunctionMetric, Metric, evaluate
from pruna_ir.data.preprocess import Preprocessing
from pruna_ir.data.resize import Resize
from pruna_ir.data.split import Batch, Split

__all__ = [
    "Agreement",
    "Batch",
    "BoundDataset",
    "Dataset",
    "FunctionMetric",
    "Metric",
    "Preprocessing",
    "Resize",
    "Split",
    "evaluate",
]
