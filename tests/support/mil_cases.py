"""A pytest plugin: coremltools' own tests of MIL operators, with the reference evaluator in Core ML's place.

The expected values in these tests are those that Apple's runtime gives. Of each test at most `MIL_CASES` parameter sets
run, chosen by their names; half of the tests write neural networks instead of ML programs, and are left out.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from pruna_ir.backends.coreml.evaluate import load
from pruna_ir.backends.coreml.toolbox import coremltools

# Read by coremltools' tests.
os.environ["PYMIL_TEST_TARGETS"] = "mlprogram"
# What half precision may differ by, absolutely and relatively; the tests themselves allow Core ML more.
_HALF = 2e-2
# Lists of tensors, random numbers, any number of axes, and indices outside, which are not defined; what takes the time.
LEFT_OUT = (
    *("TestList", "TestRandom", "test_ios17_invalid_indices", "test_efficient_type_inference"),
    "TestFill::test_builder_to_backend_symbolic",
)


def compare(
    mlmodel: Any,
    input_key_values: dict[str, np.ndarray],
    expected_outputs: dict[str, Any] | None,
    dtype: str = "fp32",
    atol: float = 1e-4,
    rtol: float = 1e-5,
    also_compare_shapes: bool = True,
    **_: Any,
) -> None:
    """What coremltools' `compare_backend` does on a Mac."""
    program = load(mlmodel.package_path)
    given = {spec.name: np.asarray(input_key_values[spec.name]) for spec in program.inputs}
    feeds = {
        spec.name: given[spec.name].astype(spec.dtype).reshape(_shape(spec.shape, given[spec.name]))
        for spec in program.inputs
    }
    found = program.run(feeds)
    slack = _HALF if dtype == "fp16" else 0.0
    for name, wanted in (expected_outputs or {}).items():
        value = found[name]
        if isinstance(value, str | dict):
            assert value == wanted
            continue
        expected = np.asarray(wanted)
        assert not also_compare_shapes or value.shape == expected.shape
        np.testing.assert_allclose(
            value.astype(np.float64), expected.astype(np.float64), atol=max(atol, slack), rtol=max(rtol, slack)
        )


def _shape(declared: tuple[Any, ...], value: np.ndarray) -> tuple[int, ...]:
    """Numbers are lists of one in packages."""
    return (1,) if declared == (1,) and not value.ndim else value.shape


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose the cases, and put the evaluator into the tests."""
    coremltools()
    import coremltools.converters.mil.mil.ops.tests.testing_utils as testing

    testing.compare_backend = compare
    count = int(os.environ.get("MIL_CASES", "3"))
    tests = defaultdict(list)
    for item in items:
        if "neuralnetwork" not in item.nodeid and not any(name in item.nodeid for name in LEFT_OUT):
            tests[item.nodeid.partition("[")[0]].append(item)
    chosen = [sorted(found, key=lambda item: zlib.crc32(item.nodeid.encode()))[:count] for found in tests.values()]
    items[:] = [item for found in chosen for item in found]
