#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""gate25 doctor: each cause for not gating is named with its remedy, with and without the daemon."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

import bpfprog
import harness
from harness import cases, setup
from lab import NOBODY, STAFF
from netns import Namespace
from tap import open_tap


def doctor(lab, **kwargs):
    """(exit status, {code: [check]})"""
    code, out, err = lab.run_cli("--json", "doctor", "--config", lab.config_path, **kwargs)
    assert not err, err
    found = {}
    for check in json.loads(out)["checks"]:
        assert check["message"] and "\n" not in check["message"], check
        found.setdefault(check["code"], []).append(check)
    return code, found


@cases(running=True, dead=False)
def test_a_sound_host_is_sound(lab, case):
    if not case:
        lab.stop()
    code, found = doctor(lab)
    results = {c: [x["result"] for x in checks] for c, checks in found.items()}
    for check in ("config", "kernel", "bpffs", "hook", "links"):
        assert results[check] == ["ok"], (check, found)
    assert code == (0 if case else 1), found
    assert results["daemon"] == ["ok" if case else "failed"]
    if not case:
        assert found["daemon"][0]["remedy"].startswith("systemctl start gate25d")
        assert results["left_in_place"] == ["ok"]


@cases(running=True, dead=False)
def test_names_that_are_not_there(lab, case):
    lab.configure({"gate": {"bridges": "br0 br7", "uplinks": "eth0 eth7"}})
    if not case:
        lab.stop()
    _, found = doctor(lab)
    assert any("br7" in c["message"] for c in found["bridge_missing"]), found
    assert "eth7" in found["uplink_missing"][0]["message"] and found["uplink_missing"][0]["remedy"]


def test_a_configuration_that_is_wrong(lab):
    lab.write_config("[gate]\ncolour = red\n")
    code, found = doctor(lab)
    assert code == 1 and found["config"][0]["result"] == "failed"
    assert "colour" in found["config"][0]["message"] and found["config"][0]["remedy"]


def test_no_bpffs(lab):
    lab.configure({"bpf": {"pin": lab.file("plain")}})
    code, found = doctor(lab)
    assert code == 1 and found["bpffs"][0]["result"] == "failed" and "mount" in \
        found["bpffs"][0]["remedy"], found


def test_guests_that_pass_the_kernel_by(lab):
    listener = lab.host.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(lab.file("vhost-user-1"))
        listener.listen()
        _, found = doctor(lab)
        assert found["vhost_user"][0]["result"] == "warning", found
        assert "switch" in found["vhost_user"][0]["remedy"] and "pass_through" not in found
    finally:
        listener.close()
    assert "vhost_user" not in doctor(lab)[1]


def test_a_port_that_is_not_gated_and_a_host_that_only_observes(lab):
    lab.configure({"gate": {"enforce": "no"}})
    lab.reload()
    lab.poll(lambda: not lab.status()["enforce"], 5, "reload")
    code, found = doctor(lab)
    assert code == 0 and found["enforce"][0]["result"] == "warning"
    assert "enforce = yes" in found["enforce"][0]["remedy"]


@cases(tcx="auto", tc="tc")
def test_who_is_not_root_is_told_what_cannot_be_told(lab, case):
    lab.stop()
    lab.configure({"gate": {"hook": case}})
    lab.start()
    code, found = doctor(lab, uid=NOBODY, groups=[STAFF])
    assert found["daemon"][0]["result"] == "ok" and code == 0, found
    for check in ["hook"] + (["marks"] if case == "tc" else []):
        said = found[check][0]
        assert said["result"] == "unknown" and "as root" in said["remedy"], found


def test_who_is_not_in_the_group(lab):
    _, found = doctor(lab, uid=NOBODY)
    assert found["daemon"][0]["result"] == "unknown" and "group" in found["daemon"][0]["remedy"]


# ---- others before the gate

