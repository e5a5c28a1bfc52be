"""Arrays and PNGs as lib/data reads and writes them, held against NumPy and a decoder of our own.

    formats_test.py DATA_DUMP

Exits with 77, "skipped", where NumPy is not installed.
"""

import itertools
import os
import struct
import subprocess
import sys
import tempfile
import zlib

try:
    import numpy
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

SIGNATURE = b"\x89PNG\r\n\x1a\n"


# ---- PNG -----------------------------------------------------------------------------------------


def paeth(left, up, corner):
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))


def predicted(kind, row, above, i, step):
    left = row[i - step] if i >= step else 0
    corner = above[i - step] if i >= step else 0
    return (0, left, above[i], (left + above[i]) // 2, paeth(left, above[i], corner))[kind]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(rows, width, depth, colour, channels, extra=b""):
    """A PNG of packed rows, each filtered in another way, the data cut into several chunks."""
    step, above, stream = max(1, channels * depth // 8), bytes(len(rows[0])), bytearray()
    for number, row in enumerate(rows):
        kind = number % 5
        stream.append(kind)
        stream += bytes((row[i] - predicted(kind, row, above, i, step)) % 256
                        for i in range(len(row)))
        above = row
    packed = zlib.compress(bytes(stream), 9)
    cuts = [packed[i:i + 100] for i in range(0, len(packed), 100)]
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    return (SIGNATURE + chunk(b"IHDR", header) + extra +
            b"".join(chunk(b"IDAT", cut) for cut in cuts) + chunk(b"IEND", b""))


def decode(content):
    """Width, height, depth, colour type and unfiltered rows."""
    assert content.startswith(SIGNATURE)
    at, data, kinds = len(SIGNATURE), b"", []
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8:at + 8 + length]
        assert struct.unpack_from(">I", content, at + 8 + length)[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", body)
            assert rest == [0, 0, 0]
        data += body if kind == b"IDAT" else b""
        kinds.append(kind)
        at += 12 + length
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}, f"other chunks: {kinds}"
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    stream, step, rows = zlib.decompress(data), channels * depth // 8, []
    above = bytes(width * step)
    for start in range(0, len(stream), len(above) + 1):
        kind, row = stream[start], bytearray(stream[start + 1:start + 1 + len(above)])
        for i in range(len(row)):
            row[i] = (row[i] + predicted(kind, row, above, i, step)) % 256
        rows.append(bytes(row))
        above = bytes(row)
    assert len(rows) == height
    return width, height, depth, colour, b"".join(rows)


def packed_rows(pixels, depth):
    """Rows of (height, width·channels) values as PNG stores them."""
    if depth >= 8:
        return [row.astype(f">u{depth // 8}").tobytes() for row in pixels]
    rows = []
    for row in pixels:
        bits = "".join(format(value, f"0{depth}b") for value in row)
        bits += "0" * (-len(bits) % 8)
        rows.append(bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)))
    return rows


