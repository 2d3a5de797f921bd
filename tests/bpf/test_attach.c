// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Putting programs on links, beside other people's, on both hooks. */
#include "attach_lab.h"

struct side {
	enum gate_hook hook;
	enum gate_where where;
	enum bpf_attach_type type;
	const char *tc; /* hook of `tc filter show` */
};

static const struct side sides[] = {
	{ GATE_HOOK_TCX, GATE_FROM_VM, TCX_INGRESS, "ingress" },
	{ GATE_HOOK_TCX, GATE_TO_VM, TCX_EGRESS, "egress" },
	{ GATE_HOOK_TCX, GATE_UPLINK_OUT, TCX_EGRESS, "egress" },
	{ GATE_HOOK_TC, GATE_FROM_VM, TCX_INGRESS, "ingress" },
	{ GATE_HOOK_TC, GATE_TO_VM, TCX_EGRESS, "egress" },
	{ GATE_HOOK_TC, GATE_UPLINK_OUT, TCX_EGRESS, "egress" },
};

#define EACH_SIDE(s)                                                                               \
	for (const struct side *s = nsbox_has_tcx() ? sides : sides + 3;                           \
	     s < sides + sizeof(sides) / sizeof(sides[0]); s++)

static int programs(const struct side *s, uint32_t ifindex)
{
	uint32_t ids[8];
	char dev[IF_NAMESIZE];

	if (s->hook == GATE_HOOK_TCX)
		return (int)tcx_programs(ifindex, s->type, ids);
	return tc_lines(if_indextoname(ifindex, dev), s->tc, "gate25_");
}

/* On it once however often it is put, off when removed. */
static void test_put_remove(void **state)
{
	EACH_SIDE(s)
	{
		struct daemon d;
		uint32_t v0 = add_link("v0");

		start(&d, s->hook);
		assert_int_equal(gate_attach_check(d.a, v0, s->where), 0);
		assert_int_equal(put(&d, v0, s->where), 0);
		assert_int_equal(gate_attach_check(d.a, v0, s->where), 1);
		assert_int_equal(programs(s, v0), 1);
		assert_int_equal(put(&d, v0, s->where), 0);
		assert_int_equal(programs(s, v0), 1);
		assert_int_equal(gate_attach_remove(d.a, v0, s->where), 0);
		assert_int_equal(gate_attach_check(d.a, v0, s->where), 0);
		assert_int_equal(programs(s, v0), 0);
		assert_int_equal(gate_attach_remove(d.a, v0, s->where), 0);
		stop(&d);
		clean(NULL);
	}
}

/* The next daemon's program takes the place of the last one's, and knows which is which. */
static void test_swap_in_place(void **state)
{
	EACH_SIDE(s)
	{
		struct daemon d;
		uint32_t v0 = add_link("v0");

		start(&d, s->hook);
		assert_int_equal(put(&d, v0, s->where), 0);
		stop(&d);
		assert_int_equal(programs(s, v0), 1); /* stays without a daemon */
		start(&d, s->hook);
		assert_int_equal(gate_attach_check(d.a, v0, s->where), 0);
		assert_int_equal(gate_attach_present(d.a, v0, s->where), 1);
		assert_int_equal(put(&d, v0, s->where), 0);
		assert_int_equal(gate_attach_check(d.a, v0, s->where), 1);
		assert_int_equal(programs(s, v0), 1);
		stop(&d);
		clean(NULL);
	}
}

/* From one hook to the other: never on both for longer than the change takes. */
static void test_change_of_hook(void **state)
{
	struct daemon d;
	uint32_t ids[8], v0 = add_link("v0");

	if (!nsbox_has_tcx())
		skip();
	start(&d, GATE_HOOK_TC);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	stop(&d);
	start(&d, GATE_HOOK_TCX);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(tc_lines("v0", "ingress", "gate25_"), 0);
	assert_int_equal(tcx_programs(v0, TCX_INGRESS, ids), 1);
	stop(&d);
	start(&d, GATE_HOOK_TC);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(tc_lines("v0", "ingress", "gate25_"), 1);
	assert_int_equal(tcx_programs(v0, TCX_INGRESS, ids), 0);
	stop(&d);
}

/* ---- tcx ---- */

