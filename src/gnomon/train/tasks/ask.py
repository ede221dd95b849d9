"""Tasks by name, from lm-eval or from a folder of one's own, and the figures of a model in them.

Data sets are read from this disk, or the task is refused: the libraries that read them are told
that there is no network. Code that a task brings along runs as it is. Needs PyTorch and lm-eval.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnomon.errors import ConfigError
from gnomon.train.judgement import Measure
from gnomon.train.need import need

if TYPE_CHECKING:
    from gnomon.train.evaluate import Subject

_DRAWS = 1_000
"""Of the bootstrap, where a figure is no mean."""
_SWITCHES = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class TaskFigure:
    """One figure of a model in a task."""

    task: str
    metric: str
    """lm-eval's word for it; with its filter where there is more than the plain one."""
    measure: Measure
    higher_is_better: bool
    shots: int
    version: str
    """Of the task's definition."""
    items: NDArray[np.float64] | None = field(default=None, repr=False)
    """What each question gave, where the figure is their mean."""

    @property
    def case(self) -> str:
        """The task as tables name it."""
        shots = f", {self.shots} shot{'s' * (self.shots != 1)}" if self.shots else ""
        return f"{self.task}{shots}"


def ready(names: Sequence[str], include: Path | None = None) -> dict[str, Any]:
    """lm-eval's tasks of these names, with their data. Raises ConfigError for one that is not here.

    `include` is a folder of task definitions, which go before lm-eval's of the same name; what
    they and lm-eval's read by a relative path is looked for in it first.
    """
    need("lm_eval", extra="lm-eval")
    if include is not None and not include.is_dir():
        raise ConfigError(
            f"{include} is no folder.",
            code="eval.include",
            hint="Name a folder with task definitions (*.yaml).",
        )
    _offline()
    from lm_eval.tasks import TaskManager

    folder = include.resolve() if include else None
    try:
        manager: Any = TaskManager(include_path=folder, include_defaults=False)
        if any(name not in manager.all_tasks for name in names):
            manager = TaskManager(include_path=folder)  # slower: lm-eval has 15,000
    except Exception as error:  # whatever a file of the folder makes lm-eval say
        raise ConfigError(
            f"The tasks of {include or 'lm-eval'} cannot be read: {error}.", code="eval.task"
        ) from error
    found: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
    for name in dict.fromkeys(names):
        with contextlib.chdir(folder or Path.cwd()):
            loaded = _loaded(manager, name)
        for part, kept in found.items():
            kept.update(loaded.get(part) or {})
    return found


