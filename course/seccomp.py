"""System calls that student code has no use for, refused by the kernel: a filter for bubblewrap.

Files, processes and network are closed off by the room itself. What is left are calls by which a
process could take memory that nobody counts, make itself a room of its own with other rights, look
into other processes, or reach parts of the kernel that have often been broken.
"""

import errno
import platform
import struct

# Numbers on x86_64 and on aarch64.
REFUSED = {
    # memory without a process that it is counted for
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "io_uring_setup": (425, 425),
    # new namespaces, in which a process is root; for clone see below
    "unshare": (272, 97),
    "setns": (308, 268),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    # keys of whoever grades
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    # the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
}
CLONE, CLONE3 = (56, 220), (435, 435)
NEW_NAMESPACES = 0x7E02_0000  # flags of clone
MACHINES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}  # AUDIT_ARCH_*

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
CALL, MACHINE, FIRST_ARGUMENT = 0, 4, 16  # places in struct seccomp_data
ALLOW = 0x7FFF_0000


def _refuse(error: int) -> tuple[int, int, int, int]:
    return RETURN, 0, 0, 0x0005_0000 | error


def program() -> bytes:
    """The filter as the kernel takes it; nothing for a machine whose numbers are not known here."""
    if platform.machine() not in MACHINES:
        return b""
    which = list(MACHINES).index(platform.machine())
    no = _refuse(errno.EPERM)
    # Each step: what to do, how many steps to skip if so, how many if not, a number.
    steps = [(LOAD, 0, 0, MACHINE), (EQUAL, 1, 0, MACHINES[platform.machine()]), no]
    steps += [(LOAD, 0, 0, CALL), (AT_LEAST, 0, 1, 0x4000_0000), no]  # x86 has a second table
    for numbers in REFUSED.values():
        steps += [(EQUAL, 0, 1, numbers[which]), no]
    # The C library falls back from clone3, whose flags a filter cannot see, to clone.
    steps += [(EQUAL, 0, 1, CLONE3[which]), _refuse(errno.ENOSYS)]
    steps += [(EQUAL, 0, 3, CLONE[which]), (LOAD, 0, 0, FIRST_ARGUMENT)]
    steps += [(ANY_BIT, 0, 1, NEW_NAMESPACES), no, (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
