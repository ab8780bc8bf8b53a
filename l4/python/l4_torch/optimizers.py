"""Algorithm 1 of Rolínek and Martius, "L4: Practical loss-based stepsize adaptation for deep learning" (NeurIPS 2018).

With the minibatch loss L at the parameters, each step

1. updates the averages, giving the gradient's estimate g and the direction v, Eq. (7)
2. sets Lmin to gamma0 * L at the first step, to min(Lmin, L) later
3. sets eta = alpha * (L - gamma * Lmin) / (g.v + epsilon), Eq. (6), with g.v over all parameters of all groups
4. moves each parameter by -eta * v
5. sets Lmin to (1 + 1/tau) * Lmin, Eq. (5)
"""

import copy
import functools
import math

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
    # A scheduler may end at 0, where nothing moves.
    "lr": ("finite and at least 0 (it is L4's alpha)", lambda x: 0 <= x < math.inf),
    # Beyond, 1 - 1 / tau is 1 and the bias correction a division by 0.
    "tau_m": ("at least 1 and below 2**54", lambda x: x >= 1 and 1 - 1 / x < 1),
    "tau_s": ("at least 1 and below 2**54", lambda x: x >= 1 and 1 - 1 / x < 1),
    "delta": ("finite and at least 0", lambda x: 0 <= x < math.inf),
    "weight_decay": ("finite and at least 0", lambda x: 0 <= x < math.inf),
}


def check_constants(ranges, values):
    for name, (expected, accept) in ranges.items():
        if name in values and not holds(accept, values[name]):
            raise ValueError(f"{name} must be {expected}, found {values[name]}")


def holds(accept, value):
    try:
        return bool(accept(value))
    except TypeError:
        return False