def png_cases(folder):
    """Path, what is expected of the line, and the pixels."""
    random = numpy.random.default_rng(3)
    combinations = [(0, 1, d) for d in (1, 2, 4, 8, 16)] + [(3, 1, d) for d in (1, 2, 4, 8)]
    combinations += [(c, n, d) for (c, n), d in itertools.product(((2, 3), (4, 2), (6, 4)), (8, 16))]
    for number, (colour, channels, depth) in enumerate(combinations):
        width, height = 13 + number, 11
        pixels = random.integers(0, 2**depth, (height, width * channels))
        palette = random.integers(0, 256, (2**depth, 3), dtype="u1")
        path = os.path.join(folder, f"{number}.in.png")
        extra = chunk(b"PLTE", palette.tobytes()) if colour == 3 else b""
        extra += chunk(b"tEXt", b"Title\0a name")
        with open(path, "wb") as file:
            file.write(encode(packed_rows(pixels, depth), width, depth, colour, channels, extra))
        bits = 16 if depth == 16 else 8
        if colour == 3:
            expected, channels = palette[pixels].reshape(height, -1), 3
        else:
            expected = pixels * (255 // (2**depth - 1)) if depth < 8 else pixels
        yield path, f"ok {width} {height} {channels} {bits}", expected.astype(f"u{bits // 8}")


def check_pngs(dump, folder):
    cases = list(png_cases(folder))
    lines = run(dump, "png", folder, [path for path, _, _ in cases])
    for i, ((path, expected, pixels), line) in enumerate(zip(cases, lines)):
        assert line == expected, f"{path}: {line}, expected {expected}"
        raw = read(os.path.join(folder, f"{i}.raw"))
        assert raw == pixels.tobytes(), f"{path}: other pixels"
        width, height, channels, bits = (int(word) for word in line.split()[1:])
        written = decode(read(os.path.join(folder, f"{i}.png")))
        colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
        assert written[:4] == (width, height, bits, colour), f"{path}: written as {written[:4]}"
        assert written[4] == pixels.astype(f">u{bits // 8}").tobytes(), f"{path}: written otherwise"
    good = read(cases[3][0])
    comment = good.index(b"tEXt")  # damage there harms no pixel; nor does a cut in the last CRC
    bad = [good[:size] for size in range(0, len(good) - 4, 7)]
    bad += [good[:at] + bytes([good[at] ^ 4]) + good[at + 1:] for at in range(8, len(good) - 12, 5)
            if not comment <= at < comment + 20]
    bomb = struct.pack(">IIBBBBB", 32768, 32768, 8, 0, 0, 0, 0)
    bad.append(SIGNATURE + chunk(b"IHDR", bomb) + chunk(b"IDAT", zlib.compress(bytes(5))) +
               chunk(b"IEND", b""))
    check_refused(dump, "png", folder, bad)
    return len(cases) + len(bad)


# ---- npy -----------------------------------------------------------------------------------------


def npy_cases(folder):
    random = numpy.random.default_rng(4)
    types = "?1 u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8".replace("?1", "?").split()
    shapes = (), (1,), (7,), (2, 3), (0, 4), (2, 3, 4), (1, 2, 1, 3, 1, 2, 1, 2)
    number = itertools.count()
    for kind, version, shape in itertools.product(types, ((1, 0), (2, 0), (3, 0)), shapes):
        array = random.integers(0, 2 if kind == "?" else 100, shape).astype(kind)
        path = os.path.join(folder, f"{next(number)}.npy")
        with open(path, "wb") as file:
            numpy.lib.format.write_array(file, numpy.asarray(array), version=version)
        yield path, " ".join(["ok", array.dtype.name] + [str(n) for n in shape]), array.tobytes()


def npy_bad(folder):
    """Contents that are refused, with a part of the message."""
    def saved(array):
        path = os.path.join(folder, "bad.npy")
        numpy.save(path, array, allow_pickle=True)
        return read(path)

    yield saved(numpy.asfortranarray(numpy.ones((2, 3)))), "Fortran order"
    for kind in ">u2", ">f4", ">i8":
        yield saved(numpy.ones(3, kind)), "big-endian"
    for array in (numpy.ones(2, "c8"), numpy.array(["a"]), numpy.array([{}], object),
                  numpy.array([1], "M8[s]"), numpy.ones(2, "g")):
        yield saved(array), "elements of type"
    yield saved(numpy.ones(2, [("a", "u1")])), "not a dict"
    good = saved(numpy.arange(10, dtype="<u2"))
    yield good + b"x", "the file has 21"
    yield good[:-1], "the file has 19"
    yield good[:20], "a header of"
    yield b"", "not a .npy file"
    yield good.replace(b"NUMPY", b"NUMPI"), "not a .npy file"
    yield good[:6] + b"\4" + good[7:], "format version 4.0"
    yield good.replace(b"(10,)", b"(11,)"), "the shape asks for 22"
    for dictionary in (b"{'descr': '<u2', 'shape': (1,), }", b"{}", b"", b"__import__('os')",
                       b"{'descr': '<u2', 'fortran_order': False, 'shape': (1), }",
                       b"{'descr': '<u2', 'fortran_order': False, 'shape': (-1,), }",
                       b"{'descr': '<u2', 'fortran_order': 0, 'shape': (1,), }",
                       b"{'descr': '<u2', 'fortran_order': False, 'shape': (1,), 'x': 1}",
                       b"{'descr': '<u2', 'descr': '<u2', 'fortran_order': False, 'shape': (1,)}",
                       b"{'descr': '<u2', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}"):
        length = struct.pack("<H", 118)
        yield b"\x93NUMPY\1\0" + length + dictionary.ljust(118) + b"ab", "not a dict"
    for shape in b"(4294967296,4294967296)", b"(99999999999999999999,)":
        content = b"{'descr': '<u2', 'fortran_order': False, 'shape': " + shape + b"}"
        yield b"\x93NUMPY\1\0" + struct.pack("<H", 118) + content.ljust(118), ": "


def check_arrays(dump, folder):
    cases = list(npy_cases(folder))
    lines = run(dump, "npy", folder, [path for path, _, _ in cases])
    for i, ((path, expected, content), line) in enumerate(zip(cases, lines)):
        assert line == expected, f"{path}: {line}, expected {expected}"
        assert read(os.path.join(folder, f"{i}.raw")) == content, f"{path}: other elements"
    bad = list(npy_bad(folder))
    check_refused(dump, "npy", folder, [content for content, _ in bad],
                  [message for _, message in bad])
    return len(cases) + len(bad)


# ---- both ----------------------------------------------------------------------------------------


def read(path):
    with open(path, "rb") as file:
        return file.read()


def run(dump, mode, folder, files):
    result = subprocess.run([dump, mode, folder] + files, stdout=subprocess.PIPE, check=True,
                            text=True)
    lines = result.stdout.splitlines()
    assert len(lines) == len(files), f"{len(lines)} lines for {len(files)} files"
    return lines


def check_refused(dump, mode, folder, contents, messages=None):
    files = [os.path.join(folder, f"bad-{i}") for i in range(len(contents))]
    for path, content in zip(files, contents):
        with open(path, "wb") as file:
            file.write(content)
    for i, line in enumerate(run(dump, mode, folder, files)):
        assert line.startswith("refused "), f"{mode} {i} of {len(files)} is read: {line}"
        assert not messages or messages[i] in line, f"\"{messages[i]}\" is not in: {line}"


def main():
    for check in check_pngs, check_arrays:
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"{check.__name__}: {check(sys.argv[1], folder)} files")
            except AssertionError as problem:
                print(problem)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
