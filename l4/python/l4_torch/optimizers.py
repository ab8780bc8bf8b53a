"""Algorithm 1 of Rolínek and Martius, "L4: Practical loss-based stepsize adaptation for deep learning" (NeurIPS 2018).

With the minibatch loss L at the parameters, each step

1. updates the averages, giving the gradient's estimate g and the direction v, Eq. (7)
2. sets Lmin to gamma0 * L at the first step, to min(Lmin, L) later
3. sets eta = alpha * (L - gamma * Lmin) / (g.v + epsilon), Eq. (6), with g.v over all parameters of all groups
4. moves each parameter by -eta * v
5. sets Lmin to (1 + 1/tau) * Lmin, Eq. (5)
"""

import math
from collections import defaultdict

import torch
from torch.optim import Optimizer

# Where the numbers that belong to no parameter are, in `state` and so in `state_dict()`.
SHARED = "l4"
CONSTANTS = {
    "gamma": ("from 0 to 1", lambda x: 0 <= x <= 1),
    "gamma0": ("from 0 to 1", lambda x: 0 <= x <= 1),
    "tau": ("above 0", lambda x: x > 0),
    "epsilon": ("finite and at least 0", lambda x: 0 <= x < math.inf),
}
GROUP_CONSTANTS = {
    "lr": ("finite and above 0 (it is L4's alpha)", lambda x: 0 < x < math.inf),
    "tau_m": ("finite and at least 1", lambda x: 1 <= x < math.inf),
    "tau_s": ("finite and at least 1", lambda x: 1 <= x < math.inf),
    "delta": ("finite and at least 0", lambda x: 0 <= x < math.inf),
    "weight_decay": ("finite and at least 0", lambda x: 0 <= x < math.inf),
}


def check_constants(ranges, values):
    for name, (expected, accept) in ranges.items():
        if name in values and not accept(values[name]):
            raise ValueError(f"{name} must be {expected}, found {values[name]}")


