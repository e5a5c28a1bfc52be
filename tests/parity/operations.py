"""Single operations as vectors for the engine's parity test: inputs, output, gradients, and
gradients of gradients, in float64.

For a case NAME the tensors are

    NAME/<input>          the inputs, in the order of the case's "inputs" attribute
    NAME/y                the output
    NAME/projection       p, of y's shape
    NAME/grad/<input>     gradient of L = sum(p * y)
    NAME/second/<input>   gradient of M = sum over inputs i of sum(grad_i * d_i), where d_i is the
                          value of input i taken as a constant
    NAME/second/projection   gradient of M to p

and the case's attributes, such as its stride, are a JSON text in the file's metadata under NAME.
A case with a scalar output is a loss term: it has y and grad/ only, p being 1.
"""
import torch
import torch.nn.functional as F
from torch import nn

from models import ada, ddpm, stylegan2, unet

DOUBLE = torch.float64


def normal(*shape):
    return torch.randn(shape, dtype=DOUBLE)


# Neither symmetric nor square.
FIR = torch.tensor([[1.0, 2.0, -1.0], [0.5, 3.0, 0.25]], dtype=DOUBLE)
SQUARE_FIR = stylegan2.resampling_filter().to(DOUBLE)


def convolution(x_shape, w_shape, **attributes):
    """conv2d with a bias; attributes are PyTorch's."""
    inputs = {"x": normal(*x_shape), "w": normal(*w_shape), "b": normal(w_shape[0])}
    return inputs, lambda x, w, b: F.conv2d(x, w, b, **attributes), attributes


def transposed(x_shape, w_shape, **attributes):
    """conv_transpose2d; w is (I,O/groups,k,k)."""
    inputs = {"x": normal(*x_shape), "w": normal(*w_shape)}
    return inputs, lambda x, w: F.conv_transpose2d(x, w, **attributes), attributes


def resampled(x_shape, f, **attributes):
    """upfirdn; f is a constant, stored without gradient as the attribute "f"."""
    function = lambda x: stylegan2.upfirdn(x, f, **attributes)
    return {"x": normal(*x_shape)}, function, attributes | {"f": f.tolist()}


def warped(x_shape, height, width):
    """grid_sample along planes of the attribute "matrix", (N,2,3), which float32 holds."""
    matrix = torch.randn(x_shape[0], 2, 3).to(DOUBLE)
    function = lambda x: ada.warp(x, matrix, height, width)
    return {"x": normal(*x_shape)}, function, {"matrix": matrix.flatten().tolist()}


def augmented(x_shape):
    """All geometric augmentations, drawn as the attributes say, each (N,), float32."""
    drawn = {key: value.to(DOUBLE) for key, value in ada.draw(x_shape[0], *x_shape[2:]).items()}
    function = lambda x: ada.transform(x, ada.matrix(drawn))
    return {"x": normal(*x_shape)}, function, {k: v.tolist() for k, v in drawn.items()}


def group_norm(x_shape, groups):
    """eps 1e-5; groups = C gives instance norm, groups = 1 normalises whole images."""
    inputs = {"x": normal(*x_shape), "gain": normal(x_shape[1]), "bias": normal(x_shape[1])}
    function = lambda x, gain, bias: F.group_norm(x, groups, gain, bias)
    return inputs, function, {"groups": groups, "eps": 1e-5}


def layer_norm(rows, width):
    """Over the last axis, eps 1e-5."""
    inputs = {"x": normal(rows, width), "gain": normal(width), "bias": normal(width)}
    function = lambda x, gain, bias: F.layer_norm(x, (width,), gain, bias)
    return inputs, function, {"eps": 1e-5}


def attention(n, heads, width, length):
    """softmax attention over (N, heads*3*width, T), each head's q, k, v together."""
    inputs = {"qkv": normal(n, heads * 3 * width, length)}
    return inputs, lambda qkv: ddpm.attend(qkv, heads), {"heads": heads}


def modulated(n, i, o, k, side, up=1, demodulate=True):
    """Modulated convolution; up = 2 with the [1,3,3,1] filter and the mirrored kernel."""
    inputs = {"x": normal(n, i, side, side), "w": normal(o, i, k, k), "style": normal(n, i)}
    function = lambda x, w, style: stylegan2.modulated_conv(x, w, style, SQUARE_FIR, up, demodulate)
    return inputs, function, {"up": up, "demodulate": demodulate}


def simple(function, attributes=None, **shapes):
    """A function of tensors of the given shapes, in that order."""
    inputs = {name: normal(*shape) for name, shape in shapes.items()}
    return inputs, function, attributes or {}


