// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What each kind of frame must lead to; see wirerows.h. */
#include "wirerows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

#define PADDED_LEN 6000 /* the kernel makes frames below a page linear */

const char *const wire_dress_name[DRESSES] = { "plain", "padded", "checksum left",
					       "segmentation left",
					       "segmentation and checksum left" };

void wire_policy(struct wire *w, enum vm_state vm, enum gate_refuse refuse)
{
	struct gate_node n = row_policy(vm);
	uint32_t base = w->hook == WIRE_UNKNOWN ? gate_base_default() : gate_base_vm(TEST_SLOT);

	wire_reset(w);
	n.refuse = refuse;
	n.quarantine_refuse = refuse;
	testgate_policy(w->gate, base, 0, &n);
}

static bool has(const char *words, const char *word)
{
	return strstr(words, word) != NULL;
}

bool wire_row_wears(const struct trick *t, enum wire_dress dress)
{
	size_t n = strlen(t->words);
	bool whole = n > 4 && !strcmp(t->words + n - 4, " tcp") && !has(t->words, "f=") &&
		     (t->kind == FRAME_GATED || t->kind == FRAME_OTHER);

	switch (dress) {
	case DRESS_PADDED: /* a packet that was cut would be whole again */
		return !has(t->words, "cut=") && !has(t->words, ":long") && !has(t->words, "tcp:");
	case DRESS_CSUM:
		return whole;
	case DRESS_GSO:
	case DRESS_GSO_CSUM: /* a length field instead of a type holds no such frames */
		return whole && !has(t->words, "snap") && !has(t->words, "llc") &&
		       !has(t->words, "lcp");
	default:
		return true;
	}
}

/* The outer tag is taken off before the programs look: to be too deep takes one more. */
static void write_words(char words[256], const struct trick *t)
{
	bool deeper = t->kind == FRAME_TOO_DEEP && !strncmp(t->words, "eth t8", 6);

	snprintf(words, 256, "%s%s", deeper ? "eth t8100" : "", t->words + (deeper ? 3 : 0));
}

/* Builds the row's frame, dressed; the TCP header is the last there is before the payload. */
static void dress_up(struct wire_frame *f, uint8_t *bytes, const struct trick *t,
		     enum wire_dress dress)
{
	bool gso = dress == DRESS_GSO || dress == DRESS_GSO_CSUM;
	struct frame_spec spec = { .dport = t->dport, .payload = gso ? DRESS_GSO_PAYLOAD : 0 };
	char words[256];
	int tcp;

	write_words(words, t);
	f->bytes = bytes;
	f->len = frame_build(words, &spec, bytes);
	f->vnet = (struct virtio_net_hdr){ .hdr_len = dress == DRESS_PLAIN ? 0 : WIRE_LINEAR };
	tcp = f->len - spec.payload - TCP_LEN;
	if (dress == DRESS_PADDED) {
		memset(bytes + f->len, 0, PADDED_LEN - f->len);
		f->len = PADDED_LEN;
	}
	if (dress == DRESS_CSUM || dress == DRESS_GSO_CSUM) {
		f->vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		f->vnet.csum_start = tcp;
		f->vnet.csum_offset = 16;
	}
	if (gso) {
		f->vnet.gso_type =
			has(t->words, "ip6") ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
		f->vnet.gso_size = DRESS_GSO_SIZE;
		f->vnet.hdr_len = tcp + TCP_LEN;
	}
}

static bool counters_are_right(const struct wire *w, const struct trick *t, enum vm_state vm,
			       int segments, int len)
{
	const struct gate_counters *c = &w->gate->m.counters[wire_slot(w)];
	bool flow = t->kind == FRAME_GATED;
	/* an accelerated tag is not in the length that the programs see */
	int64_t bytes = (int64_t)c->bytes_from_vm - (flow ? len : 0);

	return (bytes == 0 || (flow && bytes == -VLAN_LEN)) && row_counted(c, t, vm, segments);
}

static bool untouched(const struct wire *w)
{
	static const struct gate_counters none;

	return !memcmp(&w->gate->m.counters[wire_slot(w)], &none, sizeof(none));
}