@cases(before=bpfprog.BEFORE, after=0)
def test_another_program_on_the_hook(lab, case):
    """What comes after the gate takes nothing from it and is not worth a word."""
    program = bpfprog.load(bpfprog.UNSPEC)
    link = bpfprog.attach(lab.host, "vnet1", program, flags=case)
    try:
        code, found = doctor(lab)
        assert ("shared_hook" in found) == bool(case), found
        if case:
            said = found["shared_hook"][0]
            assert "1 other program" in said["message"] and "of vnet1" in said["message"], said
            assert said["result"] == "warning" and "TC_ACT_UNSPEC" in said["remedy"] and code == 0
    finally:
        os.close(link)
        os.close(program)
    assert "shared_hook" not in doctor(lab)[1]


def test_an_xdp_program_comes_before_everything(lab):
    path = os.path.join(lab.bpffs, "other-xdp")
    program = bpfprog.load(2, kind=bpfprog.XDP)  # XDP_PASS
    bpfprog.pin(program, path)
    os.close(program)
    lab.host.run(["ip", "link", "set", "dev", "vnet2", "xdp", "pinned", path])
    said = doctor(lab)[1]["shared_hook"][0]
    assert "an XDP program" in said["message"] and "vnet2" in said["message"], said
    lab.host.run(["ip", "link", "set", "dev", "vnet2", "xdp", "off"])
    assert "shared_hook" not in doctor(lab)[1]


@setup(config={"gate": {"early_drop": "on"}})
def test_the_gates_own_xdp_program_is_no_stranger(lab):
    lab.poll(lambda: "xdp" in lab.host.ip("link show dev vnet1"), 5, "early_drop")
    assert "shared_hook" not in doctor(lab)[1]


FILTERS = {
    "plain": ("u32 match u32 0 0 flowid :1", "shared_hook", "warning", "1 other filter"),
    "redirect": ("u32 match u32 0 0 action mirred egress redirect dev eth0", "redirect", "failed",
                 "redirects frames of vnet1 to eth0"),
    "mirror": ("u32 match u32 0 0 action mirred egress mirror dev eth0", "mirror", "warning",
               "copies frames of vnet1 to eth0"),
}


@setup(start=False, config={"gate": {"hook": "tc", "to_vm": "no"}})
@cases(**FILTERS)
def test_a_filter_before_the_gate_on_the_legacy_hook(lab, case):
    what, code, result, words = case
    tc = ["tc", "filter", "add", "dev", "vnet1", "ingress", "protocol", "all", "prio"]
    lab.host.run(["tc", "qdisc", "add", "dev", "vnet1", "ingress"])
    lab.host.run([*tc, "1", *what.split()])
    lab.start()
    status, found = doctor(lab)
    assert [f["result"] for f in found[code]] == [result], found
    assert words in found[code][0]["message"] and "above 63" in found[code][0]["remedy"], found
    assert status == (1 if result == "failed" else 0)
    # as the remedy has it
    lab.host.run(["tc", "filter", "del", "dev", "vnet1", "ingress", "prio", "1"])
    lab.host.run([*tc, "100", *what.split()])
    assert code not in doctor(lab)[1]


@setup(start=False)
def test_a_filter_is_behind_the_gate_with_tcx(lab):
    lab.host.run(["tc", "qdisc", "add", "dev", "vnet1", "ingress"])
    lab.host.run("tc filter add dev vnet1 ingress protocol all prio 1 u32 match u32 0 0 action "
                 "mirred egress redirect dev eth0".split())
    lab.start()
    found = doctor(lab)[1]
    assert not {"redirect", "mirror", "shared_hook"} & set(found), found


# ---- marks

MARKING = {"set": ("meta mark set 0x25", "bridge"), "from_ct": ("meta mark set ct mark", "inet"),
           "bits": ("meta mark set mark or 0x25", "bridge")}
HARMLESS = {"match": "meta mark 0x25 accept", "ct": "ct mark set 0x25"}


def nft(lab, rule, family):
    lab.host.run(["nft", "-f", "-"], stdin=None, input=f"""
table {family} other {{
    chain passing {{ type filter hook forward priority 0; {rule}; }}
}}
""")


