"""The regression of section 3.1, its optimisers and ScheduleFree+ in NumPy, written from the formulas alone: what the crates are
compared with.

Needs Python 3 with numpy. Writes regression.json beside itself:

    python3 repro/tests/independent/regression.py

The problem is small and drawn by lcg.py. Everything that builds A, x, y and the first weights is exact in float64 (A and
x have 12 bits, the rows of A are scaled by powers of two), so both sides start from the same bits.
"""

import json
import pathlib
import platform

import numpy as np

from lcg import Lcg

INPUTS, HIDDEN, OUTPUTS, SAMPLES = 6, 6, 10, 40
STEPS = 201
UNTIL_IT_HAS_GROWN = 600
RECORDED = [0, 1, 2, 5, 10, 50, 200]
LMA_STEPS = 8


def problem():
    """x: inputs x samples, y: outputs x samples, and the first weights, W1 and W2 one after the other."""
    lcg = Lcg(31)
    u = np.reshape(lcg.signed_list(12, OUTPUTS * INPUTS), (OUTPUTS, INPUTS))
    a = 2.0 ** -np.arange(OUTPUTS)[:, None] * (0.5 + 0.5 * u)
    x = 2.0 * np.reshape(lcg.signed_list(12, INPUTS * SAMPLES), (INPUTS, SAMPLES))
    weights = 2.0 * np.array(lcg.signed_list(12, HIDDEN * (INPUTS + OUTPUTS)))
    return x, a @ x, weights


def matrices(theta):
    w1, w2 = theta[: OUTPUTS * HIDDEN], theta[OUTPUTS * HIDDEN :]
    return w1.reshape(OUTPUTS, HIDDEN), w2.reshape(HIDDEN, INPUTS)


def loss_and_gradient(theta, x, y):
    """L = 1/n sum_s |W1 W2 x_s - y_s|^2; dL/dW1 = 2/n R (W2 X)', dL/dW2 = 2/n W1' R X' with R = W1 W2 X - Y."""
    w1, w2 = matrices(theta)
    hidden = w2 @ x
    residual = w1 @ hidden - y
    gradient1 = residual @ hidden.T
    gradient2 = w1.T @ residual @ x.T
    gradient = np.concatenate([gradient1.ravel(), gradient2.ravel()])
    return np.sum(residual**2) / SAMPLES, gradient * (2.0 / SAMPLES)


# An optimiser is a generator: it is sent (theta, loss, gradient), and yields (the next theta, its learning rate).


def sgd(rate):
    theta, _, grad = yield
    while True:
        theta, _, grad = yield theta - rate * grad, rate


def heavy_ball(rate):
    accumulated = 0.0
    theta, _, grad = yield
    while True:
        accumulated = 0.9 * accumulated + grad
        theta, _, grad = yield theta - rate * accumulated, rate


def adam(rate):
    """TensorFlow 1's: epsilon stands outside the correction."""
    m = v = 0.0
    t = 0
    theta, _, grad = yield
    while True:
        t += 1
        m = 0.9 * m + 0.1 * grad
        v = 0.999 * v + 0.001 * grad**2
        corrected = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        theta, _, grad = yield theta - corrected * m / (np.sqrt(v) + 1e-4), rate


def rmsprop(rate):
    """TensorFlow 1's: the average starts at 1, and epsilon is under the root."""
    ms = 1.0
    theta, _, grad = yield
    while True:
        ms = 0.9 * ms + 0.1 * grad**2
        theta, _, grad = yield theta - rate * grad / np.sqrt(ms + 1e-10), rate


def average(timescale):
    """A bias-corrected exponential moving average, as a generator too."""
    decay = 1 - 1 / timescale
    total, t = 0.0, 0
    value = yield
    while True:
        t += 1
        total = decay * total + (1 - decay) * value
        value = yield total / (1 - decay**t)


def started(generator):
    next(generator)
    return generator


def l4(alpha, with_adam, gamma=0.9, gamma0=0.75, tau=1000.0, epsilon=1e-12):
    momentum, square = started(average(10.0)), started(average(1000.0))
    l_min = None
    theta, loss, grad = yield
    while True:
        g = momentum.send(grad)
        v = g / (np.sqrt(square.send(grad**2)) + 1e-4) if with_adam else g
        l_min = gamma0 * loss if l_min is None else min(l_min, loss)
        eta = alpha * (loss - gamma * l_min) / (np.sum(g * v) + epsilon)
        l_min = (1 + 1 / tau) * l_min
        theta, loss, grad = yield theta - eta * v, eta


