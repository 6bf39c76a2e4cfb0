"""Jobs in worker processes, each as soon as what it needs is there; lines come back by a queue."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.managers import SyncManager
from threading import Thread
from typing import Any

import torch

from .work import Job, Limits, Line

_queue: Any = None  # of a worker, for the lines of its runs


def run(
    jobs: list[Job],
    lines: Callable[[Job], dict[Job, list[Line]]],
    limits: Callable[[Job], Limits],
    processes: int,
    keep: Callable[[Job, Line], None],
    remaining: Callable[..., Iterator[Line]],
    needed: Callable[[Job], Any],
) -> None:
    """Run what is missing of the jobs, several at a time; `schedule.run` explains the arguments.

    Args:
        jobs: What is run.
        lines: The lines that there are, of the file of a job.
        limits: The limits of a job.
        processes: How many run at a time.
        keep: Takes each line as it comes.
        remaining: Yields a job's missing lines.
        needed: What a job needs of others, or None if it has to wait.
    """
    forks = "forkserver" in get_all_start_methods()
    context = get_context("forkserver" if forks else "spawn")
    if forks:  # torch is imported once
        context.set_forkserver_preload([f"{__package__}.work"])
    manager = SyncManager(ctx=context)
    manager.start(_end_with_main)
    queue = manager.Queue()
    waiting, running = [*jobs], {}
    with ProcessPoolExecutor(processes, context, _start, (queue,)) as pool:
        try:
            while waiting or running:
                while not queue.empty():
                    keep(*queue.get())
                for job in [*waiting]:
                    teacher = Job(job.dataset, job.setting, job.teacher, is_teacher=True)
                    if len(running) == processes or teacher in [*waiting, *running.values()]:
                        continue  # its students need not train it again
                    if (found := needed(job)) is not None:
                        waiting.remove(job)
                        given = (job, lines(job)[job], found, limits(job))
                        mine = pool.submit(_work, remaining, *given)
                        running[mine] = job
                for finished in wait(running, 0.5, FIRST_COMPLETED).done:
                    finished.result()
                    while not queue.empty():
                        keep(*queue.get())
                    del running[finished]
        except BaseException:
            for process in pool._processes.values():
                process.terminate()
            raise


def _start(queue: Any) -> None:
    global _queue
    _queue = queue
    _end_with_main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends its workers
    torch.set_num_threads(1)


def _end_with_main() -> None:
    """End this process when the main one is gone, even if it was killed."""

    def end() -> None:
        parent_process().join()
        os._exit(1)

    Thread(target=end, daemon=True).start()


def _work(
    remaining: Callable[..., Iterator[Line]],
    job: Job,
    lines: list[Line],
    needed: Any,
    limits: Limits,
) -> None:
    for line in remaining(job, lines, needed, limits):
        _queue.put((job, line))
