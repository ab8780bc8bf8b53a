"""Steps by hand, what is refused, saved state, groups."""

import copy
import io
import math
import pickle

import pytest
import torch

from l4_torch import L4Adam, L4Mom, optimizers

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

    # Also where the caller has them off.
    with torch.no_grad():
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


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_zero_loss_and_zero_gradient_are_fixed_points(method, check):
    for loss, grad in [(0.0, [-1.0, 1.0]), (1.0, [0.0, 0.0])]:
        theta = param(-0.0, 3.0)
        optimizer = method([theta], weight_decay=0.1, check=check)
        step(optimizer, loss, [grad])
        assert optimizer.learning_rate.item() == 0.0
        assert repr(theta.tolist()) == "[-0.0, 3.0]"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("loss", [-1.0, -math.inf, math.inf, math.nan])
@pytest.mark.parametrize("at", [0, 1])
def test_without_check_a_loss_that_l4_does_not_take_moves_nothing_and_leaves_lmin(method, loss, at):
    theta, others = param(1.0), param(1.0)
    optimizer, other = method([theta], check=False), method([others], check=False)
    for k in range(3):
        if k == at:
            before, l_min = theta.tolist(), float(optimizer.l_min)
            step(optimizer, loss, [[1.0]])
            assert theta.tolist() == before and optimizer.learning_rate.item() == 0.0
            assert float(optimizer.l_min) == l_min
        step(optimizer, 2.0, [[1.0]])
        step(other, 2.0, [[1.0]])
    # The gradients are all the same, and so their averages, one more or not.
    assert theta.item() == pytest.approx(others.item(), rel=1e-12) and theta.item() < 1.0
    method([param(1.0)]).load_state_dict(optimizer.state_dict())


def test_an_average_square_of_0_without_delta_moves_nothing():
    # v = 0/0 in the second element.
    theta = param(1.0, 2.0)
    with pytest.raises(ValueError, match="g.v is nan"):
        step(L4Adam([theta], delta=0.0), 1.0, [[1.0, 0.0]])
    assert theta.tolist() == [1.0, 2.0]
    step(L4Adam([theta], delta=0.0, weight_decay=0.1, check=False), 1.0, [[1.0, 0.0]])
    assert theta.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("method", METHODS)
def test_a_stepsize_beyond_the_number_range_moves_nothing(method):
    # g.v is 1e-40 in float32, and the loss over it beyond its range.
    gradient = [[1e-20]] if method is L4Mom else [[1e-22]]
    theta = torch.tensor([1.0], requires_grad=True)
    optimizer = method([theta], epsilon=0.0)
    with pytest.raises(ValueError, match="eta is inf"):
        step(optimizer, 1.0, gradient)
    assert theta.tolist() == [1.0] and optimizer.learning_rate.item() == 0.0
    assert float(optimizer.l_min) == pytest.approx(0.75 * 1.001, rel=1e-6) and optimizer.state[theta]["step"] == 1
    optimizer = method([theta], epsilon=0.0, check=False)
    step(optimizer, 1.0, gradient)
    assert theta.tolist() == [1.0] and optimizer.learning_rate.item() == 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("check", [True, False])
def test_a_stepsize_that_only_the_losss_type_holds_moves_nothing(method, check):
    # In float64 eta is finite, but parameters and their direction are float32.
    theta = torch.tensor([1.0, 1.0], requires_grad=True)
    optimizer = method([theta], epsilon=0.0, check=check)
    theta.grad = torch.tensor([1e-20 if method is L4Mom else 1e-22, 0.0])
    loss = torch.tensor(1.0, dtype=torch.float64)
    if check:
        with pytest.raises(ValueError, match="eta is inf"):
            optimizer.step(loss=loss)
    else:
        optimizer.step(loss=loss)
    assert theta.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("method", METHODS)
def test_averages_follow_a_model_to_another_type(method):
    model = torch.nn.Linear(2, 1)
    optimizer = method(model.parameters())
    for dtype in [torch.float32, torch.float64]:
        model.to(dtype)
        optimizer.zero_grad()
        loss = model(torch.ones(3, 2, dtype=dtype)).square().mean()
        loss.backward()
        optimizer.step(loss=loss)
    assert optimizer.state[model.weight]["mean_gradient"].dtype is torch.float64
    assert optimizer.state[model.weight]["step"] == 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("before", [0, 1])
def test_a_parameter_of_another_shape_than_before_is_refused(method, before):
    first, theta = param(1.0), param(1.0, 2.0)
    optimizer = method([first, theta])
    for _ in range(before):
        step(optimizer, 1.0, [[1.0], [1.0, 1.0]])
    theta.grad = torch.ones_like(theta)
    theta.data = torch.ones(3, dtype=torch.float64)
    state = repr(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"shape \(3,\), but its grad \(2,\)"):
        optimizer.step(loss=1.0)
    if before:
        with pytest.raises(ValueError, match=r"shape \(3,\), but its mean_gradient \(2,\)"):
            step(optimizer, 1.0, [[1.0], [1.0, 1.0, 1.0]])
    assert repr(optimizer.state_dict()) == state and theta.tolist() == [1.0, 1.0, 1.0]


