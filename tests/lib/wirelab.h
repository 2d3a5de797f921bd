/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The programs on real devices, without the daemon: a port in a bridge with an
 * uplink, the hooks on tcx, frames put into the guest's end and taken out at the
 * far side of the uplink.
 *
 *     guest ── port ┐
 *                   br0 (this namespace)
 *     far0  ══ up0  ┘
 *
 * A frame may be handed over as a virtio guest hands it over: only so many bytes
 * linear, a checksum or segmentation left to the host.
 */
#ifndef GATE25_TESTS_WIRELAB_H
#define GATE25_TESTS_WIRELAB_H

#include <linux/virtio_net.h>

#include "testgate.h"

/* WIRE_TAP_FRAGS: a tap that takes frames in pieces, so the smallest are not linear. */
enum wire_device { WIRE_VETH, WIRE_TAP, WIRE_TAP_FRAGS, WIRE_DEVICES };
extern const char *const wire_device_name[WIRE_DEVICES];

/*
 * Which hook judges: none, from_vm, the backstop for a port it knows, for one it
 * does not.
 */
enum wire_hook { WIRE_UNGATED, WIRE_FROM_VM, WIRE_BACKSTOP, WIRE_UNKNOWN };

#define WIRE_MTU   9000
#define WIRE_FRAME 65600
#define WIRE_KEPT  8
/* Linear bytes of what is handed over piecewise: the Ethernet header. */
#define WIRE_LINEAR 14

struct wire_frame {
	const uint8_t *bytes;
	int len;
	struct virtio_net_hdr vnet; /* hdr_len: how many bytes shall be linear, 0 = all */
};

struct wire_got {
	struct virtio_net_hdr vnet;
	int len;
	uint8_t bytes[WIRE_FRAME];
};

struct wire {
	struct testgate *gate;
	enum wire_device device;
	enum wire_hook hook;
	uint32_t port, uplink; /* ifindexes */
	int guest;	       /* the guest's end: packet socket or tap */
	int far;	       /* a packet socket on far0 */
	int links[3];
	bool open;
	uint32_t marks; /* markers sent so far */
	int nfar, nback;
	struct wire_got at_far[WIRE_KEPT]; /* what came out at the far side */
	struct wire_got back[WIRE_KEPT];   /* what came back to the guest */
};

/*
 * Namespaces of the program's own, one CPU (so that frames keep their order), no
 * IPv6 chatter, no netfilter on bridges. Once, before all else.
 */
void wirelab_enter(void);

/*
 * Makes bridge, uplink, port and attaches; `offload`: the guest takes checksums
 * undone. What a test that failed left open is closed first.
 */
void wire_open(struct wire *w, struct testgate *gate, enum wire_device device, enum wire_hook hook,
	       bool offload);
void wire_close(struct wire *w);
/* testgate_reset() and the port's place in the maps; the port is slot TEST_SLOT. */
void wire_reset(struct wire *w);
/* The slot that the port's frames are counted on. */
uint32_t wire_slot(const struct wire *w);

/* Sends; 0 or -errno when the device does not take it. */
int wire_send(struct wire *w, const struct wire_frame *f);
/*
 * Sends, and gathers in at_far and back what came of it: all that arrived before a
 * marker that was sent behind it. Fails the program when the marker is lost.
 */
int wire_exchange(struct wire *w, const struct wire_frame *f);
/* Only the marker: what earlier wire_send()s have led to. */
void wire_gather(struct wire *w);

/* A tap with a virtio-net header: its descriptor, non-blocking. */
int wirelab_tap(const char *name, bool frags, bool offload);
/* A packet socket on a device, with virtio-net headers and tags as they were. */
int wirelab_packet(const char *name);
/* One frame from such a socket or a tap, 0 when there is none. */
int wirelab_receive(int fd, bool tap, struct wire_got *got);
/* Puts a program on a device's hook; returns a descriptor, of the link where that is tcx. */
int wirelab_attach(int prog, uint32_t ifindex, bool ingress);

#endif
