#!/usr/bin/env bash
# Makes this machine a Slurm cluster of one node for a minute or two, carries out one run on it as
# four jobs (hydra/launcher=submitit_slurm) and once more without it, and compares the predictions.
#
#   tests/slurm_one_node.sh [WORD ...]     words for `mer train`; without any, tiny synthetic corpora
#
# Needs slurmctld, slurmd and the client commands (Debian: apt-get install slurmctld slurmd
# slurm-client) and root, since slurmd starts jobs as their users. Nothing is installed, no service
# of the machine is used, and everything that was started is ended.
set -euo pipefail

missing=()
for command in slurmctld slurmd srun sbatch sinfo squeue scancel; do
    [ -n "$(PATH="$PATH:/usr/sbin" type -P "$command")" ] || missing+=("$command")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "not found: ${missing[*]}; on Debian: apt-get install slurmctld slurmd slurm-client" >&2
    exit 2
fi
if [ "$(id -u)" != 0 ]; then
    echo "needs root (found $(id -un)): slurmd starts jobs as the users who hand them in" >&2
    exit 2
fi
export PATH="$PATH:/usr/sbin"
PYTHON=${PYTHON:-python3}
MER=("$PYTHON" -m mer.cli)

folder=$(mktemp -d)
export SLURM_CONF="$folder/slurm.conf"  # from here on no command reaches another cluster
daemons=()
wait_for_idle_node() {
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --format %T 2>/dev/null)" != idle ] || return 0
        kill -0 "${daemons[@]}" 2>/dev/null || return 0
        sleep 0.5
    done
}
finish() {
    status=$?
    [ "$status" = 0 ] || scancel --quiet --user "$(id -un)" 2>/dev/null || true
    # Jobs report their end to the daemons, and would wait for them for ever.
    wait_for_idle_node
    for process in "${daemons[@]}"; do kill "$process" 2>/dev/null || true; done
    for process in "${daemons[@]}"; do wait "$process" 2>/dev/null || true; done
    if [ "$status" != 0 ]; then
        tail -n 20 "$folder"/*.log "$folder"/jobs/.submitit/*/*.err >&2 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

free_port() {
    "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# auth/none and cred/none: only this machine's own commands talk to it, so no munge daemon is needed.
node=$(hostname -s)
cat >"$SLURM_CONF" <<EOF
ClusterName=one
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
AuthType=auth/none
CredType=cred/none
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
KillWait=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
mkdir "$folder/state" "$folder/spool"
# In sessions of their own, so that Ctrl-C leaves them to `finish`.
setsid slurmctld -D -f "$SLURM_CONF" >"$folder/slurmctld.log" 2>&1 &
daemons+=($!)
setsid slurmd -D -N "$node" -f "$SLURM_CONF" >"$folder/slurmd.log" 2>&1 &
daemons+=($!)
wait_for_idle_node
sinfo
[ "$(sinfo --noheader --format %T)" = idle ]

words=("$@")
if [ ${#words[@]} -eq 0 ]; then
    words=(
        data.preset=tiny "data.root=$folder/tiny" "paths.cache=$folder/cache"
        backbone=tiny input.size=32 prepare.size=96 prepare.workers=1
        protocol=group_kfold protocol.n_splits=4 model.epochs=2 macro.enabled=false
        trainer.accelerator=cpu trainer.enable_progress_bar=false
    )
fi
export OMP_NUM_THREADS=1  # as many on the node as here, or the last digits differ
"${MER[@]}" train "${words[@]}" run.dir="$folder/here" | tee "$folder/here.log"
"${MER[@]}" train -m "${words[@]}" hydra/launcher=submitit_slurm hydra.launcher.cpus_per_task=1 \
    'protocol.folds=split(4)' run.dir="$folder/cluster" hydra.sweep.dir="$folder/jobs" \
    | tee "$folder/cluster.log"

[ "$(grep -l 'Job completed successfully' "$folder"/jobs/.submitit/*/*_log.out | wc -l)" = 4 ]
"$PYTHON" - "$folder/here" "$folder/cluster" <<'EOF'
import json
import sys
from pathlib import Path

import pandas as pd

here, cluster = map(Path, sys.argv[1:])
tables = [pd.read_parquet(run / "predictions.parquet") for run in (here, cluster)]
tables = [table.sort_values("sample_id", ignore_index=True) for table in tables]
pd.testing.assert_frame_equal(*tables, check_exact=True)
starts = json.loads((cluster / "environment.json").read_text())
assert len(starts) == 4, f"{len(starts)} starts, 4 jobs"
print(f"OK: {len(tables[0])} predictions of 4 Slurm jobs equal those of one local run")
EOF
