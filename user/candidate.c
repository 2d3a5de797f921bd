// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "candidate.h"
#include "clock.h"
#include "json.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYNC_TICKS 5

struct gate_candidate {
	struct gate_engine *e;
	const struct gate_maps *m;
	char path[512];
	struct gate_set_item *items;
	size_t n;
	bool active;
	int64_t since; /* Unix s */
	char by[64];
	struct gate_shadow_result placed;
	uint64_t revision; /* of the live policy when it was last placed */
	unsigned ticks;
};

static void clear(struct gate_candidate *c)
{
	for (size_t i = 0; i < c->n; i++)
		gate_set_item_clear(&c->items[i]);
	free(c->items);
	c->items = NULL;
	c->n = 0;
	c->active = false;
	c->since = 0;
	c->by[0] = '\0';
	c->placed = (struct gate_shadow_result){ 0 };
}

/* ---- the file: a line of its own, then the records ---- */

static int write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int save(const struct gate_candidate *c, const struct gate_set_item *items, size_t n,
		int64_t since, const char *by)
{
	_cleanup_buf_ struct gate_buf text = { 0 };
	char fresh[sizeof(c->path) + 4];
	int fd, r;

	gate_buf_printf(&text, "%lld %s\n", (long long)since, by);
	for (size_t i = 0; i < n; i++)
		gate_json_item(&text, &items[i], c->m->conf->ports);
	if (text.failed)
		return -ENOMEM;
	snprintf(fresh, sizeof(fresh), "%s.new", c->path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text.data, text.len);
	close(fd);
	if (!r && rename(fresh, c->path) < 0)
		r = -errno;
	if (r)
		unlink(fresh);
	return r;
}