/* Somebody else's program that accepts everything is behind ours and stays. */
static void test_tcx_others_stay(void **state)
{
	struct bpf_insn accept[] = { { .code = 0xb7, .imm = 0 }, { .code = 0x95 } };
	struct daemon d;
	uint32_t ids[8], v0 = add_link("v0");
	int prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "other", "GPL", accept, 2, NULL);
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	if (!nsbox_has_tcx())
		skip();
	assert_true(prog >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(prog, &info, &len), 0);
	int other = bpf_link_create(prog, (int)v0, TCX_INGRESS, NULL);
	assert_true(other >= 0);

	start(&d, GATE_HOOK_TCX);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(tcx_programs(v0, TCX_INGRESS, ids), 2);
	assert_int_equal(ids[0], d.b->id[GATE_FROM_VM]);
	assert_int_equal(ids[1], info.id);
	assert_int_equal(gate_attach_remove(d.a, v0, GATE_FROM_VM), 0);
	assert_int_equal(tcx_programs(v0, TCX_INGRESS, ids), 1);
	assert_int_equal(ids[0], info.id);
	stop(&d);
	close(other);
	close(prog);
}

/* Nobody's qdisc commands reach a tcx link. */
static void test_tcx_survives_qdisc_commands(void **state)
{
	struct daemon d;
	uint32_t v0 = add_link("v0");

	start(&d, GATE_HOOK_TCX);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	nsbox_run("tc qdisc add dev v0 ingress && tc qdisc del dev v0 ingress");
	nsbox_run("tc qdisc add dev v0 clsact && tc qdisc del dev v0 clsact");
	assert_int_equal(gate_attach_check(d.a, v0, GATE_FROM_VM), 1);
	stop(&d);
}

static void test_tcx_detached_by_force(void **state)
{
	struct daemon d;
	uint32_t v0 = add_link("v0");
	char path[GATE_PIN_PATH];

	start(&d, GATE_HOOK_TCX);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	gate_pins_path(path, "%s/links/%u-from_vm", d.c.pin, v0);
	int fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_link_detach(fd), 0);
	close(fd);
	assert_int_equal(gate_attach_check(d.a, v0, GATE_FROM_VM), 0);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(gate_attach_check(d.a, v0, GATE_FROM_VM), 1);
	stop(&d);
}

/* A link outlives its device: its pin is collected, a living one's is not. */
static void test_tcx_collect(void **state)
{
	struct daemon d;
	uint32_t v0 = add_link("v0"), v1 = add_link("v1");

	start(&d, GATE_HOOK_TCX);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(put(&d, v1, GATE_FROM_VM), 0);
	nsbox_run("ip link del v0");
	assert_int_equal(gate_attach_collect(d.a), 1);
	assert_int_equal(gate_attach_collect(d.a), 0);
	assert_int_equal(gate_attach_check(d.a, v1, GATE_FROM_VM), 1);

	/* the same number again: the dead link's pin is no attachment */
	assert_int_equal(put(&d, v1, GATE_TO_VM), 0);
	nsbox_run("ip link del v1 && ip link add v1 index %u type veth peer name v1_p", v1);
	assert_int_equal(gate_attach_check(d.a, v1, GATE_TO_VM), 0);
	assert_int_equal(put(&d, v1, GATE_TO_VM), 0);
	assert_int_equal(gate_attach_check(d.a, v1, GATE_TO_VM), 1);
	stop(&d);
}

/* ---- the legacy hook ---- */

static bool noted(struct daemon *d, uint32_t ifindex)
{
	char path[GATE_PIN_PATH];

	gate_pins_path(path, "%s/links/%u-qdisc", d->c.pin, ifindex);
	return access(path, F_OK) == 0;
}

/* Where only ingress is needed the qdisc is of the kind that others expect. */
static void test_tc_qdisc_kind(void **state)
{
	struct daemon d;
	uint32_t v0 = add_link("v0");

	start(&d, GATE_HOOK_TC);
	assert_false(gate_attach_wants_to_vm(d.a));
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(nsbox_try("tc qdisc show dev v0 | grep -q 'qdisc ingress ffff:'"), 0);
	assert_true(noted(&d, v0));
	/* Proxmox's and libvirt's commands work */
	nsbox_run("tc qdisc del dev v0 ingress && tc qdisc add dev v0 ingress");
	assert_int_equal(gate_attach_check(d.a, v0, GATE_FROM_VM), 0);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	gate_attach_clear(d.a, v0);
	stop(&d);
}

