"""Adaptive augmentation by PyTorch, for bench_augment: on a line "N C S" answers with the seconds that
augmenting N images of C channels and S² pixels took, and the gradient back; first says its version.

The draws and the mathematics are those of tests/parity/models/ada.py, and so are the results, which is
checked; the filters are run as transposed and strided convolutions along each axis, which is the
fastest way on a processor (no zeros are multiplied)."""

import os
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/parity"))
from models import ada  # noqa: E402


def taps(gain):
    return (torch.tensor(ada.SYM6, dtype=torch.float64) * gain * 0.5 ** 0.5).float()


def along(function, x, f, **attributes):
    """A convolution of each channel, along the rows and then along the columns."""
    n, c = x.shape[:2]
    x = x.reshape(n * c, 1, *x.shape[2:])
    for axis in range(2):
        shape = [1, 1, 1, 1]
        shape[2 + axis] = len(f)
        pairs = {key: tuple(value if i == axis else neutral for i in range(2))
                 for key, (value, neutral) in attributes.items()}
        x = function(x, f.reshape(shape), **pairs)
    return x.reshape(n, c, *x.shape[2:])


def transform(x, matrix):
    height, width = x.shape[2:]
    x = F.pad(x, [width - 1, width - 1, height - 1, height - 1], mode="reflect")
    x = along(F.conv_transpose2d, x, taps(2), stride=(2, 1), padding=(5, 0))
    linear, shift = matrix[:, :, :2], matrix[:, :, 2:]
    doubled = torch.cat([linear, 2 * shift + linear.sum(2, keepdim=True) / 2 - 0.5], 2)
    border = 2 * ada.BORDER
    grid = ada.grid(x, doubled, 2 * (height + border), 2 * (width + border))
    x = F.grid_sample(x, grid, align_corners=False)
    return along(F.conv2d, x[:, :, 1:-1, 1:-1], taps(1), stride=(2, 1))


def step(x):
    leaf = x.detach().requires_grad_()
    y = transform(leaf, ada.matrix(ada.draw(len(x), *x.shape[2:])))
    y.backward(y.detach())


torch.set_num_threads(len(os.sched_getaffinity(0)))
torch.set_flush_denormal(True)
sample = torch.randn(2, 3, 16, 16)
where = ada.matrix(ada.draw(2, 16, 16))
assert torch.allclose(transform(sample, where), ada.transform(sample, where), atol=1e-4)
print(torch.__version__, flush=True)
for line in sys.stdin:
    images = torch.randn([int(word) for word in line.split()] + [int(line.split()[-1])])
    started = time.perf_counter()
    step(images)
    print(time.perf_counter() - started, flush=True)
