"""Distance transforms by SciPy, for bench_utility: on a line "edt X Y Z" answers with the seconds that
a transform of the same mask took; first says its version."""

import sys
import time

import numpy
import scipy
from scipy import ndimage


def mask(columns, rows, planes):
    """An ellipsoid and a lattice of single voxels, as bench/utility.c draws them."""
    z, y, x = numpy.ogrid[:planes, :rows, :columns]
    inside = ((4 * x - 2 * columns) ** 2 * rows ** 2 * 4
              + (4 * y - 2 * rows) ** 2 * columns ** 2 * 4 < (columns * rows) ** 2)
    return (inside & (abs(2 * z - planes) < planes // 2)) | ((x % 61 + y % 53 + z % 47) == 0)


print(scipy.__version__, flush=True)
for line in sys.stdin:
    shape = [int(word) for word in line.split()[1:]]
    outside = ~mask(*shape)
    started = time.perf_counter()
    ndimage.distance_transform_edt(outside, sampling=(1.2, 1.0, 0.9))
    print(time.perf_counter() - started, flush=True)