static int load_line(struct gate_candidate *c, const char *line, size_t len, size_t *room)
{
	const struct gate_conf *conf = c->m->conf;
	struct gate_error err;

	if (c->n == *room) {
		struct gate_set_item *more;

		*room = *room ? *room * 2 : 16;
		more = realloc(c->items, *room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		c->items = more;
	}
	if (gate_json_read_item(line, len, conf->ports, conf->nports, &c->items[c->n], &err))
		return -EINVAL;
	c->n++;
	return 0;
}

static int load(struct gate_candidate *c)
{
	size_t room = 0, size = 0;
	char *line = NULL;
	long long since;
	ssize_t len;
	int r = 0;
	FILE *f = fopen(c->path, "re");

	if (!f)
		return -errno;
	if (getline(&line, &size, f) < 0 || sscanf(line, "%lld %63[^\n]", &since, c->by) < 1)
		r = -EINVAL;
	while (!r && (len = getline(&line, &size, f)) >= 0)
		r = load_line(c, line, (size_t)len, &room);
	free(line);
	fclose(f);
	if (r)
		return r;
	c->since = since;
	c->active = true;
	return 0;
}

/* ---- in the packet path ---- */

static int place(struct gate_candidate *c, const struct gate_set_item *items, size_t n, bool begin,
		 struct gate_error *err)
{
	c->revision = c->m->conf->revision;
	return gate_engine_shadow_set(c->e, items, n, begin, &c->placed, err);
}

int gate_candidate_open(struct gate_candidate **out, struct gate_engine *e,
			const struct gate_maps *m, const char *store_path, struct gate_error *err)
{
	struct gate_candidate *c = calloc(1, sizeof(*c));
	struct gate_error why;
	int r;

	if (!c)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	c->e = e;
	c->m = m;
	snprintf(c->path, sizeof(c->path), "%s.shadow", store_path);
	r = load(c);
	if (!r && place(c, c->items, c->n, true, &why))
		r = -ENOSPC;
	if (r) {
		if (r != -ENOENT)
			log_warning("the shadow policy in %s cannot be taken up: %s", c->path,
				    strerror(-r));
		clear(c);
	}
	*out = c;
	return 0;
}

void gate_candidate_close(struct gate_candidate *c)
{
	if (!c)
		return;
	clear(c);
	free(c);
}

void gate_candidate_tick(struct gate_candidate *c)
{
	struct gate_error why;

	if (c->active && !(c->m->conf->flags & GATE_CONF_SHADOW)) {
		log_warning("the shadow policy has ended: the live one needed its room");
		clear(c);
	}
	if (!c->active || ++c->ticks % SYNC_TICKS || c->revision == c->m->conf->revision)
		return;
	if (place(c, c->items, c->n, false, &why)) {
		log_warning("the shadow policy has ended: %s", why.message);
		clear(c);
	}
}

static void tell(struct gate_candidate *c, const struct gate_actor *who, const char *what)
{
	struct gate_notice n = { .kind = GATE_N_POLICY, .time_ms = gate_clock_unix_ns() / 1000000 };

	snprintf(n.text, sizeof(n.text), "%s: %s", who->name, what);
	gate_engine_notice(c->e, &n);
}

int gate_candidate_put(struct gate_candidate *c, const struct gate_actor *who,
		       struct gate_set_item *items, size_t n, struct gate_error *err)
{
	int64_t now = gate_clock_unix_ns() / (int64_t)GATE_NSEC_PER_SEC;
	int r = gate_engine_apply_set(c->e, who, items, n, true, NULL, NULL, err);

	if (r) /* what could not become live is no candidate */
		return r;
	r = save(c, items, n, now, who->name);
	if (r)
		return gate_error_set(err, GATE_ERR_FAILED,
				      "nothing is changed, the shadow policy could not be saved in "
				      "%s: %s",
				      c->path, strerror(-r));
	r = place(c, items, n, true, err);
	if (r) {
		unlink(c->path);
		clear(c);
		return r;
	}
	struct gate_shadow_result placed = c->placed;
	clear(c);
	c->items = items;
	c->n = n;
	c->active = true;
	c->since = now;
	c->placed = placed;
	snprintf(c->by, sizeof(c->by), "%s", who->name);
	tell(c, who, "a shadow policy is judged beside the live one");
	return 0;
}

static int none(struct gate_error *err)
{
	return gate_error_set(err, GATE_ERR_NO_SUBJECT,
			      "there is no shadow policy: `gate25 apply FILE --shadow` begins one");
}

static void end(struct gate_candidate *c)
{
	gate_engine_shadow_end(c->e);
	unlink(c->path);
	clear(c);
}

int gate_candidate_promote(struct gate_candidate *c, const struct gate_actor *who,
			   void (*diff)(void *, const char *), void *arg, struct gate_error *err)
{
	int r;

	if (!c->active)
		return none(err);
	r = gate_engine_apply_set(c->e, who, c->items, c->n, false, diff, arg, err);
	if (r)
		return r;
	end(c);
	tell(c, who, "the shadow policy is the live one now");
	return 0;
}

int gate_candidate_drop(struct gate_candidate *c, const struct gate_actor *who,
			struct gate_error *err)
{
	if (!c->active)
		return none(err);
	end(c);
	tell(c, who, "the shadow policy was dropped");
	return 0;
}

/* ---- what it would have done ---- */

static void show_vm(const struct gate_candidate *c, struct gate_buf *b, uint32_t slot)
{
	const struct gate_shadow *s = &c->m->shadow[slot];
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_subject subject;
	struct gate_counters live;
	uint32_t active;

	if (!s->admitted && !s->limited && !s->blocked)
		return;
	gate_engine_slot_subject(c->e, slot, &subject);
	gate_engine_counters(c->e, slot, &live, &active);
	gate_json_open(b, NULL, '{');
	gate_json_string(b, "subject", gate_format_subject(&subject, text, sizeof(text)));
	gate_json_uint(b, "would_admit", s->admitted);
	gate_json_uint(b, "would_limit", s->limited);
	gate_json_uint(b, "would_block", s->blocked);
	gate_json_close(b, '}');
}

void gate_candidate_show(const struct gate_candidate *c, struct gate_buf *b)
{
	gate_json_open(b, NULL, '{');
	gate_json_version(b);
	gate_json_bool(b, "active", c->active);
	gate_json_time(b, "since", c->since);
	gate_json_string(b, "by", gate_json_or_null(c->by));
	gate_json_uint(b, "subjects", c->placed.subjects);
	gate_json_uint(b, "unknown", c->placed.unknown);
	gate_json_open(b, "vms", '[');
	for (uint32_t slot = 0; c->active && slot < c->m->conf->max_vms; slot++)
		if (gate_engine_vm(c->e, slot))
			show_vm(c, b, slot);
	gate_json_close(b, ']');
	gate_json_close(b, '}');
}
