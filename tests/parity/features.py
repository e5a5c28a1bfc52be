#!/usr/bin/python3
"""Features: same weights and planes in, same 2,048 numbers out.

    tests/parity/features.py FEATURES_DUMP [--peer FOLDER] [--seed N]

Planes of several sizes and types go through the twin in PyTorch, in float64, and through
audit/features.c on the processor. Resizing is PyTorch's and, where it is installed, Pillow's, image
by image. With --peer, a folder that holds the package pytorch_fid, its own network has the weights,
too (this needs torchvision). Prints the largest difference as a share of the largest feature; exits
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
from models import inception  # noqa: E402

ALLOWED = 1e-4
# (rows, columns), type, count: enlarged, shrunk, both at once, as it is; one batch and more.
SETS = [((40, 56), "uint8", 3), ((512, 384), "uint8", 2), ((120, 480), "uint16", 2),
        ((299, 299), "float16", 17)]


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


def peer(folder, state):
    """pytorch-fid's network, its weights never fetched: they are given."""
    sys.path.insert(0, folder)
    from pytorch_fid import inception as theirs
    given = {key: value.float() for key, value in state.items()}
    given |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    theirs.load_state_dict_from_url = lambda *_, **__: given
    network = theirs.InceptionV3(resize_input=False, normalize_input=False).double().eval()
    return lambda x: network(x)[0][:, :, 0, 0]


def run(program, weights, planes, folder):
    path = os.path.join(folder, "planes.npy")
    np.save(path, planes)
    done = subprocess.run([program, weights, path, "cpu"], check=True, stdout=subprocess.PIPE)
    return np.frombuffer(done.stdout, np.float32).reshape(len(planes), 2048).astype(np.float64)


def compare(what, value, expected):
    share = np.abs(value - expected).max() / np.abs(expected).max()
    good = share <= ALLOWED
    print(f"{what}: {expected.shape[0]} × 2048 features, largest difference {share:.2g} of the "
          f"largest ({np.abs(expected).max():.3g}) {'ok' if good else 'DIFFERS'}")
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--peer")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = inception.randomise(inception.Inception().double(), options.seed)
    networks = {"the twin": network}
    if options.peer:
        networks["pytorch-fid"] = peer(options.peer, network.state_dict())
    ways = {"PyTorch": lambda planes: inception.prepare(torch.from_numpy(planes))}
    if Image:
        ways["Pillow"] = prepare_by_pillow
    generator, good = np.random.default_rng(options.seed), []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        weights = os.path.join(folder, "weights.safetensors")
        tensorfile.write(weights, {key: value.numpy().astype(
            np.int64 if key.endswith("num_batches_tracked") else np.float32)
            for key, value in network.state_dict().items()})
        for shape, kind, count in SETS:
            planes = planes_of(shape, kind, count, generator)
            ours = run(options.program, weights, planes, folder)
            for way, prepare in ways.items():
                x = prepare(to_255(planes))
                for name, theirs in networks.items():
                    what = f"{shape[0]} × {shape[1]} of {kind}, {name}, resized by {way}"
                    good.append(compare(what, ours, theirs(x).numpy()))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
