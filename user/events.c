// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "events.h"
#include "json.h"
#include "log.h"
#include "usage.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

/* After packets and ports, before HTTP. */
#define EVENTS_PRIORITY 5
/* How often what nobody was told of is summed up. */
#define LOST_EVERY_US	 (60 * 1000000ULL)
#define LOST_ACCURACY_US 1000000
/* Records handled in one turn, so that a full ring does not hold up the loop. */
#define RECORDS_PER_TURN 256

struct kept {
	char *text;
	size_t len;
	char subject[GATE_SUBJECT_LEN + 4];
};

struct listener {
	gate_events_cb cb;
	void *arg;
};

struct gate_events {
	struct gate_engine *engine;
	const struct gate_maps *maps;
	struct ring_buffer *ring;
	sd_event_source *source, *minute;
	uint64_t lost, rationed; /* as told */
	struct kept kept[GATE_EVENTS_KEPT];
	uint64_t next;
	unsigned turn;
	struct listener follow, notify;
};

static const char *const kind_names[] = {
	[GATE_N_REFUSED] = "refused",	  [GATE_N_WOULD_REFUSE] = "would_refuse",
	[GATE_N_IDENTITY] = "identity",	  [GATE_N_POLICY] = "policy",
	[GATE_N_EXPIRED] = "expired",	  [GATE_N_PORT_UP] = "port_up",
	[GATE_N_PORT_DOWN] = "port_down", [GATE_N_GAP] = "gap",
	[GATE_N_PROBLEM] = "problem",	  [GATE_N_LOST] = "lost",
};
_Static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == GATE_N_MAX, "a name for each kind");

const char *gate_notice_kind_name(enum gate_notice_kind k)
{
	return k < GATE_N_MAX ? kind_names[k] : "unknown";
}

static void format_address(struct gate_buf *b, const char *key, const uint8_t addr[16],
			   uint8_t family)
{
	struct gate_prefix p = { .len = 128, .v4 = family == 4 };
	char text[64];

	memcpy(p.addr, addr, sizeof(p.addr));
	gate_json_string(b, key, gate_format_prefix(&p, text, sizeof(text)));
}

static void format_record(struct gate_buf *b, const struct gate_event *ev)
{
	char text[24];

	gate_json_string(b, "reason",
			 ev->reason < GATE_R_MAX ? gate_reason_name((enum gate_reason)ev->reason)
						 : NULL);
	gate_json_uint(b, "ifindex", ev->ifindex);
	gate_json_string(b, "mac", gate_format_mac(ev->mac, text, sizeof(text)));
	if (ev->vlan)
		gate_json_uint(b, "vlan", ev->vlan);
	if (ev->family != 4 && ev->family != 6)
		return;
	format_address(b, "src", ev->src, ev->family);
	gate_json_uint(b, "sport", ev->sport);
	format_address(b, "dst", ev->dst, ev->family);
	gate_json_uint(b, "dport", ev->dport);
}

void gate_events_format(struct gate_buf *b, uint64_t number, const struct gate_notice *n)
{
	gate_json_open(b, NULL, '{');
	gate_json_version(b);
	gate_json_uint(b, "id", number);
	gate_json_time_ms(b, "time", n->time_ms);
	gate_json_string(b, "kind", gate_notice_kind_name(n->kind));
	gate_json_string(b, "subject", gate_json_or_null(n->subject));
	gate_json_string(b, "text", n->text);
	if (n->kind == GATE_N_REFUSED)
		gate_json_bool(b, "first", n->first);
	if (n->event)
		format_record(b, n->event);
	if (n->action) {
		gate_json_string(b, "actor", n->actor);
		gate_json_string(b, "action", n->action);
		gate_json_string(b, "reason", gate_json_or_null(n->reason));
	}
	if (n->kind == GATE_N_LOST)
		gate_json_uint(b, "count", n->count);
	gate_buf_puts(b, "}\n");
}

static void on_notice(void *arg, const struct gate_notice *n)
{
	struct gate_events *v = arg;
	struct kept *k = &v->kept[v->next % GATE_EVENTS_KEPT];
	struct gate_event_line line;
	struct gate_buf b = { 0 };

	gate_events_format(&b, v->next, n);
	if (b.failed) {
		gate_buf_free(&b);
		return;
	}
	free(k->text);
	/* the buffer's slack would double what the lines take */
	k->text = realloc(b.data, b.len);
	if (!k->text)
		k->text = b.data;
	k->len = b.len;
	snprintf(k->subject, sizeof(k->subject), "%s", n->subject);
	gate_events_line(v, v->next++, &line);
	if (v->follow.cb)
		v->follow.cb(v->follow.arg, n, &line);
	if (v->notify.cb)
		v->notify.cb(v->notify.arg, n, &line);
}

