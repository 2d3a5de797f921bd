/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Real TCP stacks on either side of the programs: a guest and the Internet, each
 * in a namespace of its own.
 *
 *     guest eth0 ── port0 ┐
 *                         br0 (this namespace)
 *     inet  far0 ══ up0   ┘
 *
 * On a tap the guest's stack sits on a second tap, and a thread carries frames
 * with their virtio-net headers between the two, as a hypervisor does.
 */
#ifndef GATE25_TESTS_WIRESTACK_H
#define GATE25_TESTS_WIRESTACK_H

#include <pthread.h>

#include "wirelab.h"

struct stack_setup {
	enum wire_device device; /* WIRE_VETH or WIRE_TAP */
	bool guest_offload;	 /* the guest leaves checksums and segmentation to the host */
	bool host_offload;	 /* the host leaves them to the guest */
};

struct stack {
	struct testgate *gate;
	struct stack_setup setup;
	int guest, inet; /* namespaces */
	uint32_t port, uplink;
	bool open;
	int taps[2], links[3], stop;
	pthread_t carrier;
};

/*
 * 10.0.0.1 and 2001:db8::1 is the guest, …2 the Internet, whose MAC is that of
 * frame_build().
 */
/* What a test that failed left open is closed first. */
void stack_open(struct stack *s, struct testgate *gate, const struct stack_setup *setup);
void stack_close(struct stack *s);
/* testgate_reset(), and the VM of the guest's port gets this policy. */
void stack_policy(struct stack *s, const struct gate_node *node);

/* A socket of a namespace. */
int stack_socket(int ns, int domain, int type, int protocol);
/* A listener on this port, any address of both families. */
int stack_listen(const struct stack *s, uint16_t port);
/*
 * A guest's connect(): 0 or an errno, ETIMEDOUT when nothing came of it within
 * `wait_ms`; *fd is the connected socket, or -1. sport 0 = any.
 */
int stack_connect(const struct stack *s, int family, uint16_t sport, uint16_t dport, int wait_ms,
		  int *fd);
/* A packet socket on a namespace's device. */
int stack_packet(int ns, const char *device);

#endif
