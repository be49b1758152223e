"""Core ML Tools' builder of programs, with types that fit: what an operator does not take is cast before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.toolbox import coremltools
from pruna_ir.backends.coreml.types import mil_name
from pruna_ir.backends.unsupported import Unsupported

# What a type is cast to where an operator does not take it: each holds all of its values.
_WIDER = {
    "bool": ("int32", "fp16", "fp32"),
    "int8": ("int32", "fp16", "fp32"),
    "uint8": ("int32", "fp16", "fp32"),
    "int16": ("int32", "fp32"),
    "uint16": ("int32", "fp32"),
    "fp16": ("fp32",),
}
# Types of constants that an operator says nothing of, by preference.
_PREFERRED = ("fp32", "int32", "bool", "fp16")


class MilBuilder:
    """Appends operators to the function that is being built."""

    def __init__(self, ios: int) -> None:
        coremltools()
        from coremltools.converters.mil.mil import Builder, types
        from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

        self.ios = ios
        # Whether what is appended now computes in 32 bits, and all that does.
        self.exact = False
        self.exact_ops: list[Any] = []
        self._builder, self._types, self._registry = Builder, types, SSAOpRegistry

    def dtype(self, var: Any) -> str:
        """MIL's name of the type of a variable."""
        return str(self._types.builtin_to_string(var.dtype))

    def const(self, values: np.ndarray, name: str) -> Any:
        """A constant."""
        return self._builder.const(val=values, name=name)

    def cast(self, var: Any, dtype: str, name: str) -> Any:
        """A variable in another type (MIL's name); itself if it has it."""
        return var if self.dtype(var) == dtype else self._builder.cast(x=var, dtype=dtype, name=name)

    def __call__(self, kind: str, name: str, **params: Any) -> Any:
        """Append an operator and return what it writes; numbers and arrays become constants of fitting types."""
        given = {key: value for key, value in params.items() if value is not None}
        fitting = self._fitting(self._registry._get_core_op_cls(kind), given, name)
        try:
            result = getattr(self._builder, kind)(name=name, **fitting)
        except Exception as failure:  # whatever Core ML Tools meet while they infer types and compute constants
            reason = " ".join(str(failure).split())
            raise Unsupported(f"Core ML Tools refuse `{kind}`: {reason[:200]}") from None
        if self.exact:
            self.exact_ops.append((result[0] if isinstance(result, list | tuple) else result).op)
        return result

    def _fitting(self, spec: Any, given: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Parameters in types that the operator takes, those that must agree in one type."""
        groups: dict[str, list[str]] = {}
        for key in given:
            kind = spec.input_spec.input_types.get(key)
            group = getattr(kind, "type_domain_id", None) or key
            groups.setdefault(group, []).append(key)
        found: dict[str, Any] = {}
        for group, keys in groups.items():
            domain = spec.type_domains.get(group)
            names = None if domain is None else [self._types.builtin_to_string(item) for item in domain]
            found.update(self._agreeing({key: given[key] for key in keys}, names, name))
        if "values" in given:  # concat, stack: a list of variables of any one type
            found["values"] = self._alike(list(given["values"]), name)
        return found

    def _agreeing(self, given: dict[str, Any], domain: list[str] | None, name: str) -> dict[str, Any]:
        if domain is None:
            return given
        dtypes = [self.dtype(value) for value in given.values() if self._is_var(value)]
        arrays = [value for value in given.values() if isinstance(value, np.ndarray | np.generic)]
        dtypes = dtypes or [mil_name(value.dtype) for value in arrays]
        wanted = self._wanted(dtypes, domain)
        return {
            key: self.cast(value, wanted, f"{name}_{key}") if self._is_var(value) else _constant(value, wanted)
            for key, value in given.items()
        }

    def _wanted(self, dtypes: list[str], domain: list[str]) -> str:
        """The type of a group of parameters, of those that the operator takes."""
        if not dtypes:
            return next(name for name in (*_PREFERRED, *domain) if name in domain)
        options = [name for name in domain if all(_holds(name, dtype) for dtype in dtypes)]
        same = [name for name in options if name in dtypes]
        order = [*same, *(name for dtype in dtypes for name in _WIDER.get(dtype, ()) if name in options)]
        if not order:
            raise Unsupported(f"Core ML does not compute it in {' and '.join(sorted(set(dtypes)))}")
        return order[0]

    def _alike(self, values: list[Any], name: str) -> list[Any]:
        values = [
            value if self._is_var(value) else self.const(np.asarray(value), f"{name}_{index}_constant")
            for index, value in enumerate(values)
        ]
        dtypes = {self.dtype(value) for value in values}
        allowed = ["bool", "fp16", "fp32", "int32", *(["int8", "uint8", "int16", "uint16"] if self.ios >= 17 else [])]
        wanted = self._wanted(sorted(dtypes), allowed)
        return [self.cast(value, wanted, f"{name}_{index}") for index, value in enumerate(values)]

    def _is_var(self, value: Any) -> bool:
        return hasattr(value, "sym_type")


def _holds(wider: str, dtype: str) -> bool:
    return wider == dtype or wider in _WIDER.get(dtype, ())


def _constant(value: Any, dtype: str) -> Any:
    """A number, a list or an array in a type; text stays text."""
    if isinstance(value, str):
        return value
    numpy = {"fp16": np.float16, "fp32": np.float32, "bool": np.bool_}.get(dtype)
    array = np.asarray(value, numpy or dtype)
    assert mil_name(array.dtype) == dtype
    return array if array.ndim else array[()]
