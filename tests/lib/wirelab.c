// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Real devices under the programs; see wirelab.h. */
#include "wirelab.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gate25.skel.h"
#include "nsbox.h"

#define TCX_INGRESS 46
#define TCX_EGRESS  47
#define MARKER_TYPE 0x88b5 /* local experimental (IEEE 802) */
#define MARKER_LEN  60
#define WAIT_MS	    30000
#define SETTLE_MS   10
#define PIECE	    4096
#define WIRE_PIECES 4
#define TAG_AT	    12

const char *const wire_device_name[WIRE_DEVICES] = { "veth", "tap", "tap, in pieces" };

static void die(const char *what)
{
	fprintf(stderr, "wirelab: %s: %s\n", what, strerror(errno));
	exit(1);
}

void wirelab_enter(void)
{
	cpu_set_t one;

	nsbox_enter();
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		die("one CPU");
	nsbox_run("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
	nsbox_run("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
	nsbox_run("cd /proc/sys/net/bridge 2>/dev/null || exit 0;"
		  "for f in bridge-nf-call-*; do echo 0 >$f; done");
}

/* Before Linux 6.6: a clsact qdisc and a filter, which go with the device. */
static int attach_legacy(int prog, uint32_t ifindex, bool ingress)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog);
	libbpf_print_fn_t say = libbpf_set_print(NULL); /* of a qdisc that is there */
	int r = bpf_tc_hook_create(&hook);

	libbpf_set_print(say);
	hook.attach_point = ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS;
	if (r && r != -EEXIST)
		return r;
	r = bpf_tc_attach(&hook, &opts);
	return r ? r : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int wirelab_attach(int prog, uint32_t ifindex, bool ingress)
{
	int fd = nsbox_has_tcx() ? bpf_link_create(prog, (int)ifindex,
						   ingress ? TCX_INGRESS : TCX_EGRESS, NULL)
				 : attach_legacy(prog, ifindex, ingress);

	if (fd < 0) {
		errno = -fd;
		die("attaching");
	}
	return fd;
}

int wirelab_tap(const char *name, bool frags, bool offload)
{
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	unsigned features = offload ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0;
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (frags)
		req.ifr_flags |= IFF_NAPI | IFF_NAPI_FRAGS;
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &req) || ioctl(fd, TUNSETOFFLOAD, features))
		die("tap");
	return fd;
}

int wirelab_packet(const char *name)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, room = 64 << 20;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)))
		die("packet socket");
	return fd;
}

/* The kernel takes the outer tag off before a packet socket sees the frame: put it back. */
static void put_tag_back(struct msghdr *m, struct wire_got *got)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const struct tpacket_auxdata *aux = (const void *)CMSG_DATA(c);
		uint16_t tag[2];

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA ||
		    !(aux->tp_status & TP_STATUS_VLAN_VALID))
			continue;
		tag[0] = htons(aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid
									  : ETH_P_8021Q);
		tag[1] = htons(aux->tp_vlan_tci);
		memmove(got->bytes + TAG_AT + 4, got->bytes + TAG_AT, got->len - TAG_AT);
		memcpy(got->bytes + TAG_AT, tag, 4);
		got->len += 4;
		if (got->vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			got->vnet.csum_start += 4;
	}
}

int wirelab_receive(int fd, bool tap, struct wire_got *got)
{
	struct iovec iov[2] = { { &got->vnet, sizeof(got->vnet) },
				{ got->bytes, sizeof(got->bytes) - 4 } };
	char control[256];
	struct sockaddr_ll from = { 0 };
	struct msghdr m = { .msg_name = &from,
			    .msg_namelen = sizeof(from),
			    .msg_iov = iov,
			    .msg_iovlen = 2,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n;

	do {
		m.msg_namelen = sizeof(from);
		m.msg_controllen = sizeof(control);
		n = tap ? readv(fd, iov, 2) : recvmsg(fd, &m, 0);
	} while (n > 0 && !tap && from.sll_pkttype == PACKET_OUTGOING);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < (ssize_t)sizeof(got->vnet))
		die("receive");
	got->len = (int)n - (int)sizeof(got->vnet);
	if (!tap)
		put_tag_back(&m, got);
	return 1;
}

static void settle(struct wire *w);

static void attach_all(struct wire *w)
{
	struct gate25_bpf *skel = w->gate->skel;

	w->links[0] = w->links[1] = w->links[2] = -1;
	if (w->hook == WIRE_UNGATED)
		return;
	if (w->hook == WIRE_FROM_VM) {
		w->links[0] = wirelab_attach(bpf_program__fd(skel->progs.g25_from_vm), w->port, 1);
		w->links[1] = wirelab_attach(bpf_program__fd(skel->progs.g25_to_vm), w->port, 0);
	}
	w->links[2] = wirelab_attach(bpf_program__fd(skel->progs.g25_uplink_out), w->uplink, 0);
}

