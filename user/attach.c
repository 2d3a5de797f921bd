// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Which hook, which side, and how to say what went wrong; see attach.h. */
#include "attach.h"
#include "attach_priv.h"
#include "links.h"
#include "log.h"
#include "pins.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

struct gate_attacher {
	struct gate_bpf *b;
	struct gate_tc tc;
	bool to_vm;
	bool hurried;
	enum gate_early_drop early;
};

const char *gate_attach_where(enum gate_where where)
{
	static const char *const name[] = { "from_vm", "to_vm", "uplink_out", "early_drop" };

	_Static_assert(sizeof(name) / sizeof(name[0]) == GATE_NWHERE, "a name for each hook");
	return name[where];
}

int gate_attach_choose(const struct gate_config *c, bool *tcx, struct gate_error *err)
{
	struct utsname un;

	if (c->hook == GATE_HOOK_TC) {
		*tcx = false;
		return 0;
	}
	bool have = gate_tcx_available();
	if (!have && c->hook == GATE_HOOK_TCX) {
		uname(&un);
		return gate_error_set(err, GATE_ERR_FAILED,
				      "hook = tcx needs Linux 6.6 or later, this is %s: use hook = "
				      "auto or hook = tc",
				      un.release);
	}
	*tcx = have;
	return 0;
}

void gate_attach_reconfigure(struct gate_attacher *a, const struct gate_config *c)
{
	/* on the legacy hook it needs clsact, which is in the way of others: only when asked */
	a->to_vm = c->to_vm_set ? c->to_vm : a->b->tcx;
	a->tc.clsact = a->to_vm;
	a->early = a->b->early_drop >= 0 ? c->early_drop : GATE_EARLY_OFF;
}

int gate_attach_open(struct gate_attacher **out, struct gate_bpf *b, const struct gate_config *c,
		     struct gate_error *err)
{
	char links[GATE_PIN_PATH];
	struct gate_attacher *a = calloc(1, sizeof(*a));

	if (!a)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	a->b = b;
	a->tc.pin = b->pin;
	int r = gate_pins_path(links, "%s/links", b->pin);
	r = r ? r : gate_pins_mkdir(links);
	if (!r)
		r = gate_rtnl_open(&a->tc.rtnl);
	if (r) {
		free(a);
		return gate_error_set(err, GATE_ERR_FAILED,
				      "cannot prepare the attachment of programs: %s",
				      strerror(-r));
	}
	gate_attach_reconfigure(a, c);
	/* should an earlier daemon have been killed in its hurry */
	gate_tcx_hurry(b->pin, false);
	*out = a;
	return 0;
}

void gate_attach_close(struct gate_attacher *a)
{
	if (!a)
		return;
	gate_attach_hurry(a, false);
	gate_rtnl_close(&a->tc.rtnl);
	free(a);
}

const char *gate_attach_hook(const struct gate_attacher *a)
{
	return a->b->tcx ? "tcx" : "tc";
}

bool gate_attach_wants_to_vm(const struct gate_attacher *a)
{
	return a->to_vm;
}

/*
 * Measured (docs/performance.md): where frames arrive as XDP frames a refusal costs less
 * than half; on a tap, and on a veth with a container behind it, nothing is won and every
 * other frame pays. Drivers that hand XDP their frames have devices without a kind.
 */
bool gate_attach_wants_early(const struct gate_attacher *a, const char *kind)
{
	return a->early == GATE_EARLY_ON ? strcmp(kind, "macvtap") != 0
					 : a->early == GATE_EARLY_AUTO && !*kind;
}

struct gate_bpf *gate_attach_bpf(struct gate_attacher *a)
{
	return a->b;
}

bool gate_attach_has_qdisc(struct gate_attacher *a, uint32_t ifindex)
{
	return gate_tc_has_qdisc(&a->tc, ifindex);
}

bool gate_attach_on_others_qdisc(const struct gate_attacher *a, uint32_t ifindex)
{
	return !a->b->tcx && !gate_tc_made_qdisc(&a->tc, ifindex);
}

uint32_t gate_attach_port_flags(const struct gate_attacher *a)
{
	if (a->b->tcx)
		return GATE_PORT_JUDGED;
	return a->b->stamped ? GATE_PORT_STAMPED : 0;
}

static int put_failed(uint32_t ifindex, const char *name, enum gate_where where, int r,
		      struct gate_error *err)
{
	const char *hook = gate_attach_where(where);

