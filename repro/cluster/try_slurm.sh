#!/bin/bash
# Section 3.4 by an array of four tasks of a real Slurm on this machine: one task is killed and given again, one is
# interrupted and goes on by itself; then the results are put together and compared with those of one process.
#
#   apt-get install slurm-wlm munge
#   cargo build --release -p repro
#   repro/cluster/try_slurm.sh [options of the section]      default: --preset quick
#
# Needs root. All that it starts is its own (sockets, ports 17817 and 17818, state below a temporary directory) and is ended
# with it.
set -euo pipefail
cd "$(dirname "$0")/../.."

options=("$@")
[ $# -gt 0 ] || options=(--preset quick)
export L4_PROGRAMS=${L4_PROGRAMS:-$PWD/target/release}
work=$(mktemp -d /tmp/try_slurm.XXXXXX)
export SLURM_CONF=$work/slurm.conf
daemons=()
finish() {
  local code=$?
  for daemon in "${daemons[@]}"; do kill "$daemon" 2>/dev/null || true; done
  wait
  if [ "$code" = 0 ]; then rm -rf "$work"; else echo "what it did is in $work" >&2; fi
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }
until_true() {
  local what=$1
  shift
  for _ in $(seq 7200); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.5
  done
  echo "waited in vain until $what" >&2
  exit 1
}

host=$(hostname -s)
cat >"$SLURM_CONF" <<CONF
ClusterName=try
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
SlurmctldPort=17817
SlurmdPort=17818
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmdSpoolDir=$work/spool
StateSaveLocation=$work/state
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc=$work/jobs.txt
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
mkdir -p "$work/spool" "$work/state"
head -c 1024 /dev/urandom >"$work/munge.key"
chmod 600 "$work/munge.key"
chmod 755 "$work"
munged --foreground --force --key-file="$work/munge.key" --socket="$work/munge.socket" --pid-file="$work/munge.pid" \
  --log-file="$work/munge.log" --seed-file="$work/munge.seed" 2>"$work/munge.out" &
daemons+=($!)
until_true "munge answers" munge -n --socket="$work/munge.socket"
slurmctld -D >"$work/slurmctld.out" 2>&1 &
daemons+=($!)
until_true "slurmctld answers" scontrol ping
slurmd -D >"$work/slurmd.out" 2>&1 &
daemons+=($!)
idle() { sinfo -h -o %T | grep -q idle; }
until_true "the node is idle" idle

submit() { sbatch --parsable --cpus-per-task=1 --output="$work/task-%A_%a.log" "$@"; }
section() { printf '%s\n' repro/cluster/runs.sbatch section3_4 "${options[@]}" --out "$work/shared"; }
mapfile -t command < <(section)

say "an array of four"
array=$(submit --array=1-4 "${command[@]}")
steps() { squeue -h -s -o %i | grep -q "^${array}_$1\.0"; }
rows() { [ "$(cat "$work"/shared/runs/*/metrics.jsonl | wc -l)" -gt 100 ]; }
until_true "all four compute" eval 'steps 1 && steps 2 && steps 3 && steps 4 && rows'
squeue
say "task 2 is killed, task 3 asked to stop, as before the end of its time"
scancel --signal=KILL "${array}_2"
scancel --signal=TERM "${array}_3"
over() { [ -z "$(squeue -h -j "$1" 2>/dev/null)" ]; }
until_true "the array is over" over "$array"

say "the killed part again, then all"
again=$(submit "${command[@]}" --shard 2/4)
last=$(submit --dependency=afterany:"$again" "${command[@]}")
until_true "all is over" over "$last"
for log in "$work"/task-*.log; do
  echo "--- ${log##*/}"
  head -n 40 "$log" | cut -c 1-160
done
echo "--- jobs, in the order in which they ended"
while read -r line; do
  grep -oE '(JobId|JobState|StartTime|EndTime|ArrayTaskId|DerivedExitCode)=[^ ]*' <<<"$line" | paste -sd ' '
done <"$work/jobs.txt"

say "one process"
"$L4_PROGRAMS/section3_4" "${options[@]}" --out "$work/alone" >/dev/null
diff -r --exclude=timing.json --exclude=.lock "$work/shared/runs" "$work/alone/runs"
python3 - "$work" <<'PYTHON'
import json, pathlib, sys
work = pathlib.Path(sys.argv[1])
files = sorted((work / "alone").glob("*.json"))
for file in files:
    one, other = (json.loads((work / name / file.name).read_text()) for name in ("alone", "shared"))
    one.pop("provenance"), other.pop("provenance")
    assert one == other, file.name
print(f"equal: {len(list((work / 'alone' / 'runs').iterdir()))} runs bit for bit, and {', '.join(f.name for f in files)}")
PYTHON
