#!/usr/bin/env python3
"""Tries to lose or falsify results: kills, signals, damaged files, bad input, full disks, dead outputs, shared runs.

    cargo build --release -p repro -p paper-figures
    python3 repro/tests/campaign/campaign.py [--minutes 20] [--seed 0] [--trial N] [kills signals ...]

Each trial ends in one of: as if nothing had happened, bit for bit; an error that names what is wrong, after which the advice in it
leads to the same results; a failure, which is printed. Never a panic, never a hang, never other numbers with exit code 0. Needs
Linux; as root it also fills small file systems of its own.
"""

import argparse, collections, gzip, json, os, pathlib, random, re, shutil, signal, subprocess, sys, tempfile, time, traceback

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Seconds: on a busy machine a trial takes a minute.
HANG = 600
SECTION = ["section3_1", "--preset", "smoke", "--methods", "L4Adam,mSGD,Adam", "--seeds", "2", "--steps", "20000", "--jobs", "2"]
SHORT = SECTION[:-4] + ["--steps", "300", "--jobs", "2"]


class Failure(Exception):
    pass


class Impossible(Exception):
    """This machine does not allow trials of that kind."""


def expect(holds, *what):
    if not holds:
        raise Failure(" ".join(str(part) for part in what)[:2000])


def end(process):
    """Whatever has happened, no process outlives its trial."""
    if process.poll() is None:
        process.kill()
        process.communicate()


class Tried:
    """A program that ended, or was ended."""

    def __init__(self, words, wait=HANG, after=None, **how):
        words = [str(PROGRAMS / words[0])] + [word if isinstance(word, bytes) else str(word) for word in words[1:]]
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | how
        self.process = subprocess.Popen(words, **how)
        try:
            if after:
                after(self.process)
            out, err = self.process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            raise Failure(f"hangs: {words}")
        finally:
            end(self.process)
        self.out, self.err = ((text or b"").decode(errors="replace") for text in (out, err))
        self.code = self.process.returncode
        expect("panicked" not in self.err and self.code not in (101, -6, -11), "panic or abort:", words, self.code, self.err)


def essence(out):
    """All that may not differ: the runs' files but for times, and the results but for where they come from."""
    found = {}
    for file in sorted(out.glob("runs/*/*")):
        if file.name in ("config.json", "metrics.jsonl", "result.json", "checkpoint.safetensors"):
            found[str(file.relative_to(out))] = file.read_bytes() if file.is_file() else None
    for file in sorted(out.glob("*.json")):
        result = json.loads(file.read_text())
        result.pop("provenance")
        found[file.name] = result
    return found


def same(out, whole, after=""):
    differing = [name for name in whole.keys() | out.keys() if whole.get(name) != out.get(name)]
    expect(not differing, "other results", after, differing)


def reference(words):
    """What the program makes undisturbed."""
    out = WORK / f"whole-{abs(hash(tuple(words)))}"
    if not (out / "report.html").exists():
        expect(Tried(words + ["--out", out]).code == 0, "the undisturbed run fails")
    return out, essence(out)


def until_done(words, out, disturb):
    """Starts a program again until it ends by itself; gives the number of lives."""
    for life in range(1, 100):
        tried = Tried(words + ["--out", out], after=lambda process: disturb(process, life))
        if tried.code == 0:
            return life
        # Before there is anything to keep, a signal ends it as any program.
        expect(tried.code in (130, -9, -15, -2, -1), "exit code", tried.code, tried.err)
    raise Failure("does not end")


def kills(chance, out):
    """Killed again and again, at any moment."""
    _, whole = reference(SECTION)

    def kill(process, life):
        time.sleep(chance.uniform(0.02, 0.15) * life)
        process.kill()

    lives = until_done(SECTION, out, kill)
    same(essence(out), whole)
    return f"{lives - 1} kills", lives - 1


