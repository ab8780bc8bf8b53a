"""Steps by hand, what is refused, saved state, groups."""

import copy
import io
import math

import pytest
import torch

from l4_torch import L4Adam, L4Mom

METHODS = [L4Adam, L4Mom]


def param(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def step(optimizer, loss, grads):
    """One step with gradients given by hand."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for p, grad in zip(params, grads):
        p.grad = None if grad is None else torch.tensor(grad, dtype=p.dtype)
    optimizer.step(loss=loss)


def test_l4mom_by_hand():
    theta = param(0.0, 0.0, 0.0)
    optimizer = L4Mom([theta])
    step(optimizer, 4.0, [[1.0, -2.0, 2.0]])
    # Corrected for bias g = v is the gradient; g.v = 1 + 4 + 4, Lmin = 0.75 * 4.
    eta = 0.15 * (4.0 - 0.9 * 3.0) / 9.0
    assert optimizer.learning_rate.item() == pytest.approx(eta, rel=1e-6)
    assert theta.tolist() == pytest.approx([-eta, 2 * eta, -2 * eta], rel=1e-6)
    assert float(optimizer.l_min) == pytest.approx(3.0 * 1.001, rel=1e-6)
    # g = (0.9 * 0.1 * 1 + 0.1 * 3) / (1 - 0.81); Lmin = min(3.003, 2).
    before = theta[0].item()
    step(optimizer, 2.0, [[3.0, 0.0, 0.0]])
    g = [0.39 / 0.19, -0.18 / 0.19, 0.18 / 0.19]
    eta = 0.15 * (2.0 - 0.9 * 2.0) / sum(x * x for x in g)
    assert theta[0].item() == pytest.approx(before - eta * g[0], rel=1e-6)


def test_l4adam_by_hand():
    theta = param(0.0, 0.0)
    optimizer = L4Adam([theta], alpha=0.25)
    step(optimizer, 1.0, [[3.0, -4.0]])
    v = [3 / (3 + 1e-4), -4 / (4 + 1e-4)]
    eta = 0.25 * (1 - 0.9 * 0.75) / (3 * v[0] - 4 * v[1])
    assert theta.tolist() == pytest.approx([-eta * v[0], -eta * v[1]], rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_closure_is_called_with_gradients_on(method):
    theta = param(3.0)
    optimizer = method([theta])

    def closure():
        optimizer.zero_grad()
        loss = (theta**2).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure).item()
    assert first == 9.0 and optimizer.step(closure).item() < first


def test_a_step_without_its_loss_says_what_is_missing():
    theta = param(3.0)
    optimizer = L4Adam([theta])
    with pytest.raises(TypeError, match="needs the loss"):
        optimizer.step()
    with pytest.raises(TypeError, match="keyword"):
        optimizer.step(torch.tensor(1.0))
    with pytest.raises(TypeError, match="not both"):
        optimizer.step(lambda: 1.0, loss=1.0)
    theta.grad = torch.ones_like(theta)
    with pytest.raises(ValueError, match="one number"):
        optimizer.step(loss=torch.ones(2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "loss, grad, match",
    [
        (math.nan, 1.0, "loss is nan"),
        (math.inf, 1.0, "loss is inf"),
        (-1.0, 1.0, "least attainable"),
        (1.0, math.nan, "gradient"),
        (1.0, math.inf, "gradient"),
        (1.0, 1e200, "gradient"),
    ],
)
def test_a_refused_step_changes_nothing(method, loss, grad, match):
    theta, other = param(1.0, 2.0), param(3.0)
    optimizer = method([theta, other])
    step(optimizer, 1.0, [[0.5, 0.5], [0.5]])
    before, values = copy.deepcopy(optimizer.state_dict()), [theta.tolist(), other.tolist()]
    with pytest.raises(ValueError, match=match):
        step(optimizer, loss, [[0.5, 0.5], [grad]])
    assert [theta.tolist(), other.tolist()] == values
    assert repr(optimizer.state_dict()) == repr(before)


@pytest.mark.parametrize("method", METHODS)
def test_zero_loss_and_zero_gradient_are_fixed_points(method):
    for loss, grad in [(0.0, [1.0, 1.0]), (1.0, [0.0, 0.0])]:
        theta = param(-0.0, 3.0)
        optimizer = method([theta], weight_decay=0.1)
        step(optimizer, loss, [grad])
        assert optimizer.learning_rate.item() == 0.0
        assert repr(theta.tolist()) == "[-0.0, 3.0]"


@pytest.mark.parametrize("method", METHODS)
def test_without_check_a_negative_loss_moves_nothing(method):
    theta = param(1.0)
    optimizer = method([theta], check=False)
    step(optimizer, -1.0, [[1.0]])
    assert theta.tolist() == [1.0]


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_state_goes_on_bit_for_bit(method):
    def train(theta, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (torch.tensor([1.0, 30.0]) * theta**2).sum()
            loss.backward()
            optimizer.step(loss=loss)

    theta = torch.tensor([1.0, -2.0], requires_grad=True)
    optimizer = method([theta], alpha=0.2, tau=50.0)
    train(theta, optimizer, 7)
    file = io.BytesIO()
    torch.save([theta, optimizer.state_dict()], file)
    file.seek(0)
    saved_theta, state = torch.load(file, weights_only=True)
    resumed_theta = saved_theta.detach().requires_grad_()
    resumed = method([resumed_theta])
    resumed.load_state_dict(state)
    train(theta, optimizer, 20)
    train(resumed_theta, resumed, 20)
    assert resumed_theta.tolist() == theta.tolist()
    assert resumed.param_groups[0]["lr"] == 0.2 and resumed.state["l4"]["tau"] == 50.0


def test_a_state_dict_out_of_range_is_refused():
    theta = param(1.0)
    optimizer = L4Adam([theta])
    step(optimizer, 1.0, [[1.0]])
    for change in [{"l_min": torch.tensor(-1.0)}, {"l_min": torch.tensor(math.nan)}, {"tau": 0.0}, {"gamma": 2.0}]:
        state = copy.deepcopy(optimizer.state_dict())
        state["state"]["l4"].update(change)
        with pytest.raises(ValueError):
            optimizer.load_state_dict(state)
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr"):
        optimizer.load_state_dict(state)
    with pytest.raises(ValueError, match="not saved by an L4"):
        optimizer.load_state_dict(torch.optim.Adam([theta]).state_dict())
    assert 0 < float(optimizer.l_min) < 1


def test_settings_out_of_range_are_refused():
    for setting in [
        {"alpha": 0.0}, {"alpha": math.nan}, {"gamma": 1.1}, {"gamma0": -0.1}, {"tau": 0.0}, {"epsilon": -1.0},
        {"tau_m": 0.5}, {"tau_s": math.inf}, {"delta": -1.0}, {"weight_decay": -1.0},
    ]:  # fmt: skip
        with pytest.raises(ValueError):
            L4Adam([param(1.0)], **setting)
    with pytest.raises(ValueError, match="Lmin"):
        L4Adam([param(1.0)]).l_min = -1.0


def test_groups_share_eta_and_have_their_own_alpha_and_decay():
    a, b = param(4.0), param(4.0)
    optimizer = L4Mom([{"params": [a], "weight_decay": 0.25}, {"params": [b], "lr": 0.3}])
    step(optimizer, 1.0, [[1.0], [2.0]])
    unit = (1 - 0.9 * 0.75) / 5
    assert a.item() == pytest.approx((4.0 - 0.15 * unit) * (1 - 0.15 * unit * 0.25), rel=1e-6)
    assert b.item() == pytest.approx(4.0 - 0.3 * unit * 2.0, rel=1e-6)


def test_a_scheduler_changes_alpha():
    optimizer = L4Mom([param(0.0)], alpha=0.2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    step(optimizer, 1.0, [[1.0]])
    schedule.step()
    step(optimizer, 1.0, [[1.0]])
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("method", METHODS)
def test_a_parameter_without_gradient_rests_and_its_averages_begin_later(method):
    a, b = param(1.0), param(1.0)
    optimizer = method([a, b])
    for _ in range(5):
        step(optimizer, 1.0, [[0.0], None])
    assert b.item() == 1.0
    fresh = param(1.0)
    other = method([fresh])
    optimizer.l_min = other.l_min = 0.5
    step(optimizer, 1.0, [None, [2.0]])
    step(other, 1.0, [[2.0]])
    assert b.item() == fresh.item() < 1.0


def test_sparse_gradients_are_refused():
    table = torch.nn.Embedding(10, 2, sparse=True)
    optimizer = L4Adam(table.parameters())
    loss = table(torch.tensor([3])).square().sum()
    loss.backward()
    with pytest.raises(ValueError, match="sparse=False"):
        optimizer.step(loss=loss)


@pytest.mark.parametrize("method", METHODS)
def test_parameters_of_two_types_make_one_step(method):
    a, b = torch.zeros(2, requires_grad=True), param(0.0)
    optimizer = method([a, b])
    step(optimizer, torch.tensor(1.0), [[1.0, -1.0], [1.0]])
    assert a.tolist()[0] == pytest.approx(b.item(), rel=1e-6) and b.item() < 0.0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", METHODS)
def test_without_check_the_host_does_not_wait_for_the_gpu(method):
    theta = torch.ones(1000, device="cuda", requires_grad=True)
    optimizer = method([theta], weight_decay=0.01, check=False)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            optimizer.zero_grad()
            loss = theta.square().sum()
            loss.backward()
            optimizer.step(loss=loss)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert theta[0].item() < 1.0
