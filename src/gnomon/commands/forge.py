"""`gnomon forge` and `gnomon runs`: training models, and what became of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnomon import log
from gnomon.commands.common import Json, load
from gnomon.commands.forge_demo import demo
from gnomon.commands.models import tell_server
from gnomon.errors import ConfigError

if TYPE_CHECKING:
    from gnomon.models.registry import Registry
    from gnomon.train.judgement import Judgement, Measure

forge = typer.Typer(no_args_is_help=True, help="Train models on your own machines.")
Config = Annotated[Path, typer.Argument(help="TOML file of a run.")]
Thresholds = Annotated[
    Path | None,
    typer.Option("--gate", help="TOML file whose [gate] counts instead of the run's own."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    forge.command()(demo)
    app.add_typer(forge, name="forge")
    app.command("runs")(runs)


@forge.command()
def shapes() -> None:
    """List the model shapes that a configuration can name."""
    from gnomon.train.models.shape import presets

    for name, shape in presets().items():
        count, active = shape.parameters(), shape.parameters(active=True)
        sparse = f", {active / 1e6:,.0f}M active" if active != count else ""
        print(f"{name:<14}{shape.layout:<9}{count / 1e6:>12,.1f}M{sparse}")


@forge.command()
def check(
    config: Config,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes on this machine; default: machine.ep.")
    ] = 0,
) -> None:
    """Rehearse a run: two steps, a checkpoint saved and loaded, and how long it would take."""
    from gnomon.clock import SystemClock
    from gnomon.train.config import read_config
    from gnomon.train.need import installed, need

    read = read_config(config)
    need("torch", "tensorboard")
    log.configure(load().settings.log)
    from gnomon.train.rehearsal import rehearse

    found = rehearse(read, SystemClock(), workers)
    hours = found.run_s / 3600
    print(
        f"{config}: good. {found.parameters / 1e6:,.1f}M parameters; "
        f"{found.tokens:,} tokens, read {found.epochs:.2f} times.\n"
        f"Loss {found.first_loss:.4f}, then {found.loss:.4f}; a checkpoint came back as saved.\n"
        f"{found.tokens_per_s:,.0f} tokens/s with {found.workers} "
        f"{'worker' if found.workers == 1 else 'workers'}: the run would take {hours:,.1f} h.\n"
        f"For --launcher ray there is {installed('cluster')}."
    )


@forge.command()
def train(
    config: Config,
    name: Annotated[str, typer.Option(help="The run's name; default: the file's.")] = "",
    workers: Annotated[
        int, typer.Option(min=1, help="Processes on this machine; of Ray: at most so many.")
    ] = 1,
    launcher: Annotated[
        str, typer.Option(help="local; ray: on a cluster; slurm: write a batch script.")
    ] = "local",
    restart: Annotated[
        bool, typer.Option("--restart", help="Of local: go on by itself when a worker is killed.")
    ] = False,
    min_workers: Annotated[int, typer.Option(min=1, help="Of Ray: with fewer, the run waits.")] = 1,
    address: Annotated[
        str, typer.Option(help="Of the Ray cluster, or auto; default: RAY_ADDRESS, else its own.")
    ] = "",
    nodes: Annotated[int, typer.Option(min=1, help="Of the Slurm job.")] = 1,
    gpus_per_node: Annotated[int, typer.Option(min=1, help="Of the Slurm job.")] = 8,
    time: Annotated[str, typer.Option(help="Slurm's time limit; then it is queued again.")] = (
        "24:00:00"
    ),
    partition: Annotated[str, typer.Option(help="Slurm's partition.")] = "",
    submit: Annotated[bool, typer.Option("--submit", help="Hand the script to sbatch.")] = False,
) -> None:
    """Train a model, or go on where a run was stopped."""
    from gnomon.clock import SystemClock
    from gnomon.train.config import read_config
    from gnomon.train.need import need

    read = read_config(config)
    folder = _home() / (name or config.stem)
    if restart and launcher != "local":
        raise ConfigError(
            f"--restart is of local; {launcher} does so anyway.", hint="Leave it out."
        )
    if launcher == "slurm":
        _slurm(config, folder, nodes, gpus_per_node, time, partition, submit=submit)
        return
    if launcher not in ("local", "ray"):
        raise ConfigError(f"There is no launcher {launcher!r}.", hint="Name local, ray or slurm.")
    need("torch", "tensorboard")
    if launcher == "ray":
        need("ray", extra="cluster")
    log.configure(load().settings.log)
    if launcher == "local":
        read.micro(workers)  # what cannot be dealt is told once, and not by each worker
    if launcher == "ray":
        from gnomon.train.elastic import Group
        from gnomon.train.elastic import launch as on_cluster

        on_cluster(read, folder, Group(workers, min_workers, address))
    elif restart:
        from gnomon.train.restart import train_on

        train_on(read, folder, workers)
    elif workers > 1:
        from gnomon.train.launch import launch

        launch(config, folder, workers)
    else:
        from gnomon.train.loop import train as run
        from gnomon.train.watch import progress_line

        run(read, folder, SystemClock(), progress_line)
        if sys.stderr.isatty():
            sys.stderr.write("\n")
    print(f"{folder} is trained. See `gnomon runs {folder.name} --html report.html`.")


def _slurm(
    config: Path, folder: Path, nodes: int, gpus: int, time: str, partition: str, *, submit: bool
) -> None:
    from gnomon.train import slurm

    job = slurm.Job(nodes=nodes, gpus_per_node=gpus, time=time, partition=partition)
    script = slurm.write_script(job, config, folder)
    if submit:
        print(f"Slurm job {slurm.submit(script)} trains {folder.name}.")
    else:
        print(f"Wrote {script}. On the cluster's login node, run: sbatch {script}")


@forge.command()
def plan(
    config: Config,
    gpus: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many GPUs.")] = 8,
    device: Annotated[str, typer.Option(help="a100, h100, h200 or b200.")] = "h100",
    network: Annotated[
        float, typer.Option(min=1, help="Gbit/s of one GPU's network card.")
    ] = 400.0,
    batch: Annotated[
        int, typer.Option(min=0, help="Samples a step over all GPUs; default: data.batch.")
    ] = 0,
) -> None:
    """Reckon memory, communication, step time and goodput of a run on many GPUs."""
    from gnomon.train.config import read_config
    from gnomon.train.plan import DEVICES, Ask, told
    from gnomon.train.plan import plan as reckon

    read = read_config(config)
    if device not in DEVICES:
        raise ConfigError(
            f"There is no device {device!r}.",
            code="train.plan",
            hint=f"Name one of {', '.join(DEVICES)}.",
        )
    ask = Ask(
        shape=read.model,
        gpus=gpus,
        sequence=read.data.sequence,
        batch=batch or read.data.batch,
        micro=read.data.micro,
        ep=read.machine.ep,
        device=DEVICES[device],
        network_bytes_per_s=network * 1e9 / 8,
    )
    print(told(ask, reckon(ask)))


@forge.command()
def export(
    name: Annotated[str, typer.Argument(help="The run's name.")],
    to: Annotated[Path, typer.Argument(help="FILE.gguf, or a folder for Hugging Face files.")],
    kind: Annotated[
        str, typer.Option(help="f32, f16, bf16; for GGUF also q8_0. Default f16 or bf16.")
    ] = "",
) -> None:
    """Write a run's model as GGUF or safetensors, tokenizer included."""
    from gnomon.train.need import need

    need("torch", "gguf", "safetensors")
    from gnomon.train.export import DTYPES, load_run, read_run, to_hf, tokens_of
    from gnomon.train.gguf import KINDS, to_gguf

    gguf = to.suffix == ".gguf"
    known = KINDS if gguf else tuple(DTYPES)
    kind = kind or ("f16" if gguf else "bf16")
    if kind not in known:
        raise ConfigError(
            f"--kind {kind} is not known here.", hint=f"Name one of {', '.join(known)}."
        )
    folder = _home() / name
    model = load_run(folder)
    tokenizer, index = tokens_of(folder)
    if gguf:
        to_gguf(
            model,
            to,
            tokenizer=tokenizer,
            end_id=index.end_id,
            kind=kind,
            name=name,
            chat_template=read_run(folder).chat_template,
        )
    else:
        to_hf(model, to, tokenizer=tokenizer, end_id=index.end_id, dtype=kind)
    print(f"Wrote {to}.")