def ask(
    subject: Subject,
    tasks: dict[str, Any],
    *,
    limit: int | None = None,
    shots: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[TaskFigure, ...]:
    """The figures of a model in tasks that are `ready`, at most `limit` questions of each.

    `shots` worked examples stand before a question; None: as many as each task says.
    """
    from lm_eval.evaluator import evaluate

    from gnomon.train.tasks.adapter import Asked, refuse_drawing

    for name, task in tasks["tasks"].items():
        refuse_drawing(task.get_config("generation_kwargs") or {}, name)
        own = task.get_config("num_fewshot")
        task.set_config(key="num_fewshot", value=(own or 0) if shots is None else shots)
        task.set_fewshot_seed(seed=0)
    try:
        said: Any = evaluate(
            Asked(subject, tell), tasks, limit=limit, bootstrap_iters=_DRAWS, log_samples=True
        )
    except ConfigError:
        raise
    except Exception as error:  # whatever a task's own code raises
        names = ", ".join(tasks["tasks"])
        raise ConfigError(
            f"lm-eval cannot ask {subject.name} the tasks {names}: {error}.",
            code="eval.task",
            hint="Ask them one by one to find out which; its definition may need another form.",
        ) from error
    return tuple(figure for name in said["results"] for figure in _figures(name, said))


def setup(figures: Sequence[TaskFigure], limit: int | None) -> dict[str, Any]:
    """What two results must have in common to be compared."""
    asked = {f.task: f"version {f.version}, {f.shots} shots" for f in figures}
    return {"lm_eval": version("lm_eval"), "tasks": asked, "limit": limit}


def _loaded(manager: Any, name: str) -> dict[str, Any]:
    if name not in manager.all_tasks:
        near = difflib.get_close_matches(name, manager.all_tasks, 3)
        raise ConfigError(
            f"There is no task {name!r}.",
            code="eval.task",
            hint=f"Did you mean {' or '.join(near)}?"
            if near
            else "lm-eval lists its tasks with `lm-eval ls tasks`; your own need --include DIR.",
        )
    try:
        loaded: dict[str, Any] = manager.load([name])
    except (ConfigError, KeyboardInterrupt):
        raise
    except OSError as error:  # what datasets and the hub raise offline, and what open() does
        raise _absent(manager, name, error) from error
    except Exception as error:
        raise ConfigError(
            f"The task {name} cannot be read: {error}.",
            code="eval.task",
            hint="Correct its definition and its data.",
        ) from error
    return loaded


def _absent(manager: Any, name: str, error: OSError) -> ConfigError:
    """What to say of a task whose data are not here."""
    said = dict(manager.task_index[name].cfg or {})
    dataset = str(said.get("dataset_path") or "")
    if dataset in ("json", "csv", "parquet", "text", "arrow"):
        return ConfigError(
            f"The data of the task {name} cannot be read: {error}.",
            code="eval.task_data",
            hint="Its data_files are relative to the folder that --include names.",
        )
    what = f" ({dataset})" if dataset else ""
    return ConfigError(
        f"The data of the task {name}{what} are not on this disk, and nothing is fetched.",
        code="eval.task_data",
        hint=f"Put the data set into DIR/{dataset or 'OWNER/NAME'} and name the folder: "
        "--include DIR. docs/how-to/ask-a-model-tasks.md says how.",
        reason=str(error),
    )


def _figures(name: str, said: dict[str, Any]) -> Iterator[TaskFigure]:
    results = said["results"][name]
    samples = (said.get("samples") or {}).get(name, [])
    counts = said["n-samples"].get(name, {})
    for key, value in results.items():
        metric, comma, kept_by = key.partition(",")
        if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        items = _items(samples, metric, kept_by, value)
        low, high = _interval(float(value), results.get(f"{metric}_stderr,{kept_by}"), items)
        plain = metric if kept_by == "none" else f"{metric},{kept_by}"
        yield TaskFigure(
            task=name,
            metric=plain,
            measure=Measure(
                name=f"{name}.{plain}",
                value=float(value),
                low=low,
                high=high,
                n=int(counts.get("effective", 0)),
            ),
            higher_is_better=said["higher_is_better"].get(name, {}).get(metric) is not False,
            shots=int(said["n-shot"].get(name) or 0),
            version=str(said["versions"].get(name, "")),
            items=items,
        )


def _interval(
    value: float, error: Any, items: NDArray[np.float64] | None
) -> tuple[float | None, float | None]:
    """95 %: of right and wrong answers Wilson's, which stays within 0 and 1; else ±1.96 errors."""
    if items is not None and set(np.unique(items)) <= {0.0, 1.0}:
        n, z = len(items), 1.96
        middle = (value + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(value * (1 - value) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
        return max(0.0, middle - half), min(1.0, middle + half)
    if isinstance(error, int | float) and math.isfinite(error):
        return value - 1.96 * error, value + 1.96 * error
    return None, None


def _items(
    samples: Sequence[dict[str, Any]], metric: str, kept_by: str, value: float
) -> NDArray[np.float64] | None:
    found = [s[metric] for s in samples if s["filter"] == kept_by and metric in s]
    if not found or not all(isinstance(part, int | float) for part in found):
        return None
    items = np.array(found, float)
    return items if math.isclose(items.mean(), value, rel_tol=1e-9, abs_tol=1e-12) else None


def _offline() -> None:
    """Keep lm-eval's libraries from fetching anything, and from talking of progress.

    They read the environment when they are first imported, and their own switches afterwards.
    """
    os.environ.update(_SWITCHES)
    import datasets
    import huggingface_hub.constants

    datasets.config.HF_HUB_OFFLINE = True
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
