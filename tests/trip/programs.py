"""The programs of the cloud as processes, on one data set and in one folder."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import keras

from dccl_tf.cloud_model import CloudModel
from device_runtime import Bundle
from tests.collector.served import ROOT

PATIENCE = 300  # seconds, on a busy machine


@dataclass
class Shipped:
    """A cloud model and the bundle made of it."""

    checkpoint: Path
    bundle: Bundle

    @property
    def model(self) -> CloudModel:
        return keras.saving.load_model(self.checkpoint)


class Programs:
    """Runs them, and makes of a trained model what devices get."""

    def __init__(self, data_dir, folder):
        self._data_dir, self.folder = data_dir, folder

    def start(self, program, *flags):
        """Its process; what it tells goes to `program`.log."""
        command = [sys.executable, "-m", f"scripts.{program}", f"--data_dir={self._data_dir}", "--protocol=next"]
        with self._log(program).open("w") as log:
            return subprocess.Popen([*command, *flags], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

    def run(self, program, *flags):
        process = self.start(program, *flags)
        try:
            assert process.wait(PATIENCE) == 0, self.told(program)
        finally:
            process.kill()

    def told(self, program):
        return self._log(program).read_text()

    def export(self, name, *flags):
        """Makes the bundle `name`.zip of the model `name`.keras."""
        checkpoint, bundle = self.folder / f"{name}.keras", self.folder / f"{name}.zip"
        self.run("export_tflite", f"--checkpoint={checkpoint}", f"--output={bundle}", *flags)
        return Shipped(checkpoint, Bundle.open(bundle))

    def _log(self, program):
        return self.folder / f"{program}.log"
