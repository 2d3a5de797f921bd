#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Real guests: machines under QEMU whose virtio-net sits on taps in the gated bridge, talking
SMTP to a real server; and one that moves to another hypervisor in the middle of a session."""

import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib")]

import harness  # noqa: E402
from guest import ROUTER4, ROUTER_MAC  # noqa: E402
from harness import setup  # noqa: E402
from image import Initramfs, Kernel  # noqa: E402
from lab import SERVER4, Lab  # noqa: E402
from mail import wait_for  # noqa: E402
from qemu import SHELL, Machine  # noqa: E402

SERIES = "6.12"
MODULES = ("virtio_pci", "virtio_net")
PORT, MAC, ADDRESS = "vnet1", "52:54:00:25:00:01", "10.25.0.11"
TIMEOUT = 240

# One command a line; the server may take them at once.
MAIL = r"EHLO guest\r\nMAIL FROM:<a@guest.example>\r\nRCPT TO:<b@inet.example>\r\nDATA\r\n" \
       r"Subject: test\r\n\r\nhello\r\n.\r\nQUIT\r\n"


def plug(lab):
    lab.host.ip(f"tuntap add {PORT} mode tap vnet_hdr", f"link set {PORT} master br0",
                f"link set {PORT} up")
    lab.wait_hooked(PORT, 15)


def machine(lab, name, **more):
    """The guest on its tap in the lab's host."""
    kernel = Kernel(SERIES)
    image = Initramfs()
    image.busybox()
    image.modules(kernel, MODULES)
    image.add("/init", SHELL.replace("stty", f"""\
ip link set eth0 up
ip addr add {ADDRESS}/16 dev eth0
ip route add default via {ROUTER4}
stty""").encode())
    path = lab.file(f"{name}.initramfs")
    image.write(path)
    guest = Machine(kernel, path, lab.dir, name, taps=[(PORT, MAC)], ns=lab.host, shell=True,
                    memory=128, **more)
    lab.stack.callback(guest.close)
    return guest


def register(lab):
    status, answer = lab.http("PUT", "/v1/vms/web1?mode=create",
                              {"ports": [PORT], "macs": [MAC], "ips": [ADDRESS]})
    assert status in (200, 201), answer
    return "vm:web1"


def connect(guest, seconds=10):
    """A connection that says nothing: (exit status of nc, what it printed)."""
    return guest.shell(f"nc -w {seconds} {SERVER4} 25 </dev/null 2>&1")


@setup(guests=0)
def test_mail_from_a_real_guest(lab):
    plug(lab)
    vm = register(lab)
    guest = machine(lab, "guest")
    guest.wait_ready()

    with lab.expect(vm, flows_admitted=1, connects_established=1, banners_refused=0,
                    replies_2xx=lambda n: n >= 5, replies_3xx=1, resets_sent=0):
        code, said = guest.shell(f"printf '{MAIL}' | nc -w 20 {SERVER4} 25 2>&1")
        assert code == 0 and "\n354" in said and "\n221" in said, said

    lab.cli("block", vm, "--reason", "spam")
    with lab.expect(vm, flows_blocked=1, resets_sent=1):
        begin = time.monotonic()
        code, said = connect(guest)
        assert code and "Connection refused" in said, said
        assert time.monotonic() - begin < 5, "refused, but late"

    lab.cli("quarantine", vm)
    with lab.expect(vm, flows_blocked=lambda n: n >= 1, packets_dropped=lambda n: n >= 1,
                    resets_sent=0):
        code, said = connect(guest, 3)
        assert code and "Connection refused" not in said, said
    lab.cli("release", vm)

    lab.cli("limit", vm, "--rate", "1/d", "--burst", "1")
    with lab.expect(vm, flows_admitted=1, flows_limited=lambda n: n >= 1):
        assert connect(guest)[0] == 0
        assert connect(guest, 3)[0]


