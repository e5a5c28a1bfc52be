#!/bin/sh
# What a synthetic set is worth, on phantoms: a real-only segmenter, one that has only synthetic
# images, and the control whose masks are wrong. Everything is made below the folder given.
#
#     docs/examples/utility.sh LETHE FOLDER [SUBJECTS SIZE SEEDS IMAGES]
#
# The stand-in for a generator is a second cohort of phantoms under another seed: what a perfect
# generator would give. Give lethe utility the store of a trained one (lethe sample) to measure that.
set -eu
lethe=$1 folder=$2 subjects=${3:-24} size=${4:-64} seeds=${5:-2} images=${6:-4000}
mkdir -p "$folder"
[ -d "$folder/cohort" ] || "$lethe" phantom --subjects "$subjects" --size "$size" --seed 11 --out "$folder/cohort"
[ -d "$folder/others" ] || "$lethe" phantom --subjects "$subjects" --size "$size" --seed 12 --out "$folder/others"
[ -d "$folder/real" ] || "$lethe" ingest --source "$folder/cohort" --size "$size" --holdout 0.34 --out "$folder/real"
[ -d "$folder/synthetic" ] || "$lethe" ingest --source "$folder/others" --size "$size" --role synthetic --out "$folder/synthetic"
"$lethe" utility --dataset "$folder/real" --synthetic "$folder/synthetic" --out "$folder/utility" \
    --sources real,synthetic,both,shuffled --seeds "$seeds" \
    --images "$images" --batch 8 --base 8 --levels 4 --rate 0.02
echo "panels: $folder/utility/panels"
