#!/usr/bin/env python3
"""Writes vectors.h: small known answers of PyTorch and NumPy, for the reference kernels.

    /usr/bin/python3 tests/tensor/vectors.py > tests/tensor/vectors.h

Source i of a case holds ((7k + 3i + 2) mod 11 - 5) / 4 at its k-th element, plus 2 where a
function needs positive numbers; so only the answers need to be written down. Run in float64.
"""
import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def source(i, *shape, positive=False):
    k = np.arange(int(np.prod(shape)))
    values = ((7 * k + 3 * i + 2) % 11 - 5) / 4 + (2 if positive else 0)
    return torch.from_numpy(values.reshape(shape))


def upfirdn(x, f, up, down, pad, flip):
    """By its definition (Karras et al., StyleGAN 2): zeros, padding, filter, every down-th."""
    n, c, h, w = x.shape
    f = torch.outer(f, f) if f.ndim == 1 else f
    z = x.new_zeros(n, c, h * up[0], w * up[1])
    z[:, :, :: up[0], :: up[1]] = x
    (top, bottom), (left, right) = pad
    z = F.pad(z, [left, right, top, bottom])  # negative padding crops
    f = f if flip else f.flip([0, 1])
    y = F.conv2d(z.reshape(n * c, 1, *z.shape[2:]), f[None, None])
    return y.reshape(n, c, *y.shape[2:])[:, :, :: down[0], :: down[1]]


def conv(x, w):
    x = F.pad(x, [0, 3, 1, 2])
    return F.conv2d(x, w, stride=(2, 1), dilation=(1, 2), groups=2)


def adjoint(x, w, y):
    x.requires_grad_(), w.requires_grad_()
    return torch.autograd.grad(conv(x, w), [x, w], y)


def affine_grid(x, m, height, width):
    """M of t_warp, which counts pixels from the centre, as the grid that grid_sample takes."""
    image, grid = x.new_tensor([x.shape[3], x.shape[2]]) / 2, x.new_tensor([width, height]) / 2
    linear = m[:, :, :2] * grid / image[:, None]
    theta = torch.cat([linear, m[:, :, 2:] / image[:, None]], 2)
    return F.affine_grid(theta, [len(x), 1, height, width], align_corners=False)


def warp(x, m, height, width):
    return F.grid_sample(x, affine_grid(x, m, height, width), align_corners=False)


def warp_adjoint(y, m, height, width):
    x = torch.zeros(*y.shape[:2], height, width).requires_grad_()
    return torch.autograd.grad(warp(x, m, *y.shape[2:]), x, y)[0]


s = source
cases = {
    "exp": torch.exp(s(0, 11)),
    "log": torch.log(s(0, 11, positive=True)),
    "sqrt": torch.sqrt(s(0, 11, positive=True)),
    "sin": torch.sin(s(0, 11)),
    "cos": torch.cos(s(0, 11)),
    "tanh": torch.tanh(s(0, 11)),
    "sigmoid": torch.sigmoid(s(0, 11)),
    "softplus": F.softplus(s(0, 11)),
    "erf": torch.erf(s(0, 11)),
    "scale": s(0, 11) * -2.5 + 0.75,
    "cast": (s(0, 11) / 3).to(torch.bfloat16).double(),
    "add": s(0, 2, 3) + s(1, 3),
    "sub": s(0, 2, 1) - s(1, 3),
    "mul": s(0, 2, 3) * s(1, 2, 1),
    "div": s(0, 2, 3) / s(1, 2, 3, positive=True),
    "greater": (s(0, 11) > s(1, 11)).double(),
    "where": torch.where(s(0, 11) != 0, s(1, 11), s(2, 11)),
    "sum": s(0, 2, 3, 5).sum((0, 2), keepdim=True),
    "max": s(0, 2, 3, 5).amax((0, 1), keepdim=True),
    "detach": s(0, 3),
    "broadcast": s(0, 3, 1, 2).expand(2, 3, 5, 2),
    "reshape": s(0, 2, 3).reshape(3, 2),
    "permute": s(0, 2, 3, 5).permute(2, 0, 1),
    "pad": F.pad(s(0, 2, 3), [1, 2, 0, 1]),
    "slice": s(0, 3, 5)[1:3, 1:4],
    "flip": s(0, 2, 3, 2).flip([0, 2]),
    "concat": torch.cat([s(0, 2, 1), s(1, 2, 3), s(2, 2, 2)], 1),
    "matmul": s(0, 2, 3, 5) @ s(1, 2, 5, 2),
    "conv": conv(s(0, 2, 4, 7, 5), s(1, 4, 2, 3, 3)),
    "conv_dx": adjoint(s(2, 2, 4, 7, 5), s(1, 4, 2, 3, 3), s(0, 2, 4, 4, 4))[0],
    "conv_dw": adjoint(s(0, 2, 4, 7, 5), s(2, 4, 2, 3, 3), s(1, 2, 4, 4, 4))[1],
    "conv_transpose": F.conv_transpose2d(s(0, 1, 3, 2, 3), s(1, 3, 2, 3, 3), stride=2, padding=1,
                                         output_padding=1),
    "upfirdn": upfirdn(s(0, 2, 1, 3, 5), s(1, 3, 4), (3, 3), (2, 2), ((-1, 4), (5, -2)), False),
    "upfirdn_separable": upfirdn(s(0, 1, 2, 5, 3), s(1, 4), (2, 2), (1, 1), ((2, 1), (2, 1)), True),
    "warp": warp(s(0, 3, 2, 4, 7), s(1, 3, 2, 3), 6, 5),
    "warp_dx": warp_adjoint(s(0, 3, 2, 6, 5), s(1, 3, 2, 3), 4, 7),
    "gelu": F.gelu(s(0, 11)),
    "silu": F.silu(s(0, 11)),
    "leaky_relu": F.leaky_relu(s(0, 11), 0.2),
    "softmax": torch.softmax(s(0, 2, 3, 5), 1),
    "log_softmax": torch.log_softmax(s(0, 3, 5), -1),
    "variance": s(0, 2, 3, 5).var((1, 2), unbiased=False, keepdim=True),
    "norm": s(0, 3, 5).norm(dim=1, keepdim=True),
    "clamp": s(0, 11).clamp(-0.5, 0.75),
    "rsqrt": torch.rsqrt(s(0, 11, positive=True)),
    "power": s(0, 11, positive=True) ** 0.3,
    "abs": s(0, 11).abs(),
    "one_hot": F.one_hot(torch.tensor([[2, 0], [1, 4]]), 5).double(),
}

print("/* Written by vectors.py: known answers of PyTorch, in double precision. */")
print("#ifndef TESTS_TENSOR_VECTORS_H\n#define TESTS_TENSOR_VECTORS_H\n\n// clang-format off")
for name, answer in cases.items():
    numbers = [f"{v:.17g}" for v in answer.detach().reshape(-1).tolist()]
    print(f"static const double answer_{name}[] = {{")
    for i in range(0, len(numbers), 6):
        print("    " + ", ".join(numbers[i:i + 6]) + ",")
    print("};")
print("// clang-format on\n\n#endif")