@setup(config={"gate": {"hook": "tc"}})
@cases(**MARKING)
def test_a_rule_that_writes_marks(lab, case):
    assert doctor(lab)[1]["marks"][0]["result"] == "ok"
    nft(lab, *case)
    said, = doctor(lab)[1]["marks"]
    assert said["result"] == "warning" and f"nft (table {case[1]} other)" in said["message"], said
    assert "mark:0x25/0xff" in said["message"] and "stamp =" in said["remedy"], said


@setup(config={"gate": {"hook": "tc"}})
@cases(**HARMLESS)
def test_a_rule_that_leaves_marks_alone(lab, case):
    nft(lab, case, "inet")
    assert doctor(lab)[1]["marks"][0]["result"] == "ok"


@setup(config={"gate": {"hook": "tc", "stamp": "none"}})
def test_no_stamp_no_question_of_marks(lab):
    nft(lab, *MARKING["set"])
    assert "marks" not in doctor(lab)[1]


def test_marks_mean_nothing_with_tcx(lab):
    nft(lab, *MARKING["set"])
    assert "marks" not in doctor(lab)[1]


@setup(config={"gate": {"hook": "tc"}})
@cases(iptables=("iptables-legacy-save", "-A FORWARD -j MARK --set-xmark 0x25/0xff"),
       ebtables=("ebtables-legacy-save", "-A FORWARD -j mark --mark-set 0x25 --mark-target ACCEPT"))
def test_older_tools_that_write_marks(lab, case):
    name, rule = case
    path = lab.file("bin")
    os.mkdir(path)
    with open(os.path.join(path, name), "w") as f:
        f.write(f"#!/bin/sh\nprintf '*mangle\\n%s\\nCOMMIT\\n' '{rule}'\n")
    os.chmod(os.path.join(path, name), 0o755)
    old = os.environ["PATH"]
    os.environ["PATH"] = f"{path}:{old}"
    try:
        said, = doctor(lab)[1]["marks"]
    finally:
        os.environ["PATH"] = old
    assert "tables (table mangle) writes packet marks" in said["message"], said


# ---- other namespaces

@contextlib.contextmanager
def namespace_with_a_tap(lab, process=True):
    """Somebody else's namespace, held by a process, with a guest's tap in it."""
    ns = Namespace("elsewhere")
    fd = open_tap(ns, "tap9", False)
    holder = ns.popen(["sleep", "600"])
    try:
        yield ns, holder.pid
    finally:
        holder.kill()
        holder.wait()
        os.close(fd)
        ns.close()


def test_guests_in_another_namespace(lab):
    assert "netns" not in doctor(lab)[1], "the lab's guests are behind the gate"
    with namespace_with_a_tap(lab) as (_, pid):
        said, = doctor(lab)[1]["netns"]
        assert said["result"] == "warning" and f"of process {pid}" in said["message"], said
        assert "1 device of guests (tap9) lies" in said["message"] and said["remedy"], said


def test_a_guest_that_is_a_hypervisor_itself_is_behind_the_gate(lab):
    with namespace_with_a_tap(lab) as (ns, _):
        lab.host.ip(f"link add vnet9 type veth peer name eth0 netns {ns.path}",
                    "link set vnet9 master br0", "link set vnet9 up")
        lab.wait_hooked("vnet9")
        assert "netns" not in doctor(lab)[1]
        # a way out that no gate sits on
        lab.host.ip(f"link add side0 type veth peer name eth1 netns {ns.path}")
        assert "tap9" in doctor(lab)[1]["netns"][0]["message"]


@cases(bridge="link add br7 type bridge", macvlan=None)
def test_a_bridge_or_a_macvlan_in_another_namespace(lab, case):
    lab.configure({"gate": {"bridges": "br0 br7"}})
    ns = Namespace("elsewhere")
    holder = ns.popen(["sleep", "600"])
    try:
        if case:
            ns.ip(case)
        else:
            lab.host.ip(f"link add link br0 name mac0 netns {ns.path} type macvlan")
        said, = doctor(lab)[1]["netns"]
        assert ("a bridge that" if case else "(mac0)") in said["message"], said
    finally:
        holder.kill()
        holder.wait()
        ns.close()


