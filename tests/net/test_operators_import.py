#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""vm import and the hooks, on definitions as libvirt, Nova and Proxmox VE write them."""

import os
import socket
import stat
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import harness
from harness import cases
from lab import NOBODY, READERS, SERVER4, TOP

GUESTS = os.path.join(TOP, "tests/guests")
LIBVIRT, STATUS, PVE = (os.path.join(GUESTS, d) for d in ("libvirt", "status", "pve"))
HOOKS = os.path.join(TOP, "tools/hooks")


def vm(lab, name):
    shown = lab.show(f"vm:{name}")
    return ([p["name"] for p in shown["ports"]], shown["macs"], shown["ips"], shown["tenant"])


WANTED = {
    "web1": (["vnet1"], ["52:54:00:25:00:01"], ["10.25.0.11", "2001:db8:25::11"], None),
    "gateway": (["vnet8", "macvtap0"], ["52:54:00:77:00:01", "52:54:00:77:00:02"], [], None),
    "instance-0000002a": (["tapd2c7a1b4-9e"], ["fa:16:3e:9b:0c:12"],
                          ["10.25.0.12", "2001:db8:25::12"], "c0ffee4a6c0d1e4f7a9b3c5d7e9f1a2b"),
    "101": (["tap101i0", "tap101i1"], ["bc:24:11:2a:00:01", "bc:24:11:2a:00:02"],
            ["203.0.113.5", "2001:db8:1::5"], None),
    "201": (["veth201i0", "veth201i1"], ["bc:24:11:2a:00:05", "bc:24:11:2a:00:06"],
            ["203.0.113.6"], None),
}


def test_import_registers_what_the_definitions_say(lab):
    dry = lab.json("vm", "import", "libvirt", "--from", LIBVIRT, "--dry-run")
    assert dry["applied"] is False and len(dry["changes"]) == 3 and lab.json("vm", "list")["vms"] == []
    done = lab.json("vm", "import", "libvirt", "--from", LIBVIRT)
    assert done["applied"] is True and done["changes"] == dry["changes"]
    lab.cli("vm", "import", "proxmox", "--from", PVE)
    assert {v["subject"] for v in lab.json("vm", "list")["vms"]} == {f"vm:{n}" for n in WANTED}
    for name, wanted in WANTED.items():
        assert vm(lab, name) == wanted, name
    skipped = {s["name"]: s["message"] for s in done["skipped"]}
    assert "vhostuser" in skipped["gateway"] and "no device" in skipped["stopped"], skipped


def test_import_again_changes_only_what_differs(lab):
    lab.cli("vm", "import", "libvirt", "--from", LIBVIRT, "web1")
    lab.cli("vm", "set", "web1", "--ip", "10.25.0.99", "--tenant", "acme", "--port", "vnet7")
    lab.cli("block", "vm:web1")
    text = lab.cli("vm", "import", "libvirt", "--from", STATUS)
    assert "~ web1: ports vnet1" in text, text
    assert vm(lab, "web1") == (["vnet1"], ["52:54:00:25:00:01"], ["10.25.0.99"], "acme")
    assert lab.state("vm:web1") == "block"
    before = len(lab.json("history")["audit"])
    assert "1 as before" in lab.cli("vm", "import", "libvirt", "--from", STATUS)
    assert len(lab.json("history")["audit"]) == before, "nothing to do leaves no trace"


