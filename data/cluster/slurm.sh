#!/bin/bash
# One experiment on one machine of a SLURM cluster, or on several: the README beside this explains.
#   one machine:   sbatch data/cluster/slurm.sh
#   two machines:  sbatch --nodes=2 data/cluster/slurm.sh
#SBATCH --job-name=annlib
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1      # one torchrun a machine; it starts a process for each GPU
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=24       # for each GPU its process and 4 workers, and one to spare
#SBATCH --mem=128G
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR1@600      # tells this script ten minutes before the time is up
#SBATCH --requeue                # after a failed machine or a preemption the job runs again
#SBATCH --open-mode=append       # and its log goes on
#SBATCH --output=%x-%j.log

set -euo pipefail

experiment=${EXPERIMENT:-ann_r50-d8_512x1024_40k_cityscapes}
data=${DATA:-$HOME/cityscapes}
run=${RUN:-runs/$experiment-seed0}
source "${VENV:-.venv}/bin/activate"

mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1   # a restarted group must not meet its dead predecessor
export ANNLIB_HOME=${ANNLIB_HOME:-$HOME/.cache/annlib}
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=500   # seconds to finish a step or a validation, and to save
what=("$experiment" --data "$data" --out "$run")
if [ -e "$run/last.safetensors" ]; then what=(--resume "$run"); fi

# SIGTERM to the step, not to srun, which would kill its tasks at once: they save and end.
stopping=
trap 'stopping=yes; scancel --signal=TERM "$SLURM_JOB_ID.0"' USR1

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    torchrun \
    --nnodes="$SLURM_NNODES" \
    --nproc-per-node="$SLURM_GPUS_ON_NODE" \
    --max-restarts=3 \
    --rdzv-backend=c10d \
    --rdzv-endpoint="${machines[0]}:$((20000 + SLURM_JOB_ID % 10000))" \
    --rdzv-id="$SLURM_JOB_ID" \
    -m annlib train "${what[@]}" --workers 4 &
training=$!

code=0
wait "$training" || code=$?
if [ -n "$stopping" ]; then   # the signal ended the wait above, not yet the training
    code=0
    wait "$training" || code=$?
    if [ "$code" -ne 0 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
fi
exit "$code"
