"""The perceptron of section 3.2 trained by L4 in PyTorch: what the Rust crates are compared with.

Needs Python 3 with numpy and torch. Writes mnist_l4.json beside itself:

    python3 repro/tests/independent/mnist_l4.py

Gradients are PyTorch's own; L4 is written from Algorithm 1 and Eq. (7) alone. The images are made by lcg.py, so that the
test needs no data set: three pixels in four are black, as in MNIST nearly, and each pixel is its class's with probability
SIGNAL / 32, else noise. Pixels are bytes over 255; first weights have 24 bits and limits near Glorot's that are powers of
two: both sides start from the same bits. Every run is made in float32 and in float64. The float64 runs compare formulas,
the float32 runs what training really does.
"""

import json
import pathlib
import platform

import numpy as np
import torch
import torch.nn.functional as F

from lcg import Lcg

SIZES = [784, 300, 100, 10]
LIMITS = [1 / 16, 1 / 8, 0.0]
BATCH, BATCHES, STEPS = 64, 20, 200
SIGNAL = 5
SETTINGS = [("L4Adam", 0.25), ("L4Mom", 0.15)]
TYPES = [("f32", torch.float32), ("f64", torch.float64)]


def pixel(lcg):
    """A byte, zero three times in four."""
    return lcg.bits(8) if lcg.bits(2) == 0 else 0


def images():
    """BATCHES batches of bytes; sample i has the label i % 10."""
    lcg = Lcg(784)
    patterns = [[pixel(lcg) for _ in range(SIZES[0])] for _ in range(SIZES[-1])]
    pixels = [
        [common if lcg.bits(5) < SIGNAL else pixel(lcg) for common in patterns[i % SIZES[-1]]]
        for i in range(BATCH * BATCHES)
    ]
    labels = [i % SIZES[-1] for i in range(BATCH * BATCHES)]
    return np.reshape(pixels, (BATCHES, BATCH, SIZES[0])), np.reshape(labels, (BATCHES, BATCH))


def first_weights():
    """Kernel (inputs x outputs) and bias of each layer, in order."""
    lcg = Lcg(3)
    for inputs, outputs, limit in zip(SIZES, SIZES[1:], LIMITS):
        yield limit * np.reshape(lcg.signed_list(24, inputs * outputs), (inputs, outputs))
        yield np.zeros(outputs)


def loss_of(params, x, labels):
    w1, b1, w2, b2, w3, b3 = params
    h1 = torch.relu(x @ w1 + b1)
    h2 = torch.relu(h1 @ w2 + b2)
    return F.cross_entropy(h2 @ w3 + b3, labels)


class L4:
    """g = EMA(grad, 10); v = g, or v = g / (sqrt(EMA(grad^2, 1000)) + 1e-4)."""

    def __init__(self, name, alpha, params):
        self.with_adam = name == "L4Adam"
        self.alpha = alpha
        self.params = params
        self.t = 0
        self.first = [torch.zeros_like(p) for p in params]
        self.second = [torch.zeros_like(p) for p in params]
        self.l_min = None

    def estimate_and_direction(self):
        self.t += 1
        estimate, direction = [], []
        for param, m, s in zip(self.params, self.first, self.second):
            m.mul_(0.9).add_(param.grad, alpha=0.1)
            s.mul_(0.999).addcmul_(param.grad, param.grad, value=0.001)
            g = m / (1 - 0.9**self.t)
            estimate.append(g)
            root = torch.sqrt(s / (1 - 0.999**self.t))
            direction.append(g / (root + 1e-4) if self.with_adam else g)
        return estimate, direction

    @torch.no_grad()
    def step(self, loss):
        estimate, direction = self.estimate_and_direction()
        self.l_min = 0.75 * loss if self.l_min is None else torch.minimum(self.l_min, loss)
        inner = sum(torch.sum(g * v) for g, v in zip(estimate, direction))
        eta = self.alpha * (loss - 0.9 * self.l_min) / (inner + 1e-12)
        for param, v in zip(self.params, direction):
            param -= eta * v
        self.l_min = (1 + 1 / 1000) * self.l_min
        return eta


def train(name, alpha, dtype, weights, pixels, labels):
    params = [torch.tensor(w, dtype=dtype, requires_grad=True) for w in weights]
    x = torch.tensor(pixels, dtype=dtype) / 255
    y = torch.tensor(labels)
    optimizer = L4(name, alpha, params)
    losses, rates = [], []
    for step in range(STEPS):
        batch = step % BATCHES
        for param in params:
            param.grad = None
        loss = loss_of(params, x[batch], y[batch])
        loss.backward()
        losses.append(loss.item())
        rates.append(optimizer.step(loss.detach()).item())
    return {"loss": rounded(losses), "learning_rate": rounded(rates), "last": [last(p) for p in params]}


def last(param):
    flat = param.detach().flatten()
    return {"norm": rounded([flat.double().norm().item()])[0], "first": rounded(flat[:4].tolist())}


def rounded(values):
    """Twelve digits: more than any comparison needs."""
    return [float(f"{value:.12g}") for value in values]


def main():
    torch.set_num_threads(1)
    weights = list(first_weights())
    pixels, labels = images()
    runs = [
        {"method": name, "alpha": alpha, "type": type_name, **train(name, alpha, dtype, weights, pixels, labels)}
        for name, alpha in SETTINGS
        for type_name, dtype in TYPES
    ]
    numbers = {
        "written_by": "mnist_l4.py",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        "runs": runs,
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
