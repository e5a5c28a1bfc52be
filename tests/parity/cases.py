"""The training cases: what the benchmark times and the parity tests compare, phase by phase.

A case is one or two networks and a row of phases. A phase trains one module on one loss; a step
runs all phases in order. All randomness of a step is drawn first, as named tensors, so that it can
be stored and replayed by another implementation.
"""
import contextlib
import copy
from dataclasses import dataclass
from typing import Callable

import torch
import torch.nn.functional as F
from torch import nn

from models import ddpm, progan, stylegan, stylegan2, stylegan3, swin, unet


@dataclass
class Phase:
    """`loss` maps a step's draws to {name: term}; what is minimised is the sum of weight * term,
    those without a weight are shown. `name` tells the phase's optimiser state and gradients apart.
    Gradients are clipped to the norm `clip`, which makes their norm a term, where it is not 0.
    `then` is called after its optimiser."""
    name: str
    module: torch.nn.Module
    optimiser: torch.optim.Optimizer
    loss: Callable
    weights: dict
    clip: float = 0
    twice: bool = False   # the loss holds a gradient
    then: Callable = lambda: None


class Case:
    """A model with its optimiser(s). Subclasses set `modules` and `phases` in build(), and `batch`;
    `autocast` runs the losses' forward passes in bf16. Settings and batch are there for three sizes:
    BENCHMARK and LARGE for benchmarks on processors and on GPUs, SMALL for exports."""

    SMALL_RATE = 1.0   # factor on the learning rates in exports
    steps = 100000     # of the whole training, for learning rates that follow it
    compiled = False

    def __init__(self, settings, batch, autocast=False, dtype=torch.float32,
                 layout=torch.contiguous_format, fill=None, seed=1):
        """fill: called with each network before its optimiser and average are made."""
        torch.manual_seed(seed)
        self.settings, self.batch, self.autocast = settings, batch, autocast
        self.dtype, self.layout = dtype, layout
        self.modules, self.phases, self.done = {}, [], 0
        self.averages = {}
        self.fill, self.filled = fill or (lambda module: None), bool(fill)
        self.build()

    def add(self, name, module):
        """Puts a network into the case's type and layout; buffers follow."""
        self.fill(module)
        self.modules[name] = module.to(dtype=self.dtype, memory_format=self.layout)
        return self.modules[name]

    def random(self, shape, uniform=False):
        """Normal, or uniform in [-1,1], in the case's type; images in its layout."""
        x = torch.rand(shape) * 2 - 1 if uniform else torch.randn(shape)
        layout = self.layout if len(shape) == 4 else torch.contiguous_format
        return x.to(self.dtype).contiguous(memory_format=layout)

    def terms(self, phase, draws):
        """{name: scalar}, with a graph for phase.module alone. Each phase has its own autocast, as
        that caches the weights in bf16."""
        for module in self.modules.values():
            module.requires_grad_(module is phase.module)
        device = next(phase.module.parameters()).device.type
        context = (torch.autocast(device, torch.bfloat16) if self.autocast
                   else contextlib.nullcontext())
        with context, (self.plain() if phase.twice else contextlib.nullcontext()):
            return phase.loss(draws)

    def plain(self):
        """What torch.compile made is not used within: it can't be differentiated twice."""
        return torch.compiler.set_stance("force_eager") if self.compiled else contextlib.nullcontext()

    def compile(self):
        """Has torch.compile (PyTorch 2) work on what phases call."""
        self.compiled = True
        for module in self.parts():
            module.compile()

    def parts(self):
        return list(self.modules.values())

    def gradients(self, phase, draws):
        """Fills phase.module's gradients; returns the terms, detached, not yet weighted."""
        phase.optimiser.zero_grad(set_to_none=True)
        terms = self.terms(phase, draws)
        sum(phase.weights[name] * term for name, term in terms.items()
            if name in phase.weights).backward()
        # The official loops add 0 * output to a penalty, so that all parameters get a gradient
        # and the optimiser's counters stay together.
        for parameter in phase.module.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if phase.clip:
            terms["gradient_norm"] = torch.nn.utils.clip_grad_norm_(phase.module.parameters(),
                                                                    phase.clip)
        return {name: term.detach() for name, term in terms.items()}

    def schedule(self):
        """The factor on the learning rates at this step."""
        return 1

    def step(self, draws):
        """One training step; returns every phase's terms."""
        terms, factor = {}, self.schedule()
        for phase in self.phases:
            for group in phase.optimiser.param_groups:
                group["lr"] = group.setdefault("full", group["lr"]) * factor
            terms.update(self.gradients(phase, draws))
            phase.optimiser.step()
            phase.then()
        self.after(draws)
        self.done += 1
        return terms

    def after(self, draws):
        """What follows the optimisers, such as a moving average."""


