// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Configuration files: what they mean, and the sentence for each that is wrong. */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static char dir[] = "/tmp/gate25-test-XXXXXX";
static char main_file[64], drop_dir[64];

static void put(const char *path, const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void put_drop_in(const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", drop_dir, name);
	if (text)
		put(path, text, strlen(text));
	else
		assert_int_equal(unlink(path), 0);
}

static struct gate_config *load(const char *text)
{
	struct gate_config *c = NULL;
	struct gate_error err;

	put(main_file, text, strlen(text));
	if (gate_config_load(main_file, true, &c, &err))
		fail_msg("%s", err.message);
	assert_int_equal(err.code, GATE_OK);
	return c;
}

/* Each is refused, *out stays, and the sentence says where and what. */
static void wrong_files(void **state)
{
	static const struct {
		const char *text;
		int line;
		const char *says;
	} rows[] = {
		{ "[gate]\nprots = 25\n", 2, "unknown key \"prots\" in [gate]" },
		{ "[gate]\nports = 25\n[gates]\n", 3, "unknown section [gates]" },
		{ "ports = 25\n", 1, "\"ports\" stands before the first section" },
		{ "[gate]\nenforce\n", 2, "neither [section] nor key = value" },
		{ "[gate\nports = 25\n", 1, "neither [section] nor key = value" },
		{ "[gate]\nenforce\nports = x\n", 2, "neither [section] nor key = value" },
		{ "[gate]\nports = \n", 2, "ports = : must be 1 to 4 different TCP ports" },
		{ "[gate]\nports = 25, 25\n", 2, "1 to 4 different" },
		{ "[gate]\nports = 0\n", 2, "1 to 4 different" },
		{ "[gate]\nports = 65536\n", 2, "1 to 4 different" },
		{ "[gate]\nports = 1,2,3,4,5\n", 2, "1 to 4 different" },
		{ "[gate]\nports = smtp\n", 2, "1 to 4 different" },
		{ "[gate]\nbridges = br0/1\n", 2, "must be names of bridges" },
		{ "[gate]\nbridges = abcdefghijklmnop\n", 2, "must be names of bridges" },
		{ "[gate]\nhook = xdp\n", 2, "hook = xdp: must be auto, tcx or tc" },
		{ "[gate]\nhook = \n", 2, "must be auto, tcx or tc" },
		{ "[gate]\nenforce = maybe\n", 2, "must be yes or no" },
		{ "[gate]\nbinding = tight\n", 2, "must be off, learn or strict" },
		{ "[gate]\nmax_vms = 1\n", 2, "a number from 2 to 1000000" },
		{ "[gate]\nmax_vms = 99999999999999999999\n", 2, "a number from 2 to 1000000" },
		{ "[gate]\nmax_vms = -5\n", 2, "a number from 2 to 1000000" },
		{ "[gate]\nflows_per_vm = 65537\n", 2, "a number from 16 to 65536" },
		{ "[gate]\nstamp = 0x25\n", 2, "mark:VALUE/MASK" },
		{ "[gate]\nstamp = mark:0x125/0xff\n", 2, "mark:VALUE/MASK" },
		{ "[gate]\nstamp = mark:0x25/0\n", 2, "mark:VALUE/MASK" },
		{ "[gate]\nstamp = mark:0x25/0x1ffffffff\n", 2, "mark:VALUE/MASK" },
		{ "[gate]\nstamp = mark: 5/7\n", 2, "mark:VALUE/MASK" },
		{ "[gate]\nforwarded = drop\n", 2, "pass or default" },
		{ "[gate]\nto_vm = perhaps\n", 2, "auto, yes or no" },
		{ "[gate]\ngrace = 2h\n", 2, "a time up to 1h" },
		{ "[gate]\ngrace = 60\n", 2, "a time up to 1h" },
		{ "[default]\nstate = inherit\n", 2, "allow, limit or block" },
		{ "[default]\nstate = quarantine\n", 2, "allow, limit or block" },
		{ "[default]\nrate = 0/s\n", 2, "up to 4 rates" },
		{ "[default]\nrate = 5000000/s\n", 2, "up to 4 rates" },
		{ "[default]\nrate = 5/s, 1/s, 2/s, 3/s, 4/s\n", 2, "up to 4 rates" },
		{ "[default]\nrate = 5/s;200/h\n", 2, "up to 4 rates" },
		{ "[default]\nburst = 0\n", 2, "a number from 1 to 100000" },
		{ "[default]\ndestinations = 5/s, 6/h\n", 2, "one rate" },
		{ "[default]\nconcurrent = 513\n", 2,
		  "at most half of flows_per_vm, which is 1024" },
		{ "[gate]\nflows_per_vm = 64\n", 2, "concurrent = 50: must be at most half" },
		{ "[gate]\nflows_per_vm = 64\n[default]\nburst = 2\nconcurrent = 33\n", 5,
		  "at most half of flows_per_vm" },
		{ "[refuse]\nblock = reject\n", 2, "drop, reset or icmp" },
		{ "[exempt]\ndestinations = 10.0.0.1/8\n", 2, "without host bits" },
		{ "[exempt]\ndestinations = 10.0.0.0/8,\n  10.1.0.0/99\n", 3, "without host bits" },
		{ "[exempt]\ndestinations = mail.example.com\n", 2, "without host bits" },
		{ "[metrics]\nlisten = 9625\n", 2, "ADDRESS:PORT" },
		{ "[metrics]\nlisten = localhost:9625\n", 2, "ADDRESS:PORT" },
		{ "[metrics]\nlisten = ::1:9625\n", 2, "ADDRESS:PORT" },
		{ "[metrics]\nlisten = 127.0.0.1:99999\n", 2, "ADDRESS:PORT" },
		{ "[metrics]\nper_vm = some\n", 2, "nonzero, all or off" },
		{ "[control]\nsocket = control.sock\n", 2, "an absolute path" },
		{ "[control]\nsocket =\n", 2, "an absolute path" },
		{ "[control]\ngroup = a b\n", 2, "the name of a group" },
		{ "[bpf]\npin = /sys/fs/bpf/../x\n", 2, "an absolute path" },
		{ "[store]\npath = x\n\n", 2, "an absolute path" },
		{ "[notify]\ncommand = a\n b\n", 3,
		  "can only continue a list, and command is none" },
		{ "[gate]\nports = 25\n 26\n", 3, "can only continue a list, and ports is none" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct gate_config *c = NULL;
		struct gate_error err = { 0 };
		char where[128];

		print_message("%s", rows[i].text);
		put(main_file, rows[i].text, strlen(rows[i].text));
		assert_int_equal(gate_config_load(main_file, true, &c, &err), -EINVAL);
		assert_null(c);
		assert_int_equal(err.code, GATE_ERR_USAGE);
		snprintf(where, sizeof(where), "%s:%d: ", main_file, rows[i].line);
		print_message("  %s\n", err.message);
		assert_ptr_equal(strstr(err.message, where), err.message);
		assert_non_null(strstr(err.message, rows[i].says));
	}
}

static void assert_defaults(const struct gate_config *c)
{
	assert_int_equal(c->nports, 1);
	assert_int_equal(c->ports[0], 25);
	assert_int_equal(c->bridges.count + c->uplinks.count + c->vm_ports.count, 0);
	assert_true(c->enforce && c->backstop && c->to_vm && !c->to_vm_set);
	assert_int_equal(c->binding, GATE_BINDING_LEARN);
	assert_int_equal(c->max_vms, 4096);
	assert_int_equal(c->flows_per_vm, 1024);
	assert_int_equal(c->stamp, 0x25);
	assert_int_equal(c->stamp_mask, 0xff);
	assert_int_equal(c->policy.state, GATE_LIMIT);
	assert_int_equal(c->policy.refuse, GATE_REFUSE_UNSET);
	assert_int_equal(c->policy.limits.nrates, 2);
	assert_int_equal(c->policy.limits.rates[1].count, 200);
	assert_int_equal(c->policy.limits.rates[1].per_s, 3600);
	assert_int_equal(c->policy.limits.burst, 10);
	assert_int_equal(c->policy.limits.concurrent, 50);
	assert_int_equal(c->policy.limits.destinations.count, 100);
	assert_int_equal(c->refuse[GATE_BLOCK], GATE_REFUSE_RESET);
	assert_int_equal(c->refuse[GATE_LIMIT], GATE_REFUSE_DROP);
	assert_int_equal(c->refuse_quarantine, GATE_REFUSE_DROP);
	assert_string_equal(c->listen, "127.0.0.1:9625");
	assert_string_equal(c->socket, "/run/gate25/control.sock");
	assert_string_equal(c->group, "gate25");
	assert_string_equal(c->store_path, "/var/lib/gate25/gate25.db");
	assert_string_equal(c->pin, "/sys/fs/bpf/gate25");
	assert_int_equal(c->grace_s, GATE_GRACE_S);
}

static void defaults(void **state)
{
	static const char *const texts[] = { "", "# nothing\n", "[default]\n",
					     "[gate]\n[exempt]\n" };
	struct gate_config *c;
	struct gate_error err;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		c = load(texts[i]);
		assert_defaults(c);
		gate_config_free(c);
	}
	/* a file that nobody asked for may be missing */
	unlink(main_file);
	assert_int_equal(gate_config_load(main_file, false, &c, &err), 0);
	assert_defaults(c);
	gate_config_free(c);
	assert_int_equal(gate_config_load(main_file, true, &c, &err), -ENOENT);
	assert_non_null(strstr(err.message, "cannot read"));
}

/* One own key in [default] unsets those that are not given. */
static void default_section_stands_for_itself(void **state)
{
	struct gate_config *c = load("[default]\nstate = block\n");

	assert_int_equal(c->policy.state, GATE_BLOCK);
	assert_int_equal(c->policy.limits.nrates, 0);
	assert_int_equal(c->policy.limits.burst, 0);
	assert_int_equal(c->policy.limits.concurrent, 0);
	assert_int_equal(c->policy.limits.destinations.count, 0);
	gate_config_free(c);

	c = load("[default]\nrate = 7/min\n");
	assert_int_equal(c->policy.state, GATE_LIMIT);
	assert_int_equal(c->policy.limits.nrates, 1);
	assert_int_equal(c->policy.limits.rates[0].per_s, 60);
	assert_int_equal(c->policy.limits.concurrent, 0);
	gate_config_free(c);

	/* over several files it is still one section */
	put_drop_in("10-b.conf", "[default]\nburst = 3\n");
	c = load("[default]\nstate = allow\nrate = 1/s, 2/min,\n\t3/h\n");
	assert_int_equal(c->policy.state, GATE_ALLOW);
	assert_int_equal(c->policy.limits.nrates, 3);
	assert_int_equal(c->policy.limits.burst, 3);
	gate_config_free(c);
	put_drop_in("10-b.conf", NULL);
}

static void all_keys(void **state)
{
	struct gate_config *c = load("\xef\xbb\xbf[gate]\r\n"
				     "  ports = 25, 465 587 ; three of them\r\n"
				     "\tbridges = br0, vmbr*\n"
				     "uplinks = auto\n"
				     "vm_ports = tap*,\n"
				     "  vnet*\n"
				     "  # a comment between\n"
				     "  veth[0-9]*\n"
				     "hook = tc\nenforce = off\nbinding = strict\nbackstop = no\n"
				     "mode = uplink\nearly_drop = auto\nmax_vms = 100\n"
				     "max_tenants = 7\nmax_overrides = 9\nflows_per_vm = 1000\n"
				     "stamp = mark:16/0x30\nforwarded = default\nto_vm = yes\n"
				     "grace = 5m\n"
				     "[default]\nstate = limit\nrate = 1/s:4\nconcurrent = 512\n"
				     "destinations = 9/d\n"
				     "[refuse]\nblock = icmp\nlimit = reset\nquarantine = icmp\n"
				     "[exempt]\ndestinations = 10.0.0.0/8,\n 2001:db8:25::/48\n"
				     "[metrics]\nlisten = [::1]:1\nper_vm = all\ntextfile = /t\n"
				     "[control]\nsocket = /s\ngroup = abuse\nreaders = staff\n"
				     "contact = abuse@example.net, +49 30 1\n"
				     "[store]\npath = /d\n[bpf]\npin = /p\n"
				     "[notify]\ncommand = /usr/bin/tell --to=desk a=b\n");

	assert_int_equal(c->nports, 3);
	assert_int_equal(c->ports[2], 587);
	assert_int_equal(c->bridges.count, 2);
	assert_string_equal(c->bridges.pattern[1], "vmbr*");
	assert_int_equal(c->uplinks.count, 0);
	assert_int_equal(c->vm_ports.count, 3);
	assert_string_equal(c->vm_ports.pattern[2], "veth[0-9]*");
	assert_int_equal(c->hook, GATE_HOOK_TC);
	assert_false(c->enforce || c->backstop);
	assert_true(c->uplink_mode && c->forward_drop && c->to_vm && c->to_vm_set);
	assert_int_equal(c->binding, GATE_BINDING_STRICT);
	assert_int_equal(c->early_drop, GATE_EARLY_AUTO);
	assert_int_equal(c->max_vms, 100);
	assert_int_equal(c->max_tenants, 7);
	assert_int_equal(c->max_overrides, 9);
	assert_int_equal(c->flows_per_vm, 1024); /* rounded up to a power of two */
	assert_int_equal(c->stamp, 16);
	assert_int_equal(c->stamp_mask, 0x30);
	assert_int_equal(c->grace_s, 300);
	assert_int_equal(c->policy.limits.rates[0].burst, 4);
	assert_int_equal(c->policy.limits.concurrent, 512);
	assert_int_equal(c->policy.limits.destinations.per_s, 86400);
	assert_int_equal(c->refuse[GATE_BLOCK], GATE_REFUSE_ICMP);
	assert_int_equal(c->refuse[GATE_LIMIT], GATE_REFUSE_RESET);
	assert_int_equal(c->refuse_quarantine, GATE_REFUSE_ICMP);
	assert_int_equal(c->nexempt, 2);
	assert_int_equal(c->exempt[1].len, 48);
	assert_string_equal(c->listen, "[::1]:1");
	assert_int_equal(c->per_vm, GATE_PER_VM_ALL);
	assert_string_equal(c->notify_command, "/usr/bin/tell --to=desk a=b");
	assert_string_equal(c->contact, "abuse@example.net, +49 30 1");
	gate_config_free(c);
}

/* Last wins; drop-ins come after the main file, in the order of their bytes. */
static void later_files_win(void **state)
{
	struct gate_config *c;
	struct gate_error err;

	put_drop_in("20-z.conf", "[gate]\nmax_vms = 30\nbridges = b\n");
	put_drop_in("10-a.conf", "[gate]\nmax_vms = 20\nmax_tenants = 20\n");
	put_drop_in("notes.txt", "not read\n");
	put_drop_in(".hidden.conf", "not read\n");
	c = load("[gate]\nmax_vms = 9\nmax_vms = 10\nmax_tenants = 10\nbridges = a, c\n");
	assert_int_equal(c->max_vms, 30);
	assert_int_equal(c->max_tenants, 20);
	assert_int_equal(c->bridges.count, 1);
	assert_string_equal(c->bridges.pattern[0], "b");
	gate_config_free(c);

	put_drop_in("20-z.conf", "[gate]\n\nmax_vms = x\n");
	c = NULL;
	assert_int_equal(gate_config_load(main_file, true, &c, &err), -EINVAL);
	assert_null(c);
	assert_non_null(strstr(err.message, "conf.d/20-z.conf:3: max_vms = x"));
	put_drop_in("10-a.conf", NULL);
	put_drop_in("20-z.conf", NULL);
	put_drop_in("notes.txt", NULL);
	put_drop_in(".hidden.conf", NULL);
}

static void hostile_files(void **state)
{
	static char big[70000];
	struct gate_config *c = NULL;
	struct gate_error err;
	int len;

	/* a line that inih would cut in two */
	len = snprintf(big, sizeof(big), "[notify]\ncommand = ");
	memset(big + len, 'x', 2000);
	put(main_file, big, (size_t)len + 2000);
	assert_int_equal(gate_config_load(main_file, true, &c, &err), -EINVAL);
	assert_non_null(strstr(err.message, ":2: the line is longer than"));

	put(main_file, "[gate]\nports = 25\0 26\n", 22);
	assert_int_equal(gate_config_load(main_file, true, &c, &err), -EINVAL);
	assert_non_null(strstr(err.message, ":2: the line holds a NUL byte"));

	/* every byte value, no line end */
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * 7 + i / 256);
	put(main_file, big, sizeof(big));
	assert_int_equal(gate_config_load(main_file, true, &c, &err), -EINVAL);

	/* a directory reads as an error, not as an empty file */
	assert_int_not_equal(gate_config_load(dir, true, &c, &err), 0);
	assert_non_null(strstr(err.message, "cannot read"));
	assert_null(c);
}

