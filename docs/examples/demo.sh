# The demo: from nothing to a signed release that a stranger verifies, or to a refusal.
#     demo.sh LETHE FOLDER [--memorised | --template]        called by ./dev demo
set -euo pipefail
examples=$(realpath "$(dirname "$0")")
lethe=$(realpath "$1")
folder=$2
ending=${3:-}
rm -rf "$folder"
mkdir -p "$folder"
folder=$(realpath --relative-to=. "$folder")
cd "$folder"

step() { printf '\n\033[1m%s\033[0m\n' "$1"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || step() { printf '\n%s\n' "$1"; }

case "$ending" in
    '' | --template) plan=demo.yaml ;;
    --memorised) plan=demo-memorised.yaml ;;
    *) echo "demo.sh: $ending is no ending; there are --memorised and --template" >&2; exit 2 ;;
esac

# Real anatomy, warped anew for each subject: Colin 27, from Debian's mricron-data.
head=()
if [ "$ending" = --template ]; then head=(--template /usr/share/mricron/templates/ch2bet.nii.gz); fi

step '1  A cohort: 120 brain phantoms with tumours, named as BraTS names its patients'
"$lethe" phantom --subjects 120 --size 64 --seed 1 --out cohort ${head[@]+"${head[@]}"}
cp "$examples/$plan" plan.yaml
if [ "$ending" = --memorised ]; then
    (echo subject,split; ls cohort | awk '{ print $1 "," (NR <= 3 ? "train" : "holdout") }') >split.csv
fi

step "2  The plan: every setting, and the limits that a release has to keep ($folder/plan.yaml)"
grep -v '^#' plan.yaml | sed -n '/^policy/,/^$/p'

step '3  One command: ingest, train, sample, audit, report, package'
echo 'Minutes of training follow. Interrupt it, and "lethe run plan.yaml" goes on.'
code=0
"$lethe" run plan.yaml || code=$?
if [ "$code" -eq 2 ]; then # stopped, or failed: it has said which
    printf '\nTo go on:  cd %s && %s run plan.yaml     (./dev demo begins anew)\n' "$folder" "$lethe"
    exit 2
fi

if [ "$ending" = --memorised ]; then
    step '4  The generator had learned its three subjects by heart'
    if [ "$code" -ne 1 ] || ls run/release/*.tar.zst >/dev/null 2>&1; then
        echo "demo: expected exit code 1 and no archive, got exit code $code" >&2
        exit 2
    fi
    echo 'lethe run ended with exit code 1: the answer is no, and there is no archive.'
    printf '\nOpen   %s/run/report.internal.html   the copies beside the images that they are copies of\n' "$folder"
    printf '       %s/run/report.public.html     what may be shown: no image, for it may be a patient\n' "$folder"
    exit 0
fi
[ "$code" -eq 0 ] || exit "$code"

step '4  Signed with a throw-away key, as producer'
echo 'not a secret: this key is thrown away' >passphrase
"$lethe" keygen producer --passphrase-file passphrase
"$lethe" sign run/release/*.tar.zst --role producer --key producer.key --passphrase-file passphrase
cat >trust.yaml <<'TRUST'
schema: lethe/trust/1
require: { producer: 1 }
keys:
  - { name: throw-away, role: producer, file: producer.pub }
TRUST

step '5  What a recipient does, who trusts this key and nothing in the archive'
"$lethe-verify" run/release/*.tar.zst --trust trust.yaml

step '6  One byte changed'
cp -r run/release changed
archive=$(ls changed/*.tar.zst)
printf 'X' | dd of="$archive" bs=1 seek=20000 conv=notrunc status=none
if "$lethe-verify" "$archive" --trust trust.yaml; then exit 2; fi
rm -rf changed

archive=$(ls run/release/*.tar.zst)
cat <<END

Open   $folder/run/report.public.html     what everybody may see, and what goes with the archive
       $folder/run/report.internal.html   what a reviewer sees: go through the worst pairs with → and b
       $folder/run/model/                 curves: lethe curves $folder/run/model
Try    build/lethe-verify $folder/$archive --trust $folder/trust.yaml
       build/lethe status $folder/plan.yaml
       ./dev demo --memorised             the other ending: what is learned by heart is not released
END
