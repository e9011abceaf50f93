#!/usr/bin/env bash
# One training run under Slurm: a Ray head on the first node, a raylet on every other one, the job on the head.
# sbatch deploy/slurm.sh configs/qwen3-4b.toml --arm routev --seed 41
#SBATCH --job-name=vgrout
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=128G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
set -euo pipefail

if [ $# -lt 1 ]; then
  echo "usage: sbatch deploy/slurm.sh CONFIG [options of vgrout train]" >&2
  exit 2
fi
cd "${SLURM_SUBMIT_DIR:?run this with sbatch}"
source "${VGROUT_VENV:-.venv}/bin/activate"
export RAY_AUTH_MODE=token HF_HOME="${HF_HOME:-$HOME/.cache/huggingface}"
# The token lies in the home folder that all nodes share; it is made once and never printed.
test -s "$HOME/.ray/auth_token" || ray get-auth-token --generate >/dev/null

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"  # since Slurm 22.05 srun does not take it over: Ray would sit on one core
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | awk '{print $1}')
options=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --disable-usage-stats)
port=$((20000 + SLURM_JOB_ID % 10000))

srun --nodes=1 --ntasks=1 -w "$head" ray start --head --block --node-ip-address="$address" --port="$port" "${options[@]}" &
# nodes_up N: wait until N nodes are up, 120 s at most; what is missing then is found by the run's own check, with a message.
nodes_up() {
  for _ in $(seq 60); do
    test "$(ray status --address "$address:$port" 2>/dev/null | grep -c ' node_')" -ge "$1" && return
    sleep 2
  done
}
nodes_up 1
if [ "${#nodes[@]}" -gt 1 ]; then
  others=$(IFS=,; echo "${nodes[*]:1}")
  srun --nodes=$((${#nodes[@]} - 1)) --ntasks=$((${#nodes[@]} - 1)) -w "$others" ray start --block --address="$address:$port" "${options[@]}" &
  nodes_up "${#nodes[@]}"
fi

# Slurm sends TERM 300 s before the limit: the run stops after its current update, at a whole checkpoint, and can be resumed.
RAY_ADDRESS="$address:$port" vgrout train "$@" &
train=$!
trap 'kill -TERM "$train"' TERM
code=0
wait "$train" || code=$?
if [ "$code" -gt 128 ]; then
  code=0
  wait "$train" || code=$?
fi
exit "$code"
