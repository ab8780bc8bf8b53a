"""A convolution with bias and ReLU, and its gradients, in PyTorch: what autodiff's is compared with.

Needs Python 3 with torch. Writes conv2d.txt beside itself:

    python3 autodiff/tests/all/conv2d.py

All operands are multiples of 1/8, built from integers, so that both sides start from the same bits.
"""

import pathlib

import torch


def numbers(shape, seed):
    n = torch.Size(shape).numel()
    return (torch.tensor([((i + seed) * 7919 % 13 - 6) / 8 for i in range(n)], dtype=torch.float64)).reshape(shape)


x = numbers([2, 7, 6, 3], 1).requires_grad_()
kernel = numbers([3, 2, 3, 5], 2).requires_grad_()
bias = numbers([5], 3).requires_grad_()

# Images: NHWC to NCHW; kernels: HWIO to OIHW; zeros: left 0, right 1, top 1, bottom 2.
padded = torch.nn.functional.pad(x.permute(0, 3, 1, 2), (0, 1, 1, 2))
y = torch.nn.functional.conv2d(padded, kernel.permute(3, 2, 0, 1), bias, stride=2)
y = y.permute(0, 2, 3, 1).relu()
(y * numbers(y.shape, 4)).sum().backward()

results = {"y": y, "dx": x.grad, "dkernel": kernel.grad, "dbias": bias.grad}
lines = [f"# torch {torch.__version__}, by conv2d.py"]
for name, tensor in results.items():
    lines.append(" ".join([name, *(repr(value) for value in tensor.flatten().tolist())]))
pathlib.Path(__file__).with_suffix(".txt").write_text("\n".join(lines) + "\n")
