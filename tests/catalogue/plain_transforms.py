"""Transforms written out plainly in double precision, a vector at a time where that is plainer."""

import numpy as np


def unit(vectors):
    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def shrinkage(centred):
    """Ledoit and Wolf 2004, section 3.2: m, d^2, b^2 and the share of the target."""
    n, p = centred.shape

    def norm(matrix):
        return np.trace(matrix @ matrix.T) / p

    covariance = sum(np.outer(x, x) for x in centred) / n
    target = np.trace(covariance) / p * np.eye(p)
    d2 = norm(covariance - target)
    b2 = min(d2, sum(norm(np.outer(x, x) - covariance) for x in centred) / n**2)
    return covariance, target, b2 / d2


def one_map(step, fitted_on):
    """Fit one step; gives what it does to vectors."""
    key, _, number = step.partition(":")
    mean = fitted_on.mean(axis=0)
    if key == "centre":
        return lambda vectors: vectors - mean
    if key == "pca":
        _, _, axes = np.linalg.svd(fitted_on - mean, full_matrices=False)
        return lambda vectors: (vectors - mean) @ axes[: int(number)].T
    covariance, target, share = shrinkage(fitted_on - mean)
    root = np.linalg.cholesky(np.linalg.inv((1 - share) * covariance + share * target))
    return lambda vectors: (vectors - mean) @ root


def maps(name, fitted_on):
    """Fit the maps of a transform; gives what they do to vectors, in all."""
    steps = []
    rows = unit(fitted_on)
    for step in name.split("+"):
        if step.partition(":")[0] in ("centre", "pca", "whiten"):
            steps.append(one_map(step, rows))
            rows = steps[-1](rows)

    def move(vectors):
        vectors = unit(vectors)
        for step in steps:
            vectors = step(vectors)
        return unit(vectors)

    return move


def ranks(name, fitted_on, items, query):
    """What each item ranks by for a query that is none of them."""
    move = maps(name, fitted_on)
    numbers = dict(step.partition(":")[::2] for step in name.split("+"))
    places, references, asked = move(items), move(fitted_on), move([query])[0]
    crowding = np.zeros(len(items))
    if "csls" in numbers:
        k = int(numbers["csls"] or 10)
        for n, place in enumerate(places):
            others = sorted((r @ place for r in references), reverse=True)
            others = others[1:] if others[0] > 1 - 1e-9 else others
            crowding[n] = np.mean(others[:k])

    def rank(asked):
        return 2 * places @ asked - crowding if "csls" in numbers else places @ asked

    if "expand" in numbers:
        nearest = np.argsort(-rank(asked))[: int(numbers["expand"])]
        asked = unit(asked + sum(max(places[n] @ asked, 0) ** 3 * places[n] for n in nearest))
    return rank(asked)
