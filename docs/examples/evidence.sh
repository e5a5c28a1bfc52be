#!/usr/bin/env bash
# Evidence on real and made-up data: each case trains, draws a picture of samples, and says where.
#
#     docs/examples/evidence.sh CASE [LETHE [FOLDER [MINUTES [SAMPLES]]]]
#                                        default: build/lethe build/evidence, and the case's own
#
#     case                 minutes   what it shows
#     fashion-ddpm              30   Fashion-MNIST, padded to 32²: a person recognises the clothes
#     fashion-stylegan2         30   the same by the other model
#     phantom-ddpm              60   brain phantoms with tumours at 64², masks generated with them
#     phantom-stylegan2         60   the same by the other model
#     memorise-32               30   the positive control: diffusion on 32 images until it knows them
#     memorise-2000             30   the negative one: the same network and time on 2,000 images
#
# Minutes are of training, on two cores of a quiet machine, and may be given; a case that is called
# again goes on where it was. Fashion-MNIST is Debian's dataset-fashion-mnist.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=${1:?which case: see the top of this file}
lethe=$(realpath "${2:-$here/../../build/lethe}")
folder=${3:-$here/../../build/evidence}
minutes=${4:-}
samples=${5:-}
mkdir -p "$folder"
cd "$folder"

# A store of Fashion-MNIST: TRAIN images to train on, HOLDOUT held out.
fashion() {
    [ -d "$1" ] && return
    rm -rf fashion.npy && /usr/bin/python3 "$here/fashion.py" fashion.npy "$2" "$3"
    "$lethe" ingest --layout npy --source fashion.npy --out "$1" --intensity none --canvas 32 \
        --keep-share 0 --keep-above 0 --channels image \
        --subjects-file fashion.npy/subjects.csv --split-file fashion.npy/split.csv
}

# 60 subjects of 64²: some 1,200 slices, a tenth of the subjects held out.
phantoms() {
    [ -d phantoms ] && return
    [ -d cohort ] || "$lethe" phantom --subjects 60 --size 64 --seed 1 --out cohort
    "$lethe" ingest --source cohort --out phantoms --holdout 0.1 --seed 1
}

# Trains STORE into a folder for the case's minutes, and draws samples.
train() {
    local store=$1 limit=${minutes:-$2} count=${samples:-$3} draw=$4
    shift 4
    "$lethe" train --dataset "$store" --out "$name" --time-limit "$limit" --images 1000000000 \
        --checkpoint 500 --keep 2 --samples 500 "$@"
    rm -rf "$name.set"
    # shellcheck disable=SC2086
    "$lethe" sample --from "$name" --out "$name.set" --png "$name.png" --rows 8 --count "$count" $draw
    "$lethe" curves "$name"
    printf '\nSamples: %s/%s.png\n' "$PWD" "$name"
}

# Small networks, so that minutes on two cores are enough to see something.
small_ddpm="--model ddpm --base 32 --mult 1,2,2 --blocks 1 --attention 8 --heads 2 --dropout 0
    --rate 4e-4 --average 0.998 --batch 32"
small_stylegan2="--model stylegan2 --z-width 128 --w-width 128 --mapping-layers 4
    --channel-base 1024 --channel-max 128 --batch 16 --gamma 1 --average-kimg 2"

# The audit of what was drawn, against the images trained on and those held out.
audit() {
    rm -rf "$name.audit"
    "$lethe" audit --train "$1" --synthetic "$name.set" --out "$name.audit"
}

# shellcheck disable=SC2086
case $name in
fashion-ddpm)
    fashion fashion 60000 2000
    train fashion 30 64 "--sampler ancestral --steps 100" $small_ddpm --mirror
    ;;
fashion-stylegan2)
    fashion fashion 60000 2000
    train fashion 30 64 "" $small_stylegan2 --mirror
    ;;
phantom-ddpm)
    phantoms
    train phantoms 60 64 "--sampler ancestral --steps 100" ${small_ddpm/1,2,2/1,1,2,2} --mirror
    ;;
phantom-stylegan2)
    phantoms
    train phantoms 60 64 "" $small_stylegan2 --mirror
    ;;
memorise-32 | memorise-2000)
    fashion "fashion-${name#memorise-}" "${name#memorise-}" 2000
    train "fashion-${name#memorise-}" 30 256 "--sampler ddim --steps 50" $small_ddpm
    audit "fashion-${name#memorise-}"
    ;;
*)
    sed -n '2,17s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
