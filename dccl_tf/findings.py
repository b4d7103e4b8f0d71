"""From a finished run to what the report shows."""

import numpy as np

from dccl_tf.data.schema import InteractionLog, Span
from dccl_tf.data.synthetic import Oracle
from dccl_tf.evaluate import NextEvaluator, UserValues, validation
from dccl_tf.metrics import estimate, paired_estimate
from dccl_tf.progress import progress
from dccl_tf.report import Case, ProtocolResults, VectorMap, activity_groups
from dccl_tf.rounds import CLOUD, DEVICES, FAIR, Outcome
from dccl_tf.run_config import DcclConfig, joined

COMPARED = (FAIR, CLOUD, DEVICES)  # in groups of users: models that have learned from the same data
STRONG_PULL = 6400.0  # precision of the users' vectors in the cloud that all but does without them
TAIL = 200  # users of the long tail that are looked at for an example, at most
MAPPED = 2000  # vectors that t-SNE draws at most
NEIGHBOURS = 10


def protocol_results(
    log: InteractionLog, config: DcclConfig, outcome: Outcome, oracle: Oracle | None = None
) -> ProtocolResults:
    """Judges every model of a run on the test span and gathers the rest of the report's content."""
    judged: dict[str, UserValues] = {}
    for name, (cloud, vectors) in progress(outcome.models().items(), f"evaluate {config.protocol}", unit="model"):
        judged[name] = outcome.evaluator(cloud, vectors)
    if oracle:
        judged["oracle"] = outcome.evaluator.of_oracle(oracle)
    validated = validations(outcome)
    metric = "ndcg@10/neg100" if config.protocol == "next" else "macro_auc/liked"
    shown = [name for name in judged["DIN"] if not name.startswith("neg_")]
    bundle = outcome.bundles[-1]
    return ProtocolResults(
        models={
            name: {key: estimate(values[key]) for key in shown if key in values} for name, values in judged.items()
        },
        baseline=FAIR,
        differences={
            name: {key: paired_estimate(values[key], judged[FAIR][key]) for key in shown}
            for name, values in judged.items()
            if name not in (FAIR, "oracle")
        },
        validation=validated,
        advice=advice(config, validated),
        metric=metric,
        activity=activity_groups(log.lengths, {name: judged[name][metric] for name in COMPARED}, FAIR)[0],
        vectors=vector_map(log, config, outcome),
        case=long_tail_case(log, outcome),
        curves={name: {"loss": one.loss, "validation": one.validation} for name, one in outcome.histories.items()},
        devices=outcome.agreement,
        bundle={"identity": bundle.identity.hex(), "bytes": bundle.size, "checks": bundle.certificate["checks"]},
        split=outcome.split.counts,
        seconds=outcome.seconds,
    )


def validations(outcome: Outcome) -> dict[str, float]:
    """What training stops by, of each model by name."""
    models = progress(outcome.models().items(), "validate", unit="model")
    return {name: validation(outcome.valid, *model) for name, model in models}


def advice(config: DcclConfig, validated: dict[str, float]) -> list[str]:
    """What to try where validation prefers the fair baseline to DCCL: what Amazon's log asks for (docs/evaluation.md).

    Args:
      config: of the run.
      validated: as `validations` gives it.

    Returns:
      Sentences; none where DCCL is the better or nobody could tell.
    """
    if not validated[DEVICES] < validated[FAIR]:
        return []
    figures = f"{validated[FAIR]:.4f} against {validated[DEVICES]:.4f}"
    found = [f"Validation prefers the fair baseline, {FAIR}, to {DEVICES}: {figures}."]
    if config.beta:
        found.append(
            "Without teachers (--beta=0) f is better where the models that they come from know far less than it."
        )
    if config.learning == "joint" and config.offset_pull < STRONG_PULL:
        found.append(
            f"A stronger prior in the cloud (--offset_pull={STRONG_PULL:g}, here {config.offset_pull:g}) keeps users' "
            "vectors from fitting the very clicks that f learns."
        )
    return found


