"""Whatever is wrong with what users bring: one screen that says what, no traceback, nothing written, input untouched."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pruna_ir.diagnostics import CODES

from .conftest import Outcome, Run

ROOT = Path(__file__).resolve().parents[2]
SCREEN = 24
