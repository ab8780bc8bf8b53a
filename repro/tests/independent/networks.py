"""The networks of sections 3.3 and 3.5 in PyTorch, in float64: what the Rust crates are compared with.

Needs Python 3 with numpy and torch. Writes networks.json beside itself:

    python3 repro/tests/independent/networks.py

One step of each network in full, on a batch of 2: forward, backward, and for the residual network an evaluation with the
running statistics that the step left. Weights and images come from lcg.py; their limits are powers of two, so both sides
start from the same bits. Kernels are kept as Rust has them, height x width x inputs x outputs.
"""

import json
import pathlib
import platform

import numpy as np
import torch
import torch.nn.functional as F

from lcg import Lcg

BATCH = 2
LABELS = torch.tensor([3, 8])
L2 = 2e-4
DECAY, EPSILON = 0.997, 1e-5


class Params:
    """Parameters in the order in which they are asked for."""

    def __init__(self):
        self.lcg = Lcg(5)
        self.named = {}

    def get(self, name, *shape):
        """Kernels within a power of two that is near 1/sqrt(fan in), gamma around 1, the rest around 0."""
        fan_in = int(np.prod(shape[:-1]))
        limit = 2.0 ** -round(np.log2(fan_in) / 2) if len(shape) > 1 else 1 / 8
        values = limit * np.array(self.lcg.signed_list(24, int(np.prod(shape))))
        values += name.endswith("gamma")
        self.named[name] = torch.tensor(values.reshape(shape), requires_grad=True)
        return self.named[name]

    def written(self):
        return [{"name": name, **digest(p.grad)} for name, p in self.named.items()]


def digest(x):
    """The norm, a sum with weights that tell the elements apart, and the first elements."""
    x = x.detach().flatten()
    weights = torch.arange(x.numel()) * 7919 % 1024 / 1024 - 0.5
    return {"norm": x.norm().item(), "weighted": (x * weights).sum().item(), "first": x[:4].tolist()}


def images(height, width, channels):
    """In [-1, 1), batch x channels x height x width."""
    values = Lcg(9).signed_list(8, BATCH * height * width * channels)
    return torch.tensor(values, dtype=torch.float64).reshape(BATCH, height, width, channels).permute(0, 3, 1, 2)


def conv(x, kernel, stride=1):
    return F.conv2d(x, kernel.permute(3, 2, 0, 1), stride=stride, padding=kernel.shape[0] // 2)


def convnet():
    params, x = Params(), images(28, 28, 1)
    for name, inputs, outputs in [("conv1", 1, 32), ("conv2", 32, 64)]:
        kernel = params.get(f"{name}/kernel", 5, 5, inputs, outputs)
        bias = params.get(f"{name}/bias", outputs)
        x = F.max_pool2d(F.relu(conv(x, kernel) + bias[:, None, None]), 2)
    x = x.permute(0, 2, 3, 1).reshape(BATCH, -1)
    x = F.relu(x @ params.get("hidden/kernel", 3136, 1024) + params.get("hidden/bias", 1024))
    logits = x @ params.get("output/kernel", 1024, 10) + params.get("output/bias", 10)
    loss = F.cross_entropy(logits, LABELS)
    loss.backward()
    return {"loss": loss.item(), "gradients": params.written()}


class ResNet:
    def __init__(self):
        self.params = Params()
        self.running = {}
        self.training = True

    def norm_relu(self, x, name):
        """The Rust side has gamma, beta and then the kernels that follow; so has this."""
        channels = x.shape[1]
        gamma, beta = self.get(f"{name}/gamma", channels), self.get(f"{name}/beta", channels)
        mean, variance = self.running.setdefault(
            name, (torch.zeros(channels, dtype=torch.float64), torch.ones(channels, dtype=torch.float64))
        )
        return F.relu(F.batch_norm(x, mean, variance, gamma, beta, self.training, 1 - DECAY, EPSILON))

    def get(self, name, *shape):
        known = self.params.named.get(name)
        return self.params.get(name, *shape) if known is None else known

    def conv(self, x, name, size, outputs, stride=1):
        return conv(x, self.get(f"{name}/kernel", size, size, x.shape[1], outputs), stride)

    def block(self, x, name, outputs, stride, projects):
        h = self.norm_relu(x, f"{name}/norm1")
        short_cut = self.conv(h, f"{name}/projection", 1, outputs, stride) if projects else x
        h = self.norm_relu(self.conv(h, f"{name}/conv1", 3, outputs, stride), f"{name}/norm2")
        return self.conv(h, f"{name}/conv2", 3, outputs) + short_cut

    def logits(self, x):
        x = self.conv(x, "first", 3, 16)
        for stage, outputs in enumerate([16, 32, 64], 1):
            for block in range(1, 6):
                stride = 2 if stage > 1 and block == 1 else 1
                x = self.block(x, f"stage{stage}/block{block}", outputs, stride, block == 1)
        x = self.norm_relu(x, "norm").mean(dim=(2, 3))
        return x @ self.get("output/kernel", 64, 10) + self.get("output/bias", 10)


def resnet32():
    network, x = ResNet(), images(32, 32, 3)
    cross_entropy = F.cross_entropy(network.logits(x), LABELS)
    penalty = L2 * sum(p.square().sum() / 2 for p in network.params.named.values())
    (cross_entropy + penalty).backward()
    statistics = [
        {"name": f"{name}/{what}", **digest(values)}
        for name, both in network.running.items()
        for what, values in zip(["moving_mean", "moving_variance"], both)
    ]
    network.training = False
    return {
        "loss": (cross_entropy + penalty).item(),
        "penalty": penalty.item(),
        "gradients": network.params.written(),
        "statistics": statistics,
        "evaluation": F.cross_entropy(network.logits(x), LABELS).item(),
    }


def main():
    numbers = {
        "written_by": "networks.py",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        "convnet": convnet(),
        "resnet32": resnet32(),
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
