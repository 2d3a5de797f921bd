// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Which links there are and what they are to the gate; see ports.h. */
#include "clock.h"
#include "log.h"
#include "ports_priv.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct port *gate_ports_find(const struct gate_ports *p, uint32_t ifindex)
{
	return (struct port *)gate_link_find(&p->table, ifindex);
}

/* ---- the table ---- */

static struct port *add_port(struct gate_ports *p, const struct gate_link *l)
{
	if (p->table.count == p->room) {
		size_t room = p->room ? 2 * p->room : 64;
		void *more = realloc(p->table.link, room * sizeof(*p->table.link));
		if (!more)
			return NULL;
		p->table.link = more;
		p->room = room;
	}
	struct port *port = calloc(1, sizeof(*port));
	if (!port)
		return NULL;
	port->link = *l;
	port->queued = -1;
	size_t at = gate_link_index(&p->table, l->ifindex);
	memmove(&p->table.link[at + 1], &p->table.link[at],
		(p->table.count - at) * sizeof(*p->table.link));
	p->table.link[at] = &port->link;
	p->table.count++;
	return port;
}

static void set_guest(struct gate_ports *p, struct port *port, uint32_t guest)
{
	const struct gate_maps *m = &gate_attach_bpf(p->a)->maps;

	if (port->guest && !guest) {
		p->guests--;
		bpf_map_delete_elem(m->ports, &port->link.ifindex);
		gate_maps_ports_changed(m);
	} else if (!port->guest && guest) {
		p->guests++;
	}
	port->guest = guest;
}

static void drop_port(struct gate_ports *p, struct port *port)
{
	const size_t at = gate_link_index(&p->table, port->link.ifindex);

	set_guest(p, port, 0);
	gate_ports_leave(p, port);
	memmove(&p->table.link[at], &p->table.link[at + 1],
		(p->table.count - at - 1) * sizeof(*p->table.link));
	p->table.count--;
	free(port);
}

void gate_ports_free_table(struct gate_ports *p)
{
	for (size_t i = 0; i < p->table.count; i++)
		free(port_at(p, i));
	free(p->table.link);
	p->table = (struct gate_link_table){ 0 };
}

static bool same_place(const struct gate_link *a, const struct gate_link *b)
{
	return a->master == b->master && a->lower == b->lower && a->type == b->type &&
	       !strcmp(a->name, b->name) && !strcmp(a->kind, b->kind) && !strcmp(a->bus, b->bus);
}

/* ---- roles ---- */

/*
 * A bridge that is deleted and made again (ifreload does) gets its members back within
 * seconds. They keep role and programs meanwhile, and so are not open for the moment
 * that it would take to find them: without a bridge there is nothing that they could
 * reach. Who goes into a bridge that is not gated is let go at once.
 */
unsigned gate_ports_linger_s = 30;

static bool lingers(const struct port *port)
{
	return port->left_ns && (port->role == GATE_ROLE_VM || port->role == GATE_ROLE_UPLINK) &&
	       gate_clock_mono_ns() - port->left_ns < gate_ports_linger_s * GATE_NSEC_PER_SEC;
}

static void take_link(struct port *port, const struct gate_link *l)
{
	if (l->master)
		port->left_ns = 0;
	else if (port->link.master)
		port->left_ns = gate_clock_mono_ns();
	port->link = *l;
}

void gate_ports_expire(struct gate_ports *p, bool all)
{
	bool any = false;

	for (size_t i = 0; i < p->table.count; i++) {
		struct port *port = port_at(p, i);
		if (!port->left_ns || (!all && lingers(port)))
			continue;
		port->left_ns = 0;
		any = true;
	}
	if (any)
		gate_ports_classify(p);
}

static void classify_port(struct gate_ports *p, struct port *port)
{
	enum gate_role role = gate_classify(p->c, &p->table, &port->link);

	/* the uplink is the gate then: there are no ports */
	if (role == GATE_ROLE_VM && p->c->uplink_mode)
		role = GATE_ROLE_NONE;
	if (role != port->role && lingers(port))
		return;
	if (role != port->role) {
		gate_ports_leave(p, port);
		gate_ports_enter(p, port, role);
	}
	set_guest(p, port,
		  role == GATE_ROLE_NONE ? gate_classify_guest(p->c, &p->table, &port->link) : 0);
}

static bool link_exists(const struct gate_ports *p, const char *name)
{
	for (size_t i = 0; i < p->table.count; i++)
		if (!strcmp(p->table.link[i]->name, name))
			return true;
	return false;
}

/* Names without wildcards that nobody bears. */
static void report_missing(struct gate_ports *p, const struct gate_globs *g, const char *code,
			   const char *what)
{
	for (unsigned i = 0; i < g->count; i++) {
		const char *name = g->pattern[i];
		if (strpbrk(name, "*?["))
			continue;
		if (link_exists(p, name))
			gate_engine_problem_clear(p->e, code, name);
		else
			gate_engine_problem_set(p->e, code, name,
						"%s %s is configured but does not exist (yet)",
						what, name);
	}
}

static bool has_uplink(const struct gate_ports *p)
{
	for (size_t i = 0; i < p->table.count; i++)
		if (port_at(p, i)->role == GATE_ROLE_UPLINK)
			return true;
	return false;
}

static void report_uplink(struct gate_ports *p)
{
	if (has_uplink(p) || (!p->c->backstop && !p->c->uplink_mode))
		gate_engine_problem_clear(p->e, "no_uplink", "");
	else if (p->c->uplink_mode)
		gate_engine_problem_set(p->e, "no_uplink", "",
					"no uplink was found, so nothing is gated: name it with "
					"uplinks =");
	else
		gate_engine_problem_set(
			p->e, "no_uplink", "",
			"no uplink was found, so there is no backstop: name it with "
			"uplinks =");
}

