#!/usr/bin/env bash
# MER_DATA must hold megc2019_flow.npz (see conf/data/htnet_flow.yaml for what is in it).
set -euo pipefail
mer train experiment=htnet_flow_loso
mer evaluate runs/htnet-flow-loso
