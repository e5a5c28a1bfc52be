#!/bin/sh
# Images made elsewhere are audited and packed; nothing is trained here.
#
#     docs/examples/elsewhere.sh LETHE FOLDER [SUBJECTS SIZE]
#
# Everything is made below the folder. The stand-in for the real images is a cohort of phantoms, that
# for the foreign generator's a second one under another seed: what a generator that remembers nobody
# would give. With your own, put your scans and your folder of images in their places.
set -eu
lethe=$(realpath "$1") folder=$2 subjects=${3:-24} size=${4:-32}
mkdir -p "$folder"
cd "$folder"
[ -d scans ] || "$lethe" phantom --subjects "$subjects" --size "$size" --seed 11 --out scans
[ -d foreign ] || "$lethe" phantom --subjects "$subjects" --size "$size" --seed 12 --out foreign
[ -d theirs ] || "$lethe" ingest --source foreign --size "$size" --role synthetic --out theirs
cat >plan.yaml <<PLAN
name: made-elsewhere
seed: 1
ingest: { source: scans, size: $size, holdout: 0.4 }   # what their generator learned from
sample: { made_elsewhere: theirs }                     # a store: lethe ingest --role synthetic
audit: { quantile: 0.9 }
policy:
  quarantine: drop
  rows:
    - { metric: memorization.flagged.count, limit: 0 }
    - { metric: memorization.flagged.fraction, bound: upper95, limit: 0.5 }
package: { version: "1.0", date: "2026-11-22", format: png }
PLAN
"$lethe" run plan.yaml
echo "report: $folder/run/report.public.html"