class _L4(Optimizer):
    """What L4Adam and L4Mom share: all but the direction v."""

    # The averages of each parameter, by their names in `state`.
    AVERAGES = ("mean_gradient",)

    def __init__(self, params, shared, group_defaults, check):
        check_constants(CONSTANTS, shared)
        if not group_defaults["lr"] > 0:
            raise ValueError(f"alpha must be above 0, found {group_defaults['lr']}")
        super().__init__(params, group_defaults)
        self.state[SHARED] = {**shared, "l_min": math.inf}
        self.check = check
        self.learning_rate = None

    def __getstate__(self):
        # torch's has no attributes of its subclasses; copies and pickles are made from it.
        return {**super().__getstate__(), "check": self.check, "learning_rate": self.learning_rate}

    def add_param_group(self, param_group):
        foreign = ({"alpha", *CONSTANTS} | GROUP_CONSTANTS.keys() - self.defaults.keys()) & param_group.keys()
        if foreign:
            name = type(self).__name__
            raise ValueError(f"a group of {name} has no {', '.join(sorted(foreign))} of its own; alpha is called lr there")
        check_constants(GROUP_CONSTANTS, {**self.defaults, **param_group})
        super().add_param_group(param_group)

    @property
    def l_min(self):
        """Lmin as the next step will find it: a tensor, or a number where it was set or loaded; inf before any loss."""
        return self.state[SHARED]["l_min"]

    @l_min.setter
    def l_min(self, value):
        self.state[SHARED]["l_min"] = checked_l_min(value)

    def load_state_dict(self, state_dict):
        """Goes on from a copy of `state_dict()`, constants included.

        Raises ValueError, with nothing changed, where another optimizer saved it, an average has not the shape of its
        parameter, or a value is out of range.
        """
        state_dict = copy.deepcopy(state_dict)
        if not {"state", "param_groups"} <= state_dict.keys():
            raise self._another_optimizers()
        self._check_groups(state_dict["param_groups"])
        state = state_dict["state"]
        places = dict(self._places(state_dict))
        shared = state.get(SHARED)
        if shared is None or shared.keys() != self.state[SHARED].keys() or state.keys() - {SHARED, *places}:
            raise self._another_optimizers()
        check_constants(CONSTANTS, shared)
        shared["l_min"] = checked_l_min(shared["l_min"])
        memories = [(p, state[k]) for k, p in places.items() if k in state]
        for p, memory in memories:
            self._check_memory(p, memory)
        super().load_state_dict(state_dict)
        for p, memory in memories:
            # torch rounds them to the parameter's own type.
            self.state[p].update({name: memory[name].to(p.device, type_of_averages(p)) for name in self.AVERAGES})

    def _places(self, state_dict):
        """The parameters, each with its number in the saved state."""
        saved = [k for group in state_dict["param_groups"] for k in group["params"]]
        return zip(saved, (p for group in self.param_groups for p in group["params"]))

    def _check_groups(self, groups):
        expected = GROUP_CONSTANTS.keys() & self.defaults.keys()
        for group in groups:
            if "params" not in group or GROUP_CONSTANTS.keys() & group.keys() != expected:
                raise self._another_optimizers()
            check_constants(GROUP_CONSTANTS, group)

    def _check_memory(self, p, memory):
        if not isinstance(memory, dict) or memory.keys() != {"step", *self.AVERAGES}:
            raise self._another_optimizers()
        if not (type(memory["step"]) is int and memory["step"] >= 1):
            raise ValueError(f"a saved step must be a count of at least 1, found {memory['step']}")
        for name in self.AVERAGES:
            mean = memory[name]
            if not isinstance(mean, torch.Tensor):
                raise ValueError(f"a saved {name} must be a tensor, found {type(mean).__name__}")
            if mean.shape != p.shape:
                raise ValueError(f"a saved {name} has shape {tuple(mean.shape)}, its parameter {tuple(p.shape)}")
            if not mean.isfinite().all() or (name == "mean_square" and (mean < 0).any()):
                raise ValueError(f"a saved {name} holds a number that no average can be: the file is damaged")

    def _another_optimizers(self):
        return ValueError(f"the state dict was not saved by an {type(self).__name__} of this version")

    def step(self, closure=None, *, loss=None):
        """One step. Either `loss` is the loss whose gradient the parameters hold (a tensor of one element, or a number),
        or `closure` zeroes the gradients, computes the loss, calls backward and returns the loss. Returns the loss.

        Parameters without a gradient are left out; where none has one the step counts for Lmin, with eta 0. Afterwards
        `learning_rate` is eta, a tensor (that of alpha in the first group).

        Raises ValueError, with parameters, averages and Lmin as they were, where the loss is negative or not finite or
        the gradient is not finite: call `zero_grad` and go on to skip the batch. Where g.v or eta is not finite it does
        so with the parameters as they were, but averages and Lmin after a step of eta 0.
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
        self._check_settings()
        params = [(group, p) for group in self.param_groups for p in group["params"]]
        loss = scalar_for([p for _, p in params], loss)
        check_not_captured(loss)
        params = [(group, p) for group, p in params if p.grad is not None]
        for _, p in params:
            check_tensor(p)
            self._check_shapes(p)

        shares = [(*share, [p.grad.to(type_of_averages(p)) for p in share[1]]) for share in by_group_and_device(params)]
        if self.check:
            check_inputs(loss, [dot(grad, grad).to(loss) for _, _, grads in shares for grad in grads])

        directions, inner_product = [], torch.zeros_like(loss)
        for group, ps, grads in shares:
            g, v = self._estimate_and_direction(group, ps, grads)
            directions.append((group, ps, v))
            inner_product += torch.stack([dot(g, v).to(loss) for g, v in zip(g, v)]).sum()

        unit = self._unit_step(loss, inner_product)
        largest_rate = max(group["lr"] for group in self.param_groups) * unit
        if any(type_of_averages(p) is torch.float32 for _, p in params):
            # The moves are made in it.
            largest_rate = largest_rate.float().to(loss)
        finite = torch.isfinite(inner_product) & torch.isfinite(largest_rate)
        unit = torch.where(finite, unit, torch.zeros_like(unit))
        self.learning_rate = self.param_groups[0]["lr"] * unit
        if self.check and not check_moves(inner_product, largest_rate):
            return
        for group, ps, v in directions:
            self._move(group, ps, v, (group["lr"] * unit).to(ps[0].device))

    def _check_settings(self):
        """Both dictionaries are the user's to change."""
        shared = self.state[SHARED]
        check_constants(CONSTANTS, shared)
        # A tensor is a step's own, and would have to be waited for.
        if not isinstance(shared["l_min"], torch.Tensor):
            checked_l_min(shared["l_min"])
        for group in self.param_groups:
            check_constants(GROUP_CONSTANTS, group)

    def _check_shapes(self, p):
        memory = self.state.get(p, {})
        for name, tensor in [("grad", p.grad), *((name, memory.get(name)) for name in self.AVERAGES)]:
            if tensor is not None and tensor.shape != p.shape:
                raise ValueError(
                    f"a parameter has shape {tuple(p.shape)}, but its {name} {tuple(tensor.shape)}: "
                    "build a new optimizer where parameters change their shape"
                )

    def _unit_step(self, loss, inner_product):
        """Steps 2, 3 and 5: eta for alpha = 1, without a read by the host. 0 where the loss is at its target or g.v is
        not above 0. A loss that L4 does not take leaves Lmin alone."""
        shared = self.state[SHARED]
        before = shared["l_min"]
        before = before.to(loss) if isinstance(before, torch.Tensor) else torch.full_like(loss, before)
        l_min = torch.where(torch.isinf(before), shared["gamma0"] * loss, torch.minimum(before, loss))
        # A negative loss is its own Lmin, and so at its target.
        distance = torch.clamp(loss - shared["gamma"] * l_min, min=0)
        unit = distance / (inner_product + shared["epsilon"])
        # Infinity stands for no loss so far; the bound matters only near the end of the number range.
        after = torch.clamp((1 + 1 / shared["tau"]) * l_min, max=torch.finfo(loss.dtype).max)
        shared["l_min"] = torch.where((loss >= 0) & torch.isfinite(loss), after, before)
        return torch.where((distance == 0) | (inner_product <= 0), torch.zeros_like(loss), unit)

    def _move(self, group, ps, v, eta):
        """Step 4 and weight decay. `v` is used up."""
        torch._foreach_mul_(v, eta)
        if not self.check:
            # A direction that is not finite is not, times 0, either.
            for v_of_one in v:
                v_of_one.masked_fill_(eta == 0, 0)
        torch._foreach_sub_(ps, v)
        if group["weight_decay"] != 0:
            torch._foreach_mul_(ps, 1 - eta * group["weight_decay"])

    def _estimate(self, group, ps, grads):
        """g = EMA(grad, tau_m), Eq. (7)."""
        return self._average("mean_gradient", group["tau_m"], ps, grads)

    def _average(self, name, timescale, ps, values):
        """An exponential moving average with bias correction, Algorithm 2, over the steps at which the parameter had a
        gradient."""
        for p, value in zip(ps, values):
            memory = self.state[p]
            if name not in memory:
                memory[name] = torch.zeros_like(value, memory_format=torch.preserve_format)
            # Where the model has gone to another type or device since.
            memory[name] = memory[name].to(value)
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
        weight_decay: decoupled weight decay lambda: after the step, p -= eta * lambda * p. eta has no upper bound; where
            eta * lambda is above 2 the weights grow. Choose it far below 1 / eta, of the rates that a short run shows.
        check: read loss and gradient norm at each step, then g.v and eta, and refuse a loss that is negative and
            numbers that are not finite. These are the only reads by the host in a step; without them there is none,
            parameters rest where a step would be refused, and a NaN in a gradient spoils the averages.

    Averages are in float32 at least, whatever the parameters are. Loss, g.v and eta are in the widest of float32, the
    loss's type and the parameters'.

    Afterwards `learning_rate` is eta of the last step, the rate to log; `param_groups[0]["lr"]`, and so a scheduler's
    `get_last_lr()`, is alpha.
    """

    AVERAGES = ("mean_gradient", "mean_square")

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

    def _estimate_and_direction(self, group, ps, grads):
        """g, and v = g / (sqrt(EMA(grad^2, tau_s)) + delta)."""
        self._count_step(ps)
        g = self._estimate(group, ps, grads)
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

    def _estimate_and_direction(self, group, ps, grads):
        self._count_step(ps)
        g = self._estimate(group, ps, grads)
        return g, g


def type_of_averages(p):
    """In half precision averages stand still, since a step's share is below their last digit, and squares underflow."""
    return torch.promote_types(p.dtype, torch.float32)