/* A list may be longer than a line: it goes on in indented lines. */
static void long_lists(void **state)
{
	static char text[40000];
	int len = snprintf(text, sizeof(text), "[exempt]\ndestinations =\n");
	struct gate_config *c;

	for (int i = 0; i < 1000; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "\t10.%d.%d.0/24\n",
				i / 256, i % 256);
	c = load(text);
	assert_int_equal(c->nexempt, 1000);
	gate_config_free(c);
}

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t room = 0;

	if (f && getdelim(&text, &room, '\0', f) < 0)
		fail_msg("cannot read %s", path);
	if (f)
		fclose(f);
	return text;
}

/* The shipped file and gate25.conf(5) know each key; what is shown are the defaults. */
static void shipped_file_and_man_page(void **state)
{
	char *shipped = slurp("tools/conf/gate25.conf"), *page = slurp("tools/man/gate25.conf.5");
	const struct gate_config_option *o;
	struct gate_config *c;
	char text[64];

	if (!shipped || !page)
		skip(); /* not run from the top of the tree */
	for (unsigned i = 0; (o = gate_config_option(i)); i++) {
		print_message("[%s] %s\n", o->section, o->key);
		snprintf(text, sizeof(text), "\n[%s]\n", o->section);
		assert_non_null(strstr(shipped, text));
		snprintf(text, sizeof(text), "\n;%s =", o->key);
		assert_non_null(strstr(shipped, text));
		snprintf(text, sizeof(text), "\n.SH [%s]\n", o->section);
		assert_non_null(strstr(page, text));
		snprintf(text, sizeof(text), "\n.BR %s \" =", o->key);
		assert_non_null(strstr(page, text));
	}
	c = load(shipped);
	assert_defaults(c);
	gate_config_free(c);
	/* the defaults written out are the defaults; the examples beneath them go */
	for (char *p = shipped; (p = strstr(p, "\n;"));) {
		p[1] = ' ';
		for (char *q = strchr(p + 2, '\n'); q && q[1] == ';'; q = strchr(q + 2, '\n')) {
			size_t key = strcspn(p + 2, " =");

			if (strncmp(p + 2, q + 2, key + 1) == 0)
				q[1] = '#';
		}
	}
	c = load(shipped);
	assert_defaults(c);
	gate_config_free(c);
	free(shipped);
	free(page);
}

static int set_up(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(main_file, sizeof(main_file), "%s/gate25.conf", dir);
	snprintf(drop_dir, sizeof(drop_dir), "%s/conf.d", dir);
	return mkdir(drop_dir, 0700);
}

static int tear_down(void **state)
{
	unlink(main_file);
	return rmdir(drop_dir) || rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_files),
		cmocka_unit_test(defaults),
		cmocka_unit_test(default_section_stands_for_itself),
		cmocka_unit_test(all_keys),
		cmocka_unit_test(later_files_win),
		cmocka_unit_test(hostile_files),
		cmocka_unit_test(long_lists),
		cmocka_unit_test(shipped_file_and_man_page),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
