#!/usr/bin/env python3
"""npy_to_png.py ARRAY.npy FOLDER: every image of a (N,1,H,W) or (N,3,H,W) array as a PNG."""
import struct
import sys
import zlib
from pathlib import Path

import numpy as np


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


images, folder = np.load(sys.argv[1]), Path(sys.argv[2])
folder.mkdir()
for i, image in enumerate(images):
    bits, colour = 8 * image.dtype.itemsize, {1: 0, 3: 2}[len(image)]
    rows = np.ascontiguousarray(np.moveaxis(image, 0, -1)).astype(image.dtype.newbyteorder(">"))
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", image.shape[2], image.shape[1], bits, colour, 0, 0, 0)
    (folder / f"image{i:05d}.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) +
        chunk(b"IEND", b""))
