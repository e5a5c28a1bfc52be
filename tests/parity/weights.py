#!/usr/bin/python3
"""Weights from elsewhere: same weights in, same images out.

    tests/parity/weights.py BUILD                                 the twins of this folder
    tests/parity/weights.py BUILD --stylegan2 REPOSITORY          NVlabs/stylegan2-ada-pytorch
    tests/parity/weights.py BUILD --stylegan3 REPOSITORY          NVlabs/stylegan3
    tests/parity/weights.py BUILD --diffusion REPOSITORY          openai/guided-diffusion

A network with the official names gets random weights, none of them zero, and is saved as
docs/weights.md shows. `lethe import-weights` and `lethe sample` draw images from them; PyTorch draws
the same ones on the CPU, from the same latents, which are recomputed here (Philox4x32-10, see
lib/base/random.c). Prints the largest difference in grey levels of 0 … 255, which are rounded: 1
where a value lies near the middle of two. Exits with 1 when an image differs by more, with 77 where
there is no PyTorch.
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

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import tensorfile  # noqa: E402
from models import ddpm as twin_ddpm  # noqa: E402
from models import stylegan as twin_stylegan  # noqa: E402
from models import stylegan2 as twin_stylegan2  # noqa: E402
from models import stylegan3 as twin_stylegan3  # noqa: E402

COUNT, SEED = 16, 5


# ---- the same latents ------------------------------------------------------------------------

def stream(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return value


def philox(index, name, seed):
    """(n,) uint64 -> (n,4) uint32."""
    number = stream(name)
    c = [index & 0xFFFFFFFF, index >> np.uint64(32),
         np.full_like(index, number & 0xFFFFFFFF), np.full_like(index, number >> 32)]
    c = [part.astype(np.uint64) for part in c]
    k0, k1, low, shift = seed & 0xFFFFFFFF, seed >> 32, np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> shift) ^ c[1] ^ np.uint64(k0), p1 & low,
             (p0 >> shift) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return np.stack(c, axis=1).astype(np.uint32)


def normal(name, shape):
    """What lethe draws for images 0 … N-1, shape (N,…)."""
    count = int(np.prod(shape))
    blocks = np.arange((count + 3) // 4, dtype=np.uint64) | np.uint64(1 << 63)
    word = philox(blocks, name, SEED).reshape(-1, 2, 2)
    radius = np.sqrt(-2 * np.log(((word[..., 0] >> 9) + np.float32(0.5)) * np.float32(2**-23)))
    angle = np.float32(2 * np.pi * 2**-32) * word[..., 1].astype(np.float32)
    pair = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return torch.from_numpy(pair.astype(np.float32).reshape(-1)[:count].reshape(shape))


# ---- the networks ------------------------------------------------------------------------------

def randomise(module):
    """Moves every parameter, so that zero-initialised branches show errors."""
    torch.manual_seed(SEED)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in module.named_buffers():
            if name.endswith(("w_avg", "dlatent_avg")):
                buffer.copy_(torch.randn_like(buffer))
            if name.endswith("magnitude_ema"):
                buffer.copy_(0.5 + torch.rand_like(buffer))
    return module.eval()


GAN = dict(size=64, channels=5, z=64, w=64, layers=4, base=1024, most=64)


def build_stylegan2(repository):
    if not repository:
        return twin_stylegan2.Generator(GAN["size"], GAN["channels"], GAN["z"], GAN["w"],
                                        GAN["layers"], GAN["base"], GAN["most"])
    sys.path.insert(0, repository)
    from training.networks import Generator
    return Generator(z_dim=GAN["z"], c_dim=0, w_dim=GAN["w"], img_resolution=GAN["size"],
                     img_channels=GAN["channels"], mapping_kwargs={"num_layers": GAN["layers"]},
                     synthesis_kwargs={"channel_base": GAN["base"], "channel_max": GAN["most"],
                                       "num_fp16_res": 0})


def set_noise(module, noise):
    """The official layers read noise_const: (H,W), or as here (N,1,H,W), which broadcasts alike."""
    at = 0
    for name, layer in module.synthesis.named_modules():
        if hasattr(layer, "noise_const"):
            layer.noise_const = noise[at]
            at += 1


def draw_stylegan2(module, official):
    z = normal("sample.stylegan2.0", (COUNT, GAN["z"]))
    noise = []
    for i in range(2 * int(np.log2(GAN["size"])) - 3):
        side = 4 << (i + 1) // 2
        noise.append(normal(f"sample.stylegan2.{i + 1}", (COUNT, 1, side, side)))
    with torch.no_grad():
        if not official:
            return module(z, noise=noise, truncation=0.7)
        set_noise(module, noise)
        return module(z, None, truncation_psi=0.7, noise_mode="const")


# Of 128², where the official code computes resampling otherwise and its kernels act mirrored.
GROWN = dict(size=128, channels=5, z=32, w=32, layers=4, base=512, most=16)


def build_stylegan(_):
    s = GROWN
    return twin_stylegan.Generator(s["size"], s["size"], False, s["channels"], s["z"], s["w"],
                                   s["layers"], s["base"], s["most"])


def draw_stylegan(module, _):
    z = normal("sample.stylegan.0", (COUNT, GROWN["z"]))
    sides = [4 << i // 2 for i in range(module.G_synthesis.layers)]
    noise = [normal(f"sample.stylegan.{i + 1}", (COUNT, 1, side, side))
             for i, side in enumerate(sides)]
    with torch.no_grad():
        return module(z, noise, truncation=0.7, cutoff=8)


ALIAS_FREE = dict(size=32, channels=5, z=32, w=32, layers=8, base=256, most=16)


def build_stylegan3(repository):
    """R, which has both kinds of filters."""
    s = ALIAS_FREE
    if not repository:
        return twin_stylegan3.Generator(s["size"], s["channels"], s["z"], s["w"], 2, s["layers"],
                                        s["base"], s["most"], rotation=True)
    sys.path.insert(0, repository)
    from training.networks_stylegan3 import Generator
    return Generator(z_dim=s["z"], c_dim=0, w_dim=s["w"], img_resolution=s["size"],
                     img_channels=s["channels"], mapping_kwargs={"num_layers": 2},
                     num_layers=s["layers"], channel_base=2 * s["base"], channel_max=2 * s["most"],
                     conv_kernel=1, use_radial_filters=True, num_fp16_res=0)


def draw_stylegan3(module, official):
    z = normal("sample.stylegan3.0", (COUNT, ALIAS_FREE["z"]))
    with torch.no_grad():
        return module(z, None, truncation_psi=0.7) if official else module(z, truncation=0.7)


NET = dict(size=32, channels=5, base=32, mult=(1, 2), blocks=1, attention=(16,), heads=2)


def build_ddpm(repository):
    if not repository:
        return twin_ddpm.UNet(learned_variance=True, **NET)
    sys.path.insert(0, repository)
    from guided_diffusion.unet import UNetModel
    return UNetModel(image_size=NET["size"], in_channels=NET["channels"],
                     model_channels=NET["base"], out_channels=2 * NET["channels"],
                     num_res_blocks=NET["blocks"],
                     attention_resolutions=[NET["size"] // side for side in NET["attention"]],
                     channel_mult=NET["mult"], num_heads=NET["heads"],
                     use_scale_shift_norm=True)


def draw_ddpm(module, official):
    """DDIM, eta 0, over 10 of 1000 times; the official sampler where there is one."""
    x = normal("sample.x", (COUNT, NET["channels"], NET["size"], NET["size"]))
    times = [int(np.floor(i * 999 / 9 + 0.5)) for i in range(10)]
    with torch.no_grad():
        if official:
            from guided_diffusion import gaussian_diffusion as gd
            from guided_diffusion.respace import SpacedDiffusion
            diffusion = SpacedDiffusion(
                use_timesteps=set(times), betas=gd.get_named_beta_schedule("linear", 1000),
                model_mean_type=gd.ModelMeanType.EPSILON,
                model_var_type=gd.ModelVarType.LEARNED_RANGE, loss_type=gd.LossType.MSE)
            return diffusion.ddim_sample_loop(module, x.shape, noise=x, device="cpu", eta=0.0)
        bar = twin_ddpm.Diffusion().alpha_bar
        for i in reversed(range(10)):
            now, before = bar[times[i]], bar[times[i - 1]] if i else 1.0
            epsilon = module(x, torch.full((COUNT,), times[i]))[:, :NET["channels"]].double()
            x0 = ((x.double() - np.sqrt(1 - now) * epsilon) / np.sqrt(now)).clamp(-1, 1)
            epsilon = (x.double() - np.sqrt(now) * x0) / np.sqrt(1 - now)
            x = (np.sqrt(before) * x0 + np.sqrt(1 - before) * epsilon).float()
        return x


MODELS = {
    "stylegan": (build_stylegan, draw_stylegan, GROWN,
                 ["--z-width", "32", "--w-width", "32", "--mapping-layers", "4",
                  "--channel-base", "512", "--channel-max", "16"], ["--truncation", "0.7"]),
    "stylegan2": (build_stylegan2, draw_stylegan2, GAN,
                  ["--z-width", "64", "--w-width", "64", "--mapping-layers", "4",
                   "--channel-base", "1024", "--channel-max", "64"], ["--truncation", "0.7"]),
    "stylegan3": (build_stylegan3, draw_stylegan3, ALIAS_FREE,
                  ["--config", "r", "--z-width", "32", "--w-width", "32", "--layers", "8",
                   "--channel-base", "256", "--channel-max", "16"], ["--truncation", "0.7"]),
    "ddpm": (build_ddpm, draw_ddpm, NET,
             ["--base", "32", "--mult", "1,2", "--blocks", "1", "--attention", "16", "--heads", "2",
              "--learned-variance"], ["--sampler", "ddim", "--steps", "10"]),
}


# ---- comparing -----------------------------------------------------------------------------------

def lethe(build, *arguments):
    subprocess.run([os.path.join(build, "lethe"), *arguments], check=True,
                   stdout=subprocess.DEVNULL)


def compare(name, build, repository):
    make, draw, config, network, sampling = MODELS[name]
    module = randomise(make(repository))
    with tempfile.TemporaryDirectory() as folder:
        weights, model, out = (os.path.join(folder, part) for part in ("w", "model", "out"))
        tensorfile.write(weights, {key: value.numpy()
                                   for key, value in module.state_dict().items()})
        lethe(build, "import-weights", "--model", name, "--weights", weights, "--out", model,
              "--size", str(config["size"]), "--channels", "t1,t1ce,t2,flair,other", *network)
        lethe(build, "sample", "--from", model, "--out", out, "--count", str(COUNT), "--seed",
              str(SEED), *sampling)
        ours = np.load(os.path.join(out, "images.npy")).astype(int)
    theirs = draw(module, bool(repository)).numpy()
    theirs = np.rint(((theirs + 1) * 127.5).clip(0, 255)).astype(int)
    difference = np.abs(ours - theirs)
    source = repository and "the official code" or "the twin"
    within = (theirs > 0) & (theirs < 255)
    print(f"{name}: against {source}: {COUNT} images of {config['size']}², largest difference "
          f"{difference.max()} grey levels; of {within.sum()} values within 1 … 254, "
          f"{(difference > 0)[within].sum()} differ")
    return difference.max() <= 1 and within.sum() > 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--stylegan2")
    parser.add_argument("--stylegan3")
    parser.add_argument("--diffusion")
    options = parser.parse_args()
    torch.set_num_threads(1)
    official = {"stylegan2": options.stylegan2, "stylegan3": options.stylegan3, "ddpm": options.diffusion}
    names = [name for name in MODELS if official.get(name)] or list(MODELS)
    good = [compare(name, options.build, official.get(name)) for name in names]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
