"""SGD with L2 and momentum, and pure decay, as plain recursions in float64 (LLA-E2, X2)."""


def sgd(weights, gradient, lrs, decays, momentum):
    """torch's form: v ← βv + g + λw, w ← w - ηv. Every w_t, the first included."""
    path, velocity = [weights], 0 * weights
    for lr, decay in zip(lrs, decays):
        velocity = momentum * velocity + gradient(weights) + decay * weights
        weights = weights - lr * velocity
        path.append(weights)
    return path


def pure_decay(lrs, decays, momentum):
    """P_t of LLA-X2."""
    norm, velocity = 1.0, 0.0
    norms = [norm]
    for lr, decay in zip(lrs, decays):
        velocity = momentum * velocity + decay * norm
        norm = norm - lr * velocity
        norms.append(norm)
    return norms