static int on_record(void *arg, void *data, size_t size)
{
	struct gate_events *v = arg;
	struct gate_event ev;

	if (size >= sizeof(ev)) {
		memcpy(&ev, data, sizeof(ev));
		gate_engine_event(v->engine, &ev);
	}
	/* a negative answer ends the turn; the rest makes the source ready again */
	return ++v->turn < RECORDS_PER_TURN ? 0 : -EAGAIN;
}

static int on_ring(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct gate_events *v = arg;

	v->turn = 0;
	ring_buffer__consume(v->ring);
	return 0;
}

static void tell_lost(struct gate_events *v, uint64_t *told, uint64_t now, const char *why)
{
	struct gate_notice n = { .kind = GATE_N_LOST, .count = now - *told };
	struct timespec t;

	if (now <= *told)
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	n.time_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	snprintf(n.text, sizeof(n.text), "%llu event%s not told: %s", (unsigned long long)n.count,
		 n.count == 1 ? " was" : "s were", why);
	*told = now;
	gate_engine_notice(v->engine, &n);
}

void gate_events_tell_lost(struct gate_events *v)
{
	struct gate_untold_sums now;

	gate_usage_untold(v->maps, &now);
	tell_lost(v, &v->lost, now.lost, "the ring was full");
	tell_lost(v, &v->rationed, now.rationed, "each VM has a ration");
}

static int on_minute(sd_event_source *s, uint64_t usec, void *arg)
{
	gate_events_tell_lost(arg);
	sd_event_source_set_time_relative(s, LOST_EVERY_US);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

static int open_ring(struct gate_events *v, sd_event *ev, int map_fd, struct gate_error *err)
{
	int r;

	v->ring = ring_buffer__new(map_fd, on_record, v, NULL);
	if (!v->ring)
		return gate_error_set(err, GATE_ERR_FAILED, "cannot read the events map: %s",
				      strerror(errno));
	r = sd_event_add_io(ev, &v->source, ring_buffer__epoll_fd(v->ring), EPOLLIN, on_ring, v);
	if (r >= 0)
		r = sd_event_source_set_priority(v->source, EVENTS_PRIORITY);
	if (r >= 0)
		r = sd_event_add_time_relative(ev, &v->minute, CLOCK_MONOTONIC, LOST_EVERY_US,
					       LOST_ACCURACY_US, on_minute, v);
	if (r < 0)
		return gate_error_set(err, GATE_ERR_FAILED, "cannot wait for events: %s",
				      strerror(-r));
	return 0;
}

int gate_events_open(struct gate_events **out, sd_event *ev, struct gate_engine *e,
		     const struct gate_maps *m, struct gate_error *err)
{
	struct gate_events *v = calloc(1, sizeof(*v));
	struct gate_untold_sums untold;
	int r;

	if (!v)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	v->engine = e;
	v->maps = m;
	if (m->global) {
		gate_usage_untold(m, &untold);
		v->lost = untold.lost;
		v->rationed = untold.rationed;
	}
	r = ev ? open_ring(v, ev, m->events, err) : 0;
	if (r) {
		gate_events_close(v);
		return r;
	}
	gate_engine_listen(e, on_notice, v);
	*out = v;
	return 0;
}

void gate_events_close(struct gate_events *v)
{
	unsigned i;

	if (!v)
		return;
	gate_engine_listen(v->engine, NULL, NULL);
	sd_event_source_disable_unref(v->source);
	sd_event_source_disable_unref(v->minute);
	ring_buffer__free(v->ring);
	for (i = 0; i < GATE_EVENTS_KEPT; i++)
		free(v->kept[i].text);
	free(v);
}

void gate_events_on_follow(struct gate_events *v, gate_events_cb cb, void *arg)
{
	v->follow = (struct listener){ cb, arg };
}

void gate_events_on_notify(struct gate_events *v, gate_events_cb cb, void *arg)
{
	v->notify = (struct listener){ cb, arg };
}

uint64_t gate_events_first(const struct gate_events *v)
{
	return v->next > GATE_EVENTS_KEPT ? v->next - GATE_EVENTS_KEPT : 0;
}

uint64_t gate_events_next(const struct gate_events *v)
{
	return v->next;
}

void gate_events_line(const struct gate_events *v, uint64_t number, struct gate_event_line *out)
{
	const struct kept *k = &v->kept[number % GATE_EVENTS_KEPT];

	*out = (struct gate_event_line){ .text = k->text, .len = k->len, .subject = k->subject };
}