/* FNV-1a */
static uint64_t hash(uint64_t h, const void *data, int n)
{
	for (const uint8_t *p = data; n--; p++)
		h = (h ^ *p) * 0x100000001b3ULL;
	return h;
}

static uint64_t came_out(const struct wire *w)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	h = hash(h, &w->nfar, sizeof(w->nfar));
	for (int i = 0; i < w->nfar; i++) {
		h = hash(h, &w->at_far[i].len, sizeof(w->at_far[i].len));
		h = hash(h, &w->at_far[i].vnet, sizeof(w->at_far[i].vnet));
		h = hash(h, w->at_far[i].bytes, w->at_far[i].len);
	}
	return h;
}

uint64_t wire_row_ungated(struct wire *w, const struct trick *t, enum wire_dress dress)
{
	uint8_t bytes[PADDED_LEN + FRAME_MAX];
	struct wire_frame f;

	dress_up(&f, bytes, t, dress);
	wire_exchange(w, &f);
	return came_out(w);
}

static bool arrived(const struct wire *w, const struct wire_frame *f)
{
	return w->nfar == 1 && w->at_far[0].len == f->len &&
	       !memcmp(w->at_far[0].bytes, f->bytes, f->len);
}

static void complain(const struct wire *w, const struct trick *t, enum vm_state vm,
		     enum wire_dress dress, const char *what)
{
	fprintf(stderr, "%s, %s, %s over %s, hook %d: %s; %d at the far side, %d back\n", t->words,
		vm_state_name[vm], wire_dress_name[dress], wire_device_name[w->device], w->hook,
		what, w->nfar, w->nback);
	for (int r = 0; r < GATE_R_MAX; r++)
		if (testgate_reason(w->gate, r, false) || testgate_reason(w->gate, r, true))
			fprintf(stderr, "    counted: %s\n", gate_reason_name(r));
}

/* With so little of it linear a frame cannot have left at the glance. */
static bool was_looked_at(const struct wire *w, enum wire_dress dress)
{
	if (w->hook != WIRE_FROM_VM || (w->device != WIRE_TAP_FRAGS && dress != DRESS_PADDED))
		return true;
	return testgate_reason(w->gate, GATE_R_NOT_GATED, false) > 0;
}

void wire_check_row(struct wire *w, const struct trick *t, enum vm_state vm, enum wire_dress dress,
		    uint64_t ungated, struct wire_tally *tally)
{
	const struct row_rule *e = row_rule(t, vm);
	uint8_t bytes[PADDED_LEN + FRAME_MAX];
	bool would = vm == VM_OBSERVED && e->reason != GATE_R_NEW_FLOW;
	bool passes = t->kind == FRAME_OTHER || e->passes;
	struct wire_frame f;
	const char *wrong = NULL;

	wire_policy(w, vm, GATE_REFUSE_DROP);
	dress_up(&f, bytes, t, dress);
	if (wire_exchange(w, &f)) {
		tally->refused++;
		passes = false;
		if (!untouched(w))
			wrong = "refused by the device and yet counted";
	} else if (t->kind == FRAME_OTHER) {
		if (!untouched(w))
			wrong = "an innocent frame was counted";
		else if (!was_looked_at(w, dress))
			wrong = "was linear, so this row proves nothing";
	} else if (testgate_reason(w->gate, e->reason, would) != 1) {
		wrong = gate_reason_name(e->reason);
	} else if (!counters_are_right(w, t, vm,
				       f.vnet.gso_size ? DRESS_GSO_PAYLOAD / DRESS_GSO_SIZE + 1 : 1,
				       f.len)) {
		wrong = "counters are wrong";
	}
	if (!wrong && passes && !f.vnet.gso_type && !arrived(w, &f))
		wrong = "did not arrive as it was sent";
	if (!wrong && passes && came_out(w) != ungated)
		wrong = "did not arrive as it does without a gate";
	if (!wrong && !passes && w->nfar)
		wrong = "got through";
	if (!wrong && w->nback)
		wrong = "was answered";
	tally->checked++;
	if (!wrong)
		return;
	tally->bad++;
	complain(w, t, vm, dress, wrong);
}
