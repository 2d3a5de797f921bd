// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Real TCP stacks on either side of the programs; see wirestack.h. */
#include "wirestack.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate25.skel.h"
#include "nsbox.h"

static void die(const char *what)
{
	fprintf(stderr, "wirestack: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int own_namespace(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("namespace");
	return fd;
}

static int new_namespace(void)
{
	int home = own_namespace(), fd;

	if (unshare(CLONE_NEWNET))
		die("unshare");
	fd = own_namespace();
	nsbox_run("ip link set lo up");
	if (setns(home, CLONE_NEWNET))
		die("setns");
	close(home);
	return fd;
}

/* Runs `line` of the shell in a namespace. */
static void run_in(int ns, const char *line)
{
	int home = own_namespace();

	if (setns(ns, CLONE_NEWNET))
		die("setns");
	nsbox_run("%s", line);
	if (setns(home, CLONE_NEWNET))
		die("setns");
	close(home);
}

int stack_socket(int ns, int domain, int type, int protocol)
{
	int home = own_namespace(), fd;

	if (setns(ns, CLONE_NEWNET))
		die("setns");
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	if (fd < 0 || setns(home, CLONE_NEWNET))
		die("socket");
	close(home);
	return fd;
}

int stack_packet(int ns, const char *device)
{
	int home = own_namespace(), fd;

	if (setns(ns, CLONE_NEWNET))
		die("setns");
	fd = wirelab_packet(device);
	if (setns(home, CLONE_NEWNET))
		die("setns");
	close(home);
	return fd;
}

static void carry(int from, int to)
{
	char frame[sizeof(struct virtio_net_hdr) + WIRE_FRAME];
	ssize_t n = read(from, frame, sizeof(frame));

	/* what the other side does not take is lost, as on any wire */
	if (n > 0 && write(to, frame, n) < 0 && errno != EIO && errno != EAGAIN && errno != EINVAL)
		die("carry");
}

static void *carrier(void *arg)
{
	const struct stack *s = arg;
	struct pollfd p[3] = { { .fd = s->taps[0], .events = POLLIN },
			       { .fd = s->taps[1], .events = POLLIN },
			       { .fd = s->stop, .events = POLLIN } };

	while (!p[2].revents) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			die("poll");
		if (p[0].revents & POLLIN)
			carry(s->taps[0], s->taps[1]);
		if (p[1].revents & POLLIN)
			carry(s->taps[1], s->taps[0]);
	}
	return NULL;
}

static void plug_veth(struct stack *s)
{
	nsbox_run("ip link add port0 type veth peer name eth0 netns /proc/%d/fd/%d", getpid(),
		  s->guest);
	nsbox_run("ethtool -K port0 tx %s tso %s >/dev/null", s->setup.host_offload ? "on" : "off",
		  s->setup.host_offload ? "on" : "off");
	run_in(s->guest, s->setup.guest_offload
				 ? "true"
				 : "ethtool -K eth0 tx off tso off gso off rx off >/dev/null");
}

static void plug_taps(struct stack *s)
{
	int home = own_namespace();

	s->taps[0] = wirelab_tap("port0", false, s->setup.host_offload);
	if (setns(s->guest, CLONE_NEWNET))
		die("setns");
	s->taps[1] = wirelab_tap("eth0", false, s->setup.guest_offload);
	if (setns(home, CLONE_NEWNET))
		die("setns");
	close(home);
	s->stop = eventfd(0, EFD_CLOEXEC);
	if (s->stop < 0 || pthread_create(&s->carrier, NULL, carrier, s))
		die("carrier");
}

static void attach(struct stack *s)
{
	struct gate25_bpf *skel = s->gate->skel;

	s->port = if_nametoindex("port0");
	s->uplink = if_nametoindex("up0");
	s->links[0] = wirelab_attach(bpf_program__fd(skel->progs.g25_from_vm), s->port, true);
	s->links[1] = wirelab_attach(bpf_program__fd(skel->progs.g25_to_vm), s->port, false);
	s->links[2] = wirelab_attach(bpf_program__fd(skel->progs.g25_uplink_out), s->uplink, false);
}

/* Until a bridge forwards, connections fail for reasons that are not ours. */
static void wait_for_path(struct stack *s)
{
	struct gate_node allow = { .state = GATE_ALLOW };
	int listener = stack_listen(s, 9), fd, r;

	for (int family = 4; family <= 6; family += 2) {
		stack_policy(s, &allow);
		for (int i = 0; i < 100; i++) {
			r = stack_connect(s, family, 0, 9, 200, &fd);
			if (!r)
				break;
		}
		if (r)
			die("no path from guest to Internet");
		close(fd);
	}
	close(listener);
}