def signals(chance, out):
    """Asked to stop, by one signal or by several in a row: exit code 130, and resumed."""
    _, whole = reference(SECTION)
    sent = 0

    def ask(process, life):
        nonlocal sent
        runs = out / "runs"
        until = time.time() + HANG
        # The signals are taken over before the first run has its directory.
        while not any(runs.glob("*/metrics.jsonl")) and process.poll() is None and time.time() < until:
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.2) * life)
        for _ in range(chance.choice([1, 1, 2, 3])):
            process.send_signal(chance.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
            sent += 1
            time.sleep(chance.choice([0, 0, 0.001, 0.05]))

    until_done(SECTION, out, ask)
    same(essence(out), whole)
    return f"{sent} signals", sent


def damage(chance, file):
    """Changes a file in one of many ways; says which."""
    content = file.read_bytes()
    place = chance.randrange(max(1, len(content)))
    kinds = ["bit", "digit", "cut", "empty", "gone", "zeros", "garbage", "line", "pipe", "directory", "other", "longer"]
    kind = chance.choice(kinds)
    file.unlink()
    if kind == "bit":
        content = content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :] if content else b"x"
    elif kind == "digit":
        digits = [match.start() for match in re.finditer(rb"\d", content)] or [0]
        place = chance.choice(digits)
        content = content[:place] + str(chance.randrange(10)).encode() + content[place + 1 :]
    elif kind == "cut":
        content = content[:place]
    elif kind == "empty":
        content = b""
    elif kind == "zeros":
        content = bytes(len(content))
    elif kind == "garbage":
        content = chance.randbytes(len(content))
    elif kind == "line":
        lines = content.splitlines(True) or [b"\n"]
        lines.insert(chance.randrange(len(lines)), chance.choice(lines))
        content = b"".join(lines)
    elif kind == "longer":
        content += chance.randbytes(100)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    elif kind == "other":
        others = [other for other in file.parent.parent.glob(f"*/{file.name}") if other != file and other.is_file()]
        file.write_bytes(chance.choice(others).read_bytes() if others else b"{}")
    elif kind != "gone":
        file.write_bytes(content)
    return f"{kind} of {file.name}"


def unfinished():
    """An output directory of a run that was interrupted."""
    out = WORK / "interrupted"
    for attempt in range(30):
        if any(out.glob("runs/*/checkpoint.safetensors")) and len(list(out.glob("runs/*/result.json"))) <= 3:
            return out
        shutil.rmtree(out, ignore_errors=True)
        seconds = 0.1 * (1 + attempt)
        Tried(SECTION + ["--out", out], after=lambda process: (time.sleep(seconds), process.send_signal(signal.SIGTERM)))
    raise Failure("no signal in 3 s leaves a checkpoint and at most 3 finished runs")


def store(chance, out):
    """A file of the run store is damaged, of a finished or of an interrupted run."""
    words = chance.choice([SHORT, SHORT, SECTION])
    start, whole = reference(words)
    if words is SECTION:
        start = unfinished()
    shutil.copytree(start, out, dirs_exist_ok=True)
    file = chance.choice(sorted(out.glob("runs/*/*")))
    what = damage(chance, file)
    tried = Tried(words + ["--out", out])
    if tried.code != 0:
        expect(tried.code == 1, "exit code", tried.code, tried.err)
        expect(str(file.parent) in tried.err, what, "does not name the run:", tried.err)
        shutil.rmtree(file.parent)
        expect(Tried(words + ["--out", out]).code == 0, what, "the advice does not help")
    found = essence(out)
    name = str(file.relative_to(out))
    if words is SHORT and name in whole and name.endswith(("metrics.jsonl", "checkpoint.safetensors")):
        # What was added behind its end, and the last weights of a finished run, which nothing here reads.
        found[name] = whole[name]
    same(found, whole, f"after {what}:")
    return ("harmless" if tried.code == 0 else "reported"), 1


def committed(chance, out):
    """A committed file is damaged: the judge says so, or judges as before; what is drawn is drawn, or the file is named."""
    start = ROOT / "repro/reference"
    shutil.copytree(start, out, dirs_exist_ok=True)
    numbers = sorted(out.glob("**/numbers.json.gz"))
    file = chance.choice(numbers if chance.random() < 0.5 else sorted(out.glob("section*/*.json")))
    before = file.read_bytes()
    if file in numbers and chance.random() < 0.5:
        plain = file.with_suffix("")
        plain.write_bytes(gzip.decompress(before))
        what = damage(chance, plain)
        changed = plain.read_bytes() if plain.is_file() else b""
        shutil.rmtree(plain) if plain.is_dir() else plain.unlink(missing_ok=True)
        file.write_bytes(gzip.compress(changed))
    else:
        what = damage(chance, file)
    judged = Tried(["judge", "--reference", out, "--check"])
    expect(judged.code in (0, 1), "exit code", judged.code, judged.err)
    as_before = judged.code == 0 and judged.out == Tried(["judge", "--reference", start, "--check"]).out
    if file in numbers:
        # Numbers of one section in another's place may be missed first by a third.
        named = out if what.startswith("other") else file.parent
        expect(as_before or judged.code == 1 and str(named) in judged.err, what, "judged otherwise, or it is not named:", judged.err)
    elif file.name == "claims.json":
        expect(as_before or judged.code == 1 and str(file) in judged.err, what, "judged otherwise, or it is not named:", judged.err)
        mended = Tried(["judge", "--reference", out])
        if mended.code == 0:
            verdicts = lambda content: json.loads(content)["claims"]
            expect(verdicts(file.read_bytes()) == verdicts(before), what, "other verdicts than the numbers give")
        else:
            expect(mended.code == 1 and str(file) in mended.err, what, "exit code", mended.code, mended.err)
    else:
        expect(as_before, what, "the judge reads what is no verdict:", judged.err)
    drawn = Tried(["paper-figures", out])
    expect(drawn.code in (0, 1), "paper-figures: exit code", drawn.code, drawn.err)
    if drawn.code == 1:
        # Where it can be read, the reading of it may miss something.
        expect(file not in numbers and str(file.parent) in drawn.err, what, "paper-figures does not name it:", drawn.err)
        for page in (path / name for path in (out, file.parent) for name in ("README.md", "report.html")):
            expect(page.read_bytes() == (start / page.relative_to(out)).read_bytes(), what, "changes", page)
    return ("harmless" if judged.code == 0 and drawn.code == 0 else "reported"), 2


