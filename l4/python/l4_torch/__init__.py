"""L4 stepsize adaptation for PyTorch: https://arxiv.org/abs/1802.05074"""

from l4_torch.optimizers import L4Adam, L4Mom

__all__ = ["L4Adam", "L4Mom"]