def test_a_daemon_in_another_namespace(lab):
    with lab.inet.entered():
        done = subprocess.run([lab.program("gate25"), "--json", "doctor", "--config",
                               lab.config_path], text=True, capture_output=True)
    found = [c for c in json.loads(done.stdout)["checks"] if c["code"] == "netns"]
    assert done.returncode == 1 and found[0]["result"] == "failed", found
    assert str(lab.daemon.pid) in found[0]["message"], found


# ---- devices that guests were given

@contextlib.contextmanager
def pci_bus(**devices):
    """A PCI bus of our own over the machine's: {name: {file: text}}; driver: vfio-pci."""
    top = f"/run/gate25-pci-{os.getpid()}"
    for name, files in devices.items():
        path = os.path.join(top, "devices", name)
        os.makedirs(path)
        for file, text in files.items():
            with open(os.path.join(path, file), "w") as f:
                f.write(text + "\n")
        if files.get("driver") == "vfio-pci":
            os.makedirs(os.path.join(top, "drivers/vfio-pci"), exist_ok=True)
            os.symlink(path, os.path.join(top, "drivers/vfio-pci", name))
    subprocess.run(["mount", "--bind", top, "/sys/bus/pci"], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "/sys/bus/pci"], check=True)
        shutil.rmtree(top)


NIC, DISK = "0x020000", "0x010802"


def test_devices_handed_to_guests(lab):
    with pci_bus(a={"class": NIC, "driver": "vfio-pci"}, b={"class": NIC, "driver": "vfio-pci"},
                 c={"class": DISK, "driver": "vfio-pci"}, d={"class": NIC, "sriov_numvfs": "4"},
                 e={"class": NIC, "sriov_numvfs": "0"}, f={"class": DISK, "sriov_numvfs": "8"}):
        code, found = doctor(lab)
    assert "2 network devices are handed" in found["vfio"][0]["message"], found
    assert "1 device has SR-IOV" in found["sriov"][0]["message"], found
    assert all("switch" in found[c][0]["remedy"] for c in ("vfio", "sriov"))
    assert code == 0 and "pass_through" not in found
    with pci_bus(c={"class": DISK, "driver": "vfio-pci"}, e={"class": NIC, "sriov_numvfs": "0"}):
        assert doctor(lab)[1]["pass_through"][0]["result"] == "ok"


QEMUS = {
    "user": (["-netdev", "user,id=n0"], "user_net"),
    "user_json": (["-netdev", '{"type":"user","id":"hostnet0"}'], "user_net"),
    "passt": (["-netdev", '{"type":"stream","addr":{"type":"unix","path":"/run/1-web1-net0-passt'
               '.socket"},"server":false,"id":"hostnet0"}'], "user_net"),
    "vhost_user": (["-netdev", '{"type":"vhost-user","chardev":"charnet0","id":"hostnet0"}'],
                   "vhost_user"),
    "vdpa": (["-netdev", "vhost-vdpa,id=n0"], "vhost_user"),
    "vdpa_json": (["-netdev", '{"type":"vhost-vdpa","id":"hostnet0"}'], "vhost_user"),
    "tap": (["-netdev", "tap,id=n0,ifname=user0"], None),
    "other": (["-name", "user", "-netdev", '{"type":"tap","fd":"30","id":"hostnet0"}'], None),
}


@cases(**QEMUS)
def test_guests_of_qemu_that_are_not_on_a_port(lab, case):
    words, code = case
    # a shell that waits: only its name and its command line are looked at
    program = lab.file("qemu-system-x86")
    shutil.copy("/bin/sh", program)
    guest = subprocess.Popen([program, "-c", "read line", *words], stdin=subprocess.PIPE)
    try:
        found = doctor(lab)[1]
        assert {c for c in ("user_net", "vhost_user") if c in found} == ({code} - {None}), found
        assert ("pass_through" in found) == (code is None)
    finally:
        guest.stdin.close()
        guest.wait()


harness.main()