/* to_vm asked for: clsact from the start, both programs below it. */
static void test_tc_to_vm_configured(void **state)
{
	struct daemon d;
	uint32_t v0 = add_link("v0");

	start(&d, GATE_HOOK_TC);
	d.c.to_vm_set = true;
	gate_attach_reconfigure(d.a, &d.c);
	assert_true(gate_attach_wants_to_vm(d.a));
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(put(&d, v0, GATE_TO_VM), 0);
	assert_int_equal(tc_lines("v0", "ingress", "gate25_from_vm"), 1);
	assert_int_equal(tc_lines("v0", "egress", "gate25_to_vm"), 1);
	gate_attach_clear(d.a, v0);
	assert_int_equal(nsbox_try("tc qdisc show dev v0 | grep -q clsact"), 1);
	assert_false(noted(&d, v0));
	stop(&d);
}

/*
 * An ingress qdisc takes filters for egress and runs them on ingress: to_vm must
 * never get there.
 */
static void test_tc_egress_on_ingress_qdisc(void **state)
{
	struct gate_error err = { 0 };
	struct daemon d;
	uint32_t v0 = add_link("v0");

	nsbox_run("tc qdisc add dev v0 ingress");
	start(&d, GATE_HOOK_TC);
	int r = gate_attach_put(d.a, v0, "v0", GATE_UPLINK_OUT, false, &err);
	assert_int_equal(r, -EADDRINUSE);
	assert_non_null(strstr(err.message, "tc qdisc del dev v0 ingress"));
	assert_int_equal(tc_lines("v0", "ingress", "gate25"), 0);
	stop(&d);
}

/* Others' filters keep their priority, and their qdisc stays when we go. */
static void test_tc_others_stay(void **state)
{
	struct daemon d;
	uint32_t v0 = add_link("v0");

	nsbox_run("tc qdisc add dev v0 ingress && "
		  "tc filter add dev v0 ingress prio 1 protocol all u32 match u32 0 0 && "
		  "tc filter add dev v0 ingress prio 2 protocol ip u32 match u32 0 0");
	start(&d, GATE_HOOK_TC);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(gate_attach_check(d.a, v0, GATE_FROM_VM), 1);
	assert_int_equal(tc_lines("v0", "ingress", "pref 3 bpf"), 2);
	assert_int_equal(tc_lines("v0", "ingress", "match 00000000/00000000"), 2);
	assert_false(noted(&d, v0));
	gate_attach_clear(d.a, v0);
	assert_int_equal(tc_lines("v0", "ingress", "match 00000000/00000000"), 2);
	assert_int_equal(tc_lines("v0", "ingress", "gate25"), 0);
	stop(&d);
}

/* Filters of ours at several priorities, however they came there: one remains. */
static void test_tc_duplicates(void **state)
{
	struct daemon d;
	uint32_t v0 = add_link("v0");

	start(&d, GATE_HOOK_TC);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	nsbox_run("for p in 7 9; do tc filter add dev v0 ingress prio $p protocol all bpf "
		  "da object-pinned %s/" NSBOX_ABI "/maps/from_vm >/dev/null; done",
		  d.c.pin);
	nsbox_run("tc filter show dev v0 ingress >/dev/null");
	/* tc names filters after the file: these two are not ours, by name */
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(tc_lines("v0", "ingress", "gate25_from_vm"), 1);

	/* a second attacher that did not know better */
	struct gate_tc tc = { .pin = d.c.pin };
	assert_int_equal(gate_rtnl_open(&tc.rtnl), 0);
	for (uint32_t prio = 20; prio < 32; prio++) {
		struct tcmsg msg = { .tcm_ifindex = (int)v0,
				     .tcm_parent = 0xfffffff2,
				     .tcm_handle = 1,
				     .tcm_info = prio << 16 | 0x0300 };
		struct nl_msg *m = nlmsg_alloc_simple(RTM_NEWTFILTER, NLM_F_CREATE);
		nlmsg_append(m, &msg, sizeof(msg), NLMSG_ALIGNTO);
		nla_put_string(m, TCA_KIND, "bpf");
		struct nlattr *opt = nla_nest_start(m, TCA_OPTIONS);
		nla_put_u32(m, 6 /* TCA_BPF_FD */, (uint32_t)d.b->from_vm);
		nla_put_string(m, 7 /* TCA_BPF_NAME */, "gate25_from_vm");
		nla_put_u32(m, 8 /* TCA_BPF_FLAGS */, 1);
		nla_nest_end(m, opt);
		assert_int_equal(gate_rtnl_talk(&tc.rtnl, m, NULL, NULL), 0);
	}
	gate_rtnl_close(&tc.rtnl);
	assert_int_equal(tc_lines("v0", "ingress", "gate25_from_vm"), 13);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(tc_lines("v0", "ingress", "gate25_from_vm"), 1);
	assert_int_equal(gate_attach_remove(d.a, v0, GATE_FROM_VM), 0);
	assert_int_equal(tc_lines("v0", "ingress", "gate25_from_vm"), 0);
	stop(&d);
}

