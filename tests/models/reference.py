"""DIN for one user, one candidate, in plain NumPy loops: what the packed model must equal."""

import numpy as np


def item_vector(din, item: int) -> np.ndarray:
    vector = din.items.ids.numpy()[item]
    categories = [c for c in din.items.of_item.numpy()[item] if c > 0]
    names = din.items.names.numpy()
    mean = np.mean([names[c] for c in categories], axis=0) if categories else np.zeros(names.shape[1])
    return np.concatenate([vector, mean])


def interest(din, history: list[int], labels: list[int] | None, candidate: np.ndarray) -> np.ndarray:
    """Weighted sum of the history; `history` is oldest first, without padding."""
    attention = din.attention
    width, heads = attention.width, attention.heads
    part = width // heads
    items = [item_vector(din, item) for item in history]
    if labels is not None:
        items = [item + attention.label_values.numpy()[label] for item, label in zip(items, labels, strict=True)]
    if attention.kind == "activation_unit":
        return sum((unit_weight(attention.unit, item, candidate) * item for item in items), np.zeros(width))
    out = []
    for head in range(heads):
        own = slice(head * part, (head + 1) * part)
        query = candidate @ attention.query.kernel.numpy()[:, own]
        scores = []
        for back, item in enumerate(reversed(items)):  # back 0 is the newest
            key = item @ attention.key.kernel.numpy()[:, own]
            scores.append(query @ key / np.sqrt(part) + attention.recency.numpy()[back, head])
        weights = np.exp(scores) / (1.0 + np.sum(np.exp(scores)))
        values = [item @ attention.value.kernel.numpy()[:, own] for item in reversed(items)]
        out.append(sum((w * v for w, v in zip(weights, values, strict=True)), np.zeros(part)))
    return np.concatenate(out)


def unit_weight(unit, item: np.ndarray, candidate: np.ndarray) -> float:
    """DeepCTR's published activation unit: a sigmoid network on [q, k, q - k, q * k], linear at the end."""
    x = np.concatenate([candidate, item, candidate - item, candidate * item])
    for layer in unit.network[:-1]:
        x = 1.0 / (1.0 + np.exp(-(x @ layer.kernel.numpy() + layer.bias.numpy())))
    last = unit.network[-1]
    return float((x @ last.kernel.numpy() + last.bias.numpy())[0])


def patch(cloud, theta: np.ndarray, index: int, x: np.ndarray) -> np.ndarray:
    """h(x) of Eq. 1, with every parameter a sum over the basis (Eq. 2)."""
    down, down_bias, up, up_bias = (
        sum(theta[k] * tensor.numpy()[k] for k in range(len(theta))) for tensor in cloud.metapatch.bases[index]
    )
    return np.tanh(x @ down + down_bias) @ up + up_bias


def logit(cloud, history, labels, profile, item, theta=None, gate=1.0) -> float:
    din = cloud.din
    candidate = item_vector(din, item)
    taste = interest(din, history, labels, candidate)
    table = din.profile.values.numpy()
    described = np.concatenate([table[offset + v] for offset, v in zip(din.profile.offsets, profile, strict=True)])
    x = np.concatenate([taste, candidate, taste * candidate]) @ din.pair_layer.kernel.numpy()
    x = np.maximum(x + din.pair_layer.bias.numpy() + described @ din.profile_layer.kernel.numpy(), 0)
    junctions = {layer: number for number, layer in enumerate(din.config.junction_layers)}
    for layer in range(len(din.config.hidden)):
        if layer:
            dense = din.layers_above[layer - 1]
            x = np.maximum(x @ dense.kernel.numpy() + dense.bias.numpy(), 0)
        if theta is not None and layer in junctions:
            x = x + gate * patch(cloud, theta, junctions[layer], x)
    return float((x @ din.logit.kernel.numpy() + din.logit.bias.numpy())[0])