class _L4(Optimizer):
    """What L4Adam and L4Mom share: all but the direction v."""

    def __init__(self, params, shared, group_defaults, check):
        check_constants(CONSTANTS, shared)
        super().__init__(params, group_defaults)
        self.state[SHARED] = {**shared, "l_min": None}
        self.check = check
        self.learning_rate = None

    def add_param_group(self, param_group):
        check_constants(GROUP_CONSTANTS, {**self.defaults, **param_group})
        super().add_param_group(param_group)

    @property
    def l_min(self):
        """Lmin as the next step will find it, a tensor; None before the first step, unless it was set."""
        return self.state[SHARED]["l_min"]

    @l_min.setter
    def l_min(self, value):
        self.state[SHARED]["l_min"] = checked_l_min(value)

    def load_state_dict(self, state_dict):
        """Goes on from `state_dict()`, constants included.

        Raises ValueError, with nothing changed, where another optimizer saved it or a value is out of range.
        """
        shared = state_dict["state"].get(SHARED)
        if shared is None or shared.keys() != self.state[SHARED].keys():
            raise ValueError("the state dict was not saved by an L4 optimizer of this version")
        check_constants(CONSTANTS, shared)
        if shared["l_min"] is not None:
            checked_l_min(shared["l_min"])
        for group in state_dict["param_groups"]:
            check_constants(GROUP_CONSTANTS, group)
        super().load_state_dict(state_dict)

    def step(self, closure=None, *, loss=None):
        """One step. Either `loss` is the loss whose gradient the parameters hold (a tensor of one element, or a number),
        or `closure` zeroes the gradients, computes the loss, calls backward and returns the loss. Returns the loss.

        Parameters without a gradient are left out. Afterwards `learning_rate` is eta, a tensor (that of alpha in the
        first group).

        Raises ValueError, with parameters, averages and Lmin as they were, where the loss is negative or not finite or
        the gradient is not finite: call `zero_grad` and go on to skip the batch.
        """
        if closure is not None:
            if loss is not None:
                raise TypeError("step takes a closure or a loss, not both")
            if not callable(closure):
                raise TypeError("the loss is a keyword argument: step(loss=loss)")
            with torch.enable_grad():
                loss = closure()
        if loss is None:
            raise TypeError("L4 needs the loss: call step(loss=loss), or step(closure) with a closure that returns it")
        self._step(loss)
        return loss

    @torch.no_grad()
    def _step(self, loss):
        params = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not params:
            return
        for _, p in params:
            check_tensor(p)
        loss = scalar_on(params[0][1].device, loss)
        if self.check:
            check_finite(loss, [p.grad for _, p in params])

        shares, inner_product = [], torch.zeros_like(loss)
        for group, ps in by_group_and_device(params):
            g, v = self._estimate_and_direction(group, ps)
            shares.append((group, ps, v))
            products = [torch.dot(g.reshape(-1), v.reshape(-1)).to(loss) for g, v in zip(g, v)]
            inner_product += torch.stack(products).sum()

        unit = self._unit_step(loss, inner_product)
        self.learning_rate = self.param_groups[0]["lr"] * unit
        for group, ps, v in shares:
            eta = (group["lr"] * unit).to(ps[0].device)
            torch._foreach_mul_(v, eta)
            torch._foreach_sub_(ps, v)
            if group["weight_decay"] != 0:
                torch._foreach_mul_(ps, 1 - eta * group["weight_decay"])

    def _unit_step(self, loss, inner_product):
        """Steps 2, 3 and 5: eta for alpha = 1, without a read by the host. 0 where the loss is at its target, or g.v is
        not above 0 and finite."""
        shared = self.state[SHARED]
        if shared["l_min"] is None:
            l_min = shared["gamma0"] * loss
        else:
            l_min = torch.minimum(torch.as_tensor(shared["l_min"]).to(loss), loss)
        shared["l_min"] = (1 + 1 / shared["tau"]) * l_min
        distance = torch.clamp(loss - shared["gamma"] * l_min, min=0)
        descends = (inner_product > 0) & torch.isfinite(inner_product)
        # The division is safe with any epsilon where it counts.
        divisor = torch.where(descends, inner_product + shared["epsilon"], torch.ones_like(loss))
        return torch.where(descends, distance / divisor, torch.zeros_like(loss))

    def _estimate(self, group, ps):
        """g = EMA(grad, tau_m), Eq. (7)."""
        return self._average("mean_gradient", group["tau_m"], ps, [p.grad for p in ps])

    def _average(self, name, timescale, ps, values):
        """An exponential moving average with bias correction, Algorithm 2, over the steps at which the parameter had a
        gradient. The values may be used as scratch."""
        for p in ps:
            if name not in self.state[p]:
                self.state[p][name] = torch.zeros_like(p, memory_format=torch.preserve_format)
        means = [self.state[p][name] for p in ps]
        torch._foreach_lerp_(means, values, 1 / timescale)
        decay = 1 - 1 / timescale
        return list(torch._foreach_mul(means, [1 / (1 - decay ** self.state[p]["step"]) for p in ps]))

    def _count_step(self, ps):
        for p in ps:
            self.state[p]["step"] = self.state[p].get("step", 0) + 1


