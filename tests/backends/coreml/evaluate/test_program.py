"""Running whole programs: types, blocks, what is refused, and packages on disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")

from mil_programs import ct, evaluated, in_memory, mb, on_disk, program

from pruna_ir.backends.coreml.evaluate import Program, evaluate, load
from pruna_ir.backends.coreml.evaluate.package import Package
from pruna_ir.backends.coreml.evaluate.table import table
from pruna_ir.diagnostics import PrunaError

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
# What has no answer that a file decides (random numbers), what nobody writes into ML programs any more, and what holds
# lists.
LEFT_OUT = {"conv_quantized", "constexpr_sparse_blockwise_shift_scale", "constexpr_lut_to_sparse", "_const_symbolic"}
BESIDE_THE_TABLE = {"const", "cond", "while_loop", "read_state"}


def test_every_operator_of_core_ml_tools_is_known_or_left_out() -> None:
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    every = {op for op in SSAOpRegistry.core_ops if not op.startswith(("random_", "list_", "make_list"))}
    assert every - set(table()) - BESIDE_THE_TABLE == LEFT_OUT


def test_half_precision_is_rounded_after_every_operator() -> None:
    def build(x: Any) -> Any:
        half = mb.cast(x=x, dtype="fp16")
        return mb.cast(x=mb.sub(x=mb.add(x=half, y=np.float16(2048.0)), y=np.float16(2048.0)), dtype="fp32")

    found = evaluated(build, {"x": np.asarray([0.4, 1.6], np.float32)})[0]
    assert found.tolist() == [0.0, 2.0]  # above 2048 halves are whole, even numbers


def test_halves_overflow() -> None:
    def build(x: Any) -> Any:
        half = mb.cast(x=x, dtype="fp16")
        return mb.cast(x=mb.mul(x=half, y=half), dtype="fp32")

    assert evaluated(build, {"x": np.asarray([300.0], np.float32)})[0].tolist() == [np.inf]


def test_branches() -> None:
    def build(x: Any) -> Any:
        total = mb.reduce_sum(x=x, axes=[0, 1], keep_dims=False)
        positive = mb.greater(x=total, y=np.float32(0))
        return mb.cond(pred=positive, _true_fn=lambda: mb.relu(x=x), _false_fn=lambda: mb.square(x=x))

    run = in_memory(build, {"x": X})
    for value in (np.abs(X), -np.abs(X)):
        expected = value if value.sum() > 0 else value**2
        np.testing.assert_allclose(next(iter(run.run({"x": value}).values())), expected, rtol=1e-6)


def test_loops() -> None:
    """Doubled until the sum is 100 or more; the loop reads a value from outside."""

    def build(x: Any) -> Any:
        two = mb.add(x=mb.mul(x=x, y=np.float32(0)), y=np.float32(2))
        return mb.while_loop(
            _cond=lambda value: mb.less(x=mb.reduce_sum(x=value, axes=[0, 1], keep_dims=False), y=np.float32(100)),
            _body=lambda value: mb.mul(x=value, y=two),
            loop_vars=(x,),
        )

    expected = np.abs(X)
    while expected.sum() < 100:
        expected = expected * 2
    np.testing.assert_allclose(evaluated(build, {"x": np.abs(X)})[0], expected, rtol=1e-6)


def test_several_outputs_and_an_unused_one() -> None:
    found = evaluated(lambda x: mb.split(x=x, num_splits=3, axis=1)[1:], {"x": X})
    np.testing.assert_array_equal(found[0], X[:, 1:2])


def test_constants_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counting(**inputs: Any) -> np.ndarray:
        calls.append(1)
        return entry.compute(**inputs)  # type: ignore[no-any-return]

    entry = table()["constexpr_cast"]
    monkeypatch.setitem(table(), "constexpr_cast", SimpleNamespace(compute=counting, inputs=entry.inputs))

    def build(x: Any) -> Any:
        return mb.add(x=x, y=mb.constexpr_cast(source_val=X.astype(np.float16), output_dtype="fp32"))

    run = in_memory(build, {"x": X}, 16)
    for _ in range(3):
        run.run({"x": X})
    assert len(calls) == 1


def test_values_are_seen_and_replaced() -> None:
    run = in_memory(lambda x: mb.square(x=mb.relu(x=x, name="middle"), name="end"), {"x": X})
    seen: dict[str, Any] = {}

    def observe(name: str, value: np.ndarray) -> np.ndarray | None:
        seen[name] = value
        return np.full_like(value, 3) if name == "middle" else None

    found = run.run({"x": X}, observe)["end"]
    np.testing.assert_array_equal(seen["middle"], np.maximum(X, 0))
    assert (found == 9).all() and list(seen) == ["middle", "end"]


def test_values_are_dropped_after_their_last_use() -> None:
    run = in_memory(lambda x: mb.square(x=mb.relu(x=mb.abs(x=x, name="first"), name="second"), name="end"), {"x": X})
    unused = run._unused_after(run.function)
    names = {id(var): var.name for op in run.function.operations for var in op.outputs}
    dropped = {index: [names[key] for key in keys] for index, keys in unused.items()}
    order = [op.outputs[0].name for op in run.function.operations]
    assert dropped == {order.index("second"): ["first"], order.index("end"): ["second"]}


@pytest.mark.parametrize(
    "feeds",
    [{}, {"x": X[:1]}, {"x": X.astype(np.float64)}, {"x": X[0]}],
    ids=["missing", "shape", "type", "rank"],
)
def test_feeds_that_do_not_fit(feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(PrunaError, match="do not fit") as caught:
        in_memory(lambda x: mb.relu(x=x), {"x": X}).run(feeds)
    assert caught.value.diagnostic.code == "D003"


def test_unknown_operators_are_named_together() -> None:
    def build(x: Any) -> Any:
        shape = np.asarray([2, 3], np.int32)
        noise = mb.random_normal(shape=shape, mean=np.float32(0), stddev=np.float32(1), seed=np.int32(1))
        more = mb.random_uniform(shape=shape, low=np.float32(0), high=np.float32(1), seed=np.int32(1))
        return mb.add(x=mb.add(x=x, y=noise), y=more)

    with pytest.raises(PrunaError, match="`random_normal`, `random_uniform`") as caught:
        in_memory(build, {"x": X})
    assert caught.value.diagnostic.code == "E002"


def test_indices_outside_are_refused() -> None:
    """Negative ones too, for iOS 17; before they count from the end."""
    indices = np.asarray([-1], np.int32)

    def build(x: Any, i: Any) -> Any:
        return mb.gather(x=x, indices=i, axis=1)

    np.testing.assert_array_equal(evaluated(build, {"x": X, "i": indices}, 16)[0], X[:, -1:])
    for value in (indices, indices + 4):
        with pytest.raises(PrunaError, match="`gather` cannot be computed: an index"):
            evaluated(build, {"x": X, "i": value})


def test_a_program_that_does_not_keep_its_types() -> None:
    made = program(lambda x: mb.relu(x=x, name="y"), {"x": X})
    op = next(op for op in made.functions["main"].operations if op.op_type == "relu")
    other = mb.placeholder(shape=(2, 4)).outputs[0]
    op.outputs[0]._sym_type = other.sym_type
    package = Package(Path("wrong.mlpackage"), SimpleNamespace(specificationVersion=8), made)
    with pytest.raises(PrunaError, match=r"gives `y` in shape \[2, 3\], declared is \[2, 4\]"):
        Program(package).run({"x": X})


def test_open_sizes() -> None:
    from coremltools.converters.mil.mil import get_new_symbol

    @mb.program(input_specs=[mb.TensorSpec(shape=(get_new_symbol(), 3))], opset_version=ct.target.iOS17)  # type: ignore[untyped-decorator]
    def made(x: Any) -> Any:
        return mb.reduce_sum(x=x, axes=[1], keep_dims=False)

    run = Program(Package(Path("open.mlpackage"), SimpleNamespace(specificationVersion=8), made))
    for size in (1, 5):
        value = np.ones((size, 3), np.float32)
        assert next(iter(run.run({"x": value}).values())).tolist() == [3.0] * size


def test_classifiers() -> None:
    probabilities = np.asarray([0.25, 0.75], np.float32)
    run = in_memory(lambda x: mb.classify(probabilities=x, classes=_names("cat", "dog")), {"x": probabilities})
    assert list(run.run({"x": probabilities}).values()) == ["dog", {"cat": 0.25, "dog": 0.75}]
    assert run.outputs == ()


def _names(*labels: str) -> Any:
    from coremltools.converters.mil.mil import mil_list

    return mb.const(val=mil_list(list(labels)))


class TestPackages:
    def test_read_back(self, tmp_path: Path) -> None:
        weight = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
        path = on_disk(tmp_path / "m.mlpackage", lambda x: mb.linear(x=x, weight=weight, name="y"), {"x": X})
        found = evaluate(path, {"x": X})
        np.testing.assert_allclose(found["y"], X @ weight.T, rtol=1e-5, atol=1e-6)
        run = load(path)
        assert [str(spec) for spec in (*run.inputs, *run.outputs)] == ["x: float32[2, 3]", "y: float32[2, 40]"]
        assert run.package.version == 8

    def test_no_such_package(self, tmp_path: Path) -> None:
        with pytest.raises(PrunaError) as caught:
            load(tmp_path / "none.mlpackage")
        assert caught.value.diagnostic.code == "M001"

    def test_a_file_that_is_no_package(self, tmp_path: Path) -> None:
        path = tmp_path / "m.mlpackage"
        path.write_text("no package")
        with pytest.raises(PrunaError, match="cannot read the package") as caught:
            load(path)
        assert caught.value.diagnostic.code == "E002"

    @pytest.mark.parametrize("part", ["*.mlmodel", "weight.bin"])
    def test_a_part_is_missing(self, tmp_path: Path, part: str) -> None:
        weight = np.ones((40, 3), np.float32)
        path = on_disk(tmp_path / "m.mlpackage", lambda x: mb.linear(x=x, weight=weight), {"x": X})
        for file in path.rglob(part):
            file.unlink()
        with pytest.raises(PrunaError, match="cannot read the package"):
            load(path)

    def test_a_package_moves(self, tmp_path: Path) -> None:
        path = on_disk(tmp_path / "m.mlpackage", lambda x: mb.relu(x=x, name="y"), {"x": X})
        moved = shutil.copytree(path, tmp_path / "elsewhere.mlpackage")
        shutil.rmtree(path)
        np.testing.assert_array_equal(evaluate(moved, {"x": X})["y"], np.maximum(X, 0))

    def test_without_core_ml_tools(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(PrunaError, match="coremltools is not installed") as caught:
            load(tmp_path)
        assert caught.value.diagnostic.code == "X001" and "pruna-ir[coreml]" in caught.value.diagnostic.help