#define ADDRESSES(dev, n)                                                                          \
	"sysctl -qw net.ipv6.conf.all.accept_dad=0;"                                               \
	"ip addr add 10.0.0." n "/24 dev " dev ";"                                                 \
	"ip addr add 2001:db8::" n "/64 dev " dev " nodad;"                                        \
	"ip link set " dev " up"

void stack_open(struct stack *s, struct testgate *gate, const struct stack_setup *setup)
{
	if (s->open)
		stack_close(s);
	*s = (struct stack){ .gate = gate, .setup = *setup, .open = true, .taps = { -1, -1 } };
	s->guest = new_namespace();
	s->inet = new_namespace();
	nsbox_run("ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
	nsbox_run("ip link add up0 type veth peer name far0 netns /proc/%d/fd/%d", getpid(),
		  s->inet);
	if (setup->device == WIRE_VETH)
		plug_veth(s);
	else
		plug_taps(s);
	nsbox_run("for d in port0 up0; do ip link set $d master br0 && ip link set $d up; done;"
		  "ip link set br0 up");
	run_in(s->guest, ADDRESSES("eth0", "1"));
	run_in(s->inet, "ip link set far0 address 02:00:00:00:00:fe");
	run_in(s->inet, ADDRESSES("far0", "2"));
	attach(s);
	wait_for_path(s);
}

void stack_close(struct stack *s)
{
	static const uint64_t one = 1;

	s->open = false;
	for (int i = 0; i < 3; i++)
		close(s->links[i]);
	if (s->setup.device != WIRE_VETH) {
		if (write(s->stop, &one, sizeof(one)) < 0)
			die("stop");
		pthread_join(s->carrier, NULL);
		close(s->stop);
		close(s->taps[0]);
		close(s->taps[1]);
	} else {
		nsbox_run("ip link del port0");
	}
	nsbox_run("ip link del up0 && ip link del br0");
	close(s->guest);
	close(s->inet);
}

void stack_policy(struct stack *s, const struct gate_node *node)
{
	struct gate_port port = { .slot = TEST_SLOT, .flags = GATE_PORT_VM | GATE_PORT_JUDGED };

	testgate_reset(s->gate);
	bpf_map_update_elem(s->gate->m.ports, &s->port, &port, 0);
	gate_maps_ports_changed(&s->gate->m);
	testgate_policy(s->gate, gate_base_vm(TEST_SLOT), 0, node);
}

int stack_listen(const struct stack *s, uint16_t port)
{
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = stack_socket(s->inet, AF_INET6, SOCK_STREAM, 0), on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 64))
		die("listen");
	return fd;
}

static socklen_t address(struct sockaddr_storage *at, int family, const char *text, uint16_t port)
{
	struct sockaddr_in *in = (void *)at;
	struct sockaddr_in6 *in6 = (void *)at;

	memset(at, 0, sizeof(*at));
	if (family == 4) {
		*in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
		inet_pton(AF_INET, text, &in->sin_addr);
		return sizeof(*in);
	}
	*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
	inet_pton(AF_INET6, text, &in6->sin6_addr);
	return sizeof(*in6);
}

int stack_connect(const struct stack *s, int family, uint16_t sport, uint16_t dport, int wait_ms,
		  int *fd)
{
	struct sockaddr_storage from, to;
	int sock = stack_socket(s->guest, family == 4 ? AF_INET : AF_INET6,
				SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = sock, .events = POLLOUT };
	socklen_t n = address(&from, family, family == 4 ? "10.0.0.1" : "2001:db8::1", sport);
	int err = 0, on = 1;

	*fd = -1;
	if (setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(sock, (struct sockaddr *)&from, n))
		die("bind");
	n = address(&to, family, family == 4 ? "10.0.0.2" : "2001:db8::2", dport);
	if (connect(sock, (struct sockaddr *)&to, n) && errno != EINPROGRESS)
		err = errno;
	else if (poll(&p, 1, wait_ms) != 1)
		err = ETIMEDOUT;
	n = sizeof(err);
	if (!err)
		getsockopt(sock, SOL_SOCKET, SO_ERROR, &err, &n);
	if (err)
		close(sock);
	else
		*fd = sock;
	return err;
}
