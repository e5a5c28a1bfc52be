"""The Inception v3 of the Frechet Inception Distance (Szegedy et al. 2016; Heusel et al. 2017), up to
its 2,048 features.

    unit                 conv without bias -> batch norm (eps 1e-3, running statistics) -> ReLU;
                         parameters NAME.conv.weight, NAME.bn.{weight,bias,running_mean,running_var}
    stem                 (N,3,299,299) -> 3x3/2, 3x3, 3x3 padded -> max 3/2 -> (N,64,73,73)
                         -> 1x1, 3x3 -> max 3/2 -> (N,192,35,35)
    Mixed_5b, 5c, 5d     block A -> (N,288,35,35);  Mixed_6a: block B -> (N,768,17,17)
    Mixed_6b .. 6e       block C -> (N,768,17,17);  Mixed_7a: block D -> (N,1280,8,8)
    Mixed_7b, 7c         block E -> (N,2048,8,8);   the features are the means over 8x8

A block's branches stand in BLOCKS: chains of units (name, outputs, rows, columns, stride). Units of
stride 1 keep the size; those of stride 2, and three of the stem, are not padded. "mean" and "max"
are poolings over 3x3 at every pixel: means of the pixels that there are, maxima likewise; "max/2" is
every second pixel, not padded. TensorFlow's graph of 2015-12-05 has a maximum where the last block of
other Inceptions has a mean. Names follow torchvision's and so pytorch-fid's.
"""
import torch
import torch.nn.functional as F
from torch import nn

POOLS = {
    "mean": lambda x: F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False),
    "max": lambda x: F.max_pool2d(x, 3, stride=1, padding=1),
    "max/2": lambda x: F.max_pool2d(x, 3, stride=2),
}


def block_a(pooled):
    return [[("branch1x1", 64, 1, 1, 1)],
            [("branch5x5_1", 48, 1, 1, 1), ("branch5x5_2", 64, 5, 5, 1)],
            [("branch3x3dbl_1", 64, 1, 1, 1), ("branch3x3dbl_2", 96, 3, 3, 1),
             ("branch3x3dbl_3", 96, 3, 3, 1)],
            ["mean", ("branch_pool", pooled, 1, 1, 1)]]


def block_b():
    return [[("branch3x3", 384, 3, 3, 2)],
            [("branch3x3dbl_1", 64, 1, 1, 1), ("branch3x3dbl_2", 96, 3, 3, 1),
             ("branch3x3dbl_3", 96, 3, 3, 2)],
            ["max/2"]]


def block_c(width):
    return [[("branch1x1", 192, 1, 1, 1)],
            [("branch7x7_1", width, 1, 1, 1), ("branch7x7_2", width, 1, 7, 1),
             ("branch7x7_3", 192, 7, 1, 1)],
            [("branch7x7dbl_1", width, 1, 1, 1), ("branch7x7dbl_2", width, 7, 1, 1),
             ("branch7x7dbl_3", width, 1, 7, 1), ("branch7x7dbl_4", width, 7, 1, 1),
             ("branch7x7dbl_5", 192, 1, 7, 1)],
            ["mean", ("branch_pool", 192, 1, 1, 1)]]


def block_d():
    return [[("branch3x3_1", 192, 1, 1, 1), ("branch3x3_2", 320, 3, 3, 2)],
            [("branch7x7x3_1", 192, 1, 1, 1), ("branch7x7x3_2", 192, 1, 7, 1),
             ("branch7x7x3_3", 192, 7, 1, 1), ("branch7x7x3_4", 192, 3, 3, 2)],
            ["max/2"]]


def block_e(pool):
    """A list within a chain: units side by side, all of the same input."""
    return [[("branch1x1", 320, 1, 1, 1)],
            [("branch3x3_1", 384, 1, 1, 1),
             [("branch3x3_2a", 384, 1, 3, 1), ("branch3x3_2b", 384, 3, 1, 1)]],
            [("branch3x3dbl_1", 448, 1, 1, 1), ("branch3x3dbl_2", 384, 3, 3, 1),
             [("branch3x3dbl_3a", 384, 1, 3, 1), ("branch3x3dbl_3b", 384, 3, 1, 1)]],
            [pool, ("branch_pool", 192, 1, 1, 1)]]


STEM = [("Conv2d_1a_3x3", 3, 32, 3, 2, 0), ("Conv2d_2a_3x3", 32, 32, 3, 1, 0),
        ("Conv2d_2b_3x3", 32, 64, 3, 1, 1), "max/2",
        ("Conv2d_3b_1x1", 64, 80, 1, 1, 0), ("Conv2d_4a_3x3", 80, 192, 3, 1, 0), "max/2"]

BLOCKS = [("Mixed_5b", 192, block_a(32)), ("Mixed_5c", 256, block_a(64)),
          ("Mixed_5d", 288, block_a(64)), ("Mixed_6a", 288, block_b()),
          ("Mixed_6b", 768, block_c(128)), ("Mixed_6c", 768, block_c(160)),
          ("Mixed_6d", 768, block_c(160)), ("Mixed_6e", 768, block_c(192)),
          ("Mixed_7a", 768, block_d()), ("Mixed_7b", 1280, block_e("mean")),
          ("Mixed_7c", 2048, block_e("max"))]


class Unit(nn.Module):
    def __init__(self, inputs, outputs, size, stride, padding):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    def __init__(self, inputs, branches):
        super().__init__()
        self.branches = branches
        for branch in branches:
            width = inputs
            for item in branch:
                width = self.add(item, width)

    def add(self, item, inputs):
        if isinstance(item, str):
            return inputs
        if isinstance(item, list):
            return sum(self.add(part, inputs) for part in item)
        name, outputs, rows, columns, stride = item
        padding = (rows // 2, columns // 2) if stride == 1 else 0
        setattr(self, name, Unit(inputs, outputs, (rows, columns), stride, padding))
        return outputs

    def apply_item(self, item, x):
        if isinstance(item, str):
            return POOLS[item](x)
        if isinstance(item, list):
            return torch.cat([self.apply_item(part, x) for part in item], 1)
        return getattr(self, item[0])(x)

    def forward(self, x):
        results = []
        for branch in self.branches:
            y = x
            for item in branch:
                y = self.apply_item(item, y)
            results.append(y)
        return torch.cat(results, 1)


class Inception(nn.Module):
    """(N,3,H,W) within +-1 -> (N,2048)."""

    def __init__(self):
        super().__init__()
        for item in STEM:
            if item != "max/2":
                setattr(self, item[0], Unit(*item[1:]))
        for name, inputs, branches in BLOCKS:
            setattr(self, name, Block(inputs, branches))

    def forward(self, x):
        for item in STEM:
            x = POOLS[item](x) if isinstance(item, str) else getattr(self, item[0])(x)
        for name, _, _ in BLOCKS:
            x = getattr(self, name)(x)
        return x.mean((2, 3))


def prepare(planes):
    """Grey planes (N,h,w) of 0 .. 255 -> (N,3,299,299), as clean-fid does it."""
    x = F.interpolate(planes[:, None], (299, 299), mode="bicubic", antialias=True,
                      align_corners=False)
    return ((x.clamp(0, 255) - 128) / 128).expand(-1, 3, -1, -1)


@torch.no_grad()
def randomise(network, seed):
    """Weights that keep the variance, and statistics away from their beginning."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.7, 1.3)
            module.bias.normal_(0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()
