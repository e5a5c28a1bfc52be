#!/usr/bin/python3
"""Features: same weights and planes in, same 2,048 numbers out.

    tests/parity/features.py FEATURES_DUMP [--peer FOLDER] [--seed N]

Planes of several sizes and types go through the twins in PyTorch, in float64, and through
audit/features.c on the processor. Resizing is PyTorch's and, for Inception, where it is installed,
Pillow's, image by image. With --peer, a folder that holds the package pytorch_fid, its own network and
torchvision's ResNet-50 have the weights, too (this needs torchvision). Prints the largest difference as a share of the largest feature; exits
with 1 where that is more than 1e-4, with 77 where there is no PyTorch.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

try:
    import torch
except ImportError:
    print("PyTorch is missing: apt-get install python3-torch", file=sys.stderr)
    sys.exit(77)
try:
    from PIL import Image
except ImportError:
    Image = None

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import tensorfile  # noqa: E402
from models import inception, resnet50  # noqa: E402

ALLOWED = 1e-4
# (rows, columns), type, count: enlarged, shrunk, both at once, as it is; one batch and more.
SETS = [((40, 56), "uint8", 3), ((512, 384), "uint8", 2), ((120, 480), "uint16", 2),
        ((299, 299), "float16", 17)]
# Shrunk so far that antialiasing would show; enlarged.
SETS_OF_RESNET50 = [((512, 384), "uint16", 1), ((40, 56), "uint8", 2)]


def planes_of(shape, kind, count, generator):
    """Edges between black and white, which bicubic interpolation overshoots, and noise."""
    values = generator.random((count, *shape))
    values[:, : shape[0] // 2] = np.where(values[:, : shape[0] // 2] < 0.5, 0, 1)
    if kind == "float16":
        return values.astype(np.float16)
    most = np.iinfo(kind).max
    return np.rint(values * most).astype(kind)


def to_255(planes):
    most = 1 if planes.dtype == np.float16 else np.iinfo(planes.dtype).max
    return planes.astype(np.float64) * (255 / most)


def prepare_by_pillow(planes):
    resized = [np.asarray(Image.fromarray(plane.astype(np.float32), mode="F")
                          .resize((299, 299), resample=Image.BICUBIC)) for plane in planes]
    x = torch.from_numpy(np.stack(resized)).double()
    return ((x.clamp(0, 255) - 128) / 128)[:, None].expand(-1, 3, -1, -1)


def peer_resnet50(state):
    """torchvision's network."""
    from torchvision.models import resnet50 as theirs
    network = theirs(weights=None)
    network.fc = torch.nn.Identity()
    network = network.double()
    network.load_state_dict(state)
    return network.eval()


def peer_inception(state):
    """pytorch-fid's network, its weights never fetched: they are given."""
    from pytorch_fid import inception as theirs
    given = {key: value.float() for key, value in state.items()}
    given |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    theirs.load_state_dict_from_url = lambda *_, **__: given
    network = theirs.InceptionV3(resize_input=False, normalize_input=False).double().eval()
    return lambda x: network(x)[0][:, :, 0, 0]


def save_weights(folder, name, state):
    path = os.path.join(folder, name)
    tensorfile.write(path, {key: value.numpy().astype(
        np.int64 if key.endswith("num_batches_tracked") else np.float32)
        for key, value in state.items()})
    return path


def run(program, network, weights, planes, folder):
    path = os.path.join(folder, "planes.npy")
    np.save(path, planes)
    done = subprocess.run([program, network, weights, path, "cpu"], check=True,
                          stdout=subprocess.PIPE)
    return np.frombuffer(done.stdout, np.float32).reshape(len(planes), 2048).astype(np.float64)


def compare(what, value, expected):
    share = np.abs(value - expected).max() / np.abs(expected).max()
    good = share <= ALLOWED
    print(f"{what}: {expected.shape[0]} × 2048 features, largest difference {share:.2g} of the "
          f"largest ({np.abs(expected).max():.3g}) {'ok' if good else 'DIFFERS'}")
    return good


def check_inception(options, generator, folder):
    network = inception.randomise(inception.Inception().double(), options.seed)
    networks = {"the twin": network}
    if options.peer:
        networks["pytorch-fid"] = peer_inception(network.state_dict())
    ways = {"PyTorch": lambda planes: inception.prepare(torch.from_numpy(planes))}
    if Image:
        ways["Pillow"] = prepare_by_pillow
    weights = save_weights(folder, "inception.safetensors", network.state_dict())
    for shape, kind, count in SETS:
        planes = planes_of(shape, kind, count, generator)
        ours = run(options.program, "inception", weights, planes, folder)
        for way, prepare in ways.items():
            x = prepare(to_255(planes))
            for name, theirs in networks.items():
                what = f"{shape[0]} × {shape[1]} of {kind}, {name}, resized by {way}"
                yield compare(what, ours, theirs(x).numpy())


def check_resnet50(options, generator, folder):
    """A set with weights under torchvision's names, one under RadImageNet's."""
    network = inception.randomise(resnet50.ResNet50().double(), options.seed)
    networks, state = {"the twin": network}, network.state_dict()
    if options.peer:
        networks["torchvision"] = peer_resnet50(state)
    files = [save_weights(folder, "named.safetensors", state),
             save_weights(folder, "numbered.safetensors", resnet50.as_radimagenet(state))]
    for (shape, kind, count), weights in zip(SETS_OF_RESNET50, files):
        planes = planes_of(shape, kind, count, generator)
        ours = run(options.program, "radimagenet", weights, planes, folder)
        x = resnet50.prepare(torch.from_numpy(to_255(planes)))
        for name, theirs in networks.items():
            what = f"ResNet-50, {shape[0]} × {shape[1]} of {kind}, {name}"
            yield compare(what, ours, theirs(x).numpy())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--peer")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peer:
        sys.path.insert(0, options.peer)
    generator, good = np.random.default_rng(options.seed), []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for check in check_inception, check_resnet50:
            good += check(options, generator, folder)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
