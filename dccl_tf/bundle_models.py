"""A bundle and the model that it was exported from, checked, so that no vector is ever read by another model.

A vector means nothing outside its own basis, and a wrong pair raises no error anywhere: the teachers are noise.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import InteractionLog
from device_runtime import Bundle
from device_runtime.bundle.goldens import to_array

TOLERANCE = 1e-2  # of a logit: float16 constants, kernels of another processor; another model is off by far more


def check_exported_from(bundle: Bundle, cloud: CloudModel, name: str, protocol: str) -> None:
    """Replays the beginning of the bundle's golden calls: U(0, u), and rankings with that vector and without.

    Args:
      bundle: as it shipped.
      cloud: what it should have been exported from.
      name: of the model's file, for the message.
      protocol: by which the logits will be learned from or judged, as they were meant.

    Raises:
      ValueError: the protocol, sizes or logits differ.
    """
    if bundle.manifest.protocol != protocol:
        raise ValueError(
            f"protocol: expected {bundle.manifest.protocol!r}, as {bundle.path} says its logits and vectors mean, "
            f"got {protocol!r}"
        )
    manifest, din = bundle.manifest, cloud.din.config
    shipped = (manifest.metapatch_length, manifest.items, manifest.history_length, manifest.history_labels)
    own = (cloud.metapatch.length, din.items, din.history_length, din.history_labels)
    if shipped != own:
        raise ValueError(
            f"checkpoint: expected the model that {bundle.path} was exported from, with K, V, T and history labels "
            f"{shipped}, got {name} with {own}"
        )
    differences = [*_differences(bundle, cloud)] or [np.nan]  # without a call to compare nothing is known
    if not all(difference <= TOLERANCE for difference in differences):  # as no NaN is
        raise ValueError(
            f"checkpoint: expected the model that {bundle.path} was exported from, got {name}, which answers otherwise "
            f"by {np.max(differences):.3g}; name checkpoints and bundles in the same order"
        )


def items_of(bundle: Bundle, log: InteractionLog) -> np.ndarray | None:
    """From the log's item numbers to the bundle's, int32 [V + 2]; None where they are the same.

    The catalogue may have changed since: an item that the bundle does not know is its out-of-vocabulary one, as on the
    device. Ids are compared as text, so that a log which holds numbers as text means the same items.

    Raises:
      ValueError: the users' profiles have other fields or values than the bundle's, or it knows no item of the log.
    """
    shipped = [(field.name, tuple(field.values)) for field in bundle.manifest.profile]
    own = [(field.name, tuple(field.values)) for field in log.users.fields]
    if shipped != own:
        raise ValueError(
            f"bundle: expected the log's profile fields {_names(own)} with their values in {bundle.path}, "
            f"got {_names(shipped)}; learn without this bundle's vectors"
        )
    number = {str(item): position for position, item in enumerate(bundle.vocabulary.ids, start=1)}
    unknown, ids = len(number) + 1, log.catalogue.ids.tolist()
    items = np.array([0, *(number.get(str(item), unknown) for item in ids), unknown], np.int32)
    if (items[1:] == unknown).all():
        raise ValueError(
            f"bundle: expected items of the log, such as {ids[0]!r}, in {bundle.path}, got none of them but, for "
            f"example, {bundle.vocabulary.ids[0]!r}"
        )
    return None if np.array_equal(items, np.arange(len(number) + 2)) else items


def _differences(bundle: Bundle, cloud: CloudModel) -> Iterator[float]:
    """Of each golden answer before the first training step from what `cloud` says."""
    vector = None
    for call in bundle.goldens.calls:
        inputs = {tensor.name: tf.constant(to_array(tensor)) for tensor in call.inputs}
        expected = to_array(call.outputs[0])
        if call.signature == "init":
            found = vector = cloud.encoder.start(inputs["profile"])[0]
        elif call.signature == "infer" and vector is not None:
            found = cloud(inputs, vector[None], gate=inputs.pop("gate"))
        else:
            return
        yield float(np.abs(found.numpy() - expected).max())


def _names(fields: list[tuple[str, tuple[str, ...]]]) -> str:
    return ", ".join(f"{name} ({len(values)})" for name, values in fields)