void gate_ports_classify(struct gate_ports *p)
{
	for (size_t i = 0; i < p->table.count; i++)
		classify_port(p, port_at(p, i));
	report_missing(p, &p->c->bridges, "bridge_missing", "bridge");
	report_missing(p, &p->c->uplinks, "uplink_missing", "uplink");
	report_uplink(p);
}

static void clear_missing(struct gate_ports *p, const struct gate_globs *g, const char *code)
{
	for (unsigned i = 0; i < g->count; i++)
		gate_engine_problem_clear(p->e, code, g->pattern[i]);
}

void gate_ports_clear_missing(struct gate_ports *p)
{
	clear_missing(p, &p->c->bridges, "bridge_missing");
	clear_missing(p, &p->c->uplinks, "uplink_missing");
	gate_engine_problem_clear(p->e, "no_uplink", "");
}

/* ---- changes ---- */

static bool told_engine(const struct port *port)
{
	return port->role != GATE_ROLE_NONE;
}

/* Others' roles hang on this link; a guest of a firewall bridge is what its fwpr stands for. */
static bool affects_others(const struct gate_ports *p, const struct gate_link *l)
{
	return gate_classify_affects_others(l) || gate_classify_has_pair(&p->table, l);
}

/* A link that is known and still there. True when others may be affected. */
static bool update_port(struct gate_ports *p, struct port *port, const struct gate_link *l)
{
	const bool renamed = strcmp(port->link.name, l->name) != 0;

	if (same_place(&port->link, l))
		return false;
	bool affects = affects_others(p, &port->link) || affects_others(p, l);
	take_link(port, l);
	if (renamed && told_engine(port))
		gate_engine_port_renamed(p->e, l->ifindex, l->name);
	if (!affects)
		classify_port(p, port);
	return affects;
}

static bool new_port(struct gate_ports *p, const struct gate_link *l)
{
	struct port *port = add_port(p, l);

	if (!port) {
		log_error("out of memory: link %s is not gated", l->name);
		return false;
	}
	if (affects_others(p, l))
		return true;
	classify_port(p, port);
	return false;
}

bool gate_ports_refresh(struct gate_ports *p, const struct gate_link_hint *hint)
{
	struct port *port = gate_ports_find(p, hint->ifindex);
	bool affects = false;
	struct gate_link l;
	int err = gate_links_get(p->links, hint->ifindex, &l);

	if (err && err != -ENODEV) {
		log_warning("cannot ask for link %u: %s", hint->ifindex, strerror(-err));
		return false;
	}
	/* gone, or gone and another is there with the same number */
	if (port && (err || hint->deleted)) {
		affects = affects_others(p, &port->link);
		drop_port(p, port);
		port = NULL;
	}
	if (err)
		return affects;
	return (port ? update_port(p, port, &l) : new_port(p, &l)) || affects;
}

int gate_ports_list(struct gate_ports *p)
{
	struct gate_link *link = NULL;
	size_t count = 0, at = 0;
	int err = gate_links_list(p->links, &link, &count);

	if (err)
		return err;
	/* both are in order of ifindex */
	for (size_t i = 0; i < p->table.count || at < count;) {
		struct port *port = i < p->table.count ? port_at(p, i) : NULL;
		if (!port || (at < count && link[at].ifindex < port->link.ifindex)) {
			if (!add_port(p, &link[at++])) {
				err = -ENOMEM;
				break;
			}
			i++;
		} else if (at == count || port->link.ifindex < link[at].ifindex) {
			drop_port(p, port);
		} else {
			if (strcmp(port->link.name, link[at].name) && told_engine(port))
				gate_engine_port_renamed(p->e, link[at].ifindex, link[at].name);
			take_link(port, &link[at++]);
			i++;
		}
	}
	free(link);
	gate_ports_classify(p);
	return err;
}

/* ---- the map of ports ---- */

void gate_ports_mirror(struct gate_ports *p)
{
	const struct gate_maps *m = &gate_attach_bpf(p->a)->maps;

	for (size_t i = 0; i < p->table.count && p->guests; i++) {
		struct port *port = port_at(p, i);
		struct gate_port entry, have;
		if (!port->guest)
			continue;
		const uint32_t ifindex = port->link.ifindex;
		if (bpf_map_lookup_elem(m->ports, &port->guest, &entry) < 0) {
			if (bpf_map_delete_elem(m->ports, &ifindex))
				continue;
		} else if (bpf_map_lookup_elem(m->ports, &ifindex, &have) < 0 ||
			   memcmp(&have, &entry, sizeof(entry)) != 0) {
			bpf_map_update_elem(m->ports, &ifindex, &entry, BPF_ANY);
		} else {
			continue;
		}
		gate_maps_ports_changed(m);
	}
}

void gate_ports_sweep(struct gate_ports *p)
{
	const struct gate_maps *m = &gate_attach_bpf(p->a)->maps;
	uint32_t key, next, *last = NULL;
	int more = !bpf_map_get_next_key(m->ports, NULL, &next);

	while (more) {
		key = next;
		last = &key;
		/* the next one first: a deleted key is no place to go on from */
		more = !bpf_map_get_next_key(m->ports, last, &next);
		const struct port *port = gate_ports_find(p, key);
		if (port && told_engine(port))
			continue;
		if (port && port->guest) { /* else it would go with what nobody has claimed */
			gate_engine_port_forget(p->e, key);
			continue;
		}
		gate_engine_port_down(p->e, key);
		bpf_map_delete_elem(m->ports, &key);
		gate_maps_ports_changed(m);
	}
}
