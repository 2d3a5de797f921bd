#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""confined.py [--keep PATH] UNIT DIR UID GID PROGRAM ARGUMENT…: a program under a unit's restrictions.

What systemd would do for the service, read from the unit file itself and done by mount(8),
setpriv(1) and libseccomp: mount namespace, capabilities, no new privileges, system calls,
address families. DIR/bpf, DIR/conf, DIR/state and DIR/run become the bpffs, /etc/gate25,
/var/lib/gate25 and /run/gate25; PATH is one more directory that may be written. A directive
that is not known here ends it with a sentence.
"""

import ctypes
import errno
import os
import subprocess
import sys

# About when and what to start, or of no meaning for a process that lives as long as a test.
OTHER = {"Type", "NotifyAccess", "ExecStartPre", "ExecStart", "ExecReload", "Restart", "RestartSec",
         "TimeoutStartSec", "WatchdogSec", "KillMode", "User", "Group", "SystemCallErrorNumber",
         "StateDirectoryMode", "RuntimeDirectoryMode", "RemoveIPC", "KeyringMode", "LimitNOFILE"}
# Take calls or capabilities away that the two lists of the unit do not give in the first place.
COVERED = {"ProtectClock", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
           "ProtectControlGroups", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
           "SystemCallArchitectures"}
DONE = {"AmbientCapabilities", "CapabilityBoundingSet", "NoNewPrivileges", "UMask",
        "ConfigurationDirectory", "StateDirectory", "RuntimeDirectory", "TemporaryFileSystem",
        "BindPaths", "BindReadOnlyPaths", "ReadWritePaths", "ProtectSystem", "ProtectHome", "PrivateTmp",
        "PrivateDevices", "ProtectKernelTunables", "ProtectProc", "RestrictAddressFamilies",
        "RestrictNamespaces", "MemoryDenyWriteExecute", "SystemCallFilter"}

# Where ProtectKernelTunables= mounts something itself; a file system that the unit wants there
# is left out without a word.
OF_SYSTEMD = {"/sys", "/sys/fs/bpf", "/sys/kernel/debug", "/sys/kernel/tracing"}

HERE = "/run/confined"  # what the second half needs, inside
CLONE_NEWNS = 0x00020000
CLONE_ANY_NAMESPACE = 0x7e020000
PROT_WRITE, PROT_EXEC = 2, 4
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
ALLOW, REFUSE = 0x7fff0000, 0x00050000 | errno.EPERM
EQUAL, MASKED_EQUAL = 4, 7


def read_unit(path):
    """{directive: [values]} of [Service]."""
    found, section = {}, None
    with open(path) as f:
        for line in map(str.strip, f):
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line and line[0] not in "#;":
                key, value = line.split("=", 1)
                found.setdefault(key, []).append(value)
    unknown = set(found) - OTHER - COVERED - DONE
    if unknown:
        sys.exit(f"confined.py: does not know {', '.join(sorted(unknown))} of {path}")
    for key in ("PrivateTmp", "PrivateDevices", "ProtectHome", "ProtectKernelTunables",
                "NoNewPrivileges", "RestrictNamespaces", "MemoryDenyWriteExecute"):
        if found[key] != ["yes"]:
            sys.exit(f"confined.py: knows no other {key} than yes")
    for value in found["TemporaryFileSystem"]:
        if value.split(":")[0] in OF_SYSTEMD:
            sys.exit(f"confined.py: systemd does not mount {value} beside ProtectKernelTunables=")
    return found


# ---- mounts

def mount(*words):
    subprocess.run(["mount", *words], check=True)


def bind(source, target, how="--bind"):
    os.makedirs(target, exist_ok=True)
    mount(how, source, target)


def tmpfs(where, mode="0755"):
    mount("-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", where)


def service_directories(unit, home):
    tmpfs("/run")
    bind(f"{home}/run", f"/run/{unit['RuntimeDirectory'][0]}")
    tmpfs("/var/lib")
    bind(f"{home}/state", f"/var/lib/{unit['StateDirectory'][0]}")
    # not all or nothing: somebody may be installing a package
    subprocess.run(["cp", "-a", "/etc", "/run/etc"], check=False)
    mount("--bind", "/run/etc", "/etc")
    bind(f"{home}/conf", f"/etc/{unit['ConfigurationDirectory'][0]}")


def devices():
    os.mkdir("/run/dev")
    for node in ("null", "zero", "full", "random", "urandom"):
        with open(f"/run/dev/{node}", "w"):
            pass
        mount("--bind", f"/dev/{node}", f"/run/dev/{node}")
    mount("--rbind", "/run/dev", "/dev")


def read_only_but(writable, keep):
    with open("/proc/self/mountinfo") as f:
        points = [line.split()[4] for line in f]
    for point in points:
        if point not in writable and not (keep and f"{point}/".startswith(f"{keep}/")):
            subprocess.run(["mount", "-o", "remount,bind,ro", point], check=False,
                           stderr=subprocess.DEVNULL)


def arrange(unit, home, keep, brought):
    """The file system as the service sees it, and what is brought along: {name: bytes}."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNS):
        sys.exit("confined.py: no mount namespace")
    mount("--make-rslave", "/")
    tmpfs("/mnt")  # stays in reach when /tmp does not
    bind(home, "/mnt/home", "--rbind")
    if keep:
        bind(keep, "/mnt/keep", "--rbind")
    for number, path in enumerate(unit["BindReadOnlyPaths"]):
        bind(path, f"/mnt/read-only-{number}", "--rbind")
    service_directories(unit, "/mnt/home")
    for name, content in brought.items():
        os.makedirs(HERE, exist_ok=True)
        with open(f"{HERE}/{name}", "wb") as f:
            f.write(content)
        os.chmod(f"{HERE}/{name}", 0o755)
    tmpfs(unit["TemporaryFileSystem"][0].split(":")[0])
    for path in unit["BindPaths"]:
        bind("/mnt/home/bpf", path)
    for number, path in enumerate(unit["BindReadOnlyPaths"]):
        bind(f"/mnt/read-only-{number}", path, "--rbind")
    for path in ("/tmp", "/var/tmp"):
        tmpfs(path, "1777")
    for path in ("/home", "/root"):
        tmpfs(path, "0000")
    devices()
    if keep:
        bind("/mnt/keep", keep, "--rbind")
    subprocess.run(["umount", "-l", "/mnt"], check=True)
    mount("-t", "proc", "-o", f"hidepid={unit['ProtectProc'][0]}", "proc", "/proc")
    mount("--bind", "/proc/sys", "/proc/sys")
    if unit["ProtectSystem"] != ["strict"]:
        sys.exit("confined.py: knows no other ProtectSystem than strict")
    read_only_but({f"/run/{unit['RuntimeDirectory'][0]}", f"/var/lib/{unit['StateDirectory'][0]}",
                   "/tmp", "/var/tmp", "/proc", *unit["ReadWritePaths"]}, keep)


