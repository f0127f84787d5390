#!/usr/bin/env bash
# MER_DATA must hold HTNet/ (its datasets/combined_datasets_whole and the csv beside it) and CK+48/.
set -euo pipefail
mer train experiment=htnet_crops_loso
mer evaluate runs/htnet-crops-loso
