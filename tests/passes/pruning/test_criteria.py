"""Importance scores, on weights where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from pruna_ir.passes.pruning.criteria.criteria import CRITERIA, Criterion, errors_of, importance
from pruna_ir.passes.pruning.criteria.slices import GroupWeights, Slices


def part(*rows: list[float], units: list[int] | None = None, reads: list[float] | None = None) -> Slices:
    values = np.array(rows, np.float32)
    owners = np.arange(len(rows)) if units is None else np.array(units)
    return Slices(values, owners, None if reads is None else np.array(reads))


def scores(name: str, **parts: tuple[Slices, ...]) -> list[float]:
    size = 1 + max(int(one.units.max()) for several in parts.values() for one in several)
    group = GroupWeights("g", size, **parts)  # type: ignore[arg-type]
    return list(map(float, CRITERIA[name].scores(group)))


def test_norms_sum_over_all_writers() -> None:
    writers = (part([3, -4], [0, 1]), part([1], [-2]))
    assert scores("l1", producers=writers) == [8, 3]
    assert scores("l2", producers=writers) == [26, 5]


def test_unit_of_several_rows() -> None:
    """Two heads of two rows each."""
    assert scores("l1", producers=(part([1], [2], [3], [4], units=[0, 0, 1, 1]),)) == [3, 7]
    assert scores("l1", producers=(part([1], [2], [3], [4], units=[0, 1, 0, 1]),)) == [4, 6]


def test_group_norm_is_free_of_a_layers_scale() -> None:
    writer, reader = part([1.0], [2.0]), part([5.0], [1.0])
    plain = scores("group-l2", producers=(writer,), consumers=(reader,))
    louder = scores("group-l2", producers=(part([100.0], [200.0]),), consumers=(reader,))
    assert plain == pytest.approx(louder)
    assert plain[0] == pytest.approx(1 / 2.5 + 25 / 13)


def test_scale_of_normalizations() -> None:
    assert scores("bn-scale", scales=(part([-2.0], [0.5]),)) == [2, 0.5]


def test_median_filter_is_worth_least() -> None:
    found = scores("fpgm", producers=(part([0, 0], [1, 0], [5, 0]),))
    assert found == pytest.approx([6, 5, 9])


def test_median_of_units_with_different_numbers_of_rows() -> None:
    found = scores("fpgm", producers=(part([1], [2], [3], units=[0, 1, 1]),))
    assert found == pytest.approx([np.hypot(1, 3)] * 2)


def test_activation_weighs_what_is_read() -> None:
    reader = part([1, 1], [1, 1], reads=[1.0, 3.0])
    assert scores("activation", consumers=(reader, part([1], [1]))) == [2, 6]


def test_random_depends_on_the_group_and_the_seed_alone() -> None:
    def draw(name: str, seed: int) -> list[float]:
        return list(map(float, CRITERIA["random"].scores(GroupWeights(name, 4, seed=seed))))

    assert draw("a", 0) == draw("a", 0) != draw("b", 0)
    assert draw("a", 0) != draw("a", 1)


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_compares_groups(name: str) -> None:
    """Scores average 1, whatever the scale of the weights, so that one threshold holds for all groups."""
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1.0, 1e3):
        draw = [part(*(scale * rng.uniform(0.1, 1, (6, 3))).tolist(), reads=[1.0] * 6) for _ in range(3)]
        found = importance(CRITERIA[name], GroupWeights("g", 6, (draw[0],), (draw[1],), (draw[2],)))
        assert found.shape == (6,) and found.mean() == pytest.approx(1) and (found > 0).all()


def test_nothing_seen_and_not_finite() -> None:
    assert importance(CRITERIA["l1"], GroupWeights("g", 3)).tolist() == [0, 0, 0]
    bad = importance(Criterion(lambda group: np.array([np.nan, np.inf, 1.0])), GroupWeights("g", 3))
    assert np.isfinite(bad).all() and bad[1] > bad[2] >= bad[0]


def test_error_curve_is_what_is_lost_over_what_stays() -> None:
    assert errors_of(np.array([3.0, 1.0, 4.0])).tolist() == [0, 1 / 7, 4 / 4, np.inf]
    assert errors_of(np.zeros(3)).tolist() == [0, 0, 0, 0]
