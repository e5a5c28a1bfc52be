"""Writes what the C engine is compared with, as safetensors.

    export.py --ops FILE                         vectors of single operations, float64
    export.py --parameters FILE                  names and shapes of the benchmark's models, as text
    export.py CASE FILE [--steps N] [--f64] [--bf16]
                                                 a small model: weights, one step's draws, terms
                                                 and gradients, and the terms of N steps

A CASE file holds, with M a network's name ("model", or "G" and "D") and P a phase's:

    weights/M.NAME        parameters and buffers before training, official names and layouts
    draws/NAME            the steps' random inputs, stacked: (steps, ...)
    output/...            what the networks give for the first step's draws
    terms/NAME            the loss terms of each step, (steps,), each taken where the step takes it
    grad/P/NAME           gradients of phase P's weighted loss at the starting weights
    bf16/grad/P/NAME      with --bf16: the gradients again, in mixed precision (autocast)
    trained/M.NAME        parameters and buffers after the steps
    trained/average.M.NAME  their running averages

Weights are drawn so that nothing is zero (zero-initialised layers would hide their errors). Float
arrays are F32, or F64 with --f64, in which case all was computed in float64.
"""
import argparse
import json

import torch

import operations
import tensorfile
from cases import CASES, ProGan, StyleGan, StyleGan3
from models.inception import Inception
from models.resnet50 import ResNet50


@torch.no_grad()
def fill(module):
    """Moves every parameter off its special starting value by N(0, .05), buffers by nothing."""
    for parameter in module.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))


def state(case, prefix):
    return {f"{prefix}/{name}.{key}": value.clone() for name, module in case.modules.items()
            for key, value in module.state_dict().items()}


@torch.no_grad()
def outputs(case, draws):
    """The networks' outputs for a step's draws, by case."""
    if "t" in draws:
        xt = case.process.noised(draws["x"], draws["t"], draws["noise"])
        return {"output/xt": xt, "output/y": case.modules["model"](xt, draws["t"])}
    if "labels" in draws:
        y = case.modules["model"](draws["x"])
        return {"output/y": y[0]}
    g, z = case.modules["G"], draws["Gmain.z"]
    if isinstance(case, ProGan):
        return {"output/images": g(z, draws.get("alpha")),
                "output/logits": case.judge(draws)(case.shown(draws))}
    if isinstance(case, StyleGan):
        return {"output/ws": g.styles(z),
                "output/images": g(z, case.noise(draws, "Gmain"), draws.get("alpha")),
                "output/logits": case.judge(draws)(case.shown(draws))}
    if isinstance(case, StyleGan3):
        return {"output/w": g.mapping(z), "output/images": g(z),
                "output/logits": case.modules["D"](draws["x"])}
    return {"output/ws": g.styles(z), "output/images": g(z),
            "output/logits": case.modules["D"](draws["x"])}


def first_gradients(case, draws):
    """{grad/P/NAME} of every phase at the present weights. The networks' buffers that a forward
    pass moves (w_avg) are put back."""
    tensors, before = {}, {name: {key: value.clone() for key, value in module.state_dict().items()}
                           for name, module in case.modules.items()}
    for phase in case.phases:
        case.gradients(phase, draws)
        for key, parameter in phase.module.named_parameters():
            if parameter.grad is not None:
                tensors[f"grad/{phase.name}/{key}"] = parameter.grad.clone()
    for name, module in case.modules.items():
        module.load_state_dict(before[name])
    return tensors


def autocast_gradients(case, name, draws, seed):
    """{bf16/grad/P/NAME}: a second case with the same weights, in float32 and autocast."""
    low = CASES[name](case.settings, case.batch, autocast=True, seed=seed)
    for key, module in low.modules.items():
        module.load_state_dict(case.modules[key].state_dict())
    draws = {key: value.to(low.dtype) if value.is_floating_point() else value
             for key, value in draws.items()}
    return {f"bf16/{key}": value.to(case.dtype)
            for key, value in first_gradients(low, draws).items()}


