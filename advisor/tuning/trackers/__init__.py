"""Where the trials of a study can be followed besides its own files: MLflow, TensorBoard, Weights & Biases, Trackio.

Each is an optional package, loaded only when asked for. One module per tracker implements
`advisor.tuning.trackers.contract.Tracker`; `tracking` listens to the events of a study and tells all of them.

Everything stays on this machine unless the environment says otherwise: see the tracker's own module.
"""
