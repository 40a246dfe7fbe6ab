"""How worker processes start and end."""

import multiprocessing
import os
import threading

import pytest

from knowable.cluster.processes import START_METHOD, exit_codes_read_once


@pytest.mark.skipif(START_METHOD != "forkserver", reason="elsewhere the exit code comes from the kernel")
def test_an_exit_code_that_many_threads_wait_for_reaches_all_of_them():
    context = multiprocessing.get_context("forkserver")
    with exit_codes_read_once():
        for _ in range(20):
            process = context.Process(target=os._exit, args=(3,))
            process.start()
            seen = []

            def look(popen=process._popen, seen=seen):
                while (code := popen.poll()) is None:
                    pass
                seen.append(code)

            threads = [threading.Thread(target=look) for _ in range(3)]
            for thread in threads:
                thread.start()
            process.join(timeout=30)
            for thread in threads:
                thread.join()
            assert (process.exitcode, seen) == (3, [3, 3, 3])
