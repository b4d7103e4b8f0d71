#!/usr/bin/env bash
# Tests of the engine "spark": equal output to one process. Adds PySpark to .venv (500 MB) and, as root on Debian, a Java
# runtime (200 MB); what needs them is skipped where they cannot be had. Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/setup_venv.sh"
if ! command -v java > /dev/null && [ -z "${JAVA_HOME:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless > /dev/null; } \
    || echo "-- Spark: Java could not be installed (see above)"
fi
if ! .venv/bin/python -c 'import pyspark' 2> /dev/null; then
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[spark]' \
    || echo "-- Spark: PySpark could not be installed (see above)"
fi
.venv/bin/python -m pytest -rs tests/spark "$@"