def test_lmin_stays_finite_at_the_end_of_the_number_range():
    largest = torch.finfo(torch.float64).max
    optimizer = L4Mom([param(1.0)])
    optimizer.l_min = largest
    step(optimizer, largest, [[1e9]])
    assert float(optimizer.l_min) == largest


@pytest.mark.parametrize("method", METHODS)
def test_without_check_a_nan_gradient_spoils_averages_but_not_parameters(method):
    theta = param(1.0, 2.0)
    optimizer = method([theta], weight_decay=0.1, check=False)
    step(optimizer, 1.0, [[1.0, math.nan]])
    assert theta.tolist() == [1.0, 2.0]


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


@pytest.mark.parametrize("method", METHODS)
def test_copies_and_pickles_go_on_alike(method):
    theta = param(1.0)
    optimizer = method([theta], check=False)
    step(optimizer, 1.0, [[1.0]])
    for copied in [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]:
        assert copied.check is False and copied.learning_rate.item() == optimizer.learning_rate.item() > 0.0
        step(copied, 1.0, [[1.0]])
        assert copied.param_groups[0]["params"][0].item() < theta.item()


@pytest.mark.parametrize("method", METHODS)
def test_a_state_loaded_twice_is_the_same_twice(method):
    theta = param(1.0)
    optimizer = method([theta])
    step(optimizer, 1.0, [[1.0]])
    state = copy.deepcopy(optimizer.state_dict())
    before = repr(state)
    optimizer.load_state_dict(state)
    step(optimizer, 0.5, [[2.0]])
    assert repr(state) == before


def test_a_state_of_the_other_method_is_refused():
    for method, other in [(L4Adam, L4Mom), (L4Mom, L4Adam)]:
        optimizer, saved = method([param(1.0)]), other([param(1.0)])
        step(optimizer, 1.0, [[1.0]])
        step(saved, 2.0, [[1.0]])
        before = repr(optimizer.state_dict())
        with pytest.raises(ValueError, match=f"not saved by an {method.__name__}"):
            optimizer.load_state_dict(saved.state_dict())
        assert repr(optimizer.state_dict()) == before


@pytest.mark.parametrize(
    "change",
    [
        {"step": 0},
        {"step": 1.5},
        {"step": True},
        {"mean_gradient": None},
        {"mean_gradient": [1.0]},
        {"mean_gradient": torch.zeros(2)},
        {"mean_gradient": torch.tensor([math.nan])},
        {"mean_square": torch.tensor([-1.0])},
        {"mean_square": torch.tensor([math.inf])},
        {"stranger": torch.tensor([1.0])},
    ],
)
def test_a_damaged_average_is_refused(change):
    optimizer = L4Adam([param(1.0)])
    step(optimizer, 1.0, [[1.0]])
    state, before = copy.deepcopy(optimizer.state_dict()), repr(optimizer.state_dict())
    state["state"][0].update(change)
    with pytest.raises(ValueError):
        optimizer.load_state_dict(state)
    assert repr(optimizer.state_dict()) == before


def test_a_state_dict_out_of_range_is_refused():
    theta = param(1.0)
    optimizer = L4Adam([theta])
    step(optimizer, 1.0, [[1.0]])
    for change in [
        {"l_min": torch.tensor(-1.0)},
        {"l_min": torch.tensor(math.nan)},
        {"l_min": None},
        {"tau": 0.0},
        {"gamma": 2.0},
        {"gamma": None},
    ]:
        state = copy.deepcopy(optimizer.state_dict())
        state["state"]["l4"].update(change)
        with pytest.raises(ValueError):
            optimizer.load_state_dict(state)
    for damage in [
        lambda state: state.pop("param_groups"),
        lambda state: state["param_groups"][0].pop("params"),
        lambda state: state["state"].update({7: {"step": 1}}),
        lambda state: state["state"].update({0: None}),
    ]:
        state = copy.deepcopy(optimizer.state_dict())
        damage(state)
        with pytest.raises(ValueError, match="not saved by an L4Adam"):
            optimizer.load_state_dict(state)
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr"):
        optimizer.load_state_dict(state)
    with pytest.raises(ValueError, match="not saved by an L4Adam"):
        optimizer.load_state_dict(torch.optim.Adam([theta]).state_dict())
    assert 0 < float(optimizer.l_min) < 1


