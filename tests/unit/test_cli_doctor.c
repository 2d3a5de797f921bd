// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What doctor reads of the kernel that no machine has at hand: drivers that forward in hardware,
 * and actions of tc that this kernel may be without.
 */
#include "../../tools/cli/more/doctor.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/pkt_cls.h>
#include <linux/sockios.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_skbedit.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a driver ---- */

#define FEATURES 40 /* more than one block of 32 */

static struct {
	bool no_ethtool, no_features, no_strings, refuses;
	int at; /* number of hw-tc-offload, -1 = it has none */
	bool on;
} driver;

static void give_strings(struct ethtool_gstrings *strings)
{
	for (int i = 0; i < FEATURES; i++)
		strncpy((char *)strings->data + (size_t)i * ETH_GSTRING_LEN,
			i == driver.at ? "hw-tc-offload" : "hw-tc-offload-of-others",
			ETH_GSTRING_LEN);
}

/* In place of libc's: the command asks no other ioctl of a socket. */
int ioctl(int fd, unsigned long request, ...)
{
	struct ethtool_gfeatures *features;
	struct ethtool_sset_info *sset;
	struct ifreq *ifr;
	va_list ap;
	__u32 command;

	va_start(ap, request);
	ifr = va_arg(ap, struct ifreq *);
	va_end(ap);
	assert_int_equal(request, SIOCETHTOOL);
	assert_string_equal(ifr->ifr_name, "nic0");
	memcpy(&command, ifr->ifr_data, sizeof(command));
	errno = EOPNOTSUPP;
	switch (driver.no_ethtool ? 0 : command) {
	case ETHTOOL_GSSET_INFO:
		sset = (void *)ifr->ifr_data;
		sset->sset_mask = driver.no_features ? 0 : 1ULL << ETH_SS_FEATURES;
		sset->data[0] = FEATURES;
		return 0;
	case ETHTOOL_GSTRINGS:
		if (driver.no_strings)
			return -1;
		give_strings((void *)ifr->ifr_data);
		return 0;
	case ETHTOOL_GFEATURES:
		features = (void *)ifr->ifr_data;
		assert_int_equal(features->size, 2);
		if (driver.on)
			features->features[driver.at / 32].active = 1U << (driver.at % 32);
		return driver.refuses ? -1 : 0;
	default:
		return -1;
	}
}

