#!/usr/bin/env bash
# Measures everything of this study: about an hour of a machine of two cores with nothing else to do.
set -euo pipefail
cd "$(dirname "$0")"
mer bench startup --json startup.json
python prepare.py
python memory.py
for size in 64 128; do
    python loso.py input.size=$size --csv loso-rounds.csv
    mer bench throughput input.size=$size --json "throughput-$size.json"
done
for input in flow apex; do
    mer bench latency input=$input --json "latency-$input.json"
done
python collect.py *.json
python size.py