def segmentation_loss():
    """Dice + cross-entropy of unet.loss_terms; labels are stored as an attribute."""
    labels = torch.randint(3, (2, 3, 4))
    function = lambda logits: sum(unet.loss_terms(logits, labels).values())
    return {"logits": normal(2, 3, 3, 4)}, function, {"labels": labels.flatten().tolist()}


def critic(x, w0, b0, w1):
    """A small smooth critic: (N,C,H,W) -> (N,): softplus(conv 3x3) then a linear layer. PyTorch takes
    softplus(x) as x from 20 on, which second derivatives would see; not here."""
    return F.softplus(F.conv2d(x, w0, b0, padding=1), threshold=600).flatten(1) @ w1


CRITIC = {"w0": (3, 2, 3, 3), "b0": (3,), "w1": (48,)}


def r1(x, w0, b0, w1):
    """mean |d critic / dx|^2."""
    return stylegan2.r1_penalty(lambda real: critic(real, w0, b0, w1), x)


def wgan_gp(real, fake, mix, w0, b0, w1):
    """mean (|d critic / dx| - 1)^2 at x = real + mix (fake - real), mix (N,1,1,1) as it is."""
    x = (real + mix * (fake - real)).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x, w0, b0, w1).sum(), x, create_graph=True)
    return (gradient.square().sum(dim=(1, 2, 3)).sqrt() - 1).square().mean()


def path_length(ws, direction, x, w0, a0, w1, a1):
    """Path length penalty with a mean of .3 so far, for two modulated convolutions with softplus
    between; style i = ws[:, i] @ a_i + 1. Weight 1, decay .01."""
    ws = ws.detach().requires_grad_()
    y = stylegan2.modulated_conv(x, w0, ws[:, 0] @ a0 + 1, SQUARE_FIR, up=2)
    y = stylegan2.modulated_conv(F.softplus(y), w1, ws[:, 1] @ a1 + 1, None, demodulate=False)
    mean = torch.tensor(0.3, dtype=DOUBLE)
    return stylegan2.path_penalty(stylegan2.path_lengths(y, ws, direction), mean)[0]


NORMAL_CASES = {
    "conv_plain": lambda: convolution((2, 3, 5, 4), (4, 3, 3, 3), padding=1),
    "conv_1x1": lambda: convolution((2, 5, 3, 3), (3, 5, 1, 1)),
    "conv_stride2": lambda: convolution((2, 3, 7, 6), (2, 3, 3, 3), stride=2, padding=1),
    "conv_groups": lambda: convolution((1, 4, 4, 5), (6, 2, 3, 3), groups=2, padding=1),
    "conv_depthwise": lambda: convolution((2, 3, 5, 5), (3, 1, 3, 3), groups=3),
    "conv_dilation2": lambda: convolution((1, 2, 7, 8), (3, 2, 3, 3), dilation=2, padding=2),
    "conv_all": lambda: convolution((1, 4, 8, 7), (4, 2, 3, 2), stride=(2, 3), padding=(2, 1),
                                    dilation=(1, 2), groups=2),
    "transposed_stride2": lambda: transposed((2, 3, 3, 4), (3, 2, 3, 3), stride=2),
    "transposed_padded": lambda: transposed((1, 4, 3, 3), (4, 2, 3, 3), stride=2, padding=1,
                                            output_padding=1, groups=2),
    "upfirdn_up": lambda: resampled((1, 2, 3, 4), SQUARE_FIR, up=2, pad=(2, 1, 2, 1), gain=4.0),
    "upfirdn_down": lambda: resampled((1, 2, 6, 5), SQUARE_FIR, down=2, pad=(1, 1, 1, 1)),
    "upfirdn_asymmetric": lambda: resampled((1, 1, 5, 4), FIR, up=2, down=3, pad=(1, 2, 0, 3)),
    "upfirdn_flipped_crop": lambda: resampled((1, 1, 6, 6), FIR, pad=(-1, 2, 1, -2), flip=True),
    "warp": lambda: warped((3, 2, 5, 4), 6, 7),
    "augment": lambda: augmented((4, 2, 9, 8)),
    "group_norm": lambda: group_norm((2, 6, 3, 3), 2),
    "instance_norm": lambda: group_norm((2, 3, 3, 4), 3),
    "layer_norm": lambda: layer_norm(3, 7),
    "attention": lambda: attention(2, 2, 3, 5),
    "modulated_conv": lambda: modulated(2, 3, 4, 3, 3),
    "modulated_conv_up": lambda: modulated(2, 2, 3, 3, 3, up=2),
    "modulated_conv_rgb": lambda: modulated(2, 4, 3, 1, 3, demodulate=False),
    "minibatch_stddev": lambda: simple(stylegan2.minibatch_stddev, {"group": 4}, x=(8, 2, 2, 3)),
    "bias_lrelu": lambda: simple(lambda x, b: stylegan2.bias_act(x, b, True, clamp=1.5),
                                 {"slope": 0.2, "gain": 2 ** 0.5, "clamp": 1.5},
                                 x=(2, 3, 4), b=(3,)),
    "silu": lambda: simple(F.silu, x=(3, 7)),
    "max_pool2": lambda: simple(lambda x: F.max_pool2d(x, 2), x=(1, 2, 4, 6)),
    "bilinear2": lambda: simple(nn.Upsample(scale_factor=2, mode="bilinear"), x=(1, 2, 3, 4)),
}