def by_group_and_device(params):
    """(group, parameters) with all of the parameters on one device."""
    shares = {}
    for group, p in params:
        shares.setdefault((id(group), p.device), (group, []))[1].append(p)
    return list(shares.values())


def scalar_for(params, loss):
    """The loss without its graph, on the device where g.v is summed up, in the widest type of all."""
    types = (p.dtype for p in params if p.is_floating_point())
    dtype = functools.reduce(torch.promote_types, types, torch.float32)
    device = next((p.device for p in params if p.grad is not None), params[0].device if params else None)
    if not isinstance(loss, torch.Tensor):
        return torch.full((), float(loss), dtype=dtype, device=device)
    if loss.numel() != 1:
        raise ValueError(f"the loss must be one number, found a tensor of shape {tuple(loss.shape)}: reduce it first")
    return loss.detach().reshape(()).to(device, torch.promote_types(dtype, loss.dtype))


def check_not_captured(loss):
    """A replay would go on with the bias corrections and the Lmin of the step that was captured."""
    if captured(loss.device):
        raise RuntimeError(
            "L4 counts steps in Python, so a CUDA graph of its step would repeat one step's numbers: capture forward and "
            "backward, and call step(loss=loss) after each replay"
        )


def captured(device):
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def check_tensor(p):
    if p.grad.is_sparse:
        raise ValueError("L4 takes dense gradients: build the embedding with sparse=False")
    if p.is_complex():
        raise ValueError("L4 takes real parameters: pass torch.view_as_real of complex ones")


