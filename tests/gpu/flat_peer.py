"""An exact flat index on a GPU, beside gpu_audit: flat_peer.py FOLDER K

FAISS' where its Python package is there and sees the GPU; else the same by PyTorch: all products of f32,
then topk. Reads the sets that gpu_audit wrote (queries.npy, database.npy) and its answer (ids.bin),
searches with the same unit vectors, and prints one line of JSON. Exit code 3: neither is here.
"""
import json
import sys
import time

import numpy as np

BATCH = 2048


def units(images):
    """Unit vectors of zero mean, float32."""
    x = images.reshape(len(images), -1).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-20)
    return x


class Faiss:
    def __init__(self, _count, width):
        import faiss

        if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() < 1:
            raise ImportError("this FAISS sees no GPU")
        self.name = f"FAISS {faiss.__version__}"
        self.resources = faiss.StandardGpuResources()
        self.index = faiss.GpuIndexFlatIP(self.resources, width)
        self.units = units

    def add(self, some):
        self.index.add(some)

    def search(self, some, k):
        return self.index.search(some, k)[1]


class Products:
    """Vectors are made on the device, which takes the processor's share out of its time."""

    def __init__(self, count, width):
        import torch

        if not torch.cuda.is_available():
            raise ImportError("PyTorch sees no GPU")
        torch.backends.cuda.matmul.allow_tf32 = False
        self.torch, self.name = torch, f"PyTorch {torch.__version__}, products and topk"
        self.rows = torch.empty(count, width, device="cuda")
        self.filled = 0

    def units(self, images):
        x = self.torch.from_numpy(np.array(images.reshape(len(images), -1))).cuda().float()
        x -= x.mean(dim=1, keepdim=True)
        return x / x.norm(dim=1, keepdim=True).clamp_min(1e-20)

    def add(self, some):
        self.rows[self.filled : self.filled + len(some)] = some
        self.filled += len(some)
        self.torch.cuda.synchronize()

    def search(self, some, k):
        return (some @ self.rows.T).topk(k, dim=1).indices.cpu().numpy()


def choose(count, width):
    for kind in (Faiss, Products):
        try:
            return kind(count, width)
        except ImportError as error:
            print(error, file=sys.stderr)
    sys.exit(3)


def main():
    folder, k = sys.argv[1], int(sys.argv[2])
    queries = np.load(f"{folder}/queries.npy", mmap_mode="r")
    database = np.load(f"{folder}/database.npy", mmap_mode="r")
    ours = np.fromfile(f"{folder}/ids.bin", dtype=np.int64).reshape(len(queries), k)
    index = choose(len(database), database[0].size)
    started = time.monotonic()
    for first in range(0, len(database), BATCH):
        index.add(index.units(database[first : first + BATCH]))
    add = time.monotonic() - started
    search, vectors, same = 0.0, 0.0, 0
    for first in range(0, len(queries), BATCH):
        started = time.monotonic()
        some = index.units(queries[first : first + BATCH])
        vectors += time.monotonic() - started
        started = time.monotonic()
        ids = index.search(some, k)
        search += time.monotonic() - started
        same += int((ids[:, 0] == ours[first : first + BATCH, 0]).sum())
    print(json.dumps({"engine": index.name, "add_s": add + vectors, "search_s": search,
                      "same_nearest": same / len(queries)}))


if __name__ == "__main__":
    main()