LOSS_CASES = {
    "segmentation_loss": segmentation_loss,
    "r1": lambda: simple(r1, {"gradients": list(CRITIC)}, x=(3, 2, 4, 4), **CRITIC),
    "wgan_gp": lambda: simple(wgan_gp, {"gradients": list(CRITIC)}, real=(3, 2, 4, 4),
                              fake=(3, 2, 4, 4), mix=(3, 1, 1, 1), **CRITIC),
    "path_length": lambda: simple(path_length, {"gradients": ["x", "w0", "a0", "w1", "a1"],
                                                "mean": 0.3, "decay": 0.01},
                                  ws=(2, 2, 4), direction=(2, 2, 6, 6), x=(2, 3, 3, 3),
                                  w0=(4, 3, 3, 3), a0=(4, 3), w1=(2, 4, 1, 1), a1=(4, 4)),
}

OPTIMISERS = {
    "sgd_nesterov": (torch.optim.SGD, dict(lr=0.01, momentum=0.99, weight_decay=3e-5,
                                           nesterov=True)),
    "adam": (torch.optim.Adam, dict(lr=0.0025, betas=(0.0, 0.99), eps=1e-8)),
    "adam_usual": (torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8)),
    "adamw": (torch.optim.AdamW, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05)),
}


def gradients(name, make):
    """Tensors and attributes of a case with a tensor for output."""
    inputs, function, attributes = make()
    leaves = [value.requires_grad_() for value in inputs.values()]
    y = function(*leaves)
    projection = torch.randn_like(y).requires_grad_()
    first = torch.autograd.grad((projection * y).sum(), leaves, create_graph=True)
    again = sum((g * leaf.detach()).sum() for g, leaf in zip(first, leaves))
    second = torch.autograd.grad(again, leaves + [projection], allow_unused=True)
    tensors = {f"{name}/{key}": value for key, value in inputs.items()}
    tensors |= {f"{name}/y": y, f"{name}/projection": projection}
    for key, value, g, h in zip([*inputs, "projection"], leaves + [projection],
                                [*first, None], second):
        if g is not None:
            tensors[f"{name}/grad/{key}"] = g
        tensors[f"{name}/second/{key}"] = torch.zeros_like(value) if h is None else h
    return tensors, attributes | {"inputs": list(inputs)}


def loss(name, make):
    """Tensors and attributes of a case with a scalar for output; gradients of all inputs, or of
    those in the attribute "gradients"."""
    inputs, function, attributes = make()
    wanted = attributes.pop("gradients", list(inputs))
    for key in wanted:
        inputs[key].requires_grad_()
    y = function(*inputs.values())
    tensors = {f"{name}/{key}": value for key, value in inputs.items()} | {f"{name}/y": y}
    grads = torch.autograd.grad(y, [inputs[key] for key in wanted])
    tensors |= {f"{name}/grad/{key}": g for key, g in zip(wanted, grads)}
    return tensors, attributes | {"inputs": list(inputs)}


def optimiser(name, kind, settings, steps=20, size=7):
    """NAME/start (size,), NAME/gradients (steps,size) and NAME/path (steps,size): the parameters
    after each step."""
    start, given = normal(size), normal(steps, size)
    parameter, path = start.clone().requires_grad_(), []
    update = kind([parameter], **settings)
    for gradient in given:
        parameter.grad = gradient.clone()
        update.step()
        path.append(parameter.detach().clone())
    tensors = {"start": start, "gradients": given, "path": torch.stack(path)}
    return {f"{name}/{key}": value for key, value in tensors.items()}, settings


def vectors(seed=0):
    """({name: tensor}, {case: attributes}) of all cases. Each is seeded by its name and the seed
    alone, so that adding a case leaves the others as they are."""
    tensors, attributes = {}, {}
    rows = {name: (gradients, (make,)) for name, make in NORMAL_CASES.items()}
    rows |= {name: (loss, (make,)) for name, make in LOSS_CASES.items()}
    rows |= {name: (optimiser, row) for name, row in OPTIMISERS.items()}
    for name, (function, row) in rows.items():
        torch.manual_seed(int.from_bytes(name.encode(), "little") % 2**61 + seed)
        made, attributes[name] = function(name, *row)
        tensors |= made
    return tensors, attributes
