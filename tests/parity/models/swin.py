"""UPerNet on a Swin transformer (Liu et al., ICCV 2021; Xiao et al., ECCV 2018).

N images of C channels, sides multiples of patch * 8; stage i has embed * 2^i channels:

    backbone.patch_embed     conv patch x patch, stride patch -> LayerNorm          (N,h,w,C)
    backbone.layers.I        depths[I] blocks: LayerNorm -> attention in windows (every second
                             block shifts them by half a window) -> residual; LayerNorm -> two
                             linear layers with GELU, 4C between -> residual
                             then, but for the last, 2x2 tokens become one of 2C     (downsample)
    backbone.normI           LayerNorm of what stage I gives to the heads
    decode_head              pyramid pooling of the last stage (bins 1, 2, 3, 6), a feature pyramid
                             over all, conv_seg, bilinear to full size
    auxiliary_head           of stage 2: conv 3x3, conv_seg

Names are those of the authors' public code for semantic segmentation. Dropped features and paths are
left out. conv modules: conv without bias -> batch normalisation -> ReLU.
"""
import torch
import torch.nn.functional as F
from torch import nn

SMOOTH = 1e-5


class BatchNorm(nn.BatchNorm2d):
    def __init__(self, channels):
        super().__init__(channels)
        self.num_batches_tracked = None  # of no use with a fixed momentum

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        super()._load_from_state_dict(state_dict, prefix, {"version": 2}, *rest)


