"""Values and gradients of autodiff's operations in PyTorch, in float64: what the Rust crates are compared with.

Needs Python 3 with torch. Writes ops.json beside itself:

    python3 repro/tests/independent/ops.py
"""

import json
import pathlib
import platform

import torch
import torch.nn.functional as F

from lcg import Lcg


def tensor(lcg, *shape):
    """Multiples of 1/1024 in [-2, 2)."""
    count = torch.Size(shape).numel()
    values = torch.tensor(lcg.signed_list(12, count), dtype=torch.float64)
    return (2 * values).reshape(shape).requires_grad_()


def weighted_sum(y):
    """Sum of k y_k over the elements in row-major order, so that no two elements count alike."""
    return torch.sum(y.flatten() * torch.arange(1, y.numel() + 1, dtype=y.dtype))


def cross_entropy(logits, raw):
    """Soft targets: the rows of softmax(raw)."""
    return F.cross_entropy(logits, torch.softmax(raw, dim=1))


def broadcasting(a, b, c):
    y = (a * b + c) / (b.square() + 1) - a
    return weighted_sum(y) + y.mean(dim=(0, 2)).square().sum()


def chain(a, b):
    return weighted_sum(F.softplus(3 * torch.sigmoid(a) - torch.tanh(2 * b)) * torch.exp(-a.square()))


def max_pooling(x):
    """Windows that overlap; x is batch x height x width x channels, as in Rust."""
    return weighted_sum(F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2).permute(0, 2, 3, 1))


def batch_norm(x, scale, shift):
    """Over the rows of x."""
    return weighted_sum(F.batch_norm(x, None, None, scale, shift, training=True, eps=1e-3))


def batch_norm_relu(x, scale, shift):
    return weighted_sum(F.relu(F.batch_norm(x, None, None, scale, shift, training=True, eps=1e-3)))


CASES = {
    "softmax cross-entropy": ([(5, 7), (5, 7)], cross_entropy),
    "broadcasting": ([(4, 1, 3), (5, 1), (3,)], broadcasting),
    "softplus, sigmoid, tanh": ([(3, 4), (4,)], chain),
    "max pooling": ([(2, 7, 8, 3)], max_pooling),
    "batch norm": ([(11, 5), (5,), (5,)], batch_norm),
    "batch norm, relu": ([(11, 5), (5,), (5,)], batch_norm_relu),
    "A·B": ([(3, 4), (4, 5)], lambda a, b: weighted_sum(a @ b)),
    "Aᵀ·B": ([(4, 3), (4, 5)], lambda a, b: weighted_sum(a.T @ b)),
    "A·Bᵀ": ([(3, 4), (5, 4)], lambda a, b: weighted_sum(a @ b.T)),
    "Aᵀ·Bᵀ": ([(4, 3), (5, 4)], lambda a, b: weighted_sum(a.T @ b.T)),
}


def evaluate(shapes, function):
    lcg = Lcg(11)
    inputs = [tensor(lcg, *shape) for shape in shapes]
    value = function(*inputs)
    value.backward()
    gradient = torch.cat([x.grad.flatten() for x in inputs])
    return {"value": value.item(), "gradient": gradient.tolist()}


def main():
    numbers = {
        "written_by": "ops.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "cases": {name: evaluate(*case) for name, case in CASES.items()},
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