def dot(x, y):
    return torch.dot(x.reshape(-1), y.reshape(-1))


def check_inputs(loss, squares):
    """The host's first read."""
    square = torch.stack(squares).max() if squares else torch.zeros_like(loss)
    loss, square = torch.stack([loss, square]).tolist()
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss}, not a finite number: skip the batch, or go back to saved parameters")
    if loss < 0:
        raise ValueError(
            f"the loss is {loss}, but L4 takes 0 for the least attainable loss: add the constant that keeps it above 0"
        )
    if not math.isfinite(square):
        raise ValueError("the gradient or its square is not finite: skip the batch, or go back to saved parameters")


def check_moves(inner_product, rate):
    """The host's second read. Whether the parameters are to be moved."""
    inner_product, rate = torch.stack([inner_product, rate]).tolist()
    if not math.isfinite(inner_product):
        raise ValueError(
            f"the inner product g.v is {inner_product}: training has diverged, or delta is too small for a parameter "
            "whose gradients were all 0"
        )
    if not math.isfinite(rate):
        raise ValueError(f"the stepsize eta is {rate}: the gradient is too small for the loss, raise epsilon")
    return rate != 0


def checked_l_min(value):
    """Infinity stands for no loss so far."""
    if not holds(lambda x: float(x) >= 0, value):
        raise ValueError(f"Lmin must be a number of at least 0, found {value}")
    return float(value)
