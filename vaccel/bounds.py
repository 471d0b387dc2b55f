"""The one table of bounds: whatever a peer can make this side allocate, queue or wait for.

Each bound says why it is what it is. Sizes are bytes, times are seconds.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

# --- messages -------------------------------------------------------------------------------
# gRPC refuses messages over 4 MiB by default, on either side and in any language: stay below.
MESSAGE_BYTES: Final = 4 * MIB
# One chunk of Write or Read. Large enough to amortise a call, small enough to interleave.
CHUNK_BYTES: Final = 1 * MIB
# Tensor bytes inside the commands of one Submit, or inside the completions of one Wait.
INLINE_BYTES: Final = 2 * MIB
# A name, a symbol, a path component: longer ones are an attack or a mistake.
NAME_BYTES: Final = 256
# Frames of the private link: a message and its envelope.
FRAME_BYTES: Final = MESSAGE_BYTES + 4 * KIB

# An error's message and hint. A status travels in HTTP/2 headers, where gRPC takes 8 KiB in all.
ERROR_BYTES: Final = 2 * KIB
HINT_BYTES: Final = 512

# --- compute --------------------------------------------------------------------------------
COMMANDS_PER_SUBMIT: Final = 1024
# Commands submitted to one stream and not completed yet.
COMMANDS_QUEUED: Final = 4096
# Completions kept until the client says that they arrived.
COMPLETIONS_KEPT: Final = 4096
CONTEXTS_PER_VF: Final = 64
# Contexts that a reset ended and whose owners have not noticed yet.
CONTEXTS_LOST: Final = 4096
STREAMS_PER_CONTEXT: Final = 64
BUFFERS_PER_CONTEXT: Final = 65_536
PROGRAMS_PER_CONTEXT: Final = 256
# Kernels that an app's device keeps compiled; programs that it loads itself have the rest.
KERNELS_KEPT: Final = 96
ARGUMENTS_PER_LAUNCH: Final = 4096
TENSOR_RANK: Final = 16
STRINGS_PER_VALUE: Final = 1 << 20
# Containers within containers: an optional sequence of maps has three.
VALUE_DEPTH: Final = 4
# Items of one sequence that travel, and of all sequences within it.
ITEMS_PER_VALUE: Final = 65_536
# Programs that nobody holds and that are kept in case somebody loads the same again, in each VF.
PROGRAMS_IDLE: Final = 8
PROGRAMS_IDLE_BYTES: Final = 256 * MIB
# A protobuf cannot hold more; larger models come with external data, inside the upload.
MODEL_BYTES: Final = 2 * GIB - 1
# Files of external data of one model. Some exporters write one for each weight. Their bytes are
# bounded by the VF's memory, in which they lie.
BLOBS_PER_MODEL: Final = 4096
# External data of tensors that have to be within the graph: constants, and types without a view.
BLOBS_INLINED_BYTES: Final = 256 * MIB
# Nodes of a model, subgraphs included: the largest public models have some tens of thousands.
MODEL_NODES: Final = 200_000
# Messages that a model's protobuf holds beside its weights: each is some hundred bytes of memory.
MODEL_MESSAGES: Final = 1_000_000
# The header of a program file: mostly a row for each large weight. Its JSON becomes some twenty
# times as much memory at worst.
PROGRAM_HEADER_BYTES: Final = 4 * MIB
# Graphs within graphs. Real models nest a handful; protobuf's own parser gives up at 32.
MODEL_DEPTH: Final = 24
# Node executions that one launch may make while its cost is found: a loop that runs on.
TRACE_NODES: Final = 200_000
# Profile of such a run, in a file of the worker's scratch folder: about 1 KiB a node.
TRACE_BYTES: Final = 512 * MIB
# Costs of a program kept, one for each combination of shapes and steering values.
PLANS_PER_PROGRAM: Final = 256
# Host memory of a worker's own beside the VF's device memory and its window.
WORKER_OVERHEAD_BYTES: Final = 256 * MIB

# --- window ---------------------------------------------------------------------------------
# Room for the header, a ring and a slab; and what a BAR can be mapped at with the usual PCI hole.
WINDOW_BYTES_LEAST: Final = 1 * MIB
WINDOW_BYTES_MOST: Final = 16 * GIB

# --- queues ---------------------------------------------------------------------------------
# A slab that nobody asked a size for: staging of ordinary models, eight apps in a usual window.
SLAB_BYTES: Final = 32 * MIB
# A larger window gives more: this part of what is free, for results that stay where they are.
SLAB_PART: Final = 4
SLAB_BYTES_MOST: Final = 128 * MIB
# The slab of a context whose app maps nothing: what the agent moves for it in one call, twice.
AGENT_SLAB_BYTES: Final = 4 * MIB
# A page: also the alignment of slabs, so that two apps share none.
SLAB_BYTES_LEAST: Final = 4 * KIB
# Every slab and every piece of one begins on a cache line.
SLAB_ALIGNMENT: Final = 64
# Room that a call leaves for its reply in the slab; larger replies are fetched over gRPC.
RING_REPLY_BYTES: Final = 256 * KIB
# Arguments of one call that lie in the slab; more than that is written to buffers first.
CALL_BYTES: Final = 64 * MIB
# A tensor of a call travels in its message up to here, and lies beside it from there on.
CALL_INLINE_BYTES: Final = 4 * KIB
# Room for a call's message, and for its reply.
CALL_MESSAGE_BYTES: Final = 64 * KIB
# Room for large results that a program's first call asks for; later ones ask for what it took.
CALL_ROOM_BYTES: Final = 256 * KIB
# Doorbells without a descriptor behind them, within a period, before the worker stops listening
# until its end: 256 scans of a few microseconds are a few percent of a core.
DOORBELLS_EMPTY: Final = 256
DOORBELL_PERIOD_SECONDS: Final = 0.1
# From a change until it is in the window's status page: ten writes of microseconds in a second.
STATUS_SECONDS: Final = 0.1
# Descriptors of one queue that are done before other queues and calls get their turn.
DESCRIPTORS_PER_TURN: Final = 64
# Recorded command buffers of a queue, each of at most COMMANDS_PER_SUBMIT commands. Their bytes are
# bounded by the VF's memory, in which they lie.
RECORDINGS_PER_QUEUE: Final = 64
# A worker looks at its rings so long after they had something, before it waits for a doorbell; at
# one go no longer than so, and only where it has few queue pairs to look at.
VIGIL_SECONDS: Final = 40e-6
VIGIL_MOST_SECONDS: Final = 2e-3
VIGIL_QUEUES: Final = 4
# Polling: how long to spin, then the shortest and the longest sleep.
SPIN_SECONDS: Final = 200e-6
POLL_FIRST_SECONDS: Final = 50e-6
POLL_LAST_SECONDS: Final = 4e-3
# A wait that is known to be long looks this often whether its queue still lives.
QUIET_LOOK_SECONDS: Final = 0.1
# Memory of large results that an app has let go of, kept for its next ones, and which are large.
RESULTS_KEPT_BYTES: Final = 64 * MIB
RESULTS_KEPT_LEAST: Final = 256 * KIB
# Results of a call from here on stay in the slab, as long as somebody holds them.
RESULTS_LENT_LEAST: Final = 256 * KIB
# What an app and a lender of windows say to each other is a line of JSON.
LENDING_BYTES: Final = 4 * KIB
# Apps of one guest or host that hold a window at once: every context of every VF.
LENDINGS: Final = 1024

# A program whose window is recalled lets go at once; one that has not by then is ended.
RECALL_APP_SECONDS: Final = 2.0
# The kernel closes a process's sockets a moment before it says that the process has ended.
DEATH_SECONDS: Final = 5.0
# Until the agent has taken all windows back, on a slow guest; then the device goes all the same.
RECALL_SECONDS: Final = 10.0
# The same where the operator insists: long enough for a guest that works.
RECALL_FORCED_SECONDS: Final = 2.0
# How long the slab of a context that a reset ended waits for its app to come back.
LEASE_GRACE_SECONDS: Final = 30.0

# Address space that a worker may ask for beyond its device memory: code, stacks, compilation.
WORKER_HEADROOM_BYTES: Final = 2 * GIB
# Descriptors of a worker: its three own, the daemon's connections, a profile's file.
WORKER_FILES: Final = 256
# Processes and threads of a worker's user; workers that share a user share the bound.
WORKER_THREADS: Final = 4096
# What the daemon tells the fork server about one worker: a header with its certificate, mostly.
WORKER_SPEC_BYTES: Final = 128 * KIB

# --- calls in flight ------------------------------------------------------------------------
CALLS_PER_PRINCIPAL: Final = 64
# Calls of models that an app's device has under way, each in a stream; more wait in the app.
CALLS_IN_FLIGHT: Final = 8
LINK_CALLS: Final = 256

# --- objects --------------------------------------------------------------------------------
VFS_PER_HOST: Final = 256
VMS_PER_HOST: Final = 64
# A pc machine has 32 slots on its bus; QEMU and the VM's own disks take the first dozen.
VFS_PER_VM: Final = 16
EXEC_OUTPUT_BYTES: Final = 16 * MIB
EXEC_STDIN_BYTES: Final = 1 * MIB
# A guest's root file system: sparse, so this is only what a recipe may claim by mistake.
IMAGE_ROOT_BYTES: Final = 64 * GIB
# The checkout's own packages in a guest are a few hundred kilobytes; more is a wrong folder.
IMAGE_LAYER_BYTES: Final = 64 * MIB
# A folder given to a guest is copied into a disk once: models and samples, not a whole home.
DATA_DISK_BYTES: Final = 8 * GIB
DATA_DISK_FILES: Final = 100_000
# A card file is a page or two of TOML; anything longer is another file.
CARD_FILE_BYTES: Final = 256 * KIB
# What a kind keeps of a VF's past beside its memory: the cells of a card's crossbars, at most.
DEVICE_STATE_BYTES: Final = 256 * MIB
# Bytes of a tensor on a card whose DRAM computes: more than any card holds.
PIM_BYTES: Final = 1 << 40
# Instructions of an AiM trace: 20 MB here, 32 times as much where every channel gets its own.
PIM_TRACE_INSTRUCTIONS: Final = 1 << 17
# Commands of an AiM program that are stepped through one by one: some 10 us each.
PIM_TRACE_COMMANDS: Final = 1 << 20
# Rows of banks that an AiM program may write where data is kept: 256 MiB.
PIM_MACHINE_ROWS: Final = 1 << 16
# A seed that the operator chooses for a VF: a word, or a number in full.
SEED_CHARACTERS: Final = 64
# Cells of an array whose wires are solved node by node: 256 x 256 take 5 s and 230 MB.
EXACT_WIRES_CELLS: Final = 256 * 256
# What is told of cells that remember: a dozen quantities, and a line for each thing that is wrong.
CONDITIONS: Final = 64
# The operator's clock of such a card: a century, in seconds.
CLOCK_SECONDS: Final = 100 * 365.25 * 86_400
# Quantities of a card that are shown and compared: a few dozen.
FIGURES_PER_CARD: Final = 128

# --- waits ----------------------------------------------------------------------------------
# Every call has a deadline; this is the one for a call that only looks something up.
CALL_SECONDS: Final = 10.0
# A deadline for a call that moves one message of data, over a slow emulated network.
DATA_SECONDS: Final = 60.0
# A deadline for a call that computes: compile, launch.
COMPUTE_SECONDS: Final = 600.0
# From when a launch is told to stop, as its context closed or its deadline is over, until its
# worker ends itself: a launch looks between two nodes, and one of a large model takes seconds.
STOP_SECONDS: Final = 10.0
WAIT_SECONDS: Final = 3600.0
ENROL_SECONDS: Final = 120.0
# An agent that enrolled shows its credential at once, and after the daemon's restart within its
# longest back-off and the guest's slowness.
CREDENTIAL_SECONDS: Final = 60.0
VM_BOOT_SECONDS: Final = 240.0
VM_STOP_SECONDS: Final = 30.0
IMAGE_BUILD_SECONDS: Final = 1800.0
# Images and layers used this lately are not pruned: another daemon may be about to open them.
IMAGE_KEPT_SECONDS: Final = 3600.0
# A program of the host that is told to end clears away what it mounted; then it is killed.
PROGRAM_STOP_SECONDS: Final = 10.0
# A wheel of some ten megabytes over a slow line.
DOWNLOAD_SECONDS: Final = 600.0
WORKER_START_SECONDS: Final = 30.0
WORKER_STOP_SECONDS: Final = 5.0
# How long a context outlives its broken connection, so that a daemon's restart loses nothing.
CONTEXT_GRACE_SECONDS: Final = 30.0
# How long one who closes a context waits for a server that restarts, so that it goes at once.
CLOSE_SECONDS: Final = 2.0
# Reconnecting: first and longest pause; full jitter between them.
BACKOFF_FIRST_SECONDS: Final = 0.05
BACKOFF_LAST_SECONDS: Final = 5.0
# A failed enrolment costs the guest this long, so that tokens cannot be guessed at speed.
ENROL_ATTEMPTS_PER_MINUTE: Final = 30

# --- VMs ------------------------------------------------------------------------------------
# QEMU's monitor answers in microseconds; a QEMU that needs this long hangs.
MONITOR_SECONDS: Final = 10.0
# From a QEMU's last word to the end of its process.
VM_END_SECONDS: Final = 1.0
# One question to the guest agent: a guest under TCG on a loaded host may take seconds.
GUEST_AGENT_SECONDS: Final = 30.0
# A guest polls for commands that end: quick ones are seen at once, long ones cost little.
EXEC_POLL_FIRST_SECONDS: Final = 0.003
EXEC_POLL_LAST_SECONDS: Final = 1.0
# A command line in a guest; the kernel's own limit for one argument.
EXEC_ARGUMENT_BYTES: Final = 128 * KIB
# A guest can lose an ACPI request while it boots: QEMU takes a repeated one after a second.
UNPLUG_REPEAT_SECONDS: Final = 2.0
# A guest that prints without end keeps between one and two of these on the host's disk.
CONSOLE_BYTES: Final = 4 * MIB
CONSOLE_CHECK_SECONDS: Final = 2.0
# A follower of the console sees a line this much later, at most.
CONSOLE_POLL_SECONDS: Final = 0.1
# Descriptors of a QEMU. Every connection of a guest to the host holds one, and one process.
VM_DESCRIPTORS: Final = 512
# A virtual CPU that works answers the probe in milliseconds.
PROBE_SECONDS: Final = 5.0

# --- agent ----------------------------------------------------------------------------------
# The kernel's uevents fit into a page (UEVENT_BUFFER_SIZE is 2048).
UEVENT_BYTES: Final = 4 * KIB
# Events find a VF at once; this finds what a lost event left.
PCI_RESCAN_SECONDS: Final = 5.0
# What an agent keeps per VF on its disk.
CREDENTIAL_BYTES: Final = 4 * KIB
# An app's call outlasts a host that is away this long: shorter than CALL_SECONDS, so that the app
# gets the reason and not a bare timeout.
RETRY_SECONDS: Final = 8.0
# Calls and context streams of all apps of a guest: every context of every VF, and as many calls.
AGENT_CALLS: Final = 2 * VFS_PER_VM * CONTEXTS_PER_VF
# How long calls under way may finish when the agent is told to end.
AGENT_STOP_SECONDS: Final = 1.0

# --- store ----------------------------------------------------------------------------------
# Lines of the audit log that are kept: about 20 MB, months of an ordinary host.
AUDIT_RECORDS: Final = 100_000
# Another thread's transaction takes milliseconds; a disk that takes longer than this is broken.
STORE_BUSY_SECONDS: Final = 5.0
# What an emulator needs beside the guest's memory: translation cache, device models, its own heap.
VM_OVERHEAD_BYTES: Final = 256 * MIB
