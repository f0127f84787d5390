#!/usr/bin/env bash
# Wall clock and CPU seconds of `mer prepare` with 1 and 2 workers. Run it on an idle machine.
# ./prepare.sh [preset] [folder] [repeats]: megc2019 prepares the 578 micro clips of which MEGC2019 keeps 442.
set -euo pipefail
preset=${1:-megc2019}
folder=${2:-$(mktemp -d)}
export OMP_NUM_THREADS=1 MER_SYNTH=$folder/data
mer synth preset="$preset" out="$MER_SYNTH/$preset" > /dev/null
micro=('~data.macro.ckplus' '~data.macro.oulu_casia' '~data.macro.mug')
TIMEFORMAT='%R s wall, %U s user, %S s system'
for repeat in $(seq "${3:-3}"); do
    for workers in 1 2; do
        rm -rf "$folder/cache"
        echo "run $repeat, $workers worker(s):"
        time mer prepare data=synthetic data.preset="$preset" "${micro[@]}" \
            prepare.workers=$workers paths.cache="$folder/cache" > "$folder/prepare-$workers.log" 2>&1
        find "$folder/cache/prepared" -name '*.npy' | sort | xargs sha256sum | cut -d' ' -f1 \
            > "$folder/bytes-$workers"
    done
    cmp "$folder/bytes-1" "$folder/bytes-2" && echo "the same bytes"
done