	switch (-r) {
	case ENODEV:
		return r; /* gone meanwhile: nothing to tell */
	case EADDRINUSE:
		gate_error_set(err, GATE_ERR_FAILED,
			       "cannot attach %s to %s: it has an ingress qdisc where egress needs "
			       "clsact; `tc qdisc del dev %s ingress` makes way",
			       hook, name, name);
		break;
	case EOPNOTSUPP:
		if (where != GATE_EARLY_DROP) {
			gate_error_set(err, GATE_ERR_FAILED,
				       "cannot attach %s to %s: its ingress qdisc has a block that "
				       "other devices share",
				       hook, name);
			break;
		}
		gate_error_set(err, GATE_ERR_FAILED,
			       "cannot attach %s to %s: its driver has no native XDP", hook, name);
		break;
	case EBUSY:
		if (where == GATE_EARLY_DROP) {
			gate_error_set(err, GATE_ERR_FAILED,
				       "cannot attach %s to %s: another XDP program is there", hook,
				       name);
			break;
		}
		gate_error_set(err, GATE_ERR_FAILED,
			       "cannot attach %s to %s: others have filters at every priority",
			       hook, name);
		break;
	case EPERM:
	case EACCES:
		gate_error_set(err, GATE_ERR_DENIED,
			       "not permitted to attach %s to %s: gate25d needs CAP_NET_ADMIN",
			       hook, name);
		break;
	default:
		gate_error_set(err, GATE_ERR_FAILED, "cannot attach %s to %s: %s", hook, name,
			       strerror(-r));
	}
	return r;
}

/* VM traffic enters the host at a port's ingress, but leaves a macvtap by its egress. */
static bool is_egress(enum gate_where where, bool macvtap)
{
	switch (where) {
	case GATE_FROM_VM:
		return macvtap;
	case GATE_TO_VM:
		return !macvtap;
	default:
		return true;
	}
}

bool gate_attach_is_first(const struct gate_attacher *a, uint32_t ifindex, enum gate_where where,
			  bool macvtap)
{
	/* on the legacy hook the stamp proves it, frame by frame */
	return !a->b->tcx || gate_tcx_is_first(ifindex, is_egress(where, macvtap), a->b->id[where]);
}

static bool by_link(const struct gate_attacher *a, enum gate_where where)
{
	return a->b->tcx || where == GATE_EARLY_DROP;
}

static int put(struct gate_attacher *a, uint32_t ifindex, enum gate_where where, bool egress,
	       int prog)
{
	if (by_link(a, where))
		return gate_tcx_put(a->b->pin, ifindex, where, egress, prog);
	return gate_tc_put(&a->tc, ifindex, where, egress, prog);
}

int gate_attach_put(struct gate_attacher *a, uint32_t ifindex, const char *name,
		    enum gate_where where, bool macvtap, struct gate_error *err)
{
	const int prog[] = { a->b->from_vm, a->b->to_vm, a->b->uplink_out, a->b->early_drop };
	int r = put(a, ifindex, where, is_egress(where, macvtap), prog[where]);

	if (r)
		return put_failed(ifindex, name, where, r, err);

	if (where == GATE_EARLY_DROP)
		return 0;
	/* what an earlier daemon has put on the other hook would judge a second time */
	if (a->b->tcx)
		gate_tc_remove(&a->tc, ifindex, where);
	else
		gate_tcx_remove(a->b->pin, ifindex, where);
	return 0;
}

static int check(struct gate_attacher *a, uint32_t ifindex, enum gate_where where, uint32_t prog_id)
{
	if (by_link(a, where))
		return gate_tcx_check(a->b->pin, ifindex, where, prog_id);
	return gate_tc_check(&a->tc, ifindex, where, prog_id);
}

int gate_attach_check(struct gate_attacher *a, uint32_t ifindex, enum gate_where where)
{
	return check(a, ifindex, where, a->b->id[where]);
}

bool gate_attach_earlier(struct gate_attacher *a, uint32_t ifindex, enum gate_where where)
{
	return gate_tcx_check(a->b->pin, ifindex, where, 0) == 1 ||
	       (where != GATE_EARLY_DROP && gate_tc_check(&a->tc, ifindex, where, 0) == 1);
}

