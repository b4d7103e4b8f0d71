#!/usr/bin/env bash
# Installs PostgreSQL from Debian's packages, for the tests that run against it; they start a server of their own.
set -euo pipefail
if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "PostgreSQL is not installed, and this is not root on Debian: the tests that need it will be skipped" >&2
  exit 0
fi
# Without the cluster that the package would make and start.
mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null
