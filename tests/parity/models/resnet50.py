"""ResNet-50 (He et al. 2016) up to its 2,048 features, as torchvision and RadImageNet have it.

    stem        (N,3,224,224) -> 7x7/2, batch norm, ReLU -> max 3/2, padded -> (N,64,56,56)
    layer1..4   3, 4, 6, 3 bottlenecks of width 64, 128, 256, 512 -> (N,2048,7,7); the features are
                the means over 7x7
    bottleneck  1x1, 3x3 (which halves the image, in the first of layers 2 to 4), 1x1 to 4 widths, each
                without bias and normalised, ReLU after the first two; plus the image, in the first
                of a layer projected by 1x1 and normalised; ReLU

Names are torchvision's; RadImageNet's file numbers what nn.Sequential numbers (STEMS).
"""
import torch
import torch.nn.functional as F
from torch import nn

LAYERS = [("layer1", 3, 64, 1), ("layer2", 4, 128, 2), ("layer3", 6, 256, 2), ("layer4", 3, 512, 2)]
STEMS = {"conv1": "backbone.0", "bn1": "backbone.1", "layer1": "backbone.4", "layer2": "backbone.5",
         "layer3": "backbone.6", "layer4": "backbone.7"}


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride, project):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        if project:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False),
                                            nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet50(nn.Module):
    """(N,3,H,W) within +-1 -> (N,2048)."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for name, blocks, width, stride in LAYERS:
            layer = [Bottleneck(inputs, width, stride, True)]
            layer += [Bottleneck(4 * width, width, 1, False) for _ in range(blocks - 1)]
            setattr(self, name, nn.Sequential(*layer))
            inputs = 4 * width

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for name, _, _, _ in LAYERS:
            x = getattr(self, name)(x)
        return x.mean((2, 3))


def prepare(planes):
    """Grey planes (N,h,w) of 0 .. 255 -> (N,3,224,224), as RadImageNet's example does it with
    OpenCV."""
    x = F.interpolate(planes[:, None], (224, 224), mode="bilinear", align_corners=False)
    return ((x.clamp(0, 255) - 127.5) / 127.5).expand(-1, 3, -1, -1)


def as_radimagenet(state):
    """The same tensors under the names of RadImageNet's file."""
    return {STEMS[key.split(".")[0]] + key[key.index("."):]: value for key, value in state.items()}