static void test_tc_filter_taken_off(void **state)
{
	struct daemon d;
	uint32_t v0 = add_link("v0");

	start(&d, GATE_HOOK_TC);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	nsbox_run("tc filter del dev v0 ingress");
	assert_int_equal(gate_attach_check(d.a, v0, GATE_FROM_VM), 0);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(gate_attach_check(d.a, v0, GATE_FROM_VM), 1);
	stop(&d);
}

/* ---- macvtap ---- */

/* A macvtap sends the VM's traffic by its egress. */
static void test_macvtap_sides(void **state)
{
	struct daemon d;
	struct gate_error err = { 0 };
	uint32_t ids[8];

	add_link("v0");
	nsbox_run("ip link add link v0 name mv0 type macvtap mode bridge");
	uint32_t mv = if_nametoindex("mv0");
	start(&d, GATE_HOOK_TCX);
	assert_int_equal(gate_attach_put(d.a, mv, "mv0", GATE_FROM_VM, true, &err), 0);
	assert_int_equal(gate_attach_put(d.a, mv, "mv0", GATE_TO_VM, true, &err), 0);
	assert_int_equal(tcx_programs(mv, TCX_EGRESS, ids), 1);
	assert_int_equal(ids[0], d.b->id[GATE_FROM_VM]);
	assert_int_equal(tcx_programs(mv, TCX_INGRESS, ids), 1);
	assert_int_equal(ids[0], d.b->id[GATE_TO_VM]);
	stop(&d);
}

/* ---- the machine's setting ---- */

static char expedited(void)
{
	char value = '?';
	FILE *f = fopen("/sys/kernel/rcu_expedited", "r");

	if (f) {
		value = (char)fgetc(f);
		fclose(f);
	}
	return value;
}

/* What is raised for the attachment is put back, after a kill by the next daemon. */
static void test_hurry_puts_back(void **state)
{
	struct daemon d;
	const char before = expedited();

	if (before != '0') {
		print_message("  skipped: rcu_expedited is %c already\n", before);
		skip();
	}
	start(&d, GATE_HOOK_TCX);
	gate_attach_hurry(d.a, true);
	assert_int_equal(expedited(), '1');
	gate_attach_hurry(d.a, false);
	assert_int_equal(expedited(), '0');

	gate_tcx_hurry(d.c.pin, true); /* and killed */
	stop(&d);
	assert_int_equal(expedited(), '1');
	start(&d, GATE_HOOK_TCX);
	assert_int_equal(expedited(), '0');
	stop(&d);
}

/* ---- bad links and detach ---- */

static void test_gone_link(void **state)
{
	EACH_SIDE(s)
	{
		struct daemon d;
		struct gate_error err = { 0 };

		start(&d, s->hook);
		assert_int_equal(gate_attach_put(d.a, 99999, "x", s->where, false, &err), -ENODEV);
		assert_string_equal(err.message, "");
		assert_int_not_equal(gate_attach_check(d.a, 99999, s->where), 1);
		gate_attach_clear(d.a, 99999);
		stop(&d);
	}
}