def export_case(name, path, steps, dtype, seed, bf16=False):
    """Writes a case of the reduced size; see the top for the names."""
    settings, batch = CASES[name].SMALL
    case = CASES[name](settings, batch, dtype=dtype, fill=fill, seed=seed)
    case.steps = steps
    rates(case)
    draws = [case.draw() for _ in range(steps)]
    tensors = state(case, "weights") | outputs(case, draws[0])
    tensors |= {f"draws/{key}": torch.stack([draw[key] for draw in draws]) for key in draws[0]}
    path_mean = getattr(case, "path_mean", None)
    tensors |= first_gradients(case, draws[0])
    if bf16:
        tensors |= autocast_gradients(case, name, draws[0], seed)
    if path_mean is not None:
        case.path_mean = path_mean
    curve = [case.step(draw) for draw in draws]
    tensors |= {f"terms/{key}": torch.stack([terms[key] for terms in curve]) for key in curve[0]}
    tensors |= state(case, "trained")
    tensors |= {f"trained/average.{name}.{key}": value.clone()
                for name, module in case.averages.items()
                for key, value in module.named_parameters()}
    save(path, tensors, {"case": name, "batch": batch, "steps": steps, "rate": case.SMALL_RATE,
                         "settings": json.dumps(settings)} | phase_attributes(case))


def rates(case):
    """Scales the learning rates for exports, each optimiser's once."""
    for update in {id(phase.optimiser): phase.optimiser for phase in case.phases}.values():
        for group in update.param_groups:
            group["lr"] *= case.SMALL_RATE


def phase_attributes(case):
    """{"weights", "optimisers"}: by phase, the terms' weights and the optimiser's settings."""
    wanted = ("lr", "betas", "eps", "weight_decay", "momentum", "nesterov")
    groups = {phase.name: phase.optimiser.param_groups[0] for phase in case.phases}
    settings = {name: {key: group[key] for key in wanted if key in group}
                for name, group in groups.items()}
    weights = {phase.name: phase.weights for phase in case.phases}
    return {"weights": json.dumps(weights), "optimisers": json.dumps(settings)}


def save(path, tensors, metadata):
    tensorfile.write(path, {key: value.detach().numpy() for key, value in tensors.items()},
                     metadata)


CONSTANTS = ("resample_filter", "up_filter", "down_filter", "input.transform")


def export_parameters(path):
    """A line a tensor: case, network.name, shape as 8x3x3 ("scalar" for none). The constant filters
    are left out: the engine has them as constants."""
    with open(path, "w", encoding="utf-8") as file:
        for name in ("unet", "ddpm", "progan", "stylegan", "stylegan2", "stylegan3"):
            case = CASES[name](*CASES[name].BENCHMARK)
            for key, value in state(case, "").items():
                if not key.endswith(CONSTANTS):
                    shape = "x".join(map(str, value.shape)) or "scalar"
                    file.write(f"{name} {key[1:]} {shape}\n")
        for name, network in ("inception", Inception()), ("resnet50", ResNet50()):
            for key, value in network.state_dict().items():
                if not key.endswith("num_batches_tracked"):
                    file.write(f"{name} {key} {'x'.join(map(str, value.shape))}\n")


def export_operations(path, seed):
    tensors, attributes = operations.vectors(seed)
    save(path, tensors, {name: json.dumps(value) for name, value in attributes.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", nargs="?", choices=CASES)
    parser.add_argument("file")
    parser.add_argument("--ops", action="store_true", help="single operations, no case")
    parser.add_argument("--parameters", action="store_true", help="names and shapes, no case")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, help="other random numbers (the committed vectors: none)")
    parser.add_argument("--bf16", action="store_true", help="gradients under autocast, too")
    parser.add_argument("--f64", action="store_true", help="compute and store in float64")
    arguments = parser.parse_args()
    # One thread, so that sums keep one order and a file can be made again.
    torch.set_num_threads(1)
    if arguments.ops:
        export_operations(arguments.file, arguments.seed or 0)
    elif arguments.parameters:
        export_parameters(arguments.file)
    elif arguments.case:
        dtype = torch.float64 if arguments.f64 else torch.float32
        export_case(arguments.case, arguments.file, arguments.steps, dtype, arguments.seed or 1,
                    arguments.bf16)
    else:
        parser.error("name a case, or give --ops or --parameters")


if __name__ == "__main__":
    main()
