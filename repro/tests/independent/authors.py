"""Rate-free methods as their own authors implement them in PyTorch, on the regression of regression.py: what the crate's
are compared with.

Needs Python 3 with torch and the packages dadaptation, prodigyopt, schedulefree, dog-optimizer, momo-opt and
mechanic-pytorch. Writes authors.json beside itself:

    python3 repro/tests/independent/authors.py

With `--mnist DIR`, where DIR holds MNIST's IDX files, it trains the perceptron of section 3.2 for an epoch by D-Adaptation
instead, 20 times, and says how often the network ends at chance.
"""

import json
import pathlib
import platform
import sys
from importlib.metadata import version

import numpy as np
import torch
from torch import nn

from dadaptation import DAdaptAdam
from dog import DoG
from mechanic_pytorch import mechanize
from momo import Momo, MomoAdam
from prodigyopt import Prodigy
from regression import RECORDED, STEPS, loss_and_gradient, problem
from schedulefree import AdamWScheduleFreeReference

PACKAGES = ["torch", "dadaptation", "prodigyopt", "schedulefree", "dog-optimizer", "momo-opt", "mechanic-pytorch"]

METHODS = {
    "D-Adaptation": DAdaptAdam,
    "Prodigy": Prodigy,
    "schedule-free AdamW": lambda parameters: AdamWScheduleFreeReference(parameters, lr=0.0025),
    "DoG": DoG,
    "MoMo": Momo,
    "MoMo-Adam": MomoAdam,
    "Mechanic": lambda parameters: mechanize(torch.optim.SGD)(parameters, lr=0.004),
}


def trajectory(make):
    x, y, start = problem()
    theta = torch.tensor(start, requires_grad=True)
    optimizer = make([theta])
    if hasattr(optimizer, "train"):
        optimizer.train()
    reads_loss = isinstance(optimizer, (Momo, MomoAdam))
    losses = []
    for _ in range(STEPS):
        loss, gradient = loss_and_gradient(theta.detach().numpy(), x, y)
        theta.grad = torch.tensor(gradient)
        optimizer.step(**({"loss": torch.tensor(loss)} if reads_loss else {}))
        losses.append(float(loss))
    end = theta.detach().numpy()
    return {
        "loss": [losses[step] for step in RECORDED],
        "norm": float(np.linalg.norm(end)),
        "first_weights": end[:5].tolist(),
    }


def mnist(folder):
    def read(name, start):
        return np.frombuffer((pathlib.Path(folder) / name).read_bytes(), np.uint8, offset=start)

    x = torch.tensor(read("train-images-idx3-ubyte", 16).reshape(-1, 784) / 255.0).float()
    t = torch.tensor(read("train-labels-idx1-ubyte", 8).astype(np.int64))
    torch.set_num_threads(1)
    at_chance = 0
    for seed in range(20):
        torch.manual_seed(seed)
        layers = [nn.Linear(784, 300), nn.Linear(300, 100), nn.Linear(100, 10)]
        for layer in layers:
            nn.init.zeros_(layer.bias)
            (nn.init.zeros_ if layer is layers[2] else nn.init.xavier_uniform_)(layer.weight)
        net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        optimizer = DAdaptAdam(net.parameters())
        losses = []
        for batch in torch.randperm(60_000)[: 937 * 64].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x[batch]), t[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        end = float(np.mean(losses[-94:]))
        at_chance += end > 2.2
        print(f"seed {seed}: loss {end:.3f} in the last tenth, d = {optimizer.param_groups[0]['d']:.4f}")
    print(f"{at_chance} of 20 at chance")


def main():
    if sys.argv[1:2] == ["--mnist"]:
        return mnist(sys.argv[2])
    torch.set_default_dtype(torch.float64)
    numbers = {
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "steps": RECORDED,
        "runs": {name: trajectory(make) for name, make in METHODS.items()},
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