static void count_line(void *arg, const char *line)
{
	print_message("  %s\n", line);
	(*(int *)arg)++;
}

/* gate25 detach: refused while a daemon runs; then nothing of ours remains, all of theirs. */
static void test_remove_all(void **state)
{
	struct gate_error err = { 0 };
	struct daemon d;
	uint32_t ids[8], v0 = add_link("v0"), v1 = add_link("v1");
	int lines = 0;

	if (!nsbox_has_tcx())
		skip();
	nsbox_run("tc qdisc add dev v1 ingress && "
		  "tc filter add dev v1 ingress prio 1 protocol all u32 match u32 0 0");
	start(&d, GATE_HOOK_TC);
	assert_int_equal(put(&d, v0, GATE_FROM_VM), 0);
	assert_int_equal(put(&d, v1, GATE_FROM_VM), 0);
	stop(&d);
	start(&d, GATE_HOOK_TCX);
	assert_int_equal(put(&d, v0, GATE_TO_VM), 0);

	assert_true(gate_attach_remove_all(d.c.pin, count_line, &lines, &err) < 0);
	assert_non_null(strstr(err.message, "gate25d"));
	assert_int_equal(tcx_programs(v0, TCX_EGRESS, ids), 1);
	stop(&d);

	assert_int_equal(lines, 0);
	assert_int_equal(gate_attach_remove_all(d.c.pin, count_line, &lines, &err), 0);
	assert_int_equal(lines, 3);
	assert_int_equal(tcx_programs(v0, TCX_EGRESS, ids), 0);
	assert_int_equal(tc_lines("v1", "ingress", "gate25"), 0);
	assert_int_equal(tc_lines("v1", "ingress", "match 00000000/00000000"), 1);
	assert_int_equal(nsbox_try("tc qdisc show dev v0 | grep -q ingress"), 1);
	assert_int_not_equal(access(d.c.pin, F_OK), 0);
	/* nothing there: nothing to do, no error */
	assert_int_equal(gate_attach_remove_all(d.c.pin, count_line, &lines, &err), 0);
	assert_int_equal(lines, 3);
}

/* Of a daemon that was killed in its hurry; the kernel's own file stays as it is. */
static void test_remove_all_ends_a_hurry(void **state)
{
	struct gate_error err = { 0 };
	struct daemon d;

	nsbox_run("f=$(mktemp) && echo 0 >$f && mount --bind $f /sys/kernel/rcu_expedited; rm $f");
	start(&d, GATE_HOOK_TCX);
	gate_tcx_hurry(d.c.pin, true);
	stop(&d);
	assert_int_equal(gate_attach_remove_all(d.c.pin, NULL, NULL, &err), 0);
	assert_int_equal(expedited(), '0');
	nsbox_run("umount /sys/kernel/rcu_expedited");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_put_remove, clean),
		cmocka_unit_test_teardown(test_swap_in_place, clean),
		cmocka_unit_test_teardown(test_change_of_hook, clean),
		cmocka_unit_test_teardown(test_tcx_others_stay, clean),
		cmocka_unit_test_teardown(test_tcx_survives_qdisc_commands, clean),
		cmocka_unit_test_teardown(test_tcx_detached_by_force, clean),
		cmocka_unit_test_teardown(test_tcx_collect, clean),
		cmocka_unit_test_teardown(test_tc_qdisc_kind, clean),
		cmocka_unit_test_teardown(test_tc_to_vm_configured, clean),
		cmocka_unit_test_teardown(test_tc_egress_on_ingress_qdisc, clean),
		cmocka_unit_test_teardown(test_tc_others_stay, clean),
		cmocka_unit_test_teardown(test_tc_duplicates, clean),
		cmocka_unit_test_teardown(test_tc_filter_taken_off, clean),
		cmocka_unit_test_teardown(test_macvtap_sides, clean),
		cmocka_unit_test_teardown(test_hurry_puts_back, clean),
		cmocka_unit_test_teardown(test_gone_link, clean),
		cmocka_unit_test_teardown(test_remove_all, clean),
		cmocka_unit_test_teardown(test_remove_all_ends_a_hurry, clean),
	};

	nsbox_enter();
	return cmocka_run_group_tests_name("attach", tests, NULL, NULL);
}
