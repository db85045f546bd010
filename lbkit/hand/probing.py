"""Asks the endpoint at a steady rate, as many clients would, while something else is going on."""

import threading
import time

from lbkit.hand import looking

MOST_S = 900  # a prober that nobody stops ends by itself
# More than are ever waiting, or a slow answer would lower the rate: rate × timeout is 25, and each of the
# steps of one question (connect, TLS, request, answer) may take the timeout.
WORKERS = 128

prober = None


class Prober:
    """Every `every_s` seconds a new connection and one question, however long the answers before take."""

    def __init__(self, question, every_s):
        self.question, self.every_s = question, every_s
        self.samples, self.stopped = [], threading.Event()
        self.free = threading.Semaphore(WORKERS)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        began = time.monotonic()
        for count in range(int(MOST_S / self.every_s)):
            if self.stopped.wait(max(0, began + count * self.every_s - time.monotonic())):
                return
            self.free.acquire()
            threading.Thread(target=self.sample, daemon=True).start()

    def sample(self):
        at = time.time()
        answer = looking.ask_once(self.question)
        self.samples.append((round(at, 4), answer["elapsed_ms"], answer["good"]))
        self.free.release()


def start(question, every_s):
    """A prober runs from now on."""
    global prober
    prober = Prober(question, every_s)
    return {}


def stop():
    """[(time of the question in s since 1970, ms until the answer, whether it was good)], in order."""
    prober.stopped.set()
    prober.thread.join()
    for _ in range(WORKERS):
        prober.free.acquire()  # every question has its answer
    return sorted(prober.samples)
