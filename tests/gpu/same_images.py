"""Whether two synthetic stores differ by rounding alone: same_images.py STORE STORE

Values are of 0 … 255. Images that say nothing, all of one value, are no evidence. Exit code: 0, 1 where
they differ.
"""
import statistics
import sys

LEVELS, MEAN, LEAST = 4, 0.1, 1


def values(store):
    """The bytes of images.npy, which has uint8, behind its header; and that."""
    with open(f"{store}/images.npy", "rb") as file:
        head = file.read(10)
        return file.read(int.from_bytes(head[8:10], "little")), file.read()


(head, one), (other_head, other) = map(values, sys.argv[1:])
if head != other_head or b"|u1" not in head:
    sys.exit(f"{head} and {other_head}")
apart = [abs(a - b) for a, b in zip(one, other)]
spread, most, mean = statistics.pstdev(one), max(apart), statistics.fmean(apart)
print(f"{len(one):,} values, {spread:.1f} about their mean: at most {most} apart (allowed: {LEVELS}), "
      f"{mean:.2g} on average ({MEAN})")
sys.exit(int(spread < LEAST or most > LEVELS or mean > MEAN))
