"""Counts the arithmetic of convolutions and matrix products as PyTorch dispatches them, derivatives
of any order included: a multiplication with its addition counts as 2. All else (normalisation,
activations, the optimiser) and the depthwise convolutions of resampling filters count as 0.
"""
import math

from torch.utils._python_dispatch import TorchDispatchMode


def convolution(arguments, output):
    """x (N,I,...), w; each output pixel, or input pixel when transposed, meets the kernel once."""
    x, w, transposed, groups = arguments[0], arguments[1], arguments[6], arguments[8]
    if groups > 1:
        return 0
    pixels = math.prod((x if transposed else output).shape[2:])
    return 2 * x.shape[0] * pixels * w.numel()


def convolution_backward(arguments, output):
    """One convolution's work for each of the gradients to x and to w that was asked for."""
    g, x, w, transposed, groups, mask = (arguments[i] for i in (0, 1, 2, 7, 9, 10))
    if groups > 1:
        return 0
    pixels = math.prod((x if transposed else g).shape[2:])
    return 2 * x.shape[0] * pixels * w.numel() * (mask[0] + mask[1])


def product(a, b):
    """(...,M,K) and (...,K,N)."""
    return 2 * a.numel() * b.shape[-1]


COUNTS = {
    "aten::convolution": convolution,
    "aten::convolution_backward": convolution_backward,
    "aten::mm": lambda arguments, output: product(*arguments[:2]),
    "aten::bmm": lambda arguments, output: product(*arguments[:2]),
    "aten::addmm": lambda arguments, output: product(*arguments[1:3]),
    "aten::baddbmm": lambda arguments, output: product(*arguments[1:3]),
}


class Counter(TorchDispatchMode):
    """Sums up what runs while it is active."""

    total = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        output = function(*arguments, **(keywords or {}))
        count = COUNTS.get(function._schema.name)
        if count:
            self.total += count(arguments, output)
        return output


def count_flops(function):
    """The count of one call of function()."""
    with Counter() as counter:
        function()
    return counter.total
