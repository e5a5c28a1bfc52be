"""Trains a benchmark case with PyTorch, on command, so that another program can interleave with
it step by step.

    twin.py CASE [--dtype f32|bf16] [--channels-last] [--keep-memory] [--threads N] [--batch B]
                 [--large] [--device cpu|cuda] [--compile]
    twin.py CASE [--dtype f32|bf16] --best ...      measures the settings first, keeps the fastest

Prints a JSON line {"ready": true, "parameters", "flops_per_step", ...}. Then for each line
`step N` on standard input it trains N steps and prints {"seconds", "images", "loss", "terms",
"peak_rss"}; `quit`, or the end of the input, ends it.
"""
import argparse
import ctypes
import itertools
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time

import torch

from cases import CASES
from flops import count_flops

WARM_UP = 2   # steps, in which kernels are compiled and chosen
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1   # of malloc.h


def keep_memory():
    """Has glibc keep freed memory. By default it returns every large tensor to the kernel and
    faults it in again for the next, which costs small kernels most of their time."""
    libc = ctypes.CDLL("libc.so.6")
    if not (libc.mallopt(M_MMAP_THRESHOLD, 1 << 30) and libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)):
        raise OSError("mallopt refused the thresholds")


def on_gpu():
    return torch.ones(1).is_cuda


def peak_rss():
    """Bytes; the highest since the process started. On a GPU: of tensors there, since the first
    steps, in which kernels are chosen; what the allocator holds beyond them is not counted."""
    if on_gpu():
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def blas():
    """The file that serves BLAS. Debian's PyTorch takes whatever libblas.so.3 is: the reference
    BLAS without OpenBLAS, which multiplies matrices 25 times slower."""
    torch.ones(2, 2) @ torch.ones(2, 2)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        found = {line.split()[-1] for line in maps if "/libblas." in line or "openblas" in line}
    if found and not any("openblas" in path for path in found):
        print("twin.py: PyTorch uses the reference BLAS, so its times say nothing; install "
              "libopenblas0-openmp", file=sys.stderr)
    return min(found, default="built in")


def build(arguments, batch=None):
    """The case of the command line, at its batch or another one."""
    kind = CASES[arguments.case]
    settings, usual = kind.LARGE if arguments.large else kind.BENCHMARK
    layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
    case = kind(settings, batch or arguments.batch or usual, arguments.dtype == "bf16",
                layout=layout)
    if arguments.compile:
        case.compile()
    return case


def use_device(arguments):
    """On a GPU as its users set PyTorch: cuDNN measures its kernels. f32 is f32, as it is with us."""
    if arguments.device == "cpu":
        return
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_default_device(arguments.device)


def flops_per_image(arguments):
    """Counted on a batch of 4, the group of the minibatch stddev, as PyTorch runs it uncompiled."""
    use_device(arguments)
    torch.backends.cudnn.benchmark = False   # nothing is timed, and measuring kernels takes long
    arguments.compile = False
    case = build(arguments, batch=4)
    draws = case.draw()
    return count_flops(lambda: case.step(draws)) // 4


def run(arguments):
    """Answers the lines of standard input."""
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    if arguments.keep_memory:
        keep_memory()
    # In a process of its own, so that its memory does not count towards ours.
    with multiprocessing.get_context("fork").Pool(1) as pool:
        flops = pool.apply(flops_per_image, [arguments])
    use_device(arguments)
    case = build(arguments)
    fixed = case.draw()
    say(ready=True, case=arguments.case, dtype=arguments.dtype, batch=case.batch,
        channels_last=arguments.channels_last, keep_memory=arguments.keep_memory,
        threads=torch.get_num_threads(), torch=torch.__version__, blas=blas(),
        parameters=sum(p.numel() for m in case.modules.values() for p in m.parameters()),
        flops_per_step=flops * case.batch, rss=peak_rss())
    for count, line in enumerate(sys.stdin):
        words = line.split()
        if count == WARM_UP and on_gpu():
            torch.cuda.reset_peak_memory_stats()
        if words == ["quit"]:
            return
        if len(words) != 2 or words[0] != "step" or not words[1].isdigit() or words[1] == "0":
            sys.exit(f"twin.py: expected 'step N' or 'quit', got {line!r}")
        report(case, fixed, int(words[1]))


def report(case, fixed, steps):
    """Times `steps` steps. The images stay the same, as loading them is not measured; noise, times
    and latents are drawn anew within the measured time."""
    images = {name: fixed[name] for name in ("x", "labels") if name in fixed}
    start = time.perf_counter()
    for _ in range(steps):
        terms = case.step({**case.draw(), **images})
    values = {name: term.item() for name, term in terms.items()}
    say(seconds=time.perf_counter() - start, images=steps * case.batch,
        loss=values.get("loss", sum(values.values())), terms=values, peak_rss=peak_rss())


def say(**fields):
    print(json.dumps(fields), flush=True)


def command(arguments, channels_last, other):
    """This program with given settings; the other one is to keep memory, or to compile."""
    second = "--keep-memory" if arguments.device == "cpu" else "--compile"
    words = [sys.executable, __file__, arguments.case, "--dtype", arguments.dtype,
             "--threads", str(arguments.threads), "--device", arguments.device]
    words += ["--batch", str(arguments.batch)] if arguments.batch else []
    words += ["--large"] * arguments.large
    return words + ["--channels-last"] * channels_last + [second] * other


def trial(words):
    """Seconds of the faster of two steps after two others, in a process of its own, so that neither
    memory nor caches of one trial reach another."""
    result = subprocess.run(words, input="step 1\n" * 4 + "quit\n", stdout=subprocess.PIPE,
                            text=True, check=True)
    return min(json.loads(line)["seconds"] for line in result.stdout.splitlines()[3:])


def best(arguments):
    """Tries every layout and way of memory, then becomes the fastest."""
    trials = {}
    second = "keep_memory" if arguments.device == "cpu" else "compile"
    for setting in itertools.product((False, True), repeat=2):
        trials[setting] = trial(command(arguments, *setting))
        print(f"twin.py: {arguments.case} {arguments.dtype} channels_last={setting[0]} "
              f"{second}={setting[1]}: {trials[setting]:.3f} s a step", file=sys.stderr)
    words = command(arguments, *min(trials, key=trials.get))
    os.execv(words[0], words)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32",
                        help="bf16: autocast, with float32 weights (default: f32)")
    parser.add_argument("--channels-last", action="store_true", help="store images as N,H,W,C")
    parser.add_argument("--keep-memory", action="store_true",
                        help="have the C library keep freed memory: faster, and larger")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true", help="through torch.compile (PyTorch 2)")
    parser.add_argument("--large", action="store_true", help="the size for GPUs")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, help="images a step (default: the case's)")
    parser.add_argument("--best", action="store_true",
                        help="try the two options above in all combinations, keep the fastest")
    arguments = parser.parse_args()
    (best if arguments.best else run)(arguments)


if __name__ == "__main__":
    main()