# ---- system calls

def call_names(words):
    """Names in a list of calls and @groups, as systemd-analyze knows them."""
    names = set()
    for word in words:
        if not word.startswith("@"):
            names.add(word)
            continue
        text = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", word],
                              check=True, stdout=subprocess.PIPE, text=True).stdout
        entries = [line.strip() for line in text.splitlines()[1:]]
        names |= call_names(e for e in entries if e and not e.startswith("#"))
    return names


def allowed_calls(unit):
    """As systemd.exec(5) has it: what comes first makes it a list of what is allowed."""
    allowed = call_names(["@default"])
    for line in unit["SystemCallFilter"]:
        if line.startswith("~"):
            allowed -= call_names(line[1:].split())
        else:
            allowed |= call_names(line.split())
    return allowed | {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn"}


class Compare(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("how", ctypes.c_int), ("a", ctypes.c_uint64),
                ("b", ctypes.c_uint64)]


class Filter:
    def __init__(self):
        self.lib = ctypes.CDLL("libseccomp.so.2")
        self.lib.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.lib.seccomp_init(ctypes.c_uint32(REFUSE)))

    def allow(self, name, *compares):
        number = self.lib.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return  # another architecture's
        code = self.lib.seccomp_rule_add_array(self.context, ctypes.c_uint32(ALLOW), number,
                                               len(compares),
                                               (Compare * max(len(compares), 1))(*compares))
        if code:
            sys.exit(f"confined.py: no rule for {name}: {os.strerror(-code)}")

    def load(self):
        code = self.lib.seccomp_load(self.context)
        if code:
            sys.exit(f"confined.py: no filter: {os.strerror(-code)}")


def filter_calls(unit, names):
    by_argument = {"socket", "clone", "clone3", "mmap", "mprotect", "unshare", "setns"}
    rules = Filter()
    for name in sorted(names - by_argument):
        rules.allow(name)
    for family in unit["RestrictAddressFamilies"][0].split():
        rules.allow("socket", Compare(0, EQUAL, FAMILIES[family], 0))
    rules.allow("clone", Compare(0, MASKED_EQUAL, CLONE_ANY_NAMESPACE, 0))
    rules.allow("mmap", Compare(2, MASKED_EQUAL, PROT_EXEC, 0))
    rules.allow("mmap", Compare(2, MASKED_EQUAL, PROT_WRITE | PROT_EXEC, PROT_EXEC))
    rules.allow("mprotect", Compare(2, MASKED_EQUAL, PROT_EXEC, 0))
    rules.load()


# ---- both halves

def main():
    words, keep = sys.argv[1:], None
    if words[0] == "--keep":
        keep = words[1]
        del words[:2]
    path, home, uid, gid, program, *arguments = words
    unit = read_unit(path)
    brought = {}
    for name, source in (("unit", path), ("program", program), ("confined.py", __file__)):
        with open(source, "rb") as f:
            brought[name] = f.read()
    brought["calls"] = "\n".join(sorted(allowed_calls(unit))).encode()
    arrange(unit, home, keep, brought)
    if unit["CapabilityBoundingSet"] != unit["AmbientCapabilities"]:
        sys.exit("confined.py: the bounding set differs from the ambient set")
    kept = ["-all"] + [c.lower().replace("cap_", "+")
                       for c in unit["CapabilityBoundingSet"][0].split()]
    if "ASAN_OPTIONS" in os.environ:  # who may trace nobody cannot look for leaks at the end
        os.environ["ASAN_OPTIONS"] += ":detect_leaks=0:log_path=stderr"
    os.umask(int(unit["UMask"][0], 8))
    os.chdir("/")
    os.execvp("setpriv", ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
                          f"--bounding-set={','.join(kept)}", f"--inh-caps={','.join(kept)}",
                          f"--ambient-caps={','.join(kept)}", "--no-new-privs",
                          sys.executable, "-B", f"{HERE}/confined.py", "--inside", *arguments])


def inside():
    with open(f"{HERE}/calls") as f:
        names = set(f.read().split())
    filter_calls(read_unit(f"{HERE}/unit"), names)
    os.execv(f"{HERE}/program", ["gate25d", *sys.argv[2:]])


if sys.argv[1] == "--inside":
    inside()
else:
    main()