int gate_attach_put_back(struct gate_attacher *a, uint32_t ifindex, enum gate_where where,
			 bool macvtap)
{
	if (where == GATE_EARLY_DROP)
		return gate_attach_remove(a, ifindex, where);
	return put(a, ifindex, where, is_egress(where, macvtap), a->b->before[where]);
}

int gate_attach_present(struct gate_attacher *a, uint32_t ifindex, enum gate_where where)
{
	return check(a, ifindex, where, 0);
}

int gate_attach_remove(struct gate_attacher *a, uint32_t ifindex, enum gate_where where)
{
	int r = gate_tcx_remove(a->b->pin, ifindex, where);

	/* an earlier daemon may have used the other hook */
	if (r >= 0 && where != GATE_EARLY_DROP)
		r = gate_tc_remove(&a->tc, ifindex, where);
	return r < 0 ? r : 0;
}

void gate_attach_clear(struct gate_attacher *a, uint32_t ifindex)
{
	for (int w = 0; w < GATE_NWHERE; w++) {
		int err = gate_attach_remove(a, ifindex, w);
		if (err && err != -ENODEV)
			log_warning("cannot take %s off link %u: %s", gate_attach_where(w), ifindex,
				    strerror(-err));
	}
	if (!a->b->tcx)
		gate_tc_remove_qdisc(&a->tc, ifindex);
}

void gate_attach_hurry(struct gate_attacher *a, bool on)
{
	if (!a->b->tcx || a->hurried == on)
		return;
	gate_tcx_hurry(a->b->pin, on);
	a->hurried = on;
}

int gate_attach_collect(struct gate_attacher *a)
{
	gate_tc_collect(&a->tc);
	return gate_tcx_collect(a->b->pin);
}

/* ---- gate25 detach ---- */

struct removal {
	const char *pin;
	void (*say)(void *, const char *);
	void *arg;
	struct gate_tc tc;
};

static void say_removed(const struct removal *r, const char *link, enum gate_where where,
			const char *hook)
{
	char line[128];

	snprintf(line, sizeof(line), "%s: %s taken off (%s)", link, gate_attach_where(where), hook);
	r->say(r->arg, line);
}

static int clear_link(struct removal *r, const struct gate_link *l)
{
	for (int w = 0; w < GATE_NWHERE; w++) {
		int tcx = gate_tcx_remove(r->pin, l->ifindex, w);
		int tc = w == GATE_EARLY_DROP ? 0 : gate_tc_remove(&r->tc, l->ifindex, w);
		if (tcx > 0)
			say_removed(r, l->name, w, "tcx");
		if (tc > 0)
			say_removed(r, l->name, w, "tc");
		if (tcx < 0 && tcx != -ENODEV)
			return tcx;
		if (tc < 0 && tc != -ENODEV)
			return tc;
	}
	int err = gate_tc_remove_qdisc(&r->tc, l->ifindex);
	return err < 0 && err != -ENODEV ? err : 0;
}

static int clear_links(struct removal *r)
{
	struct gate_links *links;
	struct gate_link *link = NULL;
	size_t count = 0;
	int err = gate_links_open(&links, false, 0);

	if (err)
		return err;
	err = gate_rtnl_open(&r->tc.rtnl);
	if (!err) {
		err = gate_links_list(links, &link, &count);
		for (size_t i = 0; i < count && !err; i++)
			err = clear_link(r, &link[i]);
		gate_rtnl_close(&r->tc.rtnl);
	}
	free(link);
	gate_links_close(links);
	return err;
}

int gate_attach_remove_all(const char *pin, void (*say)(void *, const char *), void *arg,
			   struct gate_error *err)
{
	struct removal r = { .pin = pin, .say = say, .arg = arg, .tc.pin = pin };
	int lock = -1, e = 0;

	/* without the directory there are no links, but maybe filters of the legacy hook */
	if (access(pin, F_OK) == 0)
		e = gate_pins_open(pin, &lock, err);
	if (e)
		return e;
	/* its note goes with the pins */
	gate_tcx_hurry(pin, false);
	e = clear_links(&r);
	if (e)
		gate_error_set(err, e == -EPERM || e == -EACCES ? GATE_ERR_DENIED : GATE_ERR_FAILED,
			       "cannot take the gate off: %s", strerror(-e));
	else
		e = gate_bpf_unpin_all(pin, err);
	if (lock >= 0)
		close(lock);
	return e;
}
