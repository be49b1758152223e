"""Writing a model: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx

from pruna_ir.diagnostics import error
from pruna_ir.model import external


def write(proto: onnx.ModelProto, path: Path, *, limit: int = external.PROTOBUF_LIMIT) -> int:
    """Write `proto` to `path`, its weights to `<name>.data` beside it if it is above `limit` bytes.

    Returns the bytes on disk. Raises C003 if the place cannot be written; nothing is left behind then.
    """
    data_path = path.with_name(path.name + ".data")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent or Path(), prefix=".pruna-") as scratch:
            model_file, data_file = Path(scratch) / "model", Path(scratch) / "data"
            if proto.ByteSize() > limit:
                external.write(proto, data_file, data_path.name)
            model_file.write_bytes(proto.SerializeToString(deterministic=True))
            size = model_file.stat().st_size
            if data_file.exists():
                size += data_file.stat().st_size
                os.replace(data_file, data_path)
            os.replace(model_file, path)
            return size
    except OSError as failure:
        help_text = "does the folder exist, and may you write there?"
        raise error("C003", f"cannot write: {failure.strerror}", place=path, help=help_text) from None
