from __future__ import annotations

from conv_chains import conv_bn_chain
from seeded_passes import small_model

from pruna_ir.instruments.timing import Timing
from pruna_ir.pipeline.manager import PassManager


def test_passes_and_rules_have_a_row_each() -> None:
    timing = Timing()
    result = PassManager.parse("dead-code,fuse-conv-bn,fuse").run(conv_bn_chain(3), instruments=[timing])
    rows = [(row.text, row.changed, row.nodes_before, row.nodes_after) for row in timing.passes]
    assert rows == [("dead-code", False, 6, 6), ("fuse-conv-bn", True, 6, 3), ("fuse", False, 3, 3)]
    assert [row.seconds for row in timing.passes] == [stage.seconds for stage in result.stages]
    assert timing.seconds == sum(stage.seconds for stage in result.stages) > 0
    first = timing.rules[0]
    assert (first.pass_text, first.rule, first.tried, first.fired) == ("fuse-conv-bn", "fuse-conv-bn", 3, 3)
    assert 0 < first.seconds <= timing.passes[1].seconds
    assert {row.pass_text for row in timing.rules[1:]} <= {"fuse"}


def test_a_pass_without_rules_has_no_rule_rows() -> None:
    timing = Timing()
    PassManager.parse("dead-code").run(small_model(), instruments=[timing])
    assert timing.rules == []