class L4Adam(_L4):
    """L4 with g = momentum and v = Adam's direction, Eq. (7).

    Arguments:
        params: parameters, or parameter groups. A group may have its own `lr` (alpha), `tau_m`, `tau_s`, `delta` and
            `weight_decay`; g.v, Lmin and so eta / alpha are shared by all groups.
        alpha: the fraction of the linearised step to the minimum that is taken; 0.1 to 0.3. In the groups it is called
            `lr`, where PyTorch's schedulers look for it.
        gamma: the fraction of Lmin that is taken to be attainable.
        gamma0: the fraction of the first loss that Lmin starts at.
        tau: the timescale in steps at which Lmin is forgotten; math.inf for never.
        epsilon: added to g.v.
        tau_m, tau_s: timescales in steps of the averages of the gradient and of its square.
        delta: added to the root of the average square.
        weight_decay: decoupled weight decay lambda: after the step, p -= eta * lambda * p.
        check: read loss and gradient norm at each step, and refuse a loss that is negative or not finite and a gradient
            that is not finite. It is the only read by the host in a step; without it there is none, and a NaN spoils
            the averages.
    """

    def __init__(
        self,
        params,
        alpha=0.15,
        *,
        gamma=0.9,
        gamma0=0.75,
        tau=1000.0,
        epsilon=1e-12,
        tau_m=10.0,
        tau_s=1000.0,
        delta=1e-4,
        weight_decay=0.0,
        check=True,
    ):
        shared = {"gamma": gamma, "gamma0": gamma0, "tau": tau, "epsilon": epsilon}
        group = {"lr": alpha, "tau_m": tau_m, "tau_s": tau_s, "delta": delta, "weight_decay": weight_decay}
        super().__init__(params, shared, group, check)

    def _estimate_and_direction(self, group, ps):
        """g, and v = g / (sqrt(EMA(grad^2, tau_s)) + delta)."""
        self._count_step(ps)
        g = self._estimate(group, ps)
        grads = [p.grad for p in ps]
        roots = self._average("mean_square", group["tau_s"], ps, torch._foreach_mul(grads, grads))
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["delta"])
        return g, list(torch._foreach_div(g, roots))


class L4Mom(_L4):
    """L4 with g = v = momentum, Eq. (7). Arguments as of L4Adam, as far as they apply."""

    def __init__(
        self,
        params,
        alpha=0.15,
        *,
        gamma=0.9,
        gamma0=0.75,
        tau=1000.0,
        epsilon=1e-12,
        tau_m=10.0,
        weight_decay=0.0,
        check=True,
    ):
        shared = {"gamma": gamma, "gamma0": gamma0, "tau": tau, "epsilon": epsilon}
        group = {"lr": alpha, "tau_m": tau_m, "weight_decay": weight_decay}
        super().__init__(params, shared, group, check)

    def _estimate_and_direction(self, group, ps):
        self._count_step(ps)
        g = self._estimate(group, ps)
        return g, g


def by_group_and_device(params):
    """(group, parameters) with all of the parameters on one device."""
    shares = defaultdict(list)
    groups = {}
    for group, p in params:
        groups[id(group)] = group
        shares[id(group), p.device].append(p)
    return [(groups[key], ps) for (key, _), ps in shares.items()]


def scalar_on(device, loss):
    """The loss without its graph, on the device where g.v is summed up."""
    if not isinstance(loss, torch.Tensor):
        return torch.tensor(float(loss), device=device)
    if loss.numel() != 1:
        raise ValueError(f"the loss must be one number, found a tensor of shape {tuple(loss.shape)}: reduce it first")
    loss = loss.detach().reshape(()).to(device)
    return loss if loss.dtype in (torch.float32, torch.float64) else loss.float()


def check_tensor(p):
    if p.grad.is_sparse:
        raise ValueError("L4 takes dense gradients: build the embedding with sparse=False")
    if p.is_complex():
        raise ValueError("L4 takes real parameters: pass torch.view_as_real of complex ones")


def check_finite(loss, grads):
    """The one read by the host."""
    norms = [torch.linalg.vector_norm(g, dtype=torch.float32 if g.dtype.itemsize < 4 else None) for g in grads]
    largest = torch.stack([norm.to(loss) for norm in norms]).max()
    loss, largest = torch.stack([loss, largest]).tolist()
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss}, not a finite number: skip the batch, or go back to saved parameters")
    if loss < 0:
        raise ValueError(
            f"the loss is {loss}, but L4 takes 0 for the least attainable loss: add the constant that keeps it above 0"
        )
    if not math.isfinite(largest):
        raise ValueError("the gradient is not finite: skip the batch, or go back to saved parameters")


def checked_l_min(value):
    number = float(value)
    if not (0 <= number < math.inf):
        raise ValueError(f"Lmin must be finite and at least 0, found {number}")
    return value if isinstance(value, torch.Tensor) else torch.tensor(number)
