"""Names in a written package: those of the model, which Core ML Tools' conversion to 16 bits appends to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What the conversion makes of the name of an operator that it moves to 16 bits.
_APPENDED = "_cast_fp16"


def restore_names(program: Any) -> None:
    """Take the ending away from the values of a program (a protobuf), where the name without it is free."""
    for function in program.functions.values():
        for block in function.block_specializations.values():
            taken = {output.name for operator in block.operations for output in operator.outputs}
            taken.update(item.name for item in function.inputs)
            plain = {name: name.removesuffix(_APPENDED) for name in taken if name.endswith(_APPENDED)}
            _rename(block, {name: found for name, found in plain.items() if found not in taken})


def _rename(block: Any, names: Mapping[str, str]) -> None:
    for operator in block.operations:
        for output in operator.outputs:
            output.name = names.get(output.name, output.name)
        for item in operator.inputs.values():
            for argument in item.arguments:
                if argument.WhichOneof("binding") == "name":
                    argument.name = names.get(argument.name, argument.name)
        label = operator.attributes["name"].immediateValue.tensor.strings
        label.values[:] = [names.get(name, name) for name in label.values]
    block.outputs[:] = [names.get(name, name) for name in block.outputs]
