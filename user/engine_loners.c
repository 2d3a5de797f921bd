// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A port that is a VM of its own goes by its netdev's name, and so do policy and
 * counters that it has of its own: they follow it to another name.
 */
#include "engine_priv.h"

static struct gate_subject subject_of(const char *port)
{
	struct gate_subject s = { .kind = GATE_S_PORT };

	copy_name(s.name, port);
	return s;
}

/* Is its netdev there, as far as is known? After a restart not all have been seen yet. */
static bool has_netdev(const struct gate_engine *e, const struct vm *vm)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	if (vm->ports)
		return true;
	while ((at = gate_table_next(&e->ports, &it))) {
		const struct port *p = at->value;

		if (!p->confirmed && p->adopted && p->adopted == vm->slot)
			return true;
	}
	return false;
}

/* To a name that no other loner has. */
static void move(struct gate_engine *e, struct vm *vm, const char *name)
{
	const struct gate_subject from = subject_of(vm->spec.name), to = subject_of(name);
	struct rec *rec = gate_engine_rec(e, &from);

	gate_table_del(&e->loners, from.name, strlen(from.name));
	memcpy(vm->spec.name, to.name, sizeof(to.name));
	memcpy(vm->spec.ports[0], to.name, sizeof(to.name));
	gate_table_put(&e->loners, to.name, strlen(to.name), vm);
	if (rec)
		gate_engine_rec_move(e, rec, &to);
}

static int save(struct gate_engine *e, const struct gate_subject *s)
{
	struct rec *rec = gate_engine_rec(e, s);

	return rec ? gate_engine_save_rec(e, rec, NULL) : gate_store_del_own(e->store, s, NULL);
}

static int save_both(struct gate_engine *e, const struct gate_subject *from,
		     const struct gate_subject *to)
{
	int r = gate_engine_save_begin(e, NULL);

	if (r)
		return r;
	r = save(e, from);
	return gate_engine_save_end(e, r ? r : save(e, to), NULL);
}

struct vm *gate_engine_loner_rename(struct gate_engine *e, struct vm *vm, const char *name)
{
	const struct gate_subject from = subject_of(vm->spec.name), to = subject_of(name);
	struct vm *other = gate_table_get(&e->loners, to.name, strlen(to.name));
	struct rec *there;

	if (other == vm)
		return vm;
	const bool saved = gate_engine_rec(e, &from) || gate_engine_rec(e, &to);
	/*
	 * A name has one netdev: the other's has got another name too, which is heard of in a
	 * moment. Until then it goes by the one that is free now, and where two have swapped
	 * theirs that is the right one.
	 */
	const bool swap = other && has_netdev(e, other);
	if (swap)
		move(e, other, "");
	else if (other)
		gate_engine_loner_remove(e, other);
	there = gate_engine_rec(e, &to);
	if (there)
		gate_engine_rec_drop(e, there);
	move(e, vm, to.name);
	gate_engine_vm_identity(e, vm);
	if (swap) {
		move(e, other, from.name);
		gate_engine_vm_identity(e, other);
	}
	if (saved && save_both(e, &from, &to)) {
		gate_engine_subject_later(e, &from);
		gate_engine_subject_later(e, &to);
	}
	return vm;
}
