"""The axis analysis: which indices of which axes must be removed together, and what each operator says of its axes."""

from pruna_ir.analysis.axes.analysis import AxisAnalysis, Removed, analyze
from pruna_ir.analysis.axes.groups import Group
from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import Axes, NodeAxes, Options
from pruna_ir.analysis.axes.places import Use, key_of, nodes_by_key
from pruna_ir.analysis.axes.repair import Repair
from pruna_ir.analysis.axes.rule import AxisRule, barrier

__all__ = [
    "Axes",
    "AxisAnalysis",
    "AxisRule",
    "Group",
    "Labels",
    "NodeAxes",
    "Options",
    "Removed",
    "Repair",
    "Use",
    "analyze",
    "barrier",
    "key_of",
    "nodes_by_key",
]
