# The demo: from nothing to a dataset store. Called by ./dev demo as demo.sh LETHE FOLDER.
set -euo pipefail
lethe=$(realpath "$1")
folder=$2
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"

step() { printf '\n\033[1m%s\033[0m\n' "$1"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || step() { printf '\n%s\n' "$1"; }

step "1  A cohort of 40 brain phantoms with tumours, named as BraTS names its patients"
"$lethe" phantom --subjects 40 --size 128 --seed 1 --out cohort

step "2  A plan, from a look at the folder"
"$lethe" init cohort > plan.yaml
head -4 plan.yaml

step "3  Ingest: scaled, sliced, split by subject"
"$lethe" ingest plan.yaml

step "4  What is in the store"
"$lethe" inspect run/dataset --verify --png sheet.png

step "5  A damaged scan is named, and nothing is half written"
cp -r cohort damaged
truncate -s 20000 damaged/Phantom_00007/Phantom_00007_t2.nii.gz
if "$lethe" ingest --source damaged --out never; then exit 1; fi
rm -rf damaged
[ ! -e never ]

printf '\nOpen %s/sheet.png to see the images, and %s/plan.yaml for the settings.\n' "$folder" "$folder"
