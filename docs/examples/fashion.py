"""Fashion-MNIST, from Debian's dataset-fashion-mnist, as a folder that `lethe ingest --layout npy` reads.

    fashion.py FOLDER TRAIN HOLDOUT      TRAIN images of the split train, HOLDOUT of the split holdout

Images are padded from 28² to 32². The held-out ones are always the same, the data set's own test
images; the others are the first of its training images. split.csv says which is which.
"""
import gzip
import os
import sys

import numpy as np

SOURCE = "/usr/share/datasets/fashion-mnist"


def images(name, count):
    """The first images of an IDX file: 16 bytes of header, then 28 × 28 bytes each."""
    path = os.path.join(SOURCE, name + ".gz")
    if not os.path.exists(path):
        sys.exit("Fashion-MNIST is missing: apt-get install dataset-fashion-mnist")
    with gzip.open(path, "rb") as file:
        data = file.read(16 + count * 784)
    return np.pad(np.frombuffer(data[16:], np.uint8).reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)))


def main():
    folder, train, holdout = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.makedirs(folder, exist_ok=True)
    every = np.concatenate([images("train-images-idx3-ubyte", train),
                            images("t10k-images-idx3-ubyte", holdout)])
    np.save(os.path.join(folder, "images.npy"), every)
    with open(os.path.join(folder, "subjects.csv"), "w") as subjects, \
            open(os.path.join(folder, "split.csv"), "w") as split:
        subjects.write("file,subject\n")
        split.write("subject,split\n")
        for i in range(len(every)):
            subjects.write(f"images.npy,image-{i:06d}\n")
            split.write(f"image-{i:06d},{'train' if i < train else 'holdout'}\n")


main()