def between(lab, path, meanwhile):
    """A door to the daemon behind which `meanwhile` happens before the first PUT goes through."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(path)
    door.listen()

    def serve():
        while True:
            with door.accept()[0] as client, \
                    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
                request = client.recv(65536)
                if request.startswith(b"PUT "):
                    while not request.endswith(b"}"):
                        request += client.recv(65536)
                    meanwhile()
                daemon.connect(lab.socket_path)
                daemon.sendall(request)
                while answer := daemon.recv(65536):
                    client.sendall(answer)
    threading.Thread(target=serve, daemon=True).start()


def test_import_leaves_what_staff_add_at_the_same_time(lab):
    """It lists the VMs first: a list of 10,000 is some seconds old when the last one is changed."""
    lab.cli("vm", "import", "libvirt", "--from", LIBVIRT, "web1")
    lab.cli("vm", "set", "web1", "--port", "vnet7")
    path = lab.file("door")
    between(lab, path, lambda: lab.cli("vm", "set", "web1", *(
        word for ip in (*WANTED["web1"][2], "10.25.0.99") for word in ("--ip", ip))))
    subprocess.run([lab.program("gate25"), "--socket", path, "vm", "import", "libvirt", "--from",
                    LIBVIRT, "web1"], check=True, capture_output=True)
    ports, _, ips, _ = vm(lab, "web1")
    assert ports == ["vnet1"] and "10.25.0.99" in ips, (ports, ips)


def test_import_when_two_guests_have_swapped_ports(lab):
    xml = open(os.path.join(STATUS, "web1.xml")).read()
    path = lab.file("xml")
    os.mkdir(path)

    def write(**ports):
        for name, (port, mac) in ports.items():
            with open(os.path.join(path, name + ".xml"), "w") as f:
                f.write(xml.replace(">web1<", f">{name}<").replace("vnet1", port)
                        .replace("00:25:00:01", mac))
    write(a=("vnet1", "00:25:00:0a"), b=("vnet2", "00:25:00:0b"))
    lab.cli("vm", "import", "libvirt", "--from", path)
    write(a=("vnet2", "00:25:00:0a"), b=("vnet1", "00:25:00:0b"))
    lab.cli("vm", "import", "libvirt", "--from", path)
    assert (vm(lab, "a")[0], vm(lab, "b")[0]) == (["vnet2"], ["vnet1"])


def virsh(lab, body):
    """A directory with a virsh of our own, for PATH."""
    path = lab.file("bin")
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "virsh"), "w") as f:
        f.write("#!/bin/sh\n" + body)
    os.chmod(os.path.join(path, "virsh"), 0o755)
    os.environ["PATH"] = path + ":" + os.environ["PATH"]


def test_import_asks_virsh(lab):
    virsh(lab, f"""