def vector_map(log: InteractionLog, config: DcclConfig, outcome: Outcome) -> VectorMap | None:
    """t-SNE of the devices' vectors, with the main category of what each device learned from (Fig. 7)."""
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    active = np.flatnonzero(outcome.devices.samples > 0)
    rng = np.random.default_rng(config.seed)
    active = np.sort(rng.permutation(active)[:MAPPED])
    if not log.catalogue.category_names or len(active) <= 3 * NEIGHBOURS:
        return None
    vectors = outcome.devices.vectors[active].astype(np.float64)
    seen = joined(outcome.split, "all" if config.memory == "all" else "rounds")
    main = np.array([_main_category(log, seen, user) for user in active])
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(vectors).kneighbors(vectors, return_distance=False)

    def purity(names: np.ndarray) -> float:
        return float((names[nearest[:, 1:]] == names[:, None]).mean())

    points = TSNE(random_state=config.seed, perplexity=min(30, len(active) / 4), init="pca").fit_transform(vectors)
    return VectorMap(
        points=np.round(points, 2).tolist(),
        categories=main.tolist(),
        purity=purity(main),
        shuffled_purity=float(np.mean([purity(rng.permutation(main)) for _ in range(20)])),
    )


def long_tail_case(log: InteractionLog, outcome: Outcome) -> Case | None:
    """The user whose held-out item DCCL-e ranks best among the least active tenth (Fig. 6)."""
    evaluator = outcome.evaluator
    if not isinstance(evaluator, NextEvaluator):
        return None
    tail = evaluator.users[log.lengths[evaluator.users] <= np.quantile(log.lengths[evaluator.users], 0.1)]
    gated = tail[outcome.devices.gates[tail] > 0]
    tail = (gated if len(gated) else tail)[:TAIL]
    models = {name: each for name, each in outcome.models().items() if name in ("DIN", "DCCL-e", "DCCL-m")}
    logits = {name: evaluator.logits(*each, users=tail) for name, each in models.items()}
    held_out = log.items[log.offsets[tail + 1] - 1]
    rows = np.arange(len(tail))
    ranks = (logits["DCCL-e"] > logits["DCCL-e"][rows, held_out - 1][:, None]).sum(axis=1)
    chosen = int(ranks.argmin())
    user = tail[chosen]
    own = log.items[log.offsets[user] : log.offsets[user + 1]]
    top = {}
    for name, each in logits.items():
        scores = each[chosen].copy()
        scores[np.setdiff1d(own[:-1], own[-1:]) - 1] = -np.inf  # what the user has met, but for what is asked for
        top[name] = [_item(log, item + 1) for item in np.argsort(-scores, kind="stable")[:5]]
    return Case(
        user=f"user {log.users.ids[user]}",
        interactions=len(own),
        history=[_item(log, item) for item in own[-6:-1]],
        held_out=_item(log, own[-1]),
        top=top,
    )


def _main_category(log: InteractionLog, seen: Span, user: int) -> str:
    """The most frequent category of what a device has learned from."""
    items = log.items[log.offsets[user] + seen.start[user] : log.offsets[user] + seen.stop[user]]
    counts = np.bincount(log.catalogue.categories[items].ravel(), minlength=len(log.catalogue.category_names) + 1)
    return log.catalogue.category_names[int(counts[1:].argmax())] if counts[1:].any() else "none"


def _item(log: InteractionLog, item: int) -> str:
    """A title with its categories, for people."""
    catalogue = log.catalogue
    title = catalogue.titles[item - 1] if catalogue.titles else f"item {catalogue.ids[item - 1]}"
    names = ", ".join(catalogue.category_names[c - 1] for c in catalogue.categories[item] if c)
    return f"{title} ({names})" if names else title
