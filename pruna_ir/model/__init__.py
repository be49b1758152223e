"""The IR: loading, holding, checking and saving a model."""

from pruna_ir.model.model import Model
from pruna_ir.model.spec import TensorSpec

__all__ = ["Model", "TensorSpec"]