echo "$*" >>{lab.file('asked')}
case "$*" in
*"list --name"*) printf 'web1\\ninstance-0000002a\\n\\n' ;;
*dumpxml*) cat {LIBVIRT}/$5.xml ;;
esac
""")
    lab.cli("vm", "import", "libvirt")
    assert vm(lab, "web1") == WANTED["web1"]
    assert vm(lab, "instance-0000002a") == WANTED["instance-0000002a"]
    assert "--readonly" in open(lab.file("asked")).read()


def test_import_says_when_virsh_fails(lab):
    virsh(lab, "echo 'error: failed to connect to the hypervisor' >&2; exit 1\n")
    code, _, err = lab.run_cli("vm", "import", "libvirt")
    assert code == 1 and "gate25: virsh list failed" in err, (code, err)


BAD = {
    "no-xml": ("x.xml", "not xml at all"),
    "other-xml": ("x.xml", "<network><name>default</name></network>"),
    "cut": ("x.xml", "<domain><name>web1</name><devices><interface"),
    "empty": ("x.xml", ""),
    "bomb": ("x.xml", '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{"&" + chr(97 + i) + ";" * 1}{("&" + chr(97 + i) + ";") * 9}">'
        for i in range(9)) + "]><domain><name>&j;</name></domain>"),
}


@cases(**BAD)
def test_import_of_bad_definitions(lab, case):
    name, text = case
    path = lab.file("xml")
    os.mkdir(path)
    with open(os.path.join(path, name), "w") as f:
        f.write(text)
    code, _, err = lab.run_cli("vm", "import", "libvirt", "--from", path)
    assert code and err.startswith("gate25: ") and err.count("\n") == 1, (code, err)
    assert lab.json("vm", "list")["vms"] == [] and lab.status()


def test_import_does_the_others_when_one_cannot_be_registered(lab):
    path = lab.file("xml")
    os.mkdir(path)
    xml = open(os.path.join(STATUS, "web1.xml")).read()
    for n, name in enumerate(("bad name", "good1", "good2")):
        with open(os.path.join(path, f"{n}.xml"), "w") as f:
            f.write(xml.replace(">web1<", f">{name}<").replace("vnet1", f"vnet{n + 5}")
                    .replace("00:25:00:01", f"00:25:00:5{n}"))
    code, out, err = lab.run_cli("vm", "import", "libvirt", "--from", path)
    assert code == 5 and "bad name: " in err and "+ good1" in out and "+ good2" in out, (code, err)
    lab.cli("vm", "del", "good2")
    lab.cli("vm", "add", "other", "--mac", "52:54:00:25:00:52")
    code, _, err = lab.run_cli("vm", "import", "libvirt", "--from", path)
    assert code == 5 and "belongs to vm:other" in err, (code, err)


@cases(nowhere=(["libvirt", "--from", "/nothing"], 1), no_pve=(["proxmox", "--from", "/tmp"], 1),
       no_such_guest=(["proxmox", "--from", PVE, "777"], 3), kind=(["xen"], 2), none=([], 2))
def test_import_of_nonsense(lab, case):
    words, wanted = case
    code, _, err = lab.run_cli("vm", "import", *words)
    assert code == wanted and err.count("\n") == 1, (code, err)


def test_import_needs_the_right_to_change(lab):
    code, _, err = lab.run_cli("vm", "import", "proxmox", "--from", PVE, uid=NOBODY, groups=[READERS])
    assert code == 6 and err.count("\n") == 1, (code, err)


# ---- hooks

def hook(lab, name, *words, stdin="", program=None):
    env = dict(os.environ, GATE25=program or f"{lab.program('gate25')} --socket {lab.socket_path}",
               GATE25_PVE=PVE)
    return subprocess.run([os.path.join(HOOKS, name), *words], input=stdin, text=True, env=env,
                          capture_output=True, timeout=30, check=False)


def test_libvirt_hook_follows_a_guest(lab):
    xml = open(os.path.join(LIBVIRT, "web1.xml")).read()
    before = xml.replace("<target dev='vnet1'/>", "")  # as libvirt has it at prepare
    for operation, text in (("prepare", before), ("start", before), ("started", xml)):
        done = hook(lab, "libvirt-qemu", "web1", operation, "begin", "-", stdin=text)
        assert done.returncode == 0 and done.stdout == "" and done.stderr == "", done
    assert vm(lab, "web1") == WANTED["web1"]
    lab.cli("block", "vm:web1")
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"
    hook(lab, "libvirt-qemu", "web1", "stopped", "end", "-", stdin=xml)
    assert vm(lab, "web1")[0] == [] and lab.state("vm:web1") == "block"
    assert lab.guest(1).connect(SERVER4) == "ok", "another guest may be behind the port now"
    hook(lab, "libvirt-qemu", "web1", "reconnect", "begin", "-", stdin=xml)
    assert vm(lab, "web1")[0] == ["vnet1"]
    assert lab.guest(1).connect(SERVER4) == "ECONNREFUSED"


def test_libvirt_hook_takes_no_guest_for_another(lab):
    """A guest may bear any name, also one that says whose it is not."""
    lab.register(1)
    ports = vm(lab, "web1")[0]
    hook(lab, "libvirt-qemu", "vm:web1", "stopped", "end", "-")
    assert vm(lab, "web1")[0] == ports


@cases(newline="web1\\nforged: line", escape="web1\\033[31m", end="web1\\c")
def test_hooks_forge_no_line_of_the_log(lab, case):
    """Backslashes in a guest's name, which some shells' echo takes for a newline and more."""
    for name, phase in (("libvirt-qemu", "stopped"), ("proxmox", "pre-start")):
        done = hook(lab, name, case, phase, program="false")
        assert done.stderr == f"gate25 hook: {case}: \n", done


def test_a_named_device_is_registered_before_it_is_there(lab):
    xml = open(os.path.join(LIBVIRT, "instance-0000002a.xml")).read()
    hook(lab, "libvirt-qemu", "instance-0000002a", "prepare", "begin", "-", stdin=xml)
    assert vm(lab, "instance-0000002a") == WANTED["instance-0000002a"]


OPERATIONS = ("prepare", "start", "started", "stopped", "release", "migrate", "restore",
              "reconnect", "attach", "frobnicate", "")


@cases(dead=None, missing="/nowhere/gate25", hangs="sleep 60 #")
def test_libvirt_hook_never_fails(lab, case):
    lab.stop()
    for operation in OPERATIONS if case is None else ("reconnect",):
        done = hook(lab, "libvirt-qemu", "web1", operation, "begin", "-", stdin="garbage",
                    program=case)
        assert done.returncode == 0 and done.stdout == "", (operation, done)
    assert hook(lab, "libvirt-qemu").returncode == 0


def test_proxmox_hook_registers_before_the_start(lab):
    for guest in ("101", "201"):
        done = hook(lab, "proxmox", guest, "pre-start")
        assert done.returncode == 0 and not done.stdout and not done.stderr, done
        assert vm(lab, guest) == WANTED[guest]
    assert len(lab.json("vm", "list")["vms"]) == 2


@cases(dead=None, missing="/nowhere/gate25")
def test_proxmox_hook_never_fails(lab, case):
    lab.stop()
    for phase in ("pre-start", "post-start", "pre-stop", "post-stop", "frobnicate", ""):
        done = hook(lab, "proxmox", "101", phase, program=case)
        assert done.returncode == 0 and done.stdout == "", (phase, done)
    assert hook(lab, "proxmox").returncode == 0


def test_hooks_can_be_run():
    for name in os.listdir(HOOKS):
        assert os.stat(os.path.join(HOOKS, name)).st_mode & stat.S_IXUSR, name


harness.main()