@forge.command("gate")
def judge(
    name: Annotated[str, typer.Argument(help="The run's name.")],
    kind: Annotated[
        str, typer.Option(help="f32, f16, bf16 or q8_0: what would be served.")
    ] = "f16",
    alone: Annotated[
        bool, typer.Option("--alone", help="Do not compare with the model that serves.")
    ] = False,
    thresholds: Thresholds = None,
) -> None:
    """Judge a run's model by its [gate], as it would be served; nothing is changed."""
    from gnomon.train import gate

    _, judgement = _judged(name, kind, thresholds, alone=alone)
    gate.refuse(name, judgement.checks)
    print(f"{name} passes its gate. `gnomon forge release {name}` lets it serve.")


@forge.command()
def release(
    name: Annotated[str, typer.Argument(help="The run's name.")],
    model: Annotated[str, typer.Option("--as", help="The model's name; default: the run's.")] = "",
    kind: Annotated[str, typer.Option(help="f32, f16, bf16 or q8_0.")] = "f16",
    alone: Annotated[
        bool, typer.Option("--alone", help="Do not compare with the model that serves.")
    ] = False,
    thresholds: Thresholds = None,
) -> None:
    """Export a run's model, judge it by its [gate], and let it serve if it passes."""
    file, judgement = _judged(name, kind, thresholds, alone=alone)
    from gnomon.train.release import release as let_serve

    entry = let_serve(_home() / name, file, judgement, model or name, _registry())
    tell_server(entry)
    print(f"{entry.id} serves. `gnomon models rollback` undoes that.")


