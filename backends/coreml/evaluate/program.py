"""Running the operators of a program one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pruna_ir.backends.coreml.evaluate.package import Package
from pruna_ir.backends.coreml.evaluate.table import table
from pruna_ir.diagnostics import error
from pruna_ir.model.spec import TensorSpec

Feeds = Mapping[str, np.ndarray]
# Told the name of each value, and the value, as it is computed; may give another one to go on with.
Observer = Callable[[str, Any], Any]
_CONSTANT = "constexpr_"


class Program:
    """The main function of a package, which `run` evaluates in the types that the program declares.

    Operators that work in 16 bit compute in 32 and round what they write. Constant operators are computed once.
    Raises E002 for operators that are not known, all at once.
    """

    def __init__(self, package: Package) -> None:
        self.package = package
        self.function = package.program.functions["main"]
        self._entries = table()
        self._refuse_unknown()
        self._constants: dict[int, Any] = {}
        self._states: dict[str, np.ndarray] = {}
        self._last_uses: dict[int, dict[int, list[int]]] = {}
        self.inputs = tuple(_spec(name, var) for name, var in self.function.inputs.items() if not _is_state(var))
        self.outputs = tuple(_spec(var.name, var) for var in self.function.outputs if _is_array(var))

    def run(self, feeds: Feeds, observe: Observer | None = None) -> dict[str, Any]:
        """Outputs by name: arrays, or for a classifier a label and a dictionary.

        `observe` is told every value on the way, and may replace it. Raises D003 if the feeds do not fit, E002 where
        the program does not keep the types and shapes that it declares.
        """
        values = {id(self.function.inputs[spec.name]): _fed(spec, feeds) for spec in self.inputs}
        with np.errstate(all="ignore"):
            found = self._run_block(self.function, values, observe)
        return {var.name: value for var, value in zip(self.function.outputs, found, strict=True)}

    def _run_block(self, block: Any, outer: dict[int, Any], observe: Observer | None) -> list[Any]:
        """The outputs of a block, whose inputs are in `outer`, with the values that it sees."""
        values = dict(outer)
        unused = self._unused_after(block)
        for index, op in enumerate(block.operations):
            if op.op_type == "const":
                continue
            for var, value in zip(op.outputs, self._run_op(op, values, observe), strict=True):
                other = None if observe is None else observe(var.name, value)
                values[id(var)] = value if other is None else other
            for key in unused.get(index, ()):
                values.pop(key, None)
        return [self._value(var, values) for var in block.outputs]

    def _run_op(self, op: Any, values: dict[int, Any], observe: Observer | None) -> Sequence[Any]:
        constant = op.op_type.startswith(_CONSTANT)
        if constant and id(op) in self._constants:
            return [self._constants[id(op)]]
        control = _CONTROL.get(op.op_type)
        found = self._compute(op, values) if control is None else control(self, op, values, observe)
        checked = [_declared(op, var, value) for var, value in zip(op.outputs, found, strict=True)]
        if constant:
            self._constants[id(op)] = checked[0]
        return checked

    def _compute(self, op: Any, values: dict[int, Any]) -> Sequence[Any]:
        entry = self._entries[op.op_type]
        inputs = {name: self._operand(var, values) for name, var in op.inputs.items() if var is not None}
        unknown = sorted(set(inputs) - entry.inputs)
        if unknown:
            raise error("E002", f"`{op.op_type}` has an input `{unknown[0]}` that is not known", place=op.name)
        if "version" in entry.inputs:
            inputs["version"] = self.package.version
        try:
            result = entry.compute(**inputs)
        except (ValueError, IndexError) as failure:
            raise error("E002", f"`{op.op_type}` cannot be computed: {failure}", place=op.name) from None
        return result if isinstance(result, tuple | list) else [result]

    def _operand(self, var: Any, values: dict[int, Any]) -> Any:
        """The value of an input, or of each of several: 16-bit floats in 32 bit."""
        if isinstance(var, list | tuple):
            return [self._operand(item, values) for item in var]
        value = self._value(var, values)
        return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float16 else value

    def _value(self, var: Any, values: dict[int, Any]) -> Any:
        if id(var) in values:
            return values[id(var)]
        value = var.val
        return value if isinstance(value, str | list) else np.asarray(value)

    def _unused_after(self, block: Any) -> dict[int, list[int]]:
        """By the position of an operator: the values of the block that nothing reads after it."""
        if id(block) not in self._last_uses:
            last: dict[int, int] = {}
            for index, op in enumerate(block.operations):
                last.update({id(var): index for var in (*op.outputs, *_read_by(op))})
            for var in block.outputs:
                last.pop(id(var), None)
            made = {id(var) for op in block.operations for var in op.outputs}
            unused: dict[int, list[int]] = {}
            for key, index in last.items():
                if key in made:
                    unused.setdefault(index, []).append(key)
            self._last_uses[id(block)] = unused
        return self._last_uses[id(block)]

    def _refuse_unknown(self) -> None:
        known = {"const", *_CONTROL, *self._entries}
        unknown = sorted({op.op_type for op in every_op(self.function) if op.op_type not in known})
        if unknown:
            message = f"the evaluator does not know {', '.join(f'`{name}`' for name in unknown)}"
            raise error("E002", message, place=self.package.path.name)


def every_op(block: Any) -> Iterator[Any]:
    """The operators of a block and of the blocks in it."""
    for op in block.operations:
        yield op
        for inner in op.blocks:
            yield from every_op(inner)


def _read_by(op: Any) -> Iterable[Any]:
    """What an operator reads, in its blocks too."""
    yield from op.get_flattened_inputs()
    for block in op.blocks:
        yield from block.outputs
        for inner in every_op(block):
            yield from inner.get_flattened_inputs()


def _cond(program: Program, op: Any, values: dict[int, Any], observe: Observer | None) -> Sequence[Any]:
    chosen = op.blocks[0] if program._value(op.pred, values) else op.blocks[1]
    return program._run_block(chosen, values, observe)


def _while_loop(program: Program, op: Any, values: dict[int, Any], observe: Observer | None) -> Sequence[Any]:
    condition, body = op.blocks
    state = [program._value(var, values) for var in op.loop_vars]
    while program._run_block(condition, _bound(condition, state, values), observe)[0]:
        state = program._run_block(body, _bound(body, state, values), observe)
    return state


def _bound(block: Any, state: Sequence[Any], values: dict[int, Any]) -> dict[int, Any]:
    return {**values, **{id(var): value for var, value in zip(block.inputs, state, strict=True)}}


def _read_state(program: Program, op: Any, values: dict[int, Any], observe: Observer | None) -> Sequence[Any]:
    state = op.inputs["input"]
    if state.name not in program._states:
        shape, dtype = state.shape, _dtype(state)
        program._states[state.name] = np.zeros([int(size) for size in shape], dtype)
    return [program._states[state.name]]


def _update_state(program: Program, op: Any, values: dict[int, Any], observe: Observer | None) -> Sequence[Any]:
    value = program._value(op.inputs["value"], values)
    program._states[op.inputs["state"].name] = value
    return [value]


_CONTROL = {
    "cond": _cond,
    "while_loop": _while_loop,
    "read_state": _read_state,
    "coreml_update_state": _update_state,
}


def _declared(op: Any, var: Any, value: Any) -> Any:
    """A value in the type that the program declares for it; E002 if its shape is another one."""
    if isinstance(value, str | int | dict):
        return value
    array = np.asarray(value)
    wanted = tuple(var.shape or ())
    fits = len(wanted) == array.ndim and all(
        not isinstance(size, int | np.integer) or size == found for size, found in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        message = f"`{op.op_type}` gives `{var.name}` in shape {list(array.shape)}, declared is {list(wanted)}"
        raise error("E002", message, place=op.name)
    return array.astype(_dtype(var), copy=False)


def _dtype(var: Any) -> np.dtype:
    from coremltools.converters.mil.mil import types

    dtype: np.dtype = np.dtype(types.nptype_from_builtin(var.dtype))
    return dtype


def _is_array(var: Any) -> bool:
    """Whether it is a tensor or number, and not what a classifier answers."""
    from coremltools.converters.mil.mil import types

    numbers = types.is_tensor(var.sym_type) or types.is_scalar(var.sym_type)
    return bool(numbers and var.dtype != types.str)


def _is_state(var: Any) -> bool:
    from coremltools.converters.mil.mil import types

    return bool(types.is_state(var.sym_type))


def _spec(name: str, var: Any) -> TensorSpec:
    sizes = (size if isinstance(size, int | np.integer) else str(size) for size in var.shape or ())
    return TensorSpec(name, _dtype(var), tuple(int(size) if not isinstance(size, str) else size for size in sizes))


def _fed(spec: TensorSpec, feeds: Feeds) -> np.ndarray:
    value = np.asarray(feeds[spec.name]) if spec.name in feeds else None
    if value is None or value.ndim != len(spec.shape) or value.dtype != spec.dtype or not _fits(spec, value):
        found = "is missing" if value is None else f"is {value.dtype.name}{list(value.shape)}"
        raise error("D003", "the samples do not fit the package's inputs", notes=[f"{spec}: the sample {found}"])
    return value


def _fits(spec: TensorSpec, value: np.ndarray) -> bool:
    return all(isinstance(size, str) or size == found for size, found in zip(spec.shape, value.shape, strict=True))
