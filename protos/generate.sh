#!/usr/bin/env bash
# Regenerates dccl_pb2.py with protoc 31 (generated code of 6.31, which protobuf 6.31 and 7 both load).
set -euo pipefail
cd "$(dirname "$0")/.."
environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet 'grpcio-tools==1.75.1' 'setuptools<80'
"$environment/bin/python" -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. protos/dccl.proto
