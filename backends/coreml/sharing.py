"""Constants that a program has once: Core ML Tools write one for every operator that reads it."""

from __future__ import annotations

from typing import Any


def share_constants(program: Any) -> None:
    """Let operators of a program (a protobuf) read the first of the constants of the same type and value.

    Half of what is written of a small network are strides, groups, types, and zero points. Weights are in a file of
    their own, where Core ML Tools write them once.
    """
    for function in program.functions.values():
        for block in function.block_specializations.values():
            _share(block)


def _share(block: Any) -> None:
    first: dict[bytes, str] = {}
    same: dict[str, str] = {}
    doomed = []
    for place, operator in enumerate(block.operations):
        for item in operator.inputs.values():
            for argument in item.arguments:
                if argument.WhichOneof("binding") == "name":
                    argument.name = same.get(argument.name, argument.name)
        name = operator.outputs[0].name if operator.outputs else ""
        if operator.type == "const" and name not in block.outputs:
            value = operator.attributes["val"]
            if value.WhichOneof("value") == "immediateValue":
                found = first.setdefault(value.SerializeToString(deterministic=True), name)
                if found != name:
                    same[name] = found
                    doomed.append(place)
    for place in reversed(doomed):
        del block.operations[place]
