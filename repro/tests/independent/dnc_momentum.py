"""mSGD on the DNC of section 3.4 in PyTorch: does it learn at Table 1's rate?

Needs Python 3 with numpy and torch. Writes dnc_momentum.json beside itself, after some minutes:

    python3 repro/tests/independent/dnc_momentum.py

A heavy ball of 0.9 on gradients clipped to a norm of 50, on the repeat-copy task at its defaults, at Table 1's rate and at
the best of our own search. The network is that of dnc.py, the task and the first weights are drawn here. Its losses are not
compared number by number, only by whether anything is learned: random logits around 0 have a loss of about 11.
"""

import json
import pathlib
import platform

import numpy as np
import torch
import torch.nn.functional as F

import dnc

RATES, SEEDS, STEPS, WINDOW, BATCH = (1.2, 0.3), (0, 1), 1500, 500, 16
MOMENTUM, LARGEST_NORM = 0.9, 50.0
LONGEST = 2 * (2 + 1) + 3


def repeat_copy(rng):
    """Observations and targets [step, batch, bits], mask [step, batch]."""
    x = np.zeros((LONGEST, BATCH, dnc.BITS + 2))
    y, mask = np.zeros((LONGEST, BATCH, dnc.BITS + 1)), np.zeros((LONGEST, BATCH))
    for b in range(BATCH):
        length, repeats = rng.integers(1, 3, 2)
        pattern = rng.integers(0, 2, (length, dnc.BITS))
        x[0, b, dnc.BITS] = 1
        x[1 : 1 + length, b, : dnc.BITS] = pattern
        x[1 + length, b, dnc.BITS + 1] = repeats / 10
        start, end = length + 2, length + 2 + length * repeats
        y[start:end, b, : dnc.BITS] = np.tile(pattern, (repeats, 1))
        y[end, b, dnc.BITS] = 1
        mask[start : end + 1, b] = 1
    return [torch.tensor(values) for values in (x, y, mask)]


def linear(rng, inputs, outputs, bias):
    """From a normal distribution truncated at two deviations of 1/√inputs; the biases too, or 0."""
    made = dnc.Linear.__new__(dnc.Linear)

    def draw(*shape):
        values = rng.standard_normal(shape)
        while (far := np.abs(values) > 2).any():
            values[far] = rng.standard_normal(far.sum())
        return torch.tensor(values / np.sqrt(inputs))

    made.kernel = draw(inputs, outputs).requires_grad_()
    made.bias = (draw(outputs) if bias else torch.zeros(outputs, dtype=torch.float64)).requires_grad_()
    return made


def loss_of(layers, x, y, mask):
    lstm, interface, output = layers
    zeros = lambda *shape: torch.zeros(BATCH, *shape, dtype=torch.float64)
    slots, word, reads = dnc.SLOTS, dnc.WORD, dnc.READS
    state = (
        zeros(dnc.HIDDEN),
        zeros(dnc.HIDDEN),
        zeros(slots, word),
        zeros(slots),
        zeros(1, slots),
        zeros(1, slots, slots),
        zeros(1, slots),
        zeros(reads, slots),
        zeros(reads, word),
    )
    logits = []
    for observation in x:
        state = dnc.step(observation, state, lstm, interface, 1)
        read = torch.cat([state[0], state[-1].flatten(1)], 1)
        logits.append(output(read).clamp(-dnc.CLIP, dnc.CLIP))
    losses = F.binary_cross_entropy_with_logits(torch.stack(logits), y, reduction="none").sum(2)
    return (losses * mask).sum() / BATCH


def train(rate, seed):
    """Mean losses by windows."""
    rng = np.random.default_rng(seed)
    reads, word, hidden = dnc.READS, dnc.WORD, dnc.HIDDEN
    layers = (
        linear(rng, dnc.BITS + 2 + reads * word + hidden, 4 * hidden, True),
        linear(rng, hidden, 3 * word + reads * word + 2 * reads + 3 + reads * 3, False),
        linear(rng, hidden + reads * word, dnc.BITS + 1, False),
    )
    weights = [weight for layer in layers for weight in (layer.kernel, layer.bias)]
    steps = [torch.zeros_like(weight) for weight in weights]
    losses = []
    for _ in range(STEPS):
        loss = loss_of(layers, *repeat_copy(rng))
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        norm = torch.sqrt(sum(gradient.square().sum() for gradient in gradients))
        scale = min(1.0, LARGEST_NORM / max(norm.item(), 1e-30))
        with torch.no_grad():
            for weight, step, gradient in zip(weights, steps, gradients):
                step.mul_(MOMENTUM).add_(scale * gradient)
                weight.sub_(rate * step)
    return np.mean(np.reshape(losses, (-1, WINDOW)), 1).tolist()


def main():
    torch.set_num_threads(1)
    results = {
        "written_by": "dnc_momentum.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "steps": STEPS,
        "mean_losses_of_steps": WINDOW,
        "runs": [{"rate": rate, "seed": seed, "losses": train(rate, seed)} for rate in RATES for seed in SEEDS],
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
