"""Writing a model: whole or not at all."""

from __future__ import annotations

import errno
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
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pruna-") as scratch:
            model_file, data_file = Path(scratch) / "model", Path(scratch) / "data"
            if external.exceeds(proto, limit):
                external.write(proto, data_file, data_path.name)
            model_file.write_bytes(proto.SerializeToString(deterministic=True))
            written = [(model_file, path)]
            if data_file.exists():
                written.insert(0, (data_file, data_path))
            for _, target in written:
                if target.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            size = sum(file.stat().st_size for file, _ in written)
            for file, target in written:
                os.replace(file, target)
            return size
    except OSError as failure:
        help_text = "does the folder exist, and may you write there?"
        raise error("C003", f"cannot write: {failure.strerror}", place=path, help=help_text) from None