@setup(guests=0)
def test_a_large_mail_from_a_real_guest(lab):
    """Segmentation and checksums are left to the host: virtio-net's habit."""
    plug(lab)
    vm = register(lab)
    guest = machine(lab, "guest")
    guest.wait_ready()
    with lab.expect(vm, flows_admitted=1, bytes_from_vm=lambda n: n > 2 << 20,
                    packets_from_vm=lambda n: n > (2 << 20) / 1500, packets_dropped=0):
        code, said = guest.shell(
            r"{ printf 'EHLO g\r\nMAIL FROM:<a@g>\r\nRCPT TO:<b@i>\r\nDATA\r\n';"
            r" yes 'sixty four bytes of a letter that nobody is going to read.....' | head -n 32768;"
            rf" printf '\r\n.\r\nQUIT\r\n'; }} | nc -w 30 {SERVER4} 25 2>&1")
        assert code == 0 and "\n221" in said, said


def second_host(lab):
    """Another hypervisor on the same network: its uplink and the first one's share a bridge."""
    other = Lab(guests=0, servers=False, start=False,
                config={"gate": {"grace": "60s"}, "default": {"state": "block"}})
    lab.stack.callback(other.close)
    other.host.ip("link del eth0",
                  f"link add eth0 type veth peer name uplink1 netns {lab.inet.path}",
                  "link set eth0 master br0", "link set eth0 up")
    lab.inet.ip("addr flush dev uplink0",
                "link set uplink0 address 52:54:00:99:00:02",
                "link add lan0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"link set lan0 address {ROUTER_MAC}",
                "link set uplink0 master lan0", "link set uplink1 master lan0",
                "link set uplink1 up", "link set lan0 up",
                f"addr add {ROUTER4}/16 dev lan0")
    other.start()
    return other


def say(guest, line, answer):
    """A line of the open session, and its answer."""
    guest.shell(f"printf '{line}\\r\\n' >&3")
    wait_for(lambda: answer in guest.shell("cat /tmp/heard")[1], 20, f"answer {answer} to {line}")


def move(source, target, lab, socket):
    wait_for(lambda: os.path.exists(socket), 20, "target that listens")
    source.qmp("migrate", uri=f"unix:{socket}")
    wait_for(lambda: source.qmp("query-migrate")["status"] in ("completed", "failed"), 60,
             "end of the migration")
    assert source.qmp("query-migrate")["status"] == "completed", source.qmp("query-migrate")
    source.close()
    lab.host.ip(f"link del {PORT}")
    assert target.qmp("query-status")["running"]


@setup(guests=0, config={"default": {"state": "block"}})
def test_live_migration(lab):
    """Policy and identity are there before the guest is; its session goes on, new ones count."""
    other = second_host(lab)
    plug(lab)
    vm = register(lab)
    lab.cli("allow", vm, "--reason", "paid")
    policy = other.file("policy")
    with open(policy, "w") as f:
        f.write(lab.cli("export"))
    other.cli("apply", policy)
    guest = machine(lab, "source")
    guest.wait_ready()
    guest.shell("mkfifo /tmp/say; exec 3<>/tmp/say")
    guest.shell(f"nc {SERVER4} 25 <&3 >/tmp/heard 2>&1 &")
    say(guest, "EHLO guest", "250")
    say(guest, "MAIL FROM:<a@guest.example>", "250 2.1.0")

    plug(other)
    assert other.show(vm)["effective"]["state"] == "allow"
    socket = other.file("migration")
    target = machine(other, "target", incoming=socket)
    with other.expect(vm, packets_from_vm=lambda n: n > 0, packets_dropped=0):
        move(guest, target, lab, socket)
        say(target, "RCPT TO:<b@inet.example>", "250 2.1.5")
        say(target, "DATA", "354")
        say(target, r"hello\r\n.", "250 2.0.0")
        say(target, "QUIT", "221")
    with other.expect(vm, flows_admitted=1):
        assert connect(target)[0] == 0
    other.cli("block", vm)
    with other.expect(vm, flows_blocked=1, resets_sent=1):
        assert "Connection refused" in connect(target)[1]
    assert lab.show(vm)["counters"]["flows_admitted"] == 1  # what it counted here stays here


for _test in (test_mail_from_a_real_guest, test_a_large_mail_from_a_real_guest,
              test_live_migration):
    _test.timeout = TIMEOUT

# Before the tests go into a network namespace of their own, where apt reaches nothing.
Kernel(SERIES)
harness.main()
