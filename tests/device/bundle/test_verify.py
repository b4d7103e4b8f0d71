"""`dccl-export --verify`: what it replays, on this machine's runtime, without TensorFlow."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from device_runtime import BundleError
from protos import dccl_pb2
from scripts import export_tflite
from tests.device.bundles import rewritten, with_file

ROOT = Path(__file__).parents[3]


def test_a_sound_bundle_passes(bundle_path, capsys):
    export_tflite.verify(bundle_path)
    printed = capsys.readouterr().out
    assert "FAILED" not in printed
    for line in ("hashes of all files", "operators known to tflite-runtime 2.14.0", "golden calls of train"):
        assert f"passed  {line}" in printed


def test_it_needs_no_tensorflow(bundle_path):
    program = (
        "import atexit, sys; from scripts import export_tflite;"
        "atexit.register(lambda: print({'tensorflow', 'keras', 'pandas'} & {*sys.modules}));"
        "export_tflite.cli()"
    )
    command = [sys.executable, "-c", program, f"--verify={bundle_path}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.endswith("checks passed\nset()\n"), done.stdout + done.stderr
    assert done.returncode == 0


def test_a_golden_that_this_runtime_does_not_repeat_fails(bundle_path, tmp_path, capsys):
    goldens = dccl_pb2.Goldens.FromString((bundle_path / "goldens.pb").read_bytes())
    output = next(call for call in goldens.calls if call.signature == "evaluate").outputs[0]
    output.data = bytes(4) + output.data[4:]
    other = with_file(bundle_path, tmp_path / "other", "goldens.pb", goldens.SerializeToString())
    with pytest.raises(ValueError, match=r"^verify: golden calls of evaluate failed$"):
        export_tflite.verify(other)
    assert "FAILED  golden calls of evaluate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        ({"checks": []}, "got none"),
        ({"checks": [{"name": "gate 0", "passed": False}, {"name": "infer", "passed": True}]}, "got 'gate 0' failed"),
        ({"checks": [{"name": "gate 0", "passed": "no"}]}, "got 'gate 0' failed"),
        ({"checks": [{}]}, "got None failed"),
        ({"checks": ["x"]}, "got 'x' failed"),
        ([], "got none"),
        (None, "got none"),
    ],
)
def test_a_certificate_that_was_not_passed_fails(bundle_path, tmp_path, capsys, certificate, reason):
    content = json.dumps(certificate).encode()
    with pytest.raises(ValueError, match="checks of the certificate"):
        export_tflite.verify(with_file(bundle_path, tmp_path / "other", "certificate.json", content))
    assert reason in capsys.readouterr().out


def test_operators_other_than_the_manifest_lists_fail(bundle_path, tmp_path):
    other = rewritten(bundle_path, tmp_path / "other", lambda manifest: manifest.operators.pop())
    with pytest.raises(ValueError, match="operators as the manifest lists them"):
        export_tflite.verify(other)


def test_a_changed_file_is_refused_before_it_is_run(bundle_path, tmp_path):
    shutil.copytree(bundle_path, tmp_path / "other")
    model = tmp_path / "other" / "model.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match=r"model\.tflite"):
        export_tflite.verify(tmp_path / "other")
