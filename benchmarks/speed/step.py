"""Time a training step of our networks and of those that a user would pick instead.

    python benchmarks/speed/step.py [--threads 2] [--sizes 128 512] [--modes eager channels-last bf16 compile]

Forward, the paper's loss, backward and Adam; one-channel images, ten structures, random weights; every network the same
images, batch, precision and loss (two stages have the loss of both). All networks and modes of one size take turns in
every round. Modes: eager (float32), channels-last, bf16 (channels-last and autocast), compile (channels-last and
torch.compile), compile-bf16.

FLOPs are those of a whole step (torch.utils.flop_counter). "of the roofline" is the least time that the step could
take, the larger of FLOPs by the measured matrix rate and bytes by the measured bandwidth, by the time it took; the
bytes are those that its convolutions must read and write. Memory is what a step takes at its peak beyond weights and
optimiser. `--clock cpu` adds the time of all threads, and the rates are then per processor second.
"""

import argparse
import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from memory import peak_mib
from networks import networks
from options import parse, parser_of, synchronise, wanted
from results import Results
from roofline import Roof, Work, count_work, measure_roofs
from timing import Turns, faster, take_turns
from torch import Tensor, nn

from nasoseg.labels import OPENKBP
from nasoseg.losses import DiceFocalLoss, StagedLoss

MODES = ("eager", "channels-last", "bf16", "compile", "compile-bf16")
OURS = "nasoseg"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure."""
    parser = parser_of(__doc__, rounds=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 512], help="rows and columns")
    parser.add_argument("--pixels", type=int, help="of a batch; 2^18 on the processor, 2^22 on a GPU")
    parser.add_argument("--width", type=int, default=16, help="channels at full resolution")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES[:4]))
    parser.add_argument("--matrix", type=int, help="side of the matrices that the matrix rate is measured with")
    options = parse(parser, arguments)
    results = Results("step", "A training step", settings=vars(options))
    torch.manual_seed(0)
    dtypes = (torch.float32, torch.bfloat16)
    roofs = measure_roofs(options.device, dtypes, clock=options.clock, side=options.matrix)
    for dtype, roof in roofs.items():
        print(f"{dtype}: {roof.flops_s / 1e9:.0f} GFLOP/s of a matrix product, {roof.bytes_s / 1e9:.1f} GB/s of a copy")
    for side in options.sizes:
        measure(side, options, roofs, results)
    results.write(options.out)


def measure(side: int, options: argparse.Namespace, roofs: dict[torch.dtype, Roof], results: Results) -> None:
    """Time all networks in all modes on images of one size."""
    pixels = options.pixels or (2**22 if options.device.startswith("cuda") else 2**18)
    count = max(2, pixels // side**2)
    built = networks(len(OPENKBP), width=options.width, results=results, asked=lambda name: wanted(name, options))
    ways: dict[str, Callable[[], None]] = {}
    facts: dict[str, tuple[Work, float, str, str]] = {}
    for name, build in built.items():
        for mode in options.modes:
            try:
                step = make_step(build(), count, side, mode=mode, device=options.device)
                # Counted eagerly: what is compiled cannot be looked into, and asks for the same operations.
                work = count_work(make_step(build(), count, side, mode=_eager(mode), device=options.device))
                step()
            except Exception as error:  # of compilers and of peers; the others go on
                results.leave_out(f"{name}, {mode}, {side}", f"{type(error).__name__}: {str(error).splitlines()[0]}")
                continue
            facts[f"{name}, {mode}"] = work, peak_mib(step, device=options.device), name, mode
            ways[f"{name}, {mode}"] = step
    wait = functools.partial(synchronise, options.device)
    turns = take_turns(ways, rounds=options.rounds, synchronise=wait, warm=False)  # all ran twice above
    rows = []
    for way, (work, peak, name, mode) in facts.items():
        seconds = turns[way].seconds(options.clock, options.pick)
        roof = roofs[torch.bfloat16 if "bf16" in mode else torch.float32]
        base = turns.get(f"smp.Unet, defaults, {mode}")
        rows.append(
            {
                "mode": mode,
                "network": name,
                "GFLOP an image": work.flops / count / 1e9,
                "images/s": count / seconds,
                "GFLOP/s": work.flops / seconds / 1e9,
                "of the roofline": roof.seconds(work) / seconds,
                "peak MiB": peak,
                "times smp.Unet": str(faster(turns[way], base, clock=options.clock, pick=options.pick)) if base else "",
            }
        )
    rows.sort(key=lambda row: (options.modes.index(row["mode"]), -row["GFLOP/s"]))
    results.add_table(f"{count} x {side} x {side}", rows)
    for mode in options.modes:
        add_headlines(f"{side} x {side}, {mode}", mode, facts, turns, options, results)


def add_headlines(
    where: str,
    mode: str,
    facts: dict[str, tuple[Work, float, str, str]],
    turns: dict[str, Turns],
    options: argparse.Namespace,
    results: Results,
) -> None:
    """Compare our networks with the fastest peer at equal FLOPs, and with smp.Unet as it comes."""

    def rate(way: str) -> float:
        return facts[way][0].flops / turns[way].seconds(options.clock, options.pick)

    ways = [way for way in facts if facts[way][3] == mode]
    peers = [way for way in ways if not facts[way][2].startswith(OURS)]
    for way in ways:
        if peers and way not in peers:
            best = max(peers, key=rate)
            results.add_headline(
                f"step, {where}: {facts[way][2]}, by FLOP/s",
                f"{rate(way) / 1e9:.0f} GFLOP/s",
                f"{facts[best][2]} {rate(best) / 1e9:.0f}",
                f"{rate(way) / rate(best):.2f}",
                aim="1.0",
            )
        if (smp := f"smp.Unet, defaults, {mode}") in turns and way not in peers:
            ratio = faster(turns[way], turns[smp], clock=options.clock, pick=options.pick)
            results.add_headline(f"step, {where}: {facts[way][2]}, by images/s", "", "smp.Unet", ratio, aim="1.3")


def make_step(network: nn.Module, count: int, side: int, *, mode: str, device: str) -> Callable[[], None]:
    """Return what trains a network once on random images."""
    layout = torch.contiguous_format if mode == "eager" else torch.channels_last
    network = network.to(device, memory_format=layout).train()
    image = torch.randn(count, 1, side, side, device=device).to(memory_format=layout)
    target = torch.rand(count, len(OPENKBP), side, side, device=device) < 0.02
    annotated = torch.ones(count, len(OPENKBP), dtype=torch.bool, device=device)
    loss_of = StagedLoss(DiceFocalLoss())
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    run: Callable[[Tensor], Any] = torch.compile(network, dynamic=False) if mode.startswith("compile") else network

    def precision() -> AbstractContextManager[Any]:
        return torch.autocast(device.partition(":")[0], torch.bfloat16) if "bf16" in mode else nullcontext()

    def step() -> None:
        optimizer.zero_grad()
        with precision():
            output = run(image)
            loss, _ = loss_of(output if isinstance(output, list | tuple) else [output], target, annotated)
        loss.backward()
        optimizer.step()

    return step


def _eager(mode: str) -> str:
    return {"compile": "channels-last", "compile-bf16": "bf16"}.get(mode, mode)


if __name__ == "__main__":
    main()
