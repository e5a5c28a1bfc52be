"""The peer of bench/ingest.c: reads every volume below a folder with nibabel, when asked to.

Lines on standard input: "version" answers nibabel's version, "decode" reads all volumes with
get_fdata() and answers the seconds that it took.
"""
import pathlib
import sys
import time

import nibabel


def decode(files):
    started = time.perf_counter()
    for file in files:
        nibabel.load(file).get_fdata()
    return time.perf_counter() - started


def main():
    files = sorted(pathlib.Path(sys.argv[1]).rglob("*.nii.gz"))
    for line in sys.stdin:
        answer = nibabel.__version__ if line.strip() == "version" else decode(files)
        print(answer, flush=True)


main()
