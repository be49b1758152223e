"""Calibration: what values tensors take on the user's data, and the ranges and schemes that follow from them."""

from pruna_ir.calibration.collect import collect
from pruna_ir.calibration.fingerprint import fingerprints
from pruna_ir.calibration.ranges import METHODS, solve
from pruna_ir.calibration.record import Channels, Record
from pruna_ir.calibration.scheme import QuantParams, Range, Scheme
from pruna_ir.calibration.statistics import Statistics

__all__ = [
    "METHODS",
    "Channels",
    "QuantParams",
    "Range",
    "Record",
    "Scheme",
    "Statistics",
    "collect",
    "fingerprints",
    "solve",
]
