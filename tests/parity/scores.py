#!/usr/bin/python3
"""What a model says of real images: `lethe membership` beside PyTorch.

    tests/parity/scores.py BUILD

Small models are trained for some steps. Their checkpoints are read by the twins of this folder, and
these compute the numbers of scores.csv once more: of diffusion the losses at its times, under the same
noise (recomputed, see weights.py); of GANs what the discriminator says of an image, alone in its
batch. Prints the largest difference, relative to the largest number. Exits with 1 when it is too
large, with 77 where there is no PyTorch.
"""
import csv
import json
import os
import sys
import tempfile

import numpy as np

from weights import SEED, lethe, normal, tensorfile, torch  # exits with 77 without PyTorch
from models import ddpm, progan, stylegan, stylegan2

DRAWS, SIDE, TOLERANCE = 2, 16, 1e-4
MODELS = {
    "ddpm": ["--base", "32", "--mult", "1,2", "--blocks", "1", "--attention", "8", "--heads", "2",
             "--dropout", "0", "--images", "96", "--mirror"],
    "progan": ["--z-width", "8", "--channel-base", "128", "--channel-max", "16", "--first-side", "8",
               "--stable-kimg", "0.016", "--fade-kimg", "0.064", "--images", "64"],
    "stylegan": ["--z-width", "8", "--w-width", "8", "--mapping-layers", "2", "--channel-base", "128",
                 "--channel-max", "16", "--first-side", "8", "--stable-kimg", "0.016", "--fade-kimg",
                 "0.064", "--images", "64"],
    "stylegan2": ["--z-width", "8", "--w-width", "8", "--mapping-layers", "2", "--channel-base", "128",
                  "--channel-max", "16", "--images", "64"],
}


def load(module, tensors, prefix):
    """Parameters by their names in a checkpoint; filters are the twin's own."""
    state = module.state_dict()
    for name, _ in module.named_parameters():
        state[name] = torch.from_numpy(np.array(tensors[prefix + name]))
    module.load_state_dict(state)
    return module.eval().double()


def image_of(store, row, mirrored):
    x = torch.from_numpy(store[row:row + 1].astype(np.float64) * 2 / 255 - 1)
    return x.flip(3) if mirrored else x


def losses(tensors, store, rows, times):
    twin, diffusion = ddpm.UNet(SIDE, store.shape[1], 32, (1, 2), 1, (8,), 2), ddpm.Diffusion()
    load(twin, tensors, "average.model.")
    t = torch.tensor(times * DRAWS)
    noise = normal("score.noise", (len(t), *store.shape[1:])).double()
    out = []
    for row in rows:
        each = 0
        for mirrored in (False, True):
            x = image_of(store, row, mirrored).expand_as(noise)
            error = twin(diffusion.noised(x, t, noise), t)[:, :store.shape[1]] - noise
            each = each + error.square().mean((1, 2, 3)).reshape(DRAWS, -1).mean(0) / 2
        out.append(each.numpy())
    return np.array(out)


def grown(twin, tensors, store, rows, alpha):
    """Of the second level, 16 × 16, which is fading in: images are mixed with coarser ones."""
    load(twin, tensors, "D.")
    out = []
    for row in rows:
        x = image_of(store, row, False)
        coarse = torch.nn.functional.avg_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        out.append(twin(coarse + alpha * (x - coarse), torch.tensor(alpha)).reshape(1).numpy())
    return np.array(out)


def logits(twin, tensors, store, rows):
    load(twin, tensors, "D.")
    return np.array([twin(image_of(store, row, False)).reshape(1).numpy() for row in rows])


def twin_numbers(name, tensors, store, rows, times, alpha):
    channels = store.shape[1]
    if name == "ddpm":
        return losses(tensors, store, rows, times)
    if name == "progan":
        return grown(progan.Discriminator(SIDE, SIDE, True, channels, 128, 16), tensors, store, rows,
                     alpha)
    if name == "stylegan":
        return grown(stylegan.Discriminator(SIDE, SIDE, True, channels, 128, 16), tensors, store,
                     rows, alpha)
    return logits(stylegan2.Discriminator(SIDE, channels, 128, 16), tensors, store, rows)


def compare(name, build, folder):
    model, out = (os.path.join(folder, f"{part}-{name}") for part in ("model", "out"))
    store = np.load(os.path.join(folder, "store", "images.npy"))
    lethe(build, "train", "--model", name, "--dataset", os.path.join(folder, "store"), "--out", model,
          "--batch", "16", "--masks", "none", "--rate", "1e-3", "--samples", "0", "--checkpoint", "1",
          "--keep", "1", "--quiet", "--threads", "1", *MODELS[name])
    lethe(build, "membership", "--from", model, "--dataset", os.path.join(folder, "store"), "--out",
          out, "--draws", str(DRAWS), "--seed", str(SEED), "--bootstrap", "120", "--quiet",
          "--threads", "1")
    with open(os.path.join(out, "membership.json")) as file:
        times = [entry["time"] for entry in json.load(file).get("times", [])]
    with open(os.path.join(out, "scores.csv")) as file:
        table = list(csv.DictReader(file))[:24]
    columns = [f"loss_at_{time}" for time in times] or ["score"]
    ours = np.array([[float(row[column]) for column in columns] for row in table])
    newest = sorted(os.listdir(os.path.join(model, "checkpoints")))[-1]
    tensors, _ = tensorfile.read(os.path.join(model, "checkpoints", newest))
    # 16 images at 8 × 8, then 64 that fade: of the 64 that were shown 48 had a part in it
    with torch.no_grad():
        theirs = twin_numbers(name, tensors, store, [int(row["image"]) for row in table], times,
                              48 / 64)
    error = (np.abs(ours - theirs) / np.abs(theirs).max(axis=0)).max()
    print(f"{name}: {ours.shape[0]} images, {ours.shape[1]} numbers each, largest difference "
          f"{error:.1e} of the largest number")
    return error < TOLERANCE and np.std(theirs, axis=0).min() > 0


def main():
    build = sys.argv[1]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        lethe(build, "phantom", "--subjects", "8", "--size", "32", "--seed", "3", "--out",
              os.path.join(folder, "cohort"), "--quiet")
        lethe(build, "ingest", "--source", os.path.join(folder, "cohort"), "--out",
              os.path.join(folder, "store"), "--size", str(SIDE), "--holdout", "0.4", "--quiet")
        good = [compare(name, build, folder) for name in MODELS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
