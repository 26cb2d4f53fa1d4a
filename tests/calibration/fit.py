"""Fits instructions to what models make the kernels do; `tests/scripts/calibrate` calls it.

    fit.py WORK COUNTS MEASURED CHIPS.toml CORE…

WORK holds what runtime/examples/calibration.rs printed, COUNTS/CORE a self-test's log for each model, MEASURED what
`tests/run budgets` leaves. The numbers of a core are those, none below 0, that leave the least squared relative error over the models
made for this (WORK's neighbours in models/) but networks, each of them with the same weight. Everything in CHIPS.toml behind the line
MARK is written anew; cores that are not named keep what they have.
"""

import re
import sys
import tomllib
from pathlib import Path

import numpy
from scipy.optimize import nnls

MARK = "# What the runtime costs on each core.\n"
# Cycles for an instruction: the middle of what `tests/scripts/cycles` says of the 30 networks that are made here, 1.38 to 1.63 with two cycles
# for a refill; 1.46 of the layers of the digits' encoder.
CYCLES = {"cortex-m4": 1.5}
ARCHITECTURES = {
    "cortex-m0": "thumbv6m",
    "cortex-m3": "thumbv7em",
    "cortex-m4": "thumbv7em",
    "cortex-m7": "thumbv7em",
    "cortex-m33": "thumbv8m",
    "cortex-m33-dsp": "thumbv8m",
    # Not measured for RISC-V.
    "rv32": "thumbv6m",
}
WITH_DSP = ["cortex-m4", "cortex-m7", "cortex-m33-dsp"]
KINDS_WITHOUT_FIT = ["network"]


def read_work(path):
    """The counts of the kernels' work by kernels, model and dimensions; and their names."""
    work, names = {}, None
    for line in path.read_text().splitlines():
        model, dims, kernels, *counts = line.split("\t")
        names = counts[::2]
        work[kernels, model, int(dims)] = [float(count) for count in counts[1::2]]
    return work, names


def read_counts(folder, work, kernels):
    """For each model and number of dimensions that the core counted: which, its work, its instructions."""
    for (of, model, dims), counts in work.items():
        if of != kernels:
            continue
        log = folder / model.replace("/", "@")
        if not log.exists():
            continue
        found = re.search(rf"k = {dims}: (\d+) instructions for the embedding", log.read_text())
        if found:
            yield model, dims, counts, int(found[1])


def fit_core(core, rows, folder):
    """The numbers; says on standard error how far off they are. In the folder are the models that were made for this."""
    models = [model for model, *_ in rows]
    kinds = numpy.array([Path(model).stem.split("-")[0] if Path(model).parent == folder else model for model in models])
    work = numpy.array([counts for _, _, counts, _ in rows])
    instructions = numpy.array([instructions for *_, instructions in rows], dtype=float)
    weights = numpy.array([1 / models.count(model) ** 0.5 for model in models])
    fitted = numpy.array([kind not in KINDS_WITHOUT_FIT and "/" not in kind for kind in kinds])
    relative = work / instructions[:, None]
    numbers, _ = nnls((relative * weights[:, None])[fitted], weights[fitted], maxiter=100 * work.shape[1])
    errors = 100 * (relative @ numbers - 1)
    for kind in dict.fromkeys(kinds):
        of = errors[kinds == kind]
        what = "not fitted to" if not fitted[kinds == kind].any() else "fitted to"
        print(
            f"{core:15} {Path(kind).name:14} {what:14} {len(set(numpy.array(models)[kinds == kind])):3} models: "
            f"off by {numpy.sqrt((of**2).mean()):4.1f} % (root mean square), {of[abs(of).argmax()]:+5.1f} % at most",
            file=sys.stderr,
        )
    return numbers


def sizes(core, measured, old):
    """Bytes of code and stack."""
    text, log = measured / "text", measured / core / "selftest-digits"
    size = text.exists() and re.search(rf"^text {ARCHITECTURES[core]}\S* s size_everything (\d+)$", text.read_text(), re.M)
    stack = log.exists() and re.search(r"stack: (\d+) bytes", log.read_text())
    if not (size and stack):
        print(f"{core:15} keeps its sizes of code and stack: none in {measured}", file=sys.stderr)
        return old["text"], old["stack"]
    return int(size[1]), int(stack[1])


def main():
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    work_file, counts, measured, chips = map(Path, sys.argv[1:5])
    work, names = read_work(work_file)
    text = chips.read_text()
    if MARK not in text:
        sys.exit(f"{chips}: expected a line that says {MARK.strip()}")
    old = tomllib.loads(text)
    instructions = {name: dict(old.get("instructions", {}).get(name, {})) for name in names}
    parts = [text.split(MARK)[0] + MARK]
    for core in ARCHITECTURES:
        of_core = old["core"][core]
        if core in sys.argv[5:]:
            rows = list(read_counts(counts / core, work, "dsp" if core in WITH_DSP else "portable"))
            for name, number in zip(names, fit_core(core, rows, work_file.parent / "models")):
                instructions[name][core] = round(number, 2)
            of_core["text"], of_core["stack"] = sizes(core, measured, of_core)
        parts.append(f"\n[core.{core}]\ntext = {of_core['text']}\nstack = {of_core['stack']}\n")
        parts.append(f"dsp = {str(core in WITH_DSP).lower()}\n")
        if core in CYCLES:
            parts.append(f"cycles = {CYCLES[core]}\n")
    parts.append("\n# Instructions for each of what `eigenlet_runtime::Work` counts, on each core.\n[instructions]\n")
    for name in names:
        missing = ARCHITECTURES.keys() - instructions[name].keys()
        if missing:
            sys.exit(f"{chips}: {name} has no number for {', '.join(sorted(missing))}: calibrate all cores")
        parts.append(f"{name} = {{ {', '.join(f'{core} = {instructions[name][core]}' for core in ARCHITECTURES)} }}\n")
    chips.write_text("".join(parts))


if __name__ == "__main__":
    main()
