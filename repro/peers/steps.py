"""Times training steps of the L4 paper's workloads in other frameworks.

usage: steps.py ENGINE WORKLOAD THREADS        ENGINE: torch, torch-compile, jax

A step is forward, backward and an update by L4Adam, on the networks and batch sizes of the `train_step` program beside it, in the
layout and with the calls that each framework's own guides recommend; torch-compile and jax compile the update too. The batches
lie ready. Prints one JSON line: the median, least and most milliseconds a step, the last loss, and the memory that the process
held at its peak and after the imports. Exits with status 3 where the framework is not installed.
"""

import json
import os
import platform
import resource
import sys
import time

ENGINE, WORKLOAD, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3])
COUNTED = {"regression": 2000, "mlp": 400, "convnet": 12, "resnet32": 6, "dnc": 40}[WORKLOAD]

# What the libraries read when they are imported. XLA takes as many threads as there are processors that it may use.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
os.environ["NPROC"] = os.environ["PJRT_NPROC"] = str(THREADS)
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(THREADS)
os.environ["JAX_PLATFORMS"] = "cpu"
if THREADS == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
try:
    import numpy as np

    if ENGINE == "jax":
        import jax
        import jax.numpy as jnp
    else:
        import torch
        import torch.nn.functional as F
        from torch import nn
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


AFTER_IMPORTS = peak_memory()
VERSION = f"{(jax if ENGINE == 'jax' else torch).__version__}, Python {platform.python_version()}"
RNG = np.random.default_rng(0)
ALPHA, GAMMA, GAMMA_0, TAU, EPSILON = 0.15, 0.9, 0.75, 1000.0, 1e-12


def labels(n):
    return RNG.integers(0, 10, n)


