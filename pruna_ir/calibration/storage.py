"""The file format of statistics: an .npz archive of plain arrays, read without pickle."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pruna_ir.calibration.histogram import COARSE, FINE
from pruna_ir.calibration.record import Channels, Record
from pruna_ir.diagnostics import error
from pruna_ir.writing import whole

FORMAT = 1
_HELP = "write it again with --save-stats"


def save(records: Mapping[str, Record], samples: int, path: Path) -> None:
    """Write the file whole or not at all; raises C003 if that is not possible."""
    with whole(path) as written, written.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **_pack(records, samples))


def load(path: Path) -> tuple[dict[str, Record], int]:
    """Records by name, and the number of samples; raises S002 if this is not a file that `save` wrote."""
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise error("S002", "not a statistics file", place=path, help=_HELP)
            found = int(archive["format"])
            if found != FORMAT:
                raise error("S002", f"the file has format {found}, this version reads {FORMAT}", place=path, help=_HELP)
            return _unpack(dict(archive))
    except OSError as failure:
        raise error("S002", f"cannot read the statistics: {failure.strerror or failure}", place=path) from None
    except (ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        raise error("S002", "not a statistics file, or a damaged one", place=path, help=_HELP) from None


def _pack(records: Mapping[str, Record], samples: int) -> dict[str, np.ndarray]:
    """Histograms are mostly empty: only the buckets in use are stored, `lengths` of them for each tensor."""
    used = [np.flatnonzero(record.histogram) for record in records.values()]
    arrays = {
        "format": np.array(FORMAT),
        "samples": np.array(samples),
        "names": np.array(list(records), np.str_),
        "fingerprints": np.array([record.fingerprint for record in records.values()], np.str_),
        "ranges": np.array([(record.minimum, record.maximum) for record in records.values()], np.float64),
        "counts": np.array([(record.count, record.nan, record.infinite) for record in records.values()], np.int64),
        "constants": np.array([record.constant for record in records.values()], np.bool_),
        "lengths": np.array([len(buckets) for buckets in used], np.int64),
        "buckets": np.concatenate([*used, np.zeros(0, np.int64)]).astype(np.uint16),
        "weights": np.concatenate([record.histogram[at] for record, at in zip(records.values(), used, strict=True)])
        if records
        else np.zeros(0, np.int64),
    }
    for index, record in enumerate(records.values()):
        if record.channels is not None:
            arrays[f"axis.{index}"] = np.array(record.channels.axis)
            arrays[f"minimum.{index}"] = record.channels.minimum
            arrays[f"maximum.{index}"] = record.channels.maximum
            arrays[f"histogram.{index}"] = record.channels.histogram
    return arrays


def _unpack(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, Record], int]:
    lengths = arrays["lengths"]
    ends = np.cumsum(lengths)
    if len(arrays["buckets"]) != int(lengths.sum()) or len(arrays["weights"]) != int(lengths.sum()):
        raise ValueError("histogram lengths do not add up")
    records = {}
    for index, name in enumerate(arrays["names"].tolist()):
        part = slice(int(ends[index] - lengths[index]), int(ends[index]))
        histogram = np.zeros(FINE.size, np.int64)
        histogram[arrays["buckets"][part]] = arrays["weights"][part]
        minimum, maximum = (float(value) for value in arrays["ranges"][index])
        count, nan, infinite = (int(value) for value in arrays["counts"][index])
        fingerprint = str(arrays["fingerprints"][index])
        channels = _unpack_channels(arrays, index)
        constant = "constants" in arrays and bool(arrays["constants"][index])  # older files have none
        records[name] = Record(minimum, maximum, count, nan, infinite, histogram, channels, fingerprint, constant)
    return records, int(arrays["samples"])


def _unpack_channels(arrays: Mapping[str, np.ndarray], index: int) -> Channels | None:
    if f"axis.{index}" not in arrays:
        return None
    minimum, maximum = arrays[f"minimum.{index}"], arrays[f"maximum.{index}"]
    histogram = arrays[f"histogram.{index}"]
    if minimum.shape != maximum.shape or histogram.shape != (len(minimum), COARSE.size):
        raise ValueError("channel statistics do not fit together")
    return Channels(int(arrays[f"axis.{index}"]), minimum, maximum, histogram)
