"""What one generated program may use up."""

from dataclasses import dataclass, fields

from advisor.errors import InputError

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one program with all processes it starts, where not said otherwise.

    Attributes:
        cpu_s: Processor time of each process, whole seconds. The limit that busy machines do not change: keep `wall_s`
            well above it.
        wall_s: Time from its start.
        memory_bytes: Private memory of each process (enforced by the kernel) and of all together (watched about twenty
            times a second, the memory of an interpreter on top).
        n_processes: Processes and threads at a time; without namespaces, beside those that the same user already has.
        n_open_files: Open files of each process.
        file_bytes: Length of one file.
        disk_bytes: All files together, where the sandbox has a file system of its own.
        output_bytes: What it may write to standard output, and again to standard error.
    """

    cpu_s: int = 10
    wall_s: float = 40.0
    memory_bytes: int = 512 * MIB
    n_processes: int = 32
    n_open_files: int = 64
    file_bytes: int = 16 * MIB
    disk_bytes: int = 64 * MIB
    output_bytes: int = MIB // 4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise InputError(f"limit {field.name} must be above 0, is {value}")
        if self.cpu_s != int(self.cpu_s):
            raise InputError(f"limit cpu_s is counted in whole seconds, is {self.cpu_s}")
        if self.memory_bytes < 32 * MIB:
            raise InputError(f"limit memory_bytes must be at least 32 MiB for an interpreter, is {self.memory_bytes}")
