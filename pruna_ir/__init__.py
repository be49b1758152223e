"""pruna-ir: an optimizing compiler for trained neural networks.

    import pruna_ir as pi
    model = pi.load("model.onnx")
    data = pi.Dataset.load("data.yaml")
    result = pi.PassManager.parse("simplify,fuse,quantize").run(model, data=data)
    pi.emit(model, "onnx", "model.int8.onnx", data=data)

Importing this loads nothing else: each name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruna_ir.data import Dataset
    from pruna_ir.diagnostics import PrunaError
    from pruna_ir.emission import emit
    from pruna_ir.model import Model
    from pruna_ir.pipeline.manager import PassManager
    from pruna_ir.targets import Target

    __version__: str
    load = Model.load

__all__ = ["Dataset", "Model", "PassManager", "PrunaError", "Target", "__version__", "emit", "load"]

_HOMES = {
    "Dataset": "pruna_ir.data",
    "Model": "pruna_ir.model",
    "PassManager": "pruna_ir.pipeline.manager",
    "PrunaError": "pruna_ir.diagnostics",
    "Target": "pruna_ir.targets",
    "emit": "pruna_ir.emission",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    value: Any
    if name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    elif name == "load":
        from pruna_ir.model import Model

        value = Model.load
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The installed version; `unknown` in a checkout that is used without being installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("pruna-ir")
    except PackageNotFoundError:
        return "unknown"
