#!/usr/bin/env bash
# Runs every test: all in .venv, then Spark's, then the device's on each runtime, on aarch64, in WebAssembly and in
# Kotlin, which each install what they need on their first run. Arguments go to pytest, and then only the first part runs.
set -euo pipefail
source "$(dirname "$0")/setup_venv.sh"
[ $# -eq 0 ] || exec .venv/bin/python -m pytest "$@"
# A file's tests stay in one process, since they share what is made for the file; a process needs up to 2 GB.
.venv/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --ignore=tests/spark
bash scripts/test_spark.sh
bash scripts/test_device.sh
bash scripts/test_aarch64.sh
bash scripts/test_node.sh
bash scripts/test_android.sh
