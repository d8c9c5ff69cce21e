"""How the processes of one machine end."""

from __future__ import annotations

import multiprocessing

from local import worker


def test_a_worker_ends_with_its_parent_at_once() -> None:
    """A process whose parent has died ends at once, whatever it is at, with what it has open."""
    fork = multiprocessing.get_context("fork")
    lifeline, parents = fork.Pipe(duplex=False)
    begun, begin = fork.Pipe(duplex=False)

    def work() -> None:
        parents.close()
        worker.end_with_parent(lifeline)
        begin.send("begun")
        while True:  # its event loop gets no turn
            sum(range(1_000))

    process = fork.Process(target=work, daemon=True)
    process.start()
    try:
        assert begun.recv() == "begun"
        assert process.is_alive()
        parents.close()
        process.join(10)
        assert process.exitcode == 1
    finally:
        process.kill()
        process.join()
