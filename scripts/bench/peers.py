# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What people use today, on a lane: the same task with the same number of VMs.

Each peer refuses the sources that are closed and meters new SMTP connections by source, with
a counter for each source, as gate25 has them. None of them keeps flows. The closed sources are
the VMs themselves ("block"), or as many others ("limit"), so that the set is as large both
times. Rates are so high that a meter refuses nothing.
"""

import os
import re
import shutil
import subprocess

from lanes import Unavailable

NFT_RATE = "limit rate over 1000000/second burst 100000 packets"
OTHERS = 0x01000000  # first number of the sources that send nothing


def mac(vm):
    return f"02:00:{vm >> 24 & 255:02x}:{vm >> 16 & 255:02x}:{vm >> 8 & 255:02x}:{vm & 255:02x}"


def address(vm):
    return f"{10 + (vm >> 24)}.{vm >> 16 & 255}.{vm >> 8 & 255}.{vm & 255}"


def sources(vms, policy):
    first = 0 if policy == "block" else OTHERS
    return range(first, first + vms)


def tool(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Unavailable(f"{name} is not installed")
    return path


def feed(lane, argv, text):
    """A command that reads `text`; what it said when it failed."""
    with lane.ns.entered():
        done = subprocess.run(argv, input=text, text=True, capture_output=True, timeout=300)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{os.path.basename(argv[0])}: {said[0] if said else 'failed'}")
    return done.stdout


def nft_rules(family, hook, vms, policy):
    """The whole rule set as text for `nft -f`."""
    closed = ",".join(mac(v) for v in sources(vms, policy))
    return f"""\
table {family} gate {{
	set closed {{ type ether_addr; size {2 * vms + 16}; counter; elements = {{ {closed} }} }}
	set meters {{ type ether_addr; size {2 * vms + 16}; flags dynamic; }}
	chain smtp {{
		ether saddr @closed drop
		update @meters {{ ether saddr {NFT_RATE} counter }} drop
	}}
	chain in {{
		type filter hook {hook} priority 0; policy accept;
		tcp dport 25 tcp flags & (syn | ack) == syn jump smtp
	}}
}}
"""


def nft_load(lane, family, hook, vms, policy):
    feed(lane, [tool("nft"), "-f", "-"],
         f"table {family} gate {{ }}\ndelete table {family} gate\n" +
         nft_rules(family, hook, vms, policy))
    loaded = feed(lane, [tool("nft"), "list", "set", family, "gate", "closed"], "")
    count = len(re.findall(r"02:00:[0-9a-f:]{11}", loaded))
    if count != vms:  # one popular baseline was fast since it had loaded half of its rules
        raise AssertionError(f"nft {family}: {count} of {vms} sources are in the set")


def nft_bridge(lane, vms, policy):
    nft_load(lane, "bridge", "forward", vms, policy)


def nft_netdev(lane, vms, policy):
    nft_load(lane, "netdev", 'ingress device "port0"', vms, policy)


def ipset(lane, vms, policy):
    """ipset and hashlimit through br_netfilter, by source address."""
    lane.call_iptables(1)
    feed(lane, [tool("iptables"), "-F", "FORWARD"], "")
    run = tool("ipset")
    feed(lane, [run, "-exist", "restore"],
         f"create closed hash:ip hashsize {max(64, vms)} maxelem {vms + 16} counters\n"
         "flush closed\n" + "".join(f"add closed {address(v)}\n" for v in sources(vms, policy)))
    listed = feed(lane, [run, "list", "-t", "closed"], "")
    if f"Number of entries: {vms}\n" not in listed:
        raise AssertionError(f"ipset: not {vms} sources are in the set:\n{listed}")
    smtp = ["-p", "tcp", "--dport", "25", "--syn", "-m"]
    for rule in (["set", "--match-set", "closed", "src"],
                 ["hashlimit", "--hashlimit-above", "1000000/sec", "--hashlimit-burst", "10000",
                  "--hashlimit-mode", "srcip", "--hashlimit-name", "gate",
                  "--hashlimit-htable-size", str(max(64, vms)),
                  "--hashlimit-htable-max", str(2 * vms + 16)]):
        feed(lane, [tool("iptables"), "-A", "FORWARD", *smtp, *rule, "-j", "DROP"], "")


PEERS = {"nft bridge": nft_bridge, "nft netdev": nft_netdev, "ipset": ipset}