def report(step, batches):
    """Runs `step` on the batches in turn, some first steps uncounted."""
    times = []
    warm_up = max(3, COUNTED // 10)
    for i in range(warm_up + COUNTED):
        start = time.perf_counter()
        loss = float(step(*batches[i % len(batches)]))
        times.append(1e3 * (time.perf_counter() - start))
    times = sorted(times[warm_up:])
    print(json.dumps({
        "engine": ENGINE, "version": VERSION, "workload": WORKLOAD, "threads": THREADS, "step_ms": times[len(times) // 2],
        "min_ms": times[0], "max_ms": times[-1], "steps": COUNTED, "loss": loss if np.isfinite(loss) else None,
        "peak_memory_bytes": peak_memory(), "import_memory_bytes": AFTER_IMPORTS,
    }))


# The repeat-copy task at its longest, and the sizes of the DNC.
BATCH, SLOTS, WIDTH, READS, UNITS, INPUTS, OUTPUTS, STEPS = 16, 16, 16, 4, 64, 6, 5, 9
INTERFACE = {
    "write": WIDTH, "erase": WIDTH, "free": READS, "allocate": 1, "gate": 1, "modes": 3 * READS, "write_key": WIDTH,
    "write_strength": 1, "read_keys": READS * WIDTH, "read_strengths": READS,
}
LINEAR_LAYERS = {
    "lstm": (INPUTS + READS * WIDTH + UNITS, 4 * UNITS), "interface": (UNITS, sum(INTERFACE.values())),
    "output": (UNITS + READS * WIDTH, OUTPUTS),
}


def sequences():
    bits = lambda n: RNG.integers(0, 2, (STEPS, BATCH, n)).astype(np.float32)
    return bits(INPUTS), bits(OUTPUTS), np.ones((STEPS, BATCH), np.float32)


def regression_data():
    x = RNG.standard_normal((6, 1000))
    target = np.linspace(1, 1e-5, 10)[:, None] * RNG.random((10, 6))
    return x, target @ x


def in_torch():
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    images = lambda *shape: torch.rand(*shape).to(memory_format=torch.channels_last)
    class_of = lambda n: torch.from_numpy(labels(n))

    def update(params, gradients, mean, square, loss, lowest, corrections):
        torch._foreach_lerp_(mean, gradients, 0.1)
        torch._foreach_mul_(square, 0.999)
        torch._foreach_addcmul_(square, gradients, gradients, 0.001)
        g = torch._foreach_div(mean, corrections[0])
        v = torch._foreach_div(square, corrections[1])
        torch._foreach_sqrt_(v)
        torch._foreach_add_(v, 1e-4)
        v = torch._foreach_div(g, v)
        lowest = torch.where(torch.isinf(lowest), GAMMA_0 * loss, torch.minimum(lowest, loss))
        inner = torch.stack([(a * b).sum() for a, b in zip(g, v)]).sum()
        torch._foreach_mul_(v, ALPHA * (loss - GAMMA * lowest) / (inner + EPSILON))
        torch._foreach_sub_(params, v)
        return lowest * (1 + 1 / TAU)

    class L4Adam:
        def __init__(self, params):
            self.params = list(params)
            self.mean = [torch.zeros_like(p) for p in self.params]
            self.square = [torch.zeros_like(p) for p in self.params]
            self.steps, self.lowest = 0, torch.tensor(torch.inf, dtype=self.params[0].dtype)
            self.update = torch.compile(update) if ENGINE == "torch-compile" else update

        @torch.no_grad()
        def step(self, loss):
            self.steps += 1
            gradients = [p.grad for p in self.params]
            corrections = [torch.tensor(1 - beta**self.steps, dtype=loss.dtype) for beta in (0.9, 0.999)]
            self.lowest = self.update(
                self.params, gradients, self.mean, self.square, loss.detach(), self.lowest, corrections)

    def train(params, loss_of, batches):
        optimizer = L4Adam(params)
        forward = torch.compile(loss_of) if ENGINE == "torch-compile" else loss_of

        def step(*batch):
            for p in optimizer.params:
                p.grad = None
            loss = forward(*batch)
            loss.backward()
            optimizer.step(loss)
            return loss.detach()

        report(step, batches)

    def regression():
        x, y = map(torch.from_numpy, regression_data())
        w1 = torch.randn(10, 6, dtype=torch.float64, requires_grad=True)
        w2 = torch.randn(6, 6, dtype=torch.float64, requires_grad=True)
        train([w1, w2], lambda x, y: ((w1 @ (w2 @ x) - y) ** 2).sum(), [(x, y)])

    def mlp():
        net = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
        # What can be learnt: on other labels L4 takes ever longer steps, until the loss is no number.
        batches = [(x, x[:, :10].argmax(1)) for x in torch.rand(8, 64, 784) - 0.5]
        train(net.parameters(), lambda x, t: F.cross_entropy(net(x), t), batches)

    def convnet():
        net = nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(3136, 1024), nn.ReLU(), nn.Dropout(0.4), nn.Linear(1024, 10),
        ).to(memory_format=torch.channels_last)
        batches = [(images(100, 1, 28, 28), class_of(100)) for _ in range(2)]
        train(net.parameters(), lambda x, t: F.cross_entropy(net(x), t), batches)

    def resnet32():
        conv = lambda ci, co, size, stride: nn.Conv2d(ci, co, size, stride, size // 2, bias=False)

        class Block(nn.Module):
            def __init__(self, ci, co, stride, projects):
                super().__init__()
                self.norm1, self.conv1 = nn.BatchNorm2d(ci), conv(ci, co, 3, stride)
                self.norm2, self.conv2 = nn.BatchNorm2d(co), conv(co, co, 3, 1)
                self.projection = conv(ci, co, 1, stride) if projects else None

            def forward(self, x):
                h = F.relu(self.norm1(x))
                short_cut = self.projection(h) if self.projection is not None else x
                return self.conv2(F.relu(self.norm2(self.conv1(h)))) + short_cut

        layers, ci = [conv(3, 16, 3, 1)], 16
        for co in (16, 32, 64):
            for i in range(5):
                layers.append(Block(ci, co, 2 if i == 0 and co > 16 else 1, i == 0))
                ci = co
        layers += [nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
        net = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        params = list(net.parameters())

        def loss(x, t):
            return F.cross_entropy(net(x), t) + 1e-4 * sum((p * p).sum() for p in params)

        train(params, loss, [(images(128, 3, 32, 32), class_of(128)) for _ in range(2)])

    def dnc():
        layer = nn.ModuleDict({name: nn.Linear(*sizes) for name, sizes in LINEAR_LAYERS.items()})
        others = 1 - torch.eye(SLOTS)
        clip = lambda x: x.clamp(-20, 20)

        def addresses(memory, keys, strengths):
            norm = lambda x: (x * x).sum(2, keepdim=True).add(1e-6).sqrt()
            similarity = keys @ memory.mT / (norm(keys) @ norm(memory).mT + 1e-6)
            return F.softmax(similarity * F.softplus(strengths)[:, :, None], -1)

        def cell(state, x):
            h, c, memory, read, write, link, precedence, usage, words = state
            i, g, f, o = layer["lstm"](torch.cat([x, words, h], 1)).chunk(4, 1)
            c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
            h, c = clip(torch.sigmoid(o) * torch.tanh(c)), clip(c)
            of = dict(zip(INTERFACE, layer["interface"](h).split(list(INTERFACE.values()), 1))).__getitem__
            usage = usage + (1 - usage) * write.detach()[:, 0]
            usage = usage * torch.prod(1 - torch.sigmoid(of("free"))[:, :, None] * read, 1)
            by_content = addresses(memory, of("write_key").view(BATCH, 1, WIDTH), of("write_strength"))
            unused, order = torch.sort(1 - (1e-6 + (1 - 1e-6) * usage), 1, descending=True)
            before = torch.cat([torch.ones(BATCH, 1), 1 - unused[:, :-1]], 1).cumprod(1)
            allocation = torch.zeros(BATCH, SLOTS).scatter(1, order, unused * before)
            gate, share = (torch.sigmoid(of(name))[:, :, None] for name in ("gate", "allocate"))
            write = gate * (share * allocation[:, None] + (1 - share) * by_content)
            erased = write.mT @ torch.sigmoid(of("erase")).view(BATCH, 1, WIDTH)
            memory = memory * (1 - erased) + write.mT @ of("write").view(BATCH, 1, WIDTH)
            w = write[:, 0]
            link = ((1 - w[:, :, None] - w[:, None]) * link + w[:, :, None] * precedence[:, None]) * others
            precedence = (1 - w.sum(1, keepdim=True)) * precedence + w
            by_content = addresses(memory, of("read_keys").view(BATCH, READS, WIDTH), of("read_strengths"))
            back, on, content = F.softmax(of("modes").view(BATCH, READS, 3), -1)[..., None].unbind(2)
            read = content * by_content + on * (read @ link.mT) + back * (read @ link)
            words = (read @ memory).reshape(BATCH, READS * WIDTH)
            logits = clip(layer["output"](torch.cat([h, words], 1)))
            return (h, c, memory, read, write, link, precedence, usage, words), logits

        shapes = [(UNITS,), (UNITS,), (SLOTS, WIDTH), (READS, SLOTS), (1, SLOTS), (SLOTS, SLOTS), (SLOTS,), (SLOTS,),
                  (READS * WIDTH,)]

        def loss(observations, targets, mask):
            state, total = tuple(torch.zeros(BATCH, *shape) for shape in shapes), 0.0
            for x, target, weight in zip(observations, targets, mask):
                state, logits = cell(state, x)
                errors = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
                total = total + (errors.sum(1) * weight).sum()
            return total / BATCH

        train(layer.parameters(), loss, [tuple(map(torch.from_numpy, sequences())) for _ in range(4)])

    return {"regression": regression, "mlp": mlp, "convnet": convnet, "resnet32": resnet32, "dnc": dnc}


def in_jax():
    if WORKLOAD == "regression":
        jax.config.update("jax_enable_x64", True)
    lax, tree = jax.lax, jax.tree
    uniform = lambda *shape: jnp.asarray(RNG.random(shape, np.float32))
    class_of = lambda n: jnp.asarray(labels(n))
    cross_entropy = lambda logits, t: -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), t[:, None], 1))

    def weights(*shape):
        return jnp.asarray((RNG.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32))

    def dense(inputs, outputs):
        return weights(inputs, outputs), jnp.zeros(outputs)

    def train(params, loss_of, batches):
        def update(params, state, batch):
            loss, gradient = jax.value_and_grad(loss_of)(params, *batch)
            mean, square, steps, lowest = state
            steps = steps + 1
            mean = tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradient)
            square = tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, square, gradient)
            g = tree.map(lambda m: m / (1 - 0.9**steps), mean)
            v = tree.map(lambda g, s: g / (jnp.sqrt(s / (1 - 0.999**steps)) + 1e-4), g, square)
            lowest = jnp.where(lowest < 0, GAMMA_0 * loss, jnp.minimum(lowest, loss))
            inner = sum(jnp.vdot(a, b) for a, b in zip(tree.leaves(g), tree.leaves(v)))
            eta = ALPHA * (loss - GAMMA * lowest) / (inner + EPSILON)
            params = tree.map(lambda p, v: p - eta * v, params, v)
            return params, (mean, square, steps, lowest * (1 + 1 / TAU)), loss

        compiled = jax.jit(update, donate_argnums=(0, 1))
        zeros = lambda: tree.map(jnp.zeros_like, params)
        now = [params, (zeros(), zeros(), jnp.zeros(()), jnp.array(-1.0))]

        def step(*batch):
            now[0], now[1], loss = compiled(*now, batch)
            return loss

        report(step, batches)

    def conv(x, kernel, stride=1):
        padding = [(kernel.shape[0] // 2,) * 2] * 2
        return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def regression():
        x, y = map(jnp.asarray, regression_data())
        params = tuple(jnp.asarray(RNG.standard_normal(shape)) for shape in ((10, 6), (6, 6)))
        train(params, lambda p, x, y: jnp.sum((p[0] @ (p[1] @ x) - y) ** 2), [(x, y)])

    def mlp():
        def loss(params, x, t):
            *hidden, (w, b) = params
            for hw, hb in hidden:
                x = jax.nn.relu(x @ hw + hb)
            return cross_entropy(x @ w + b, t)

        batches = [(x, jnp.argmax(x[:, :10], 1)) for x in uniform(8, 64, 784) - 0.5]
        train([dense(784, 300), dense(300, 100), dense(100, 10)], loss, batches)

    def convnet():
        def pooled(x, kernel, bias):
            x = jax.nn.relu(conv(x, kernel) + bias)
            return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

        def loss(params, x, t, key):
            first, second, (w1, b1), (w2, b2) = params
            x = pooled(pooled(x, *first), *second).reshape(x.shape[0], -1)
            x = jax.nn.relu(x @ w1 + b1)
            x = x * jax.random.bernoulli(key, 0.6, x.shape) / 0.6
            return cross_entropy(x @ w2 + b2, t)

        layer = lambda ci, co: (weights(5, 5, ci, co), jnp.zeros(co))
        params = [layer(1, 32), layer(32, 64), dense(3136, 1024), dense(1024, 10)]
        train(params, loss, [(uniform(100, 28, 28, 1), class_of(100), jax.random.PRNGKey(i)) for i in range(2)])

    def resnet32():
        def norm(x, scale, shift):
            mean = jnp.mean(x, (0, 1, 2))
            variance = jnp.mean(x * x, (0, 1, 2)) - mean * mean
            return (x - mean) * (lax.rsqrt(variance + 1e-5) * scale) + shift

        blocks, strides, ci = [], [], 16
        for co in (16, 32, 64):
            for i in range(5):
                block = {"norm1": (jnp.ones(ci), jnp.zeros(ci)), "conv1": weights(3, 3, ci, co),
                         "norm2": (jnp.ones(co), jnp.zeros(co)), "conv2": weights(3, 3, co, co)}
                if i == 0:
                    block["projection"] = weights(1, 1, ci, co)
                blocks.append(block)
                strides.append(2 if i == 0 and co > 16 else 1)
                ci = co
        params = {"first": weights(3, 3, 3, 16), "blocks": blocks, "norm": (jnp.ones(64), jnp.zeros(64)),
                  "output": dense(64, 10)}

        def loss(params, x, t):
            x = conv(x, params["first"])
            for block, stride in zip(params["blocks"], strides):
                h = jax.nn.relu(norm(x, *block["norm1"]))
                short_cut = conv(h, block["projection"], stride) if "projection" in block else x
                h = jax.nn.relu(norm(conv(h, block["conv1"], stride), *block["norm2"]))
                x = conv(h, block["conv2"]) + short_cut
            w, b = params["output"]
            logits = jnp.mean(jax.nn.relu(norm(x, *params["norm"])), (1, 2)) @ w + b
            return cross_entropy(logits, t) + 1e-4 * sum(jnp.vdot(p, p) for p in tree.leaves(params))

        train(params, loss, [(uniform(128, 32, 32, 3), class_of(128)) for _ in range(2)])

    def dnc():
        sigmoid, others = jax.nn.sigmoid, 1 - jnp.eye(SLOTS)
        clip = lambda x: jnp.clip(x, -20, 20)
        turned = lambda x: jnp.swapaxes(x, -1, -2)
        ends = np.cumsum(list(INTERFACE.values()))[:-1].tolist()

        def addresses(memory, keys, strengths):
            norm = lambda x: jnp.sqrt((x * x).sum(2) + 1e-6)
            similarity = keys @ turned(memory) / (norm(keys)[:, :, None] * norm(memory)[:, None] + 1e-6)
            return jax.nn.softmax(similarity * jax.nn.softplus(strengths)[:, :, None], -1)

        def cell(params, state, x):
            h, c, memory, read, write, link, precedence, usage, words = state
            apply = lambda name, x: x @ params[name][0] + params[name][1]
            i, g, f, o = jnp.split(apply("lstm", jnp.concatenate([x, words, h], 1)), 4, 1)
            c = sigmoid(f + 1) * c + sigmoid(i) * jnp.tanh(g)
            h, c = clip(sigmoid(o) * jnp.tanh(c)), clip(c)
            of = dict(zip(INTERFACE, jnp.split(apply("interface", h), ends, 1))).__getitem__
            usage = usage + (1 - usage) * lax.stop_gradient(write)[:, 0]
            usage = usage * jnp.prod(1 - sigmoid(of("free"))[:, :, None] * read, 1)
            by_content = addresses(memory, of("write_key")[:, None], of("write_strength"))
            used = 1e-6 + (1 - 1e-6) * usage
            order = jnp.argsort(used, 1)
            in_order = jnp.take_along_axis(used, order, 1)
            before = jnp.cumprod(jnp.concatenate([jnp.ones((BATCH, 1)), in_order[:, :-1]], 1), 1)
            allocation = jnp.take_along_axis((1 - in_order) * before, jnp.argsort(order, 1), 1)
            gate, share = (sigmoid(of(name))[:, :, None] for name in ("gate", "allocate"))
            write = gate * (share * allocation[:, None] + (1 - share) * by_content)
            memory = memory * (1 - turned(write) @ sigmoid(of("erase"))[:, None]) + turned(write) @ of("write")[:, None]
            w = write[:, 0]
            link = ((1 - w[:, :, None] - w[:, None]) * link + w[:, :, None] * precedence[:, None]) * others
            precedence = (1 - w.sum(1, keepdims=True)) * precedence + w
            by_content = addresses(memory, of("read_keys").reshape(BATCH, READS, WIDTH), of("read_strengths"))
            modes = jax.nn.softmax(of("modes").reshape(BATCH, READS, 3), -1)[..., None]
            back, on, content = modes[:, :, 0], modes[:, :, 1], modes[:, :, 2]
            read = content * by_content + on * (read @ turned(link)) + back * (read @ link)
            words = (read @ memory).reshape(BATCH, READS * WIDTH)
            logits = clip(apply("output", jnp.concatenate([h, words], 1)))
            return (h, c, memory, read, write, link, precedence, usage, words), logits

        shapes = [(UNITS,), (UNITS,), (SLOTS, WIDTH), (READS, SLOTS), (1, SLOTS), (SLOTS, SLOTS), (SLOTS,), (SLOTS,),
                  (READS * WIDTH,)]

        def loss(params, observations, targets, mask):
            def step(state, inputs):
                x, target, weight = inputs
                state, logits = cell(params, state, x)
                errors = jnp.maximum(logits, 0) - logits * target + jnp.log1p(jnp.exp(-jnp.abs(logits)))
                return state, (errors.sum(1) * weight).sum()

            state = tuple(jnp.zeros((BATCH, *shape)) for shape in shapes)
            return lax.scan(step, state, (observations, targets, mask))[1].sum() / BATCH

        params = {name: dense(*sizes) for name, sizes in LINEAR_LAYERS.items()}
        train(params, loss, [tuple(map(jnp.asarray, sequences())) for _ in range(4)])

    return {"regression": regression, "mlp": mlp, "convnet": convnet, "resnet32": resnet32, "dnc": dnc}


(in_jax if ENGINE == "jax" else in_torch)()[WORKLOAD]()
