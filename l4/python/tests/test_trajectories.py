"""The eight trainings by the authors' code that the Rust crate is tested against too."""

import json
import pathlib

import pytest
import torch

from l4_torch import L4Adam, L4Mom

FILE = pathlib.Path(__file__).parents[2] / "tests" / "all" / "trajectories" / "trajectories.json"
if not FILE.exists():
    pytest.skip(f"{FILE} is missing: this folder was taken out of the crate l4, which has it", allow_module_level=True)
NUMBERS = json.loads(FILE.read_text())
DATA = NUMBERS["data"]


def first_params(problem, dtype):
    values = [[3.0, -2.0, 1.0]] if problem == "quadratic" else [DATA["weight"], DATA["bias"]]
    return [torch.tensor(value, dtype=dtype, requires_grad=True) for value in values]


def loss_of(problem, params, k):
    dtype = params[0].dtype
    if problem == "quadratic":
        return 0.5 * (torch.tensor([1.0, 10.0, 100.0], dtype=dtype) * params[0] ** 2).sum()
    outputs = torch.tensor(DATA["inputs"][k % 5], dtype=dtype) @ params[0] + params[1]
    if problem == "regression":
        return (outputs - torch.tensor(DATA["targets"][k % 5], dtype=dtype)).square().sum(dim=1).mean()
    return torch.nn.functional.cross_entropy(outputs, torch.tensor(DATA["labels"][k % 5]))


def optimizer_of(case, params):
    method = {"L4Adam": L4Adam, "L4Mom": L4Mom}[case["method"]]
    names = ["alpha", "gamma", "gamma0", "tau", "epsilon", "tau_m"] + ["tau_s", "delta"] * (method is L4Adam)
    return method(params, **{name: case[name] for name in names})


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-11)])
@pytest.mark.parametrize("case", NUMBERS["cases"], ids=lambda c: f"{c['method']}-{c['problem']}-{c['alpha']}")
def test_agrees_with_the_authors_code(case, dtype, tolerance):
    params = first_params(case["problem"], dtype)
    optimizer = optimizer_of(case, params)
    for k, (expected_loss, expected_rate) in enumerate(zip(case["loss"], case["learning_rate"])):
        optimizer.zero_grad()
        loss = loss_of(case["problem"], params, k)
        loss.backward()
        optimizer.step(loss=loss)
        assert loss.item() == pytest.approx(expected_loss, rel=tolerance), f"loss of step {k}"
        assert optimizer.learning_rate.item() == pytest.approx(expected_rate, rel=tolerance), f"rate of step {k}"
    for param, expected in zip(params, case["last"]):
        scale = max(abs(x) for x in expected)
        assert param.flatten().tolist() == pytest.approx(expected, rel=tolerance, abs=tolerance * scale)
