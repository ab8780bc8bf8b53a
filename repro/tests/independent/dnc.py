"""The DNC of section 3.4 in PyTorch, in float64: what the Rust crates are compared with.

Needs Python 3 with numpy and torch. Writes dnc.json beside itself:

    python3 repro/tests/independent/dnc.py

Forward and backward over sequences of 6 steps from fixed weights, at the paper's sizes with one write head and with two.
Written from the equations of Graves et al. (2016), with what DeepMind's code does beyond them: allocation of several write
heads with the usage that each simulates for the next, links for each write head, no gradient through the write weights
that make the usage, softplus for strengths, an epsilon in norms, cosine and allocation, modes in the order backward,
forward, content, a forget gate of f + 1, and clipping. Weights and sequences come from lcg.py.

The memory starts empty, so slots are equally used, and which of them comes first decides the outcome: the sort is stable,
and the products that address or read the memory are written as sums over an axis, which treat equal slots alike to the
last bit (those with the links are `einsum`).
"""

import json
import pathlib
import platform

import torch
import torch.nn.functional as F

from lcg import Lcg
from networks import digest

STEPS, BATCH = 6, 3
BITS, HIDDEN, SLOTS, WORD, READS = 4, 64, 16, 16, 4
CLIP, EPSILON = 20.0, 1e-6


def draw(lcg, *shape, scale=0.5):
    values = torch.tensor(lcg.signed_list(24, torch.Size(shape).numel()), dtype=torch.float64)
    return (scale * values).reshape(shape)


def bits(lcg, *shape):
    count = torch.Size(shape).numel()
    return torch.tensor([lcg.bits(1) for _ in range(count)], dtype=torch.float64).reshape(shape)


class Linear:
    def __init__(self, lcg, inputs, outputs):
        self.kernel = draw(lcg, inputs, outputs).requires_grad_()
        self.bias = draw(lcg, outputs).requires_grad_()

    def __call__(self, x):
        return x @ self.kernel + self.bias


def content(memory, keys, strengths):
    """[batch, heads, slots]"""
    dot = (keys[:, :, None] * memory[:, None]).sum(3)
    key_norms = (keys.square().sum(2) + EPSILON).sqrt()
    slot_norms = (memory.square().sum(2) + EPSILON).sqrt()
    cosine = dot / (key_norms[:, :, None] * slot_norms[:, None] + EPSILON)
    return torch.softmax(F.softplus(strengths)[:, :, None] * cosine, 2)


def allocation(usage):
    """[batch, slots]"""
    usage = EPSILON + (1 - EPSILON) * usage
    free, order = torch.sort(1 - usage, dim=1, descending=True, stable=True)
    used = usage.gather(1, order)
    before = torch.cumprod(torch.cat([torch.ones_like(used[:, :1]), used[:, :-1]], 1), 1)
    return torch.zeros_like(usage).scatter(1, order, free * before)


def step(x, state, lstm, interface, writes):
    h, c, memory, usage, w, links, precedences, r, words = state
    i, g, f, o = lstm(torch.cat([x, words.flatten(1), h], 1)).chunk(4, 1)
    c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
    h = (torch.sigmoid(o) * torch.tanh(c)).clamp(-CLIP, CLIP)
    c = c.clamp(-CLIP, CLIP)

    modes = 2 * writes + 1
    parts = [writes * WORD, writes * WORD, READS * WORD, writes * WORD, READS, writes, writes, writes, READS, READS * modes]
    v, k_w, k_r, e, free, g_a, g_w, s_w, s_r, pi = interface(h).split(parts, 1)
    v, k_w, e = (part.reshape(-1, writes, WORD) for part in (v, k_w, e))
    e, free, g_a, g_w = (torch.sigmoid(part) for part in (e, free, g_a, g_w))
    pi = torch.softmax(pi.reshape(-1, READS, modes), 2)

    usage = usage + (1 - usage) * (1 - torch.prod(1 - w.detach(), 1))
    usage = usage * torch.prod(1 - free[:, :, None] * r, 1)

    by_content = content(memory, k_w, s_w)
    simulated, new_w = usage, []
    for head in range(writes):
        a = allocation(simulated)
        gate, gate_a = g_w[:, head, None], g_a[:, head, None]
        simulated = simulated + (1 - simulated) * gate_a * gate * a
        new_w.append(gate * (gate_a * a + (1 - gate_a) * by_content[:, head]))
    w = torch.stack(new_w, 1)

    keep = torch.prod(1 - w[:, :, :, None] * e[:, :, None], 1)
    memory = memory * keep + (w[:, :, :, None] * v[:, :, None]).sum(1)

    off_diagonal = 1 - torch.eye(SLOTS, dtype=torch.float64)
    links = (1 - w[:, :, :, None] - w[:, :, None]) * links + w[:, :, :, None] * precedences[:, :, None]
    links = links * off_diagonal
    precedences = (1 - w.sum(2, keepdim=True)) * precedences + w

    by_content = content(memory, k_r.reshape(-1, READS, WORD), s_r)
    backward = torch.einsum("bhji,brj->brhi", links, r)
    forward = torch.einsum("bhij,brj->brhi", links, r)
    directions = torch.cat([backward, forward, by_content[:, :, None]], 2)
    r = (pi[:, :, :, None] * directions).sum(2)
    words = (r[:, :, :, None] * memory[:, None]).sum(2)
    return h, c, memory, usage, w, links, precedences, r, words


def run(writes):
    lcg = Lcg(7)
    lstm = Linear(lcg, BITS + 2 + READS * WORD + HIDDEN, 4 * HIDDEN)
    interface = Linear(lcg, HIDDEN, 3 * writes * WORD + READS * WORD + 2 * READS + 3 * writes + READS * (2 * writes + 1))
    output = Linear(lcg, HIDDEN + READS * WORD, BITS + 1)
    observations = bits(lcg, STEPS, BATCH, BITS + 2)
    targets = bits(lcg, STEPS, BATCH, BITS + 1)
    mask = bits(lcg, STEPS, BATCH)

    zeros = lambda *shape: torch.zeros(BATCH, *shape, dtype=torch.float64)
    state = (
        zeros(HIDDEN),
        zeros(HIDDEN),
        zeros(SLOTS, WORD),
        zeros(SLOTS),
        zeros(writes, SLOTS),
        zeros(writes, SLOTS, SLOTS),
        zeros(writes, SLOTS),
        zeros(READS, SLOTS),
        zeros(READS, WORD),
    )
    logits = []
    for x in observations:
        state = step(x, state, lstm, interface, writes)
        h, words = state[0], state[-1]
        logits.append(output(torch.cat([h, words.flatten(1)], 1)).clamp(-CLIP, CLIP))
    logits = torch.stack(logits)
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(2) * mask
    loss = losses.sum() / BATCH
    loss.backward()
    named = {"lstm": lstm, "interface": interface, "output": output}
    return {
        "loss": loss.item(),
        "logits": {"name": "logits", **digest(logits)},
        "gradients": [
            {"name": f"{name}/{part}", **digest(getattr(linear, part).grad)}
            for name, linear in named.items()
            for part in ("kernel", "bias")
        ],
    }


def main():
    numbers = {
        "written_by": "dnc.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "one_write_head": run(1),
        "two_write_heads": run(2),
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