def schedule_free_plus():
    m = v = largest = total = 0.0
    t = 0
    theta, loss, grad = yield
    x, z = theta, theta
    while True:
        t += 1
        m = 0.9 * m + 0.1 * grad
        v = 0.95 * v + 0.05 * grad**2
        eta = max(0.0, loss + 0.9 * grad @ (z - x)) / (np.sqrt(np.pi / 2) * np.sum(np.abs(grad)))
        z = z - eta * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
        largest = max(largest, eta)
        total += largest**2
        c = largest**2 / total
        x = (1 - c) * x + c * z
        theta, loss, grad = yield 0.9 * x + 0.1 * z, eta


def train(optimizer, x, y, theta, count=STEPS):
    started(optimizer)
    losses, rates = [], []
    for _ in range(count):
        loss, gradient = loss_and_gradient(theta, x, y)
        theta, rate = optimizer.send((theta, loss, gradient))
        losses.append(float(loss))
        rates.append(float(rate))
    return {
        "last_loss": losses[-1],
        "loss": [losses[step] for step in RECORDED],
        "learning_rate": [rates[step] for step in RECORDED],
        "norm": float(np.sqrt(np.sum(theta**2))),
        "first_weights": theta[:5].tolist(),
    }


def residuals(theta, x, y):
    w1, w2 = matrices(theta)
    return ((w1 @ w2 @ x - y) / np.sqrt(SAMPLES)).ravel()


def jacobian(theta, x, y):
    """r is a polynomial of degree 2 in theta, so central differences with step 1 are exact but for rounding."""
    columns = [residuals(theta + e, x, y) - residuals(theta - e, x, y) for e in np.eye(theta.size)]
    return np.transpose(columns) / 2.0


def levenberg_marquardt(x, y, theta):
    """Algorithm 3.16 of Madsen, Nielsen and Tingleff (2004), with F = |r|^2 / 2, for a few steps.

    The damped system is solved as the least-squares problem |J h + r|^2 + mu |h|^2, not by its normal equations.
    """
    mu, nu, steps = None, 2.0, []
    for _ in range(LMA_STEPS):
        r, j = residuals(theta, x, y), jacobian(theta, x, y)
        if mu is None:
            mu = 1e-3 * np.max(np.sum(j**2, axis=0))
        stacked = np.vstack([j, np.sqrt(mu) * np.eye(theta.size)])
        h = np.linalg.lstsq(stacked, np.concatenate([-r, np.zeros(theta.size)]), rcond=None)[0]
        trial = residuals(theta + h, x, y)
        damping = mu
        gain = (r @ r - trial @ trial) / (h @ (mu * h - j.T @ r))
        if gain > 0:
            theta = theta + h
            mu, nu = mu * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
        else:
            mu, nu = mu * nu, 2 * nu
        r = residuals(theta, x, y)
        steps.append({"damping": float(damping), "accepted": bool(gain > 0), "loss": float(r @ r)})
    return {"steps": steps, "norm": float(np.sqrt(theta @ theta)), "first_weights": theta[:5].tolist()}


def main():
    x, y, start = problem()
    optimizers = {
        "SGD 0.016": sgd(0.016),
        "heavy ball 0.004": heavy_ball(0.004),
        "Adam 0.004": adam(0.004),
        "RMSProp 0.001": rmsprop(0.001),
        "L4Adam 0.15": l4(0.15, with_adam=True),
        "L4Adam 0.25": l4(0.25, with_adam=True),
        "L4Mom 0.15": l4(0.15, with_adam=False),
        "L4Mom 0.25": l4(0.25, with_adam=False),
    }
    numbers = {
        "written_by": "regression.py",
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "steps": RECORDED,
        "runs": {name: train(optimizer, x, y, start) for name, optimizer in optimizers.items()},
        "schedule_free_plus": train(schedule_free_plus(), x, y, start, UNTIL_IT_HAS_GROWN),
        "levenberg_marquardt": levenberg_marquardt(x, y, start),
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