class Attention(nn.Module):
    """(N*windows,T,C) -> the same."""

    def __init__(self, channels, window, heads):
        super().__init__()
        self.window, self.heads = window, heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        at = torch.stack(torch.meshgrid(*[torch.arange(window)] * 2, indexing="ij")).flatten(1)
        offset = at[:, :, None] - at[:, None, :] + window - 1
        self.register_buffer("index", offset[0] * (2 * window - 1) + offset[1], persistent=False)

    def forward(self, x, mask):
        count, tokens, channels = x.shape
        q, k, v = self.qkv(x).reshape(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        score = q @ k.transpose(-2, -1) / (channels // self.heads) ** 0.5
        score = score + self.relative_position_bias_table[self.index].permute(2, 0, 1)
        if mask is not None:
            windows = mask.shape[0]
            score = score.view(-1, windows, self.heads, tokens, tokens) + mask[:, None]
            score = score.view(count, self.heads, tokens, tokens)
        x = (score.softmax(-1) @ v).transpose(1, 2).reshape(count, tokens, channels)
        return self.proj(x)


def partition(x, m):
    n, h, w, c = x.shape
    x = x.view(n, h // m, m, w // m, m, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, m * m, c)


class Block(nn.Module):
    def __init__(self, channels, heads, window, shift):
        super().__init__()
        self.window, self.shift, self.masks = window, shift, {}
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = Attention(channels, window, heads)
        self.mlp = nn.Module()
        self.mlp.fc1 = nn.Linear(channels, 4 * channels)
        self.mlp.fc2 = nn.Linear(4 * channels, channels)

    def mask(self, h, w):
        m, s = self.window, self.shift
        region = torch.zeros(1, h, w, 1)
        for i, rows in enumerate((slice(0, -m), slice(-m, -s), slice(-s, None))):
            for k, columns in enumerate((slice(0, -m), slice(-m, -s), slice(-s, None))):
                region[:, rows, columns] = 3 * i + k
        region = partition(region, m)[..., 0]
        return (region[:, None] != region[:, :, None]) * -100.0

    def attend(self, x):
        m, (n, h, w, c) = self.window, x.shape
        x = F.pad(x, (0, 0, 0, -w % m, 0, -h % m))
        tall, wide = x.shape[1:3]
        x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        if self.shift and (tall, wide) not in self.masks:
            self.masks[tall, wide] = self.mask(tall, wide).to(x)
        mask = self.masks[tall, wide] if self.shift else None
        x = self.attn(partition(x, m), mask)
        x = x.view(n, tall // m, wide // m, m, m, c).permute(0, 1, 3, 2, 4, 5)
        x = torch.roll(x.reshape(n, tall, wide, c), (self.shift, self.shift), (1, 2))
        return x[:, :h, :w]

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x):
        parts = [x[:, i::2, k::2] for k in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class Backbone(nn.Module):
    def __init__(self, channels, embed, depths, heads, window, patch):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(channels, embed, patch, patch)
        self.patch_embed.norm = nn.LayerNorm(embed)
        self.layers = nn.ModuleList()
        for i, (depth, count) in enumerate(zip(depths, heads)):
            layer, width = nn.Module(), embed << i
            layer.blocks = nn.ModuleList(Block(width, count, window, k % 2 * (window // 2))
                                         for k in range(depth))
            if i + 1 < len(depths):
                layer.downsample = Downsample(width)
            self.layers.append(layer)
            setattr(self, f"norm{i}", nn.LayerNorm(width))

    def forward(self, x):
        x = self.patch_embed.norm(self.patch_embed.proj(x).permute(0, 2, 3, 1))
        outputs = []
        for i, layer in enumerate(self.layers):
            for block in layer.blocks:
                x = block(x)
            outputs.append(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2))
            if hasattr(layer, "downsample"):
                x = layer.downsample(x)
        return outputs


class ConvModule(nn.Module):
    def __init__(self, inputs, outputs, size):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = BatchNorm(outputs)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def resize(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class DecodeHead(nn.Module):
    def __init__(self, widths, width, classes):
        super().__init__()
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), ConvModule(widths[-1], width, 1))
            for bins in (1, 2, 3, 6))
        self.bottleneck = ConvModule(widths[-1] + 4 * width, width, 3)
        self.lateral_convs = nn.ModuleList(ConvModule(inputs, width, 1) for inputs in widths[:-1])
        self.fpn_convs = nn.ModuleList(ConvModule(width, width, 3) for _ in widths[:-1])
        self.fpn_bottleneck = ConvModule(len(widths) * width, width, 3)
        self.conv_seg = nn.Conv2d(width, classes, 1)

    def forward(self, stages, size):
        last = stages[-1]
        pyramid = [last] + [resize(module(last), last.shape[2:]) for module in self.psp_modules]
        levels = [conv(x) for conv, x in zip(self.lateral_convs, stages)]
        levels.append(self.bottleneck(torch.cat(pyramid, 1)))
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + resize(levels[i], levels[i - 1].shape[2:])
        levels = [conv(x) for conv, x in zip(self.fpn_convs, levels)] + levels[-1:]
        levels = [resize(x, levels[0].shape[2:]) for x in levels]
        return resize(self.conv_seg(self.fpn_bottleneck(torch.cat(levels, 1))), size)


class AuxiliaryHead(nn.Module):
    def __init__(self, inputs, width, classes):
        super().__init__()
        self.convs = nn.ModuleList([ConvModule(inputs, width, 3)])
        self.conv_seg = nn.Conv2d(width, classes, 1)

    def forward(self, x, size):
        return resize(self.conv_seg(self.convs[0](x)), size)


class Swin(nn.Module):
    """(N,channels,S,S) -> logits of both heads, (N,classes,S,S) each."""

    def __init__(self, channels, classes, embed, depths, heads, window, patch, width):
        super().__init__()
        self.backbone = Backbone(channels, embed, depths, heads, window, patch)
        self.decode_head = DecodeHead([embed << i for i in range(4)], width, classes)
        self.auxiliary_head = AuxiliaryHead(embed << 2, width // 2, classes)

    def forward(self, x):
        stages = self.backbone(x)
        size = x.shape[2:]
        return self.decode_head(stages, size), self.auxiliary_head(stages[2], size)


def dice(logits, labels):
    """Of each image and class but the background, squares in the denominator."""
    p = logits.softmax(1)[:, 1:]
    y = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].to(logits)
    share = (2 * (p * y).sum((2, 3)) + SMOOTH) / ((p * p + y).sum((2, 3)) + SMOOTH)
    return 1 - share.mean()


def loss_terms(logits, labels):
    """"loss", dice + cross_entropy + .4 auxiliary, is what is minimised."""
    main, auxiliary = logits
    terms = {"dice": dice(main, labels), "cross_entropy": F.cross_entropy(main, labels),
             "auxiliary": dice(auxiliary, labels) + F.cross_entropy(auxiliary, labels)}
    return terms | {"loss": terms["dice"] + terms["cross_entropy"] + 0.4 * terms["auxiliary"]}


def schedule(step, steps):
    """The rate's factor: rising over the first 1500 steps or a tenth of all, falling to 0."""
    warm = min(1500, 0.1 * steps)
    return (1 - step / steps) * ((step + 1) / warm if warm > 1 and step < warm else 1)


def optimiser(model, rate=6e-5):
    """AdamW; norms and tables of position do not decay."""
    plain = lambda name: "norm" in name or "relative_position_bias_table" in name
    named = list(model.named_parameters())
    groups = [{"params": [p for name, p in named if plain(name) == which],
               "weight_decay": 0.0 if which else 0.01} for which in (False, True)]
    return torch.optim.AdamW(groups, rate)