NUMBERS = ["0", "-1", str(2**16 - 1), str(2**31), str(2**32), str(2**63), str(2**64 - 1), str(2**64), "1e9", "NaN", "", "1.5", "0x10", "９"]
OPTIONS = {
    "section3_1": ["--seeds", "--steps", "--length", "--threads", "--jobs"],
    "section3_2": ["--seeds", "--epochs", "--threads", "--jobs"],
    "section3_4": ["--seeds", "--steps", "--jobs", "--threads"],
    "section3_6": ["--sequences", "--epochs", "--seeds"],
    "tune": ["--restarts", "--threads", "--jobs"],
    "train_step": ["--steps", "--threads"],
}
FITTING = {"--steps": 10**9, "--length": 10**9, "--epochs": 10**9, "--sequences": 10**9, "--seeds": 1000, "--restarts": 1000, "--threads": 256, "--jobs": 1024}
WORDS = [["--preset", "huge"], ["--methods", "L5"], ["--methods", ""], ["--shard", "0/4"], ["--shard", "5/4"], ["--shard", "1/2", "--fresh"],
         ["--shard", "-1/2"], ["--shard", "1/99999999999"], ["--nothing"], ["--out"], ["stray"]]


def input_(chance, out):
    """A number out of range, or a word that is none: exit code 2, a message, and nothing done."""
    program = chance.choice(list(OPTIONS))
    base = {"tune": ["--section", "3.1"], "train_step": ["--workload", "regression", "--optimizer", "adam"]}.get(program, [])
    if program.startswith("section3_") and chance.random() < 0.3:
        words = chance.choice(WORDS)
    else:
        option, number = chance.choice(OPTIONS[program]), chance.choice(NUMBERS)
        limit = 10**7 if program == "train_step" and option == "--steps" else FITTING[option]
        if number.isascii() and number.isdigit() and 1 <= int(number) <= limit:
            number = str(limit + 1)
        words = [f"{option}={number}"]
    target = [] if program == "train_step" else ["--out", out / "made"]
    tried = Tried([program] + base + target + words)
    expect(tried.code == 2 and tried.err.strip(), words, "exit code", tried.code, tried.err)
    expect(not (out / "made").exists(), words, "something was done")
    return "refused", 1


def outputs(chance, out):
    """Standard output or error is full, closed, or read by no one: the results are written all the same."""
    _, whole = reference(SHORT)
    states = ["whole", "full", "closed", "broken", "terminal gone"]
    state = {name: chance.choice(states) for name in ("stdout", "stderr")}
    opened, how, masters = [], {}, []
    for name, kind in state.items():
        if kind == "full":
            how[name] = open("/dev/full", "wb")
        elif kind == "broken":
            reader, writer = os.pipe()
            os.close(reader)
            how[name] = os.fdopen(writer, "wb")
        elif kind == "terminal gone":
            master, slave = os.openpty()
            masters.append(master)
            how[name] = os.fdopen(slave, "wb")
    closed = [number for number, name in ((1, "stdout"), (2, "stderr")) if state[name] == "closed"]

    def after(_):
        for file in how.values():
            file.close()
        time.sleep(chance.uniform(0, 0.2))
        for master in masters:
            os.close(master)

    tried = Tried(SHORT + ["--out", out], after=after, preexec_fn=lambda: [os.close(number) for number in closed], **how)
    full = state["stdout"] == "full"
    gone = state["stdout"] == "terminal gone"
    expect(tried.code == 1 if full else tried.code in (0, 1) if gone else tried.code == 0, state, "exit code", tried.code, tried.err)
    if full and state["stderr"] == "whole":
        expect(tried.err.count("No space left") == 1, tried.err)
    same(essence(out), whole)
    return "written", 1


