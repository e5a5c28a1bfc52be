"""Reads and writes safetensors files: 8 bytes of header length (little endian), a JSON header
{name: {dtype, shape, data_offsets}}, then the raw data in the header's order.

Our own, so that what a C test reads does not depend on a package that Debian lacks.
"""
import json
import struct

import numpy as np

TYPES = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "U8": np.uint8}
NAMES = {np.dtype(kind): name for name, kind in TYPES.items()}


def write(path, tensors, metadata=None):
    """Writes {name: array} and {name: string}; the same content always gives the same bytes."""
    header = {"__metadata__": {key: str(value) for key, value in sorted((metadata or {}).items())}}
    blocks, offset = [], 0
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        end = offset + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, end]}
        blocks.append(array.tobytes())
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def read(path):
    """Returns ({name: array}, metadata) of a file of the types above."""
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        flat = np.frombuffer(data[begin:end], TYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors, metadata
