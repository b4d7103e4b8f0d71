"""Algorithm 1 from end to end: pretrain, ship, personalise on devices, collect, distil, ship again.

Each stage's result lies in the run's folder, so that a killed run resumes (`stages`). Devices are simulated all at
once by the fleet, and some of them run for real: the exported bundle on a TFLite runtime, one state folder each.
Every vector reaches the cloud as a signed protobuf message through the same checks.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from dccl_tf import fleet, real_devices
from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import InteractionLog, Span, Split
from dccl_tf.evaluate import Evaluator, Vectors, validation
from dccl_tf.files import write_text
from dccl_tf.fleet import FleetConfig, FleetVectors
from dccl_tf.momodistill import distill_cloud, learn_basis
from dccl_tf.pretrain import pretrain
from dccl_tf.real_devices import RealDevices
from dccl_tf.rehearsal import Rehearsal, learn_jointly
from dccl_tf.run_config import DcclConfig, device_data, evaluators, split_log, training_data, untrained
from dccl_tf.stages import Shared, Stages
from dccl_tf.teachers import PersonalModels, Uploads, personal_models
from dccl_tf.trainer import History, TrainConfig
from dccl_tf.training_data import TrainingData
from dccl_tf.vectors import VectorStore
from device_runtime import Bundle, heldout_rows
from export import Sizes, export_bundle

# Names of models: the fair baseline, the distilled model, and that one on the devices.
FAIR, CLOUD, DEVICES = "DIN, same data", "DCCL-m", "DCCL-m + devices"
# Settings that matter to no model before the first devices upgrade; before they upload; or that no device ever meets.
_AT_UPGRADE = {"after_upgrade"}
_AT_UPLOAD = _AT_UPGRADE | {"beta", "upload_share", "upload_noise"}
_OF_DEVICES = _AT_UPLOAD | {
    *("devices", "runtime", "precision", "fleet", "memory"),
    *("metapatch_length", "bottlenecks", "junctions", "shared", "offset_pull", "closing", "closing_beta"),
}
# What stages of joint learning do not depend on: two runs that agree in the rest share them.
_INDEPENDENT_OF = {
    "din": _OF_DEVICES,
    "same_data0": _OF_DEVICES,
    "pretrain": _AT_UPLOAD,
    "devices0": _AT_UPLOAD,
    "distill0": _AT_UPGRADE,
}


@dataclass(frozen=True)
class Outcome:
    """The models of a finished run; `evaluate` and the report read it."""

    split: Split
    valid: Evaluator  # on the validation span
    evaluator: Evaluator  # on the test span
    din: CloudModel  # pretrained on the first half
    same_data: CloudModel  # DIN that has seen the rounds' data too, without devices
    shipped: CloudModel  # of the last round's bundle: what the devices of DCCL-e ran
    devices: FleetVectors  # their vectors
    distilled: CloudModel  # DCCL-m
    adapted: FleetVectors  # the devices' vectors after their upgrade and one more personalisation
    bundles: list[Bundle]  # one before each round and one after the last
    histories: dict[str, History]
    agreement: list[dict[str, Any]]  # of real devices and the fleet, a dict a round
    seconds: dict[str, float]  # wall time of each stage

    def models(self) -> dict[str, tuple[CloudModel, Vectors | None]]:
        """What the tables compare, by name."""
        return {
            "DIN": (self.din, None),
            FAIR: (self.same_data, None),
            "DCCL-e": (self.shipped, Vectors(self.devices.vectors, self.devices.gates)),
            CLOUD: (self.distilled, None),
            DEVICES: (self.distilled, Vectors(self.adapted.vectors, self.adapted.gates)),
        }


def teachers_of(store: VectorStore, bundle: bytes, cloud: CloudModel, users: int) -> PersonalModels:
    """The personal models of a bundle, from the vectors that passed the cloud's checks.

    Args:
      store: of vectors.
      bundle: identity of the bundle that they were trained on.
      cloud: the model that the bundle was exported from.
      users: U.

    Raises:
      ValueError: there is no vector of this bundle.
    """
    return personal_models([Uploads(cloud, store.newest(bundle))], users)


def run(
    log: InteractionLog, config: DcclConfig, folder: Path, data_identity: str, shared: Path | None = None
) -> Outcome:
    """Runs Algorithm 1 on a log.

    Args:
      log: all interactions.
      config: settings of the run.
      folder: where stages, bundles, device states and TensorBoard logs go; a killed run is continued from it.
      data_identity: of the log, so that a folder is not continued with other data.
      shared: a folder for what runs with other settings have in common with this one, such as the baseline.
    """
    return _Run(log, config, Path(folder), data_identity, shared).all()


class _Run:
    """One run's stages; each method is one step of Algorithm 1."""

    def __init__(
        self, log: InteractionLog, config: DcclConfig, folder: Path, data_identity: str, shared: Path | None = None
    ) -> None:
        self.log, self.config, self.folder = log, config, folder
        common = Shared(shared, _INDEPENDENT_OF) if shared and config.learning == "joint" else None
        self.stages = Stages(folder, asdict(config) | {"data": data_identity}, shared=common)
        self.split = split_log(log, config)
        self.valid, self.test = evaluators(log, self.split, config)
        self.store = VectorStore.open(f"sqlite:///{folder / 'vectors.sqlite'}")

    def all(self) -> Outcome:
        keras.utils.set_random_seed(self.config.seed)
        first = untrained(self.log, self.config)
        shipped = self.learned(first, self.split.pretrain, "pretrain", None, self.rehearsed())
        din = same_data = shipped
        if self.config.learning == "joint":  # its f has learned beside vectors; the baseline has never seen one
            din = same_data = self.trained(first, self.split.pretrain, "din", self.config.pretraining, None)
        bundles = [self.export(shipped, 0, parent=b"")]
        start: np.ndarray | None = None
        agreement = []
        for number, span in enumerate(self.split.rounds):
            seen = device_data(self.log, self.config, self.split, number)
            devices = self.personalised(shipped, seen, number, start)
            facts = self.collected(bundles[-1], seen if number == 0 else seen[-1:], devices, number)
            teachers = teachers_of(self.store, bundles[-1].identity, shipped, len(self.log.users))
            held = self.held_out(seen)
            same_data = self.without_devices(first, same_data, span, number, held)
            distilled = self.learned(shipped, span, f"distill{number}", teachers, held)
            bundles.append(self.export(distilled, number + 1, parent=bundles[-1].identity))
            rebased = self.rebased(distilled, seen, devices, number)
            agreement.append(facts | {"upgraded": self.upgraded(bundles[-1], seen[-1], rebased, number)})
            adapted = self._fleet(f"adapted{number}", distilled, seen, self.config.fleet, rebased.vectors)
            last, shipped, start = shipped, distilled, rebased.vectors
        return Outcome(
            split=self.split,
            valid=self.valid,
            evaluator=self.test,
            din=din,
            same_data=same_data,
            shipped=last,
            devices=devices,
            distilled=distilled,
            adapted=adapted,
            bundles=bundles,
            histories=self.histories(),
            agreement=agreement,
            seconds=self.stages.seconds,
        )

    def data(self, span: Span, seed: int) -> TrainingData:
        return training_data(self.log, self.config, span, seed)

    def learned(
        self,
        cloud: CloudModel,
        span: Span,
        name: str,
        teachers: PersonalModels | None,
        newest: np.ndarray,
        devices: bool = True,
    ) -> CloudModel:
        """f, and with `devices` Theta and U, from the samples of a phase.

        Joint learning (`rehearsal`) does all at once, anew from everything so far. Progressive learning follows the
        paper: f learns the older part, Theta and U each user's `newest` [U] interactions with f fixed (Eq. 7), then f
        goes on with those. A basis learned on samples that f or the vectors were trained on learns their overfitting:
        see docs/evaluation.md. f follows Eq. 5 with teachers and Eq. 4 without; all stop by one rule.
        """
        config = self.config
        settings = config.pretraining if name == "pretrain" else config.incremental
        if config.learning == "joint":
            return self.rehearse(Span(self.split.pretrain.start, span.stop), name, teachers)
        middle = np.clip(span.stop - newest, span.start, None)
        older, newer = Span(span.start, middle), Span(middle, span.stop)
        if older.lengths.any():  # a short round may be all that devices hold out
            cloud = self.trained(cloud, older, f"{name}-older", settings, teachers)
        if devices:
            cloud = self.with_basis(cloud, newer, f"{name}-basis", teachers)
        return self.trained(cloud, newer, name, config.incremental, teachers)

    def without_devices(
        self, first: CloudModel, before: CloudModel, span: Span, number: int, newest: np.ndarray
    ) -> CloudModel:
        """The fair baseline after a round: `before`, gone on with the round's samples; or, where DCCL learns anew from
        everything so far, a DIN that does the same, if validation prefers it."""
        name = f"same_data{number}"
        if self.config.learning == "progressive":
            return self.learned(before, span, name, None, newest, devices=False)
        everything = Span(self.split.pretrain.start, span.stop)

        def better() -> CloudModel:
            gone_on = self.trained(before, span, f"{name}-gone-on", self.config.incremental, None)
            anew = self.trained(first, everything, f"{name}-anew", self.config.pretraining, None)
            return max((gone_on, anew), key=lambda cloud: validation(self.valid, cloud))

        return self.stages.cloud(name, better)

    def rehearsed(self) -> np.ndarray:
        """How many of each user's newest interactions in the pretraining half teach the first basis."""
        span = self.split.pretrain
        return np.round((span.stop - span.start) * self.config.rehearsal).astype(np.int64)

    def held_out(self, seen: list[TrainingData]) -> np.ndarray:
        """How many of each user's newest interactions the devices hold out, so that no vector has learned them."""
        counts = sum(phase.span.lengths for phase in fleet.as_logged(seen))
        return np.array([heldout_rows(np.arange(n), self.config.fleet.heldout_fraction).sum() for n in counts])

    def trained(
        self, cloud: CloudModel, span: Span, name: str, settings: TrainConfig, teachers: PersonalModels | None
    ) -> CloudModel:
        """A copy whose f has gone on with a span, by Eq. 5 with teachers, by Eq. 4 without."""
        config = self.config

        def make() -> CloudModel:
            keras.utils.set_random_seed(config.seed + 1)
            student, data = cloud.copy(), self.data(span, config.seed + 1)
            options = {"validate": partial(validation, self.valid, student)}
            if teachers:
                self.train(distill_cloud, name, student, data, teachers, settings, beta=config.beta, **options)
            else:
                self.train(pretrain, name, student, data, settings, **options)
            return student

        return self.stages.cloud(name, make)

    def rehearse(self, span: Span, name: str, teachers: PersonalModels | None) -> CloudModel:
        """A new model whose f, Theta and U have learned a span together, beside the vectors of all users.

        Going on from the last round's model would be cheaper, but the vectors that it was learned beside are gone, and
        it has learned the older clicks too well to need new ones.
        """

        def make() -> CloudModel:
            student = Rehearsal.untrained(self.log, self.config)
            self.train(learn_jointly, name, student, self.log, self.config, span, self.valid, teachers)
            return student.cloud

        return self.stages.cloud(name, make)

    def with_basis(self, cloud: CloudModel, span: Span, name: str, teachers: PersonalModels | None) -> CloudModel:
        """A copy whose Theta and U have learned from a span, f fixed (Eq. 7; without teachers theta is 0)."""
        config = self.config

        def make() -> CloudModel:
            keras.utils.set_random_seed(config.seed + 2)
            student, data = cloud.copy(), self.data(span, config.seed + 2)
            options = {"beta": config.beta, "simulate": config.simulate and not teachers, "pull": config.fleet.pull}
            self.train(learn_basis, name, student, data, teachers, config.basis, **options)
            return student

        return self.stages.cloud(name, make)

    def export(self, cloud: CloudModel, number: int, parent: bytes) -> Bundle:
        """The bundle for every phone, and which model it came from, so that its teachers can be rebuilt."""
        config = self.config
        folder = self.folder / f"bundle{number}"
        if not folder.exists():
            logging.info("Exporting and certifying %s", folder)
            export_bundle(
                cloud,
                folder,
                catalogue=self.log.catalogue,
                users=self.log.users,
                protocol=config.protocol,
                training=config.training(),
                parent=parent,
                precision=config.precision,
                sizes=Sizes(train_batch=config.fleet.batch),
                seed=config.seed,
            )
        bundle = Bundle.open(folder)
        self.store.register_bundle(bundle.identity, config.metapatch_length)
        return bundle

    def personalised(
        self, cloud: CloudModel, seen: list[TrainingData], number: int, start: np.ndarray | None
    ) -> FleetVectors:
        """MetaPatch on all devices (Eq. 3)."""
        return self._fleet(f"devices{number}", cloud, seen, self.config.fleet, start)

    def rebased(self, cloud: CloudModel, seen: list[TrainingData], devices: FleetVectors, number: int) -> FleetVectors:
        """The devices after their upgrade, by the run's policy: as new ones; or with their vectors, taken over or kept,
        and a gate set anew by their held-out clicks."""
        profile, old = tf.constant(self.log.users.profile), tf.constant(devices.vectors)
        if self.config.policy == "reset":
            return FleetVectors.new(cloud.encoder.start(profile))
        vectors = (cloud.encoder(old, profile) if self.config.policy == "rebase" else old).numpy()
        return self._fleet(f"rebased{number}", cloud, seen, replace(self.config.fleet, epochs=0), vectors)

    def _fleet(
        self, name: str, cloud: CloudModel, seen: list[TrainingData], config: FleetConfig, start: np.ndarray | None
    ) -> FleetVectors:
        def make() -> dict[str, np.ndarray]:
            return asdict(fleet.personalize(cloud, seen, config, start=start))

        return FleetVectors(**self.stages.arrays(name, make))

    def collected(self, bundle: Bundle, data: list[TrainingData], devices: FleetVectors, number: int) -> dict[str, Any]:
        """Real devices personalise and upload; the fleet's other vectors arrive as the same kind of message."""

        def make() -> dict[str, Any]:
            began = time.perf_counter()
            real = self.real_devices(number)
            shutil.rmtree(real.folder, ignore_errors=True)  # of a run that was killed here
            if number:
                shutil.copytree(self.real_devices(number - 1).folder, real.folder)
            results = real.personalize(bundle, data, self.store)
            seconds = {"seconds": round(time.perf_counter() - began, 2)}
            facts = real_devices.deliver(bundle, results, self.sent(devices, number), self.store, sequence=number + 1)
            return real_devices.compare(results, devices) | seconds | facts

        return self.stages.facts(f"collected{number}", make)

    def sent(self, devices: FleetVectors, number: int) -> FleetVectors:
        """What leaves the devices: of a share of them, with noise, where the run asks for it."""
        random = np.random.default_rng([self.config.seed, number])
        silent = random.random(len(devices.samples)) >= self.config.upload_share
        noise = self.config.upload_noise * random.standard_normal(devices.vectors.shape, np.float32)
        return replace(devices, vectors=devices.vectors + noise, samples=np.where(silent, 0, devices.samples))

    def upgraded(self, bundle: Bundle, data: TrainingData, rebased: FleetVectors, number: int) -> dict[str, Any]:
        """The real devices open the new bundle."""

        def make() -> dict[str, Any]:
            results = self.real_devices(number).upgrade(bundle, data, self.store, self.config.policy)
            return real_devices.compare(results, rebased)

        return self.stages.facts(f"upgraded{number}", make)

    def real_devices(self, number: int) -> RealDevices:
        """The same users in every round; a round's folder begins as a copy of the one before."""
        first = self.split.rounds[0]
        active = np.flatnonzero(first.stop > first.start)
        config = self.config
        return RealDevices.choose(active, config.devices, config.seed, self.folder / f"devices{number}", config.runtime)

    def train(self, how: Callable[..., History], name: str, *args: Any, **options: Any) -> None:
        """Runs one training stage with its checkpoints and logs, and keeps its curve."""
        folders = {"checkpoint_dir": self.stages.checkpoints(name), "log_dir": self.folder / "tensorboard"}
        history = how(*args, name=name, **folders, **options)
        curve = self.folder / name / "history.json"
        curve.parent.mkdir(exist_ok=True)
        write_text(curve, json.dumps(asdict(history)))

    def histories(self) -> dict[str, History]:
        """The training curve of each stage."""
        return {
            path.parent.name: History(**json.loads(path.read_text()))
            for path in sorted(self.folder.glob("*/history.json"))
        }