void wire_open(struct wire *w, struct testgate *gate, enum wire_device device, enum wire_hook hook,
	       bool offload)
{
	const char *word = offload ? "on" : "off";

	if (w->open)
		wire_close(w);
	w->open = true;
	w->gate = gate;
	w->device = device;
	w->hook = hook;
	w->marks = 0;
	nsbox_run("ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
	nsbox_run("ip link add up0 mtu %d type veth peer name far0 mtu %d", WIRE_MTU, WIRE_MTU);
	if (device == WIRE_VETH) {
		nsbox_run("ip link add port0 mtu %d type veth peer name guest0 mtu %d", WIRE_MTU,
			  WIRE_MTU);
		nsbox_run("ethtool -K port0 tx %s >/dev/null && ip link set guest0 up", word);
		w->guest = wirelab_packet("guest0");
	} else {
		w->guest = wirelab_tap("port0", device == WIRE_TAP_FRAGS, offload);
		nsbox_run("ip link set port0 mtu %d", WIRE_MTU);
	}
	nsbox_run("for d in port0 up0; do ip link set $d master br0 && ip link set $d up; done;"
		  "ip link set far0 up && ip link set br0 up mtu %d",
		  WIRE_MTU);
	w->port = if_nametoindex("port0");
	w->uplink = if_nametoindex("up0");
	w->far = wirelab_packet("far0");
	attach_all(w);
	wire_reset(w);
	settle(w);
}

void wire_close(struct wire *w)
{
	w->open = false;
	for (int i = 0; i < 3; i++)
		if (w->links[i] >= 0)
			close(w->links[i]);
	close(w->guest);
	close(w->far);
	if (w->device == WIRE_VETH)
		nsbox_run("ip link del port0");
	nsbox_run("ip link del up0 && ip link del br0");
}

uint32_t wire_slot(const struct wire *w)
{
	return w->hook == WIRE_UNKNOWN ? GATE_SLOT_UNKNOWN : TEST_SLOT;
}

void wire_reset(struct wire *w)
{
	struct gate_port port = { .slot = TEST_SLOT, .flags = GATE_PORT_VM };

	testgate_reset(w->gate);
	if (w->hook == WIRE_FROM_VM)
		port.flags |= GATE_PORT_JUDGED;
	if (w->hook != WIRE_UNKNOWN)
		bpf_map_update_elem(w->gate->m.ports, &w->port, &port, 0);
	gate_maps_ports_changed(&w->gate->m);
}

/* In pieces: each buffer of the vector, of a page at most, becomes one of the skb. */
int wire_send(struct wire *w, const struct wire_frame *f)
{
	struct iovec iov[2 + WIRE_PIECES] = { { (void *)&f->vnet, sizeof(f->vnet) } };
	int n = 1, at = 0, most = w->device == WIRE_TAP_FRAGS ? WIRE_LINEAR : f->len;

	for (; at < f->len && n < 2 + WIRE_PIECES; n++) {
		iov[n].iov_base = (void *)(f->bytes + at);
		iov[n].iov_len = f->len - at < most ? f->len - at : most;
		at += iov[n].iov_len;
		most = PIECE;
	}
	return writev(w->guest, iov, n) < 0 ? -errno : 0;
}

static void send_marker(struct wire *w, uint8_t marker[MARKER_LEN])
{
	struct wire_frame f = { .bytes = marker, .len = MARKER_LEN };
	static const uint8_t head[ETH_HLEN] = {
		2, 0, 0, 0, 0, 0xfe, 2, 0, 0, 0, 0, 1, MARKER_TYPE >> 8, MARKER_TYPE & 0xff
	};

	memset(marker, 0, MARKER_LEN);
	memcpy(marker, head, sizeof(head));
	w->marks++;
	memcpy(marker + ETH_HLEN, &w->marks, sizeof(w->marks));
	if (wire_send(w, &f))
		die("marker");
}

/* A bridge forwards only some time after its ports are up: knocks until it does. */
static void settle(struct wire *w)
{
	struct pollfd p = { .fd = w->far, .events = POLLIN };
	uint8_t marker[MARKER_LEN];

	for (int left = WAIT_MS / SETTLE_MS; left; left--) {
		send_marker(w, marker);
		if (poll(&p, 1, SETTLE_MS) != 1)
			continue;
		wire_gather(w);
		wire_reset(w);
		return;
	}
	die("the bridge does not forward");
}

void wire_gather(struct wire *w)
{
	struct pollfd p = { .fd = w->far, .events = POLLIN };
	uint8_t marker[MARKER_LEN];
	static struct wire_got got;
	bool tap = w->device != WIRE_VETH;

	w->nfar = w->nback = 0;
	send_marker(w, marker);
	for (;;) {
		if (!wirelab_receive(w->far, false, &got)) {
			if (poll(&p, 1, WAIT_MS) != 1) {
				fprintf(stderr, "wirelab: the marker is lost (%s)\n",
					wire_device_name[w->device]);
				exit(1);
			}
			continue;
		}
		if (got.len == MARKER_LEN && !memcmp(got.bytes, marker, MARKER_LEN))
			break;
		if (w->nfar < WIRE_KEPT)
			w->at_far[w->nfar++] = got;
	}
	while (w->nback < WIRE_KEPT && wirelab_receive(w->guest, tap, &w->back[w->nback]))
		w->nback++;
}

int wire_exchange(struct wire *w, const struct wire_frame *f)
{
	int r = wire_send(w, f);

	wire_gather(w);
	return r;
}
