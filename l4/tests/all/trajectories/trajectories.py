"""Eight short trainings by the authors' own code: what the crate and its adapters are compared with.

Needs TensorFlow 2 and L4.py of https://github.com/martius-lab/l4-optimizer. Writes trajectories.json beside itself:

    python3 l4/tests/all/trajectories/trajectories.py path/to/L4.py

Two things of that file are changed before it is run, EDITS below. It computes in float64 instead of float32, whose
exp(log(0.999)) leaves 1 - 0.999^t with four digits; TensorFlow's ExponentialMovingAverage has a float32 decay and gives
way to one that has not. And Lmin grows by 1/tau after it was read: TensorFlow is free to do either first, so that two
runs of the file as it stands differ.

Every number of the data is a multiple of 1/64, which float32 holds exactly.
"""

import json
import pathlib
import sys
import types

import tensorflow.compat.v1 as tf

STEPS = 50

EDITS = [
    ("tf.float32", "tf.float64"),
    ("tf.log(decay)", "tf.log(tf.constant(decay, tf.float64))"),
    ("tf.train.ExponentialMovingAverage(", "Average("),
    ("name='min_loss', shape=()", "name='min_loss', shape=(), dtype=tf.float64"),
    (
        "            ml_update2 = self.min_loss.assign(self.minloss_increase_rate * self.min_loss)\n",
        "            with tf.control_dependencies([l_rate]):\n"
        "                ml_update2 = self.min_loss.assign(self.minloss_increase_rate * self.min_loss)\n"
        "            self.l_rate = l_rate\n",
    ),
]

PAPER = {
    "alpha": 0.15, "gamma": 0.9, "gamma0": 0.75, "tau": 1000.0, "epsilon": 1e-12,
    "tau_m": 10.0, "tau_s": 1000.0, "delta": 1e-4,
}  # fmt: skip
# With tau = 20 Lmin is forgotten within the run, and no constant is at its default.
OTHER = {
    "alpha": 0.25, "gamma": 0.8, "gamma0": 0.5, "tau": 20.0, "epsilon": 1e-3,
    "tau_m": 5.0, "tau_s": 50.0, "delta": 1e-3,
}  # fmt: skip


class Average:
    """tf.train.ExponentialMovingAverage of tensors, from 0, in their own precision."""

    def __init__(self, decay):
        self.decay = decay
        self.means = {}

    def apply(self, values):
        with tf.control_dependencies(None):
            for value in values:
                self.means[value.ref()] = tf.Variable(tf.zeros(value.shape, value.dtype), use_resource=True)
        means = [self.means[value.ref()] for value in values]
        return tf.group(*[m.assign(self.decay * m + (1 - self.decay) * x) for m, x in zip(means, values)])

    def average(self, value):
        return self.means[value.ref()]


def data():
    """Batches (inputs, targets, labels) and the first weight and bias, from one stream of numbers in [-1, 1)."""
    state = 1

    def numbers(*shape):
        nonlocal state
        if shape:
            return [numbers(*shape[1:]) for _ in range(shape[0])]
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        return ((state >> 57) - 64) / 64

    inputs, truth = numbers(5, 8, 4), numbers(4, 3)
    products = [
        [[sum(x * w for x, w in zip(sample, column)) for column in zip(*truth)] for sample in batch] for batch in inputs
    ]
    return {
        "inputs": inputs,
        "targets": [[[round(64 * x) / 64 for x in sample] for sample in batch] for batch in products],
        "labels": [[sample.index(max(sample)) for sample in batch] for batch in products],
        "weight": numbers(4, 3),
        "bias": numbers(3),
    }


def quadratic(params, batch):
    """1/2 sum a x^2."""
    del batch
    return 0.5 * tf.reduce_sum(tf.constant([1.0, 10.0, 100.0], tf.float64) * tf.square(params[0]))


def regression(params, batch):
    """The mean over samples of the squared distance to the target."""
    weight, bias = params
    inputs, targets, _ = batch
    return tf.reduce_mean(tf.reduce_sum(tf.square(inputs @ weight + bias - targets), axis=1))


def classification(params, batch):
    """The mean over samples of -log softmax at the label."""
    weight, bias = params
    inputs, _, labels = batch
    logits = inputs @ weight + bias
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))


PROBLEMS = {"quadratic": quadratic, "regression": regression, "classification": classification}
CASES = [
    (method, problem, constants)
    for problem, constants in [
        ("quadratic", PAPER), ("regression", PAPER), ("classification", PAPER), ("regression", OTHER)
    ]
    for method in ["L4Adam", "L4Mom"]
]  # fmt: skip


def authors_module(path):
    source = pathlib.Path(path).read_text()
    for old, new in EDITS:
        if old not in source:
            sys.exit(f"{path} has no `{old}`: it is another version of L4.py")
        source = source.replace(old, new)
    sys.modules["tensorflow"] = tf
    module = types.ModuleType("L4")
    module.Average = Average
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def optimizer_of(l4, method, constants):
    momentum = {"time_momentum": constants["tau_m"]}
    adam = {
        "time_scale_grad": constants["tau_m"],
        "time_scale_var": constants["tau_s"],
        "epsilon": constants["delta"],
    }
    direction, direction_params = {"L4Adam": ("adam", adam), "L4Mom": ("momentum", momentum)}[method]
    return l4.L4General(
        fraction=constants["alpha"],
        minloss_factor=constants["gamma"],
        init_factor=constants["gamma0"],
        minloss_forget_time=constants["tau"],
        epsilon=constants["epsilon"],
        gradient_estimator="momentum",
        gradient_params=momentum,
        direction_estimator=direction,
        direction_params=direction_params,
    )


def train(l4, method, problem, constants, data):
    first = [[3.0, -2.0, 1.0]] if problem == "quadratic" else [data["weight"], data["bias"]]
    with tf.Graph().as_default(), tf.Session() as session:
        params = [tf.Variable(value, dtype=tf.float64, use_resource=True) for value in first]
        batch = [
            tf.placeholder(tf.float64, (8, 4)),
            tf.placeholder(tf.float64, (8, 3)),
            tf.placeholder(tf.int32, (8,)),
        ]
        loss = PROBLEMS[problem](params, batch)
        optimizer = optimizer_of(l4, method, constants)
        step = optimizer.minimize(loss, var_list=params)
        session.run(tf.global_variables_initializer())
        losses, rates = [], []
        for k in range(STEPS):
            keys = ["inputs", "targets", "labels"]
            feed = {tensor: data[key][k % len(data[key])] for tensor, key in zip(batch, keys)}
            value, rate, _ = session.run([loss, optimizer.l_rate, step], feed)
            losses.append(float(value))
            rates.append(float(rate))
        last = [session.run(param).flatten().tolist() for param in params]
    return {"loss": losses, "learning_rate": rates, "last": last}


def main():
    tf.enable_resource_variables()
    l4 = authors_module(sys.argv[1])
    numbers = data()
    cases = [
        {"method": method, "problem": problem, **constants, **train(l4, method, problem, constants, numbers)}
        for method, problem, constants in CASES
    ]
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"data": numbers, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