def _judged(
    name: str, kind: str, thresholds: Path | None, *, alone: bool
) -> tuple[Path, Judgement]:
    from gnomon.train.need import need

    need("torch", "gguf")
    from gnomon.train import gate
    from gnomon.train.config import read_config
    from gnomon.train.gguf import KINDS
    from gnomon.train.release import export, judge

    if kind not in KINDS:
        raise ConfigError(
            f"--kind {kind} is not known here.", hint=f"Name one of {', '.join(KINDS)}."
        )
    run = _home() / name
    file = export(run, name=name, kind=kind)
    judgement = judge(
        run,
        file,
        None if alone else _registry(),
        thresholds=read_config(thresholds).gate if thresholds else None,
        tell=lambda text: print(text, file=sys.stderr, flush=True),
    )
    width = max(len(measure.name) for measure in judgement.measures)
    for measure in judgement.measures:
        print(f"{measure.name:<{width}}{measure.value:>11.3f}{_between(measure)}")
    for check in judgement.checks:
        print(f"{'passes' if check.passed else 'misses'}: {gate.shown(check)}")
    return file, judgement


def _between(measure: Measure) -> str:
    if measure.low is None or measure.high is None:
        return ""
    return f"   95 %: {measure.low:.3f} to {measure.high:.3f}, n = {measure.n:,}"


def _registry() -> Registry:
    from gnomon.clock import SystemClock
    from gnomon.models.registry import Registry

    return Registry(load().settings.home / "registry", SystemClock())


def runs(
    name: Annotated[str, typer.Argument(help="One run; all if none is named.")] = "",
    page: Annotated[Path | None, typer.Option("--html", help="Write its plots here.")] = None,
    as_json: Json = False,
) -> None:
    """List training runs, or write one's report."""
    import msgspec

    from gnomon.train.runs import list_runs, report

    found = [run for run in list_runs(_home()) if run.name == (name or run.name)]
    if name and not found:
        raise ConfigError(f"There is no run {name!r}.", hint="See `gnomon runs`.")
    if page is not None:
        if not name:
            raise ConfigError("A report is of one run.", hint="Write `gnomon runs NAME --html F`.")
        page.write_text(report(_home() / name))
        print(f"Wrote {page}.")
        return
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
        return
    if not found:
        print(f"No run yet in {_home()}. `gnomon forge train CONFIG` starts one.", file=sys.stderr)
    for run in found:
        loss = "-" if run.loss is None else f"{run.loss:.4f}"
        ended = "finished" if run.finished else ""
        print(
            f"{run.name:<20}{run.model:<18}{run.step:>8,}/{run.steps:<8,} loss {loss:<8} "
            f"{run.tokens_per_s:>10,.0f} tokens/s  MFU {run.mfu:.1%}  {ended}"
        )


def _home() -> Path:
    return load().settings.home / "runs"