def test_settings_out_of_range_are_refused():
    for setting in [
        {"alpha": 0.0}, {"alpha": math.nan}, {"gamma": 1.1}, {"gamma0": -0.1}, {"tau": 0.0}, {"epsilon": -1.0},
        {"tau_m": 0.5}, {"tau_s": math.inf}, {"tau_m": 1e17}, {"tau_s": 2.0**54}, {"epsilon": math.inf}, {"delta": math.inf},
        {"delta": -1.0}, {"weight_decay": -1.0},
    ]:  # fmt: skip
        with pytest.raises(ValueError):
            L4Adam([param(1.0)], **setting)
    with pytest.raises(ValueError, match="Lmin"):
        L4Adam([param(1.0)]).l_min = -1.0


def test_the_longest_timescales_take_a_step():
    theta = param(1.0)
    longest = math.nextafter(2.0**54, 0.0)
    step(L4Adam([theta], tau_m=longest, tau_s=longest), 1.0, [[1.0]])
    assert theta.item() < 1.0


@pytest.mark.parametrize("change", [{"gamma": 5.0}, {"gamma0": -3.0}, {"tau": 0.0}, {"epsilon": -1.0}, {"l_min": -1.0}])
def test_constants_changed_on_the_way_are_checked_at_the_next_step(change):
    theta = param(1.0)
    optimizer = L4Adam([theta])
    step(optimizer, 1.0, [[1.0]])
    optimizer.state["l4"].update(change)
    before, values = repr(optimizer.state_dict()), theta.tolist()
    with pytest.raises(ValueError, match=f"(?i){next(iter(change)).replace('_', '')} must be"):
        step(optimizer, 1.0, [[1.0]])
    assert repr(optimizer.state_dict()) == before and theta.tolist() == values


def test_groups_share_eta_and_have_their_own_alpha_and_decay():
    a, b = param(4.0), param(4.0)
    optimizer = L4Mom([{"params": [a], "weight_decay": 0.25}, {"params": [b], "lr": 0.3}])
    step(optimizer, 1.0, [[1.0], [2.0]])
    unit = (1 - 0.9 * 0.75) / 5
    assert a.item() == pytest.approx((4.0 - 0.15 * unit) * (1 - 0.15 * unit * 0.25), rel=1e-6)
    assert b.item() == pytest.approx(4.0 - 0.3 * unit * 2.0, rel=1e-6)


@pytest.mark.parametrize("first", [0, 1])
def test_each_group_has_its_own_constants(first):
    """The same as two optimisers' averages, of which one group alone has a gradient each."""
    own = [{"tau_m": 5.0, "tau_s": 50.0, "delta": 0.1, "lr": 0.3}, {"tau_m": 20.0, "tau_s": 200.0, "delta": 0.01}]
    theta = [param(4.0), param(4.0)]
    both = L4Adam([{"params": [p], **constants} for p, constants in zip(theta, own)])
    alone = param(4.0)
    single = L4Adam([{"params": [alone], **own[first]}])
    for grad in [1.0, -0.5, 2.0]:
        grads = [None, None]
        grads[first] = [grad]
        step(both, 1.0, grads)
        step(single, 1.0, [[grad]])
    assert theta[first].item() == alone.item()
    assert theta[1 - first].item() == 4.0
    assert both.learning_rate.item() == pytest.approx(0.3 / own[first].get("lr", 0.15) * single.learning_rate.item())


def test_constants_that_no_group_can_have_are_refused():
    for method, constants in [(L4Adam, {"alpha": 0.25}), (L4Adam, {"tau": 10.0}), (L4Mom, {"tau_s": 50.0})]:
        with pytest.raises(ValueError, match=f"a group of {method.__name__} has no {next(iter(constants))}"):
            method([{"params": [param(1.0)], **constants}])


def test_a_schedule_may_end_at_0_and_not_below():
    theta = param(1.0)
    optimizer = L4Adam([theta])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    for _ in range(2):
        step(optimizer, 1.0, [[1.0]])
        schedule.step()
    before = theta.item()
    step(optimizer, 1.0, [[1.0]])
    assert optimizer.param_groups[0]["lr"] == 0 and theta.item() == before
    again = L4Adam([theta])
    again.load_state_dict(optimizer.state_dict())
    optimizer.param_groups[0]["lr"] = -1.0
    with pytest.raises(ValueError, match="lr"):
        step(optimizer, 1.0, [[1.0]])


def test_complex_parameters_are_refused():
    theta = torch.tensor([1.0 + 1.0j], requires_grad=True)
    optimizer = L4Adam([theta])
    theta.grad = torch.ones_like(theta)
    with pytest.raises(ValueError, match="view_as_real"):
        optimizer.step(loss=1.0)