def disk(chance, out):
    """The disk is full from some moment on, and then it is not: an error that says so, and nothing is lost."""
    _, whole = reference(SECTION)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={chance.randrange(10, 300) * 4}k", "tmpfs", out]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Impossible(f"no file system can be mounted here: {getattr(error, 'stderr', None) or error}".strip())
    try:
        tried = Tried(SECTION + ["--out", out / "x"])
        expect(tried.code in (0, 1), "exit code", tried.code, tried.err)
        expect(tried.code == 0 or "No space left" in tried.err, tried.err)
        subprocess.run(["mount", "-o", "remount,size=200m", out], check=True)
        expect(Tried(SECTION + ["--out", out / "x"]).code == 0, "does not go on")
        same(essence(out / "x"), whole)
    finally:
        subprocess.run(["umount", "-l", out], check=True)
    return ("it fitted" if tried.code == 0 else "full and resumed"), 1


def shared(chance, out):
    """Several processes share the runs; some are killed or interrupted and started again; then the whole."""
    _, whole = reference(SECTION)
    count = chance.randrange(2, 5)
    command = lambda part: [str(PROGRAMS / SECTION[0])] + SECTION[1:-1] + ["1", "--out", str(out), "--shard", f"{part}/{count}"]
    start = lambda part: subprocess.Popen(command(part), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    going, killed = {}, 0
    try:
        for part in range(1, count + 1):
            going[part] = start(part)
        limit = time.time() + HANG
        while going and time.time() < limit:
            time.sleep(chance.uniform(0.02, 0.3))
            part = chance.choice(list(going))
            if killed < 6 and chance.random() < 0.5:
                going[part].send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
                killed += 1
            for part, process in list(going.items()):
                if process.poll() is not None:
                    _, err = process.communicate()
                    expect(process.returncode in (0, 130, -9, -15), "exit code", process.returncode, err)
                    expect(b"panicked" not in err, err)
                    del going[part]
                    if process.returncode != 0:
                        going[part] = start(part)
        expect(not going, "a part does not end")
    finally:
        for process in going.values():
            end(process)
    last = Tried(SECTION + ["--out", out])
    expect(last.code == 0 and "0 runs computed" in last.err, last.err)
    same(essence(out), whole)
    return f"{killed} kills", killed


TRIALS = {"kills": kills, "signals": signals, "store": store, "committed": committed, "input": input_, "outputs": outputs, "disk": disk, "shared": shared}
WEIGHTS = {"kills": 1, "signals": 1, "store": 8, "committed": 4, "input": 8, "outputs": 3, "disk": 2, "shared": 1}


def main():
    global PROGRAMS, WORK
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trial", type=int, help="only this one again")
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("kinds", nargs="*", choices=[[], *TRIALS])
    arguments = parser.parse_args()
    PROGRAMS = arguments.programs.resolve()
    kinds = arguments.kinds or [kind for kind in TRIALS if kind != "disk" or os.geteuid() == 0]
    chance = random.Random(arguments.seed)
    counts, events, failures, impossible = collections.Counter(), collections.Counter(), [], set()
    until = time.time() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory(prefix="campaign-") as work:
        WORK = pathlib.Path(work)
        trial = 0
        while time.time() < until and trial != arguments.trial and impossible < set(kinds):
            trial += 1
            # Drawn whether or not it can be tried, so that a number names the same trial everywhere.
            kind = chance.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
            if arguments.trial not in (None, trial) or kind in impossible:
                continue
            own = random.Random(f"{arguments.seed} {trial} {kind}")
            # Of its own, as what a failed trial left running or mounted must not reach the next.
            out = WORK / f"trial-{trial}"
            out.mkdir()
            try:
                outcome, number = TRIALS[kind](own, out)
                counts[kind, re.sub(r"\d+ ", "", outcome)] += 1
                events[kind] += number
            except Impossible as reason:
                impossible.add(kind)
                print(f"no trials of {kind}: {reason}", flush=True)
            except Exception as failure:
                failures.append(kind)
                said = failure if isinstance(failure, Failure) else traceback.format_exc()
                print(f"FAILURE in {kind}, trial {trial} of seed {arguments.seed}: {said}", flush=True)
            shutil.rmtree(out, ignore_errors=True)
    print(f"{trial} trials")
    for (kind, outcome), number in sorted(counts.items()):
        print(f"  {kind:10} {outcome:20} {number:5}")
    print("  " + ", ".join(f"{kind} {number}" for kind, number in sorted(events.items())) + " (kills, signals, changed files and starts)")
    print(f"{len(failures)} failures")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
