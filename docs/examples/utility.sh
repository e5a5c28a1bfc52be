#!/usr/bin/env bash
# What synthetic sets are worth, in one table: segmenters that learnt from real images, from each
# synthetic set, from both, and two controls: masks that belong to other images, and no training.
#
#     docs/examples/utility.sh LETHE FOLDER [--real STORE] [--synthetic NAME=STORE]…
#                              [--seeds N] [--images N] [--subjects N] [--size N]
#
# Everything is made below FOLDER; called again, it goes on. Without --real a cohort of phantoms is
# made, without --synthetic a second one under another seed, "perfect": what a perfect generator
# would give. The store of a trained generator is what lethe sample writes.
set -euo pipefail
usage() {
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
[ $# -ge 2 ] || usage
lethe=$1 folder=$2 real='' seeds=2 images=4000 subjects=24 size=64
synthetic=()
shift 2
while [ $# -gt 1 ]; do
    case $1 in
    --real) real=$2 ;;
    --synthetic) synthetic+=(--synthetic "$2") ;;
    --seeds) seeds=$2 ;;
    --images) images=$2 ;;
    --subjects) subjects=$2 ;;
    --size) size=$2 ;;
    *) usage ;;
    esac
    shift 2
done
[ $# -eq 0 ] || usage
mkdir -p "$folder"

# phantoms SEED NAME: a cohort, made once.
phantoms() {
    [ -d "$folder/$2" ] || "$lethe" phantom --subjects "$subjects" --size "$size" --seed "$1" --out "$folder/$2"
}

if [ -z "$real" ]; then
    real=$folder/real
    phantoms 11 cohort
    [ -d "$real" ] || "$lethe" ingest --source "$folder/cohort" --size "$size" --holdout 0.34 --out "$real"
fi
if [ ${#synthetic[@]} -eq 0 ]; then
    synthetic=(--synthetic "perfect=$folder/perfect")
    phantoms 12 others
    [ -d "$folder/perfect" ] ||
        "$lethe" ingest --source "$folder/others" --size "$size" --role synthetic --out "$folder/perfect"
fi
"$lethe" utility --dataset "$real" "${synthetic[@]}" --out "$folder/utility" \
    --sources real,synthetic,both,shuffled,untrained --seeds "$seeds" \
    --images "$images" --batch 8 --base 8 --levels 4 --rate 0.02
echo "panels: $folder/utility/panels"
