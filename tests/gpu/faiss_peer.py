"""FAISS' flat index on a GPU, beside gpu_audit: faiss_peer.py FOLDER K

Reads the sets that gpu_audit wrote (queries.npy, database.npy) and its answer (ids.bin), searches
with the same unit vectors, and prints one line of JSON. Exit code 3: no FAISS with a GPU here.
"""
import json
import sys
import time

try:
    import faiss
    import numpy as np

    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() < 1:
        raise ImportError("this FAISS sees no GPU")
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)

BATCH = 2048


def units(images):
    """Unit vectors of zero mean, float32."""
    x = images.reshape(len(images), -1).astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-20)
    return x


folder, k = sys.argv[1], int(sys.argv[2])
queries = np.load(f"{folder}/queries.npy", mmap_mode="r")
database = np.load(f"{folder}/database.npy", mmap_mode="r")
ours = np.fromfile(f"{folder}/ids.bin", dtype=np.int64).reshape(len(queries), k)

resources = faiss.StandardGpuResources()
index = faiss.GpuIndexFlatIP(resources, database[0].size)
started = time.monotonic()
for first in range(0, len(database), BATCH):
    index.add(units(database[first : first + BATCH]))
add = time.monotonic() - started

vectors, search, same = 0.0, 0.0, 0
for first in range(0, len(queries), BATCH):
    started = time.monotonic()
    some = units(queries[first : first + BATCH])
    vectors += time.monotonic() - started
    started = time.monotonic()
    _, ids = index.search(some, k)
    search += time.monotonic() - started
    same += int((ids[:, 0] == ours[first : first + BATCH, 0]).sum())

print(json.dumps({"version": faiss.__version__, "add_s": add + vectors, "search_s": search,
                  "same_nearest": same / len(queries)}))
