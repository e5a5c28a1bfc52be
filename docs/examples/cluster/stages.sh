#!/bin/bash
# A plan as a chain of jobs, each with what its stage needs; a job begins once the one before it has ended with 0.
#     stages.sh plan.yaml [OPTIONS OF SBATCH FOR ALL]
set -euo pipefail
plan=$1
here=$(dirname "$(realpath "$0")")
submit() { # NAME OPTIONS…: after the job before
    sbatch --parsable --job-name="$1" ${before:+--dependency=afterok:$before} "${@:2}"
}
before=
before=$(submit ingest --mem=2G --time=4:00:00 "${@:2}" "$here/run.sbatch" "$plan" --until ingest)
before=$(submit train --mem=4G "${@:2}" "$here/run.sbatch" "$plan" --until train)
before=$(submit rest --mem=4G "${@:2}" "$here/run.sbatch" "$plan")
echo "$before"
