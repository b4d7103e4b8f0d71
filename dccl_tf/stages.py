"""What a long job has finished, on disk, so that a killed run continues where it stopped.

stages = Stages(folder, settings)
cloud = stages.cloud("pretrain", lambda: train(...))     # trained once, loaded ever after
found = stages.arrays("vectors", lambda: {"theta": ...})

Runs that differ in some settings alone need not do again the stages that do not depend on those:

stages = Stages(folder, settings, shared=Shared(folder_of_all_runs, {"baseline": {"beta", "upload_noise"}}))
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dccl_tf.cloud_model import CloudModel
from dccl_tf.files import whole, write_text


@dataclass(frozen=True)
class Shared:
    """Where the stages lie that several runs have in common."""

    folder: Path
    independent_of: Mapping[str, Set[str]]  # such a stage's name, and the settings that do not matter to it


class Stages:
    """Results of named stages in a folder. A stage counts as done once its file has its final name."""

    def __init__(
        self, folder: Path, settings: dict[str, Any], argument: str = "output_dir", shared: Shared | None = None
    ) -> None:
        """Args:
        folder: of the run; made if missing.
        settings: all that the results depend on; compared as JSON gives them back.
        argument: by which the caller knows the folder, for errors.
        shared: the stages that other runs may use; by default none.

        Raises:
          ValueError: the folder holds a run with other settings.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = json.loads(json.dumps(settings))
        written = self.folder / "settings.json"
        if written.exists():
            before = json.loads(written.read_text())
            changed = [k for k in sorted(before.keys() | settings.keys()) if before.get(k) != settings.get(k)]
            if changed:
                raise ValueError(
                    f"{argument}: {self.folder} holds a run with another {', '.join(changed)} "
                    f"(there {before.get(changed[0])!r}, now {settings.get(changed[0])!r}); "
                    "choose another folder, or delete this one to start anew"
                )
        else:
            write_text(written, json.dumps(settings, indent=1, sort_keys=True))
        self._settings, self._shared = settings, shared
        self._times = self.folder / "seconds.json"

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each finished stage, in the run that made it."""
        return json.loads(self._times.read_text()) if self._times.exists() else {}

    def checkpoints(self, name: str) -> Path:
        """Where a stage keeps its epochs while it runs; removed when it is done."""
        return self.folder / "checkpoints" / name

    def cloud(self, name: str, make: Callable[[], CloudModel]) -> CloudModel:
        """The model of stage `name`."""
        path = self._home(name) / name / "cloud.keras"

        def save(cloud: CloudModel, temporary: Path) -> None:
            cloud.save(temporary)

        return self._stage(name, path, make, save, keras.saving.load_model)

    def arrays(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of stage `name`."""
        path = self._home(name) / f"{name}.npz"

        def load(file: Path) -> dict[str, np.ndarray]:
            with np.load(file) as archive:
                return dict(archive)

        return self._stage(name, path, make, lambda arrays, file: np.savez_compressed(file, **arrays), load)

    def facts(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Plain JSON values of stage `name`."""
        path = self._home(name) / f"{name}.json"
        return self._stage(
            name,
            path,
            make,
            lambda facts, file: file.write_text(json.dumps(facts, indent=1)),
            lambda file: json.loads(file.read_text()),
        )

    def _home(self, name: str) -> Path:
        """The folder of a stage: the run's own, or one for all runs that agree in what matters to it."""
        if self._shared is None or name not in self._shared.independent_of:
            return self.folder
        matters = {key: self._settings[key] for key in self._settings.keys() - self._shared.independent_of[name]}
        text = json.dumps(matters, sort_keys=True)
        return self._shared.folder / hashlib.sha256(text.encode()).hexdigest()[:10]

    def _stage(
        self,
        name: str,
        path: Path,
        make: Callable[[], Any],
        save: Callable[[Any, Path], None],
        load: Callable[[Path], Any],
    ) -> Any:
        if path.exists():
            return load(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        result = make()
        with whole(path) as temporary:
            save(result, temporary)
            write_text(self._times, json.dumps(self.seconds | {name: round(time.perf_counter() - began, 2)}, indent=1))
        shutil.rmtree(self.checkpoints(name), ignore_errors=True)
        return result