static void hardware_offload(void **state)
{
	static const struct {
		const char *what;
		bool no_ethtool, no_features, no_strings, refuses;
		int at;
		bool on, told;
	} rows[] = {
		{ "on", .at = 3, .on = true, .told = true },
		{ "on, in the second block", .at = 37, .on = true, .told = true },
		{ "off", .at = 3 },
		{ "unknown to the driver", .at = -1 },
		{ "no ethtool", .no_ethtool = true, .at = 3, .on = true },
		{ "no features", .no_features = true, .at = 3, .on = true },
		{ "no names", .no_strings = true, .at = 3, .on = true },
		{ "no answer", .refuses = true, .at = 3, .on = true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cli c = { .json = true };
		struct doctor d = { .c = &c, .findings = json_array() };
		const json_t *said;

		print_message("%s\n", rows[i].what);
		driver.no_ethtool = rows[i].no_ethtool;
		driver.no_features = rows[i].no_features;
		driver.no_strings = rows[i].no_strings;
		driver.refuses = rows[i].refuses;
		driver.at = rows[i].at;
		driver.on = rows[i].on;
		doctor_offload(&d, 0, "nic0");
		assert_int_equal(json_array_size(d.findings), rows[i].told);
		said = json_array_get(d.findings, 0);
		if (rows[i].told) {
			assert_string_equal(cli_str(said, "code"), "hw_offload");
			assert_string_equal(cli_str(said, "result"), "warning");
			assert_non_null(strstr(cli_str(said, "message"), "nic0"));
			assert_non_null(strstr(cli_str(said, "remedy"), "hw-tc-offload off"));
		}
		json_decref(d.findings);
	}
}

/* ---- filters ---- */

enum act { NO_ACTION, REDIRECT, MIRROR, SET_MARK, SET_PRIO, OTHER_ACTION, CUT_MIRRED };

static void put_action(struct nl_msg *m, int order, enum act act)
{
	struct tc_mirred mirred = { .eaction =
					    act == MIRROR ? TCA_EGRESS_MIRROR : TCA_INGRESS_REDIR,
				    .ifindex = 7 };
	struct nlattr *one = nla_nest_start(m, order), *options;

	nla_put_string(m, TCA_ACT_KIND,
		       act == OTHER_ACTION		    ? "gact"
		       : act == SET_MARK || act == SET_PRIO ? "skbedit"
							    : "mirred");
	options = nla_nest_start(m, TCA_ACT_OPTIONS);
	if (act == REDIRECT || act == MIRROR)
		nla_put(m, TCA_MIRRED_PARMS, sizeof(mirred), &mirred);
	else if (act == CUT_MIRRED)
		nla_put(m, TCA_MIRRED_PARMS, 4, &mirred);
	else if (act == SET_MARK || act == SET_PRIO)
		nla_put_u32(m, act == SET_MARK ? TCA_SKBEDIT_MARK : TCA_SKBEDIT_PRIORITY, 37);
	nla_nest_end(m, options);
	nla_nest_end(m, one);
}

static struct nl_msg *filter_message(int type, const char *kind, int actions, const enum act *act,
				     const char *name, __u32 handle)
{
	struct tcmsg tc = { .tcm_info = TC_H_MAKE(49U << 16, 0), .tcm_handle = handle };
	struct nl_msg *m = nlmsg_alloc_simple(type, 0);
	struct nlattr *options, *list;

	nlmsg_append(m, &tc, sizeof(tc), NLMSG_ALIGNTO);
	nla_put_string(m, TCA_KIND, kind);
	options = nla_nest_start(m, TCA_OPTIONS);
	if (name) {
		nla_put_string(m, TCA_BPF_NAME, name);
		nla_put_u32(m, TCA_BPF_ID, 4711);
	}
	if (actions) {
		list = nla_nest_start(m, actions);
		for (int i = 0; act[i]; i++)
			put_action(m, i + 1, act[i]);
		nla_nest_end(m, list);
	}
	nla_nest_end(m, options);
	return m;
}

static void filters(void **state)
{
	static const struct {
		const char *kind;
		int actions;
		enum act act[3];
		const char *name;
		__u32 handle;
		const char *is; /* r redirects, c copies, m writes marks, o ours; NULL: none */
	} rows[] = {
		{ "matchall", TCA_MATCHALL_ACT, { REDIRECT }, NULL, 1, "r" },
		{ "flower", TCA_FLOWER_ACT, { MIRROR }, NULL, 1, "c" },
		{ "basic", TCA_BASIC_ACT, { SET_MARK, REDIRECT }, NULL, 1, "rm" },
		{ "u32", TCA_U32_ACT, { OTHER_ACTION, SET_PRIO }, NULL, 0x800800, "" },
		{ "fw", TCA_FW_ACT, { SET_MARK }, NULL, 1, "m" },
		{ "bpf", TCA_BPF_ACT, { MIRROR }, "others.o", 1, "c" },
		{ "bpf", 0, { NO_ACTION }, "gate25_from_vm", 1, "o" },
		{ "bpf", 0, { NO_ACTION }, "others.o", 1, "" },
		{ "matchall", TCA_MATCHALL_ACT, { CUT_MIRRED }, NULL, 1, "" },
		{ "strange", TCA_MATCHALL_ACT, { REDIRECT }, NULL, 1, "" },
		{ "u32", 0, { NO_ACTION }, NULL, 0x80000000, NULL }, /* a table */
		{ "matchall", 0, { NO_ACTION }, NULL, 0, NULL },     /* the classifier */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct nl_msg *m = filter_message(RTM_NEWTFILTER, rows[i].kind, rows[i].actions,
						  rows[i].act, rows[i].name, rows[i].handle);
		struct doctor_filter f;

		print_message("%zu: %s\n", i, rows[i].kind);
		assert_int_equal(doctor_filter_read(nlmsg_hdr(m), &f), rows[i].is != NULL);
		nlmsg_free(m);
		if (!rows[i].is)
			continue;
		assert_string_equal(f.kind, rows[i].kind);
		assert_int_equal(f.prio, 49);
		assert_int_equal(f.redirects, strchr(rows[i].is, 'r') != NULL);
		assert_int_equal(f.mirrors, strchr(rows[i].is, 'c') != NULL);
		assert_int_equal(f.marks, strchr(rows[i].is, 'm') != NULL);
		assert_int_equal(f.ours, strchr(rows[i].is, 'o') ? 4711 : 0);
		if (f.redirects || f.mirrors)
			assert_int_equal(f.target, 7);
	}
}

static void no_filter(void **state)
{
	struct nl_msg *m = filter_message(RTM_NEWQDISC, "clsact", 0, NULL, NULL, 1);
	struct doctor_filter f;

	assert_false(doctor_filter_read(nlmsg_hdr(m), &f));
	nlmsg_free(m);
	m = nlmsg_alloc_simple(RTM_NEWTFILTER, 0);
	assert_false(doctor_filter_read(nlmsg_hdr(m), &f));
	nlmsg_free(m);
}

/* ---- names that others give ---- */

/* A tap in somebody's own namespace may be called anything: it must not end the command. */
static void names_that_are_no_text(void **state)
{
	struct cli c = { .json = true };
	struct doctor d = { .c = &c, .findings = json_array() };

	doctor_say(&d, FINDING_WARNING, "netns", NULL, "%s", "t\xff\xe2\x80\033[2J\xc3\xa4\x9b.");
	assert_false(c.short_of_memory);
	assert_string_equal(cli_str(json_array_get(d.findings, 0), "message"),
			    "t????[2J\xc3\xa4?.");
	json_decref(d.findings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hardware_offload),
		cmocka_unit_test(filters),
		cmocka_unit_test(no_filter),
		cmocka_unit_test(names_that_are_no_text),
	};

	return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
