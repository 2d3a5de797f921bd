# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""What Proxmox, libvirt and Open vSwitch do with tc to a VM's port, command by command.

"-" in front: expected to fail where there is nothing to take away, as its authors write.
"""

# PVE::Network, setup_tc_rate_limit().
PROXMOX = """
    -tc class del dev {dev} parent 1: classid 1:1
    -tc filter del dev {dev} parent ffff: protocol all pref 50 u32
    -tc qdisc del dev {dev} ingress
    -tc qdisc del dev {dev} root
    tc qdisc add dev {dev} root handle 1: htb default 1
    tc class add dev {dev} parent 1: classid 1:1 htb rate 100000000bps burst 1000000b
    tc qdisc add dev {dev} handle ffff: ingress
    tc filter add dev {dev} parent ffff: prio 50 basic police rate 100000000bps burst 1000000b \
mtu 64kb drop
"""
# virNetDevBandwidthClear() and virNetDevBandwidthSet().
LIBVIRT = """
    -tc qdisc del dev {dev} root
    -tc qdisc del dev {dev} ingress
    tc qdisc add dev {dev} root handle 1: htb default 1
    tc class add dev {dev} parent 1: classid 1:1 htb rate 100000kbps quantum 8700
    tc qdisc add dev {dev} parent 1:1 handle 2: sfq perturb 10
    tc filter add dev {dev} parent 1:0 protocol all prio 1 handle 1 fw flowid 1
    tc qdisc add dev {dev} ingress
    tc filter add dev {dev} parent ffff: protocol all u32 match u32 0 0 police rate 100000kbps \
burst 1000kb mtu 64kb drop flowid :1
"""
# lib/netdev-linux.c, netdev_linux_set_policing(), by netlink in the original.
OVS = """
    -tc qdisc del dev {dev} handle ffff: ingress
    tc qdisc add dev {dev} handle ffff: ingress
    tc filter add dev {dev} parent ffff: protocol all prio 49 basic police rate 1000000kbit \
burst 8000kb mtu 65535 conform-exceed drop/continue
"""
SEQUENCES = {"proxmox": PROXMOX, "libvirt": LIBVIRT, "ovs": OVS}
# The same where its datapath is offloaded: tc_add_matchall_policer().
OVS_OFFLOAD = """
    -tc qdisc del dev {dev} handle ffff: ingress
    tc qdisc add dev {dev} handle ffff: ingress
    tc filter add dev {dev} parent ffff: protocol all prio 1 matchall action police \
rate 1000000kbit burst 8000kb mtu 65535 conform-exceed drop/continue
"""
