"""Workers: the trials of one study trained by several processes, each with its own device and resident base model.

`WorkerPool` is a `TrialRunner` over workers, so the search, the finals and everything that is kept on disk are the same
as with one. A worker is this process (`in_process.InProcessWorker`), another one (`process.ProcessWorker`), or an actor
in a Ray cluster (`ray_worker.RayWorker`).
"""