def test_a_scheduler_changes_alpha():
    theta = param(0.0)
    optimizer = L4Mom([theta], alpha=0.2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    step(optimizer, 1.0, [[1.0]])
    assert optimizer.learning_rate.item() == pytest.approx(0.2 * (1.0 - 0.9 * 0.75), rel=1e-9)
    schedule.step()
    before = theta.item()
    step(optimizer, 1.0, [[1.0]])
    eta = 0.1 * (1.0 - 0.9 * 0.75 * 1.001)
    assert optimizer.learning_rate.item() == pytest.approx(eta, rel=1e-9)
    assert theta.item() == pytest.approx(before - eta, rel=1e-9)


@pytest.mark.skipif(not hasattr(torch.amp, "GradScaler"), reason="GradScaler for the CPU is of PyTorch 2.3")
def test_after_a_refused_step_a_grad_scaler_is_updated():
    """As the README has it: without, the next gradients would be taken for unscaled."""
    p, twin = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    scaler = torch.amp.GradScaler("cpu")
    optimizer, plain = L4Mom([p]), L4Mom([twin])
    for subtract in [0.0, 100.0, 0.0]:
        for q, o in [(p, optimizer), (twin, plain)]:
            o.zero_grad()
            loss = q.square().sum() - subtract
            (scaler.scale(loss) if o is optimizer else loss).backward()
            try:
                scaler.step(o, loss=loss) if o is optimizer else o.step(loss=loss)
            except ValueError:
                assert subtract
        scaler.update()
    assert torch.equal(p, twin)


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


@pytest.mark.parametrize("method", METHODS)
def test_a_step_without_any_gradient_counts_for_lmin_and_moves_nothing(method):
    theta = param(1.0)
    optimizer = method([theta], weight_decay=0.1)
    step(optimizer, 4.0, [[1.0]])
    moved = theta.tolist()
    for loss in [math.nan, -1.0]:
        with pytest.raises(ValueError, match="loss"):
            step(optimizer, loss, [None])
    step(optimizer, 2.0, [None])
    assert theta.tolist() == moved and optimizer.learning_rate.item() == 0.0
    assert float(optimizer.l_min) == pytest.approx(2.0 * 1.001, rel=1e-12)


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


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_given_as_a_number_has_the_parameters_precision(method):
    by_number, by_tensor = param(0.0), param(0.0)
    numbers, tensors = method([by_number]), method([by_tensor])
    numbers.l_min = 0.7
    tensors.l_min = torch.tensor(0.7, dtype=torch.float64)
    step(numbers, 1.1, [[1.0]])
    step(tensors, torch.tensor(1.1, dtype=torch.float64), [[1.0]])
    assert by_number.item() == by_tensor.item() and numbers.learning_rate.dtype == torch.float64
    # Of the least type that holds all of them where they differ.
    single = method([torch.ones(1, requires_grad=True), param(0.0)])
    step(single, torch.tensor(1.0), [[1.0], [1.0]])
    assert single.learning_rate.dtype == torch.float64


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_parameters_have_averages_in_float32(method, dtype):
    # 1e-5 squared is 0 in float16; in bfloat16 each step's share of an average is rounded away once it has grown.
    gradient = torch.tensor([1e-5, -0.5], dtype=dtype)
    half, single = (torch.tensor([1.0, 1.0], dtype=t, requires_grad=True) for t in (dtype, torch.float32))
    optimizer, other = method([half], epsilon=0.0), method([single], epsilon=0.0)
    for _ in range(100):
        half.grad, single.grad = gradient.clone(), gradient.float()
        optimizer.step(loss=1.0)
        other.step(loss=1.0)
    assert half.dtype == dtype
    names = {"mean_gradient"} | ({"mean_square"} if method is L4Adam else set())
    for name in names:
        mean = optimizer.state[half][name]
        assert mean.dtype == torch.float32 and mean.tolist() == other.state[single][name].tolist()
    assert optimizer.learning_rate.item() == other.learning_rate.item()
    # What is saved goes on in float32 too.
    resumed = method([half])
    resumed.load_state_dict(optimizer.state_dict())
    for name in names:
        assert resumed.state[half][name].dtype == torch.float32
        assert resumed.state[half][name].tolist() == optimizer.state[half][name].tolist()


@pytest.mark.parametrize("method", METHODS)
def test_a_step_in_a_cuda_graph_is_refused(method, monkeypatch):
    theta = param(1.0)
    optimizer = method([theta], check=False)
    step(optimizer, 1.0, [[1.0]])
    before, values = repr(optimizer.state_dict()), theta.tolist()
    monkeypatch.setattr(optimizers, "captured", lambda device: device == theta.device)
    with pytest.raises(RuntimeError, match="after each replay"):
        step(optimizer, 1.0, [[1.0]])
    assert repr(optimizer.state_dict()) == before and theta.tolist() == values


def test_only_a_gpus_stream_is_captured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert optimizers.captured(torch.device("cuda")) and not optimizers.captured(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert not optimizers.captured(torch.device("cuda"))


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