class UNet(Case):
    """Segmentation of squares that are brighter than the noise, with deep supervision."""
    BENCHMARK = dict(size=128, channels=4, classes=4, base=32, levels=4), 8
    SMALL = dict(size=24, channels=4, classes=4, base=4, levels=4), 2
    LARGE = dict(size=256, channels=4, classes=4, base=64, levels=6), 32
    SMALL_RATE = 0.03  # kinks of the leaky ReLU are crossed otherwise: 10 % in float32, within 50 steps
    SHOWN = 2   # by how much a label's own channel is brighter, in deviations of the noise

    def build(self):
        s = dict(self.settings)
        self.size = s.pop("size")
        model = self.add("model", unet.UNet(**s))
        loss = lambda draws: unet.deep_terms([y.to(self.dtype) for y in model(draws["x"])],
                                             draws["labels"])
        self.phases = [Phase("main", model, unet.optimiser(model), loss, {"loss": 1}, clip=12)]

    def schedule(self):
        return unet.schedule(self.done / self.steps)

    def draw(self):
        """Labels in squares of 4 pixels, each brighter than the rest in a channel of its own."""
        s, squares = self.settings, (self.batch,) + (self.size // 4,) * 2
        labels = torch.randint(s["classes"], squares)
        labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
        shown = F.one_hot(labels % s["channels"], s["channels"]).permute(0, 3, 1, 2)
        x = self.random((self.batch, s["channels"]) + (self.size,) * 2)
        return {"x": x + self.SHOWN * shown, "labels": labels}


class Swin(UNet):
    """The same on UPerNet with Swin; windows of 3 do not divide the sides, so that padding shows."""
    BENCHMARK = dict(size=64, channels=4, classes=4, embed=32, depths=(2, 2, 2, 2),
                     heads=(2, 4, 8, 16), window=4, patch=2, width=64), 8
    SMALL = dict(size=32, channels=4, classes=4, embed=8, depths=(2, 2, 2, 2),
                 heads=(1, 2, 2, 4), window=3, patch=2, width=8), 2
    LARGE = dict(size=256, channels=4, classes=4, embed=128, depths=(2, 2, 18, 2),
                 heads=(4, 8, 16, 32), window=7, patch=4, width=512), 16
    SMALL_RATE = 5     # a network this small learns slowly at the rate of large ones

    def build(self):
        s = dict(self.settings)
        self.size = s.pop("size")
        model = self.add("model", swin.Swin(**s))
        loss = lambda draws: swin.loss_terms(model(draws["x"]), draws["labels"])
        self.phases = [Phase("main", model, swin.optimiser(model), loss, {"loss": 1})]
        self.follow(0)

    def schedule(self):
        return swin.schedule(self.done, self.steps)

    def follow(self, momentum):
        """How far running statistics move: only training steps move them."""
        for module in self.modules["model"].modules():
            if isinstance(module, swin.BatchNorm):
                module.momentum = momentum

    def step(self, draws):
        self.follow(0.1)
        terms = super().step(draws)
        self.follow(0)
        return terms


class Ddpm(Case):
    """Noise prediction on random images, linear schedule of 1000 steps."""
    BENCHMARK = dict(size=64, channels=5, base=64, mult=(1, 2, 2), blocks=2, attention=(16,)), 16
    # Not narrower: of 32 groups with one channel each, half the biases would have no gradient.
    SMALL = dict(size=8, channels=5, base=64, mult=(1, 1), blocks=1, attention=(4,), heads=2), 2
    LARGE = dict(size=256, channels=5, base=128, mult=(1, 1, 2, 2, 4, 4), blocks=2,
                 attention=(16, 8), heads=4), 16
    EXTRA = {}

    def build(self):
        model = self.add("model", ddpm.UNet(**self.settings, **self.EXTRA))
        self.averages["model"] = copy.deepcopy(model).requires_grad_(False)
        self.process = ddpm.Diffusion("linear", 1000)
        loss = lambda draws: self.process.loss_terms(model, draws["x"], draws["t"], draws["noise"])
        self.phases = [Phase("main", model, ddpm.optimiser(model), loss, {"mse": 1, "vb": 1})]

    def draw(self):
        shape = (self.batch, self.settings["channels"]) + (self.settings["size"],) * 2
        return {"x": self.random(shape, uniform=True), "noise": self.random(shape),
                "t": torch.randint(self.process.steps, (self.batch,))}

    def after(self, draws):
        ddpm.update_average(self.averages["model"], self.modules["model"], self.done)


class DdpmLearned(Ddpm):
    """With learned variances and the hybrid loss."""
    EXTRA = {"learned_variance": True}

    def draw(self):
        # The first t is 0, so that the discretised likelihood is always exercised.
        draws = super().draw()
        draws["t"][0] = 0
        return draws


class StyleGan(Case):
    """Discriminator, with R1, and generator, with style mixing, at a level that fades in by another
    share in every step."""
    BENCHMARK = dict(resolution=64, side=64, fading=False, channels=5, z_width=512, w_width=512,
                     channel_base=4096, channel_max=256), 16
    SMALL = dict(resolution=32, side=16, fading=True, channels=5, z_width=16, w_width=16,
                 channel_base=128, channel_max=16), 8
    LARGE = dict(resolution=256, side=256, fading=False, channels=5, z_width=512, w_width=512,
                 channel_base=16384, channel_max=512), 8
    SMALL_RATE = 0.1   # as for StyleGan2

    def build(self):
        s = dict(self.settings)
        self.resolution, self.side, self.fading = s["resolution"], s["side"], s["fading"]
        g = stylegan.Generator(**s)
        if self.filled:   # positive everywhere, its bias would have no gradient but rounding's
            nn.init.normal_(dict(g.named_parameters())["G_synthesis.4x4.Const.const"])
        g = self.g = self.add("G", g)
        for name in ("z_width", "w_width"):
            del s[name]
        d = self.d = self.add("D", stylegan.Discriminator(**s))
        self.averages["G"] = copy.deepcopy(g).requires_grad_(False)
        r1 = stylegan.r1_weight(10, self.resolution, self.side)
        self.phases = [Phase("Dmain", d, stylegan.optimiser(d), self.d_main,
                             {"d_fake": 1, "d_real": 1, "r1": r1}, twice=True,
                             then=self.average),
                       Phase("Gmain", g, stylegan.optimiser(g), self.g_main, {"g": 1})]

    def parts(self):
        return [self.g.G_mapping, self.g.G_synthesis, self.d]

    def draw(self):
        """Names: as of StyleGan2, and "alpha"."""
        side = self.resolution
        draws = {"x": self.random((self.batch, self.settings["channels"], side, side), uniform=True)}
        if self.fading:
            draws["alpha"] = torch.rand([]).to(self.dtype)
        for phase in self.phases:
            draws |= {f"{phase.name}.{key}": value for key, value in self.latents().items()}
        return draws

    def latents(self):
        synthesis, n = self.g.G_synthesis, self.batch
        cutoff = (torch.randint(1, synthesis.layers, []) if torch.rand([]) < 0.9
                  else torch.tensor(synthesis.layers))
        named = {f"noise.{i}": value.to(self.dtype) for i, value in enumerate(synthesis.noise(n))}
        return {"z": self.random((n, self.g.z_width)), "other": self.random((n, self.g.z_width)),
                "cutoff": cutoff} | named

    def noise(self, draws, phase):
        return [draws[f"{phase}.noise.{i}"] for i in range(self.g.G_synthesis.layers)]

    def judge(self, draws):
        return lambda images: self.d(images, draws.get("alpha"))

    def shown(self, draws):
        return stylegan.shown(draws["x"], self.side, draws.get("alpha"))

    def generate(self, draws, phase):
        ws = self.g.mixed_styles(*(draws[f"{phase}.{key}"] for key in ("z", "other", "cutoff")))
        return self.g.G_synthesis(ws, self.noise(draws, phase), draws.get("alpha"))

    def d_main(self, draws):
        images, d, real = self.generate(draws, "Dmain"), self.judge(draws), self.shown(draws)
        fake, real_loss = stylegan2.discriminator_losses(d, images, real)
        return {"d_fake": fake, "d_real": real_loss, "r1": stylegan2.r1_penalty(d, real)}

    def g_main(self, draws):
        return {"g": stylegan2.generator_loss(self.judge(draws), self.generate(draws, "Gmain"))}

    def average(self):
        """Before the generator's step, as in the official loop."""
        stylegan.update_average(self.averages["G"], self.g, self.batch,
                                half_life=self.batch * 5)


class ProGan(Case):
    """WGAN-GP with drift, discriminator and generator in turn, at a level that fades in by another
    share in every step."""
    BENCHMARK = dict(resolution=64, side=64, fading=False, channels=5, z_width=512,
                     channel_base=4096, channel_max=256), 16
    SMALL = dict(resolution=32, side=16, fading=True, channels=5, z_width=16, channel_base=128,
                 channel_max=16), 8
    LARGE = dict(resolution=256, side=256, fading=False, channels=5, z_width=512,
                 channel_base=16384, channel_max=512), 8
    SMALL_RATE = 0.2   # for the same reason as StyleGan2's

    def build(self):
        s = dict(self.settings)
        self.resolution, self.side, self.fading = s["resolution"], s["side"], s["fading"]
        g = self.g = self.add("G", progan.Generator(**s))
        del s["z_width"]
        d = self.d = self.add("D", progan.Discriminator(**s))
        self.averages["G"] = copy.deepcopy(g).requires_grad_(False)
        self.phases = [Phase("Dmain", d, progan.optimiser(d), self.d_main,
                             {"d_fake": 1, "d_real": -1, "penalty": 10, "drift": 0.001}, twice=True,
                             then=self.average),
                       Phase("Gmain", g, progan.optimiser(g), self.g_main, {"g": -1})]

    def draw(self):
        """Names: "x" (of full size), "alpha", the phase and "z", "mix"."""
        shape = (self.batch, self.settings["channels"]) + (self.resolution,) * 2
        draws = {"x": self.random(shape, uniform=True)}
        if self.fading:
            draws["alpha"] = torch.rand([]).to(self.dtype)
        draws |= {f"{phase.name}.z": self.random((self.batch, self.g.z_width))
                  for phase in self.phases}
        return draws | {"Dmain.mix": torch.rand(self.batch, 1, 1, 1).to(self.dtype)}

    def judge(self, draws):
        return lambda images: self.d(images, draws.get("alpha"))

    def shown(self, draws):
        return progan.shown(draws["x"], self.side, draws.get("alpha"))

    def d_main(self, draws):
        fake = self.g(draws["Dmain.z"], draws.get("alpha"))
        return progan.losses(self.judge(draws), self.shown(draws), fake, draws["Dmain.mix"],
                             self.resolution)

    def g_main(self, draws):
        images = self.g(draws["Gmain.z"], draws.get("alpha"))
        return {"g": self.judge(draws)(images).mean()}

    def average(self):
        """Before the generator's step, as in the official loop."""
        progan.update_average(self.averages["G"], self.g)


class StyleGan2(Case):
    """Generator, discriminator and R1 phases in each step, style mixing with probability .9.

    The official loop runs R1 every 16th step with 16 times its weight; here it runs in each with
    that weight, so that a step is always the same work.
    """
    BENCHMARK = dict(resolution=64, channels=5, z_width=512, w_width=512, channel_base=4096,
                     channel_max=256), 16
    SMALL = dict(resolution=16, channels=5, z_width=16, w_width=16, channel_base=128,
                 channel_max=16), 8
    LARGE = dict(resolution=256, channels=5, z_width=512, w_width=512, channel_base=16384,
                 channel_max=512), 16
    # At the full rate, Adam without momentum on so small a network amplifies float32's rounding to
    # 1 % of the losses within 15 steps (float32 against float64); at a fifth it stays below 1e-5 of
    # what they move by for 50.
    SMALL_RATE = 0.2
    INTERVAL = {"G": 4, "D": 16}
    PATH_LENGTH = False

    def build(self):
        s = dict(self.settings)
        g = self.g = self.add("G", stylegan2.Generator(**s))
        for name in ("z_width", "w_width"):
            del s[name]
        d = self.d = self.add("D", stylegan2.Discriminator(**s))
        self.averages["G"] = copy.deepcopy(g).requires_grad_(False)
        self.path_mean, self.seen = torch.zeros([], dtype=self.dtype), 0
        of_g = stylegan2.optimiser(g, self.INTERVAL["G"] if self.PATH_LENGTH else 0)
        of_d = stylegan2.optimiser(d, self.INTERVAL["D"])
        gamma = 0.0002 * s["resolution"] ** 2 / self.batch
        self.phases = [
            Phase("Gmain", g, of_g, self.g_main, {"g": 1}),
            Phase("Gpl", g, of_g, self.g_path, {"path": 2 * self.INTERVAL["G"]}, twice=True),
            Phase("Dmain", d, of_d, self.d_main, {"d_fake": 1, "d_real": 1}),
            Phase("Dr1", d, of_d, self.d_r1, {"r1": gamma / 2 * self.INTERVAL["D"]}, twice=True)]
        if not self.PATH_LENGTH:
            del self.phases[1]

    def parts(self):
        return [self.g.mapping, self.g.synthesis, self.d]

    def draw(self):
        """Names: the phase and "z", "other" (latents to mix in), "cutoff", "noise.I" by layer."""
        s, draws = self.settings, {}
        side = s["resolution"]
        draws["x"] = self.random((self.batch, s["channels"], side, side), uniform=True)
        for phase in self.phases:
            if phase.name == "Dr1":
                continue
            half = phase.name == "Gpl"
            n = self.batch // 2 if half else self.batch
            draws |= {f"{phase.name}.{key}": value for key, value in self.latents(n).items()}
            if half:
                draws["Gpl.direction"] = self.random((n, s["channels"], side, side))
        return draws

    def latents(self, n):
        layers = self.g.synthesis.layers
        cutoff = torch.randint(1, layers, []) if torch.rand([]) < 0.9 else torch.tensor(layers)
        noise = self.g.synthesis.noise(n)
        named = {f"noise.{i}": value.to(self.dtype) for i, value in enumerate(noise)}
        return {"z": self.random((n, self.g.z_width)), "other": self.random((n, self.g.z_width)),
                "cutoff": cutoff} | named

    def generate(self, draws, phase):
        """(images, styles) from a phase's draws."""
        ws = self.g.mixed_styles(*(draws[f"{phase}.{key}"] for key in ("z", "other", "cutoff")))
        noise = [draws[f"{phase}.noise.{i}"] for i in range(self.g.synthesis.layers - 1)]
        return self.g.synthesis(ws, noise), ws

    def g_main(self, draws):
        images, _ = self.generate(draws, "Gmain")
        return {"g": stylegan2.generator_loss(self.d, images)}

    def g_path(self, draws):
        images, ws = self.generate(draws, "Gpl")
        lengths = stylegan2.path_lengths(images, ws, draws["Gpl.direction"])
        penalty, self.path_mean = stylegan2.path_penalty(lengths, self.path_mean)
        return {"path": penalty}

    def d_main(self, draws):
        images, _ = self.generate(draws, "Dmain")
        fake, real = stylegan2.discriminator_losses(self.d, images, draws["x"])
        return {"d_fake": fake, "d_real": real}

    def d_r1(self, draws):
        return {"r1": stylegan2.r1_penalty(self.d, draws["x"])}

    def after(self, draws):
        stylegan2.update_average(self.averages["G"], self.g, self.seen, self.batch,
                                 half_life=self.batch * 10 / 32 * 1000)
        self.seen += self.batch


class StyleGan2Path(StyleGan2):
    """With the path length phase too, at half the batch."""
    PATH_LENGTH = True


class StyleGan3(StyleGan2):
    """StyleGAN 3's generator, T, against StyleGAN 2's discriminator. Running averages (w, magnitudes)
    move with the discriminator's phase; neither mixing nor path length."""
    BENCHMARK = dict(resolution=64, channels=5, z_width=512, w_width=512, layers=14,
                     channel_base=2048, channel_max=64), 4
    SMALL = dict(resolution=32, channels=5, z_width=16, w_width=16, layers=4, channel_base=128,
                 channel_max=8), 4
    LARGE = dict(resolution=256, channels=5, z_width=512, w_width=512, layers=14,
                 channel_base=16384, channel_max=512), 16
    ROTATION = False

    def build(self):
        s = dict(self.settings)
        decay = 0.5 ** (self.batch / 20000)
        g = self.g = self.add("G", stylegan3.Generator(**s, rotation=self.ROTATION,
                                                       magnitude_decay=decay))
        for name in ("z_width", "w_width", "layers"):
            del s[name]
        d = self.d = self.add("D", stylegan2.Discriminator(**s))
        self.averages["G"] = copy.deepcopy(g).requires_grad_(False)
        self.seen = 0
        gamma = 0.001 * s["resolution"] ** 2 / self.batch
        of_g = stylegan2.optimiser(g, 0)
        of_d = stylegan2.optimiser(d, self.INTERVAL["D"], rate=0.002)
        self.phases = [
            Phase("Gmain", g, of_g, self.g_main, {"g": 1}),
            Phase("Dmain", d, of_d, self.d_main, {"d_fake": 1, "d_real": 1}),
            Phase("Dr1", d, of_d, self.d_r1, {"r1": gamma / 2 * self.INTERVAL["D"]}, twice=True)]

    def latents(self, n):
        return {"z": self.random((n, self.g.z_width))}

    def judge(self, images):
        """What the discriminator says: for R of images that are blurred, less and less."""
        share = max(1 - self.seen / (self.batch * 200 / 32 * 1000), 0)
        return self.d(stylegan3.blur(images, 10 * share) if self.ROTATION else images)

    def g_main(self, draws):
        return {"g": stylegan2.generator_loss(self.judge, self.g(draws["Gmain.z"]))}

    def d_main(self, draws):
        images = self.g(draws["Dmain.z"], track=True)
        fake, real = stylegan2.discriminator_losses(self.judge, images, draws["x"])
        return {"d_fake": fake, "d_real": real}

    def d_r1(self, draws):
        return {"r1": stylegan2.r1_penalty(self.judge, draws["x"])}


class StyleGan3R(StyleGan3):
    """R, with the blur."""
    ROTATION = True


CASES = {"unet": UNet, "swin": Swin, "ddpm": Ddpm, "ddpm-learned": DdpmLearned, "progan": ProGan,
         "stylegan": StyleGan, "stylegan2": StyleGan2, "stylegan2-path": StyleGan2Path,
         "stylegan3": StyleGan3, "stylegan3-r": StyleGan3R}
