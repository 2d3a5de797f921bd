// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The option table, and what reads files by it. inih knows the syntax but passes
 * no line numbers and cuts long lines silently, so it reads through next_line(),
 * which counts, refuses what does not fit, and sees the sections.
 */
#include "config.h"
#include "config_values.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define AT(field)     offsetof(struct gate_config, field)

#define BLANKS		 " \t"
#define MAX_VMS		 1000000
#define MAX_FLOWS_PER_VM 65536
#define PIN_PATH_MAX	 180 /* leaves room for "/abiN/maps-old/…" in 255 bytes */
#define COMMAND_MAX	 1000

static const struct config_option options[] = {
	{ "gate", "ports", config_set_ports, .list = false,
	  .expects = "1 to 4 different TCP ports, such as 25, 465, 587" },
	{ "gate", "bridges", config_set_globs, AT(bridges), .list = true,
	  .expects = "names of bridges with globs, such as br0, vmbr*" },
	{ "gate", "uplinks", config_set_globs, AT(uplinks), .list = true, .words = "auto",
	  .expects = "auto, or names of devices with globs" },
	{ "gate", "vm_ports", config_set_globs, AT(vm_ports), .list = true, .words = "auto",
	  .expects = "auto, or names of devices with globs, such as tap*, vnet*" },
	{ "gate", "hook", config_set_word, AT(hook), .words = "auto tcx tc",
	  .expects = "auto, tcx or tc" },
	{ "gate", "enforce", config_set_bool, AT(enforce), .expects = "yes or no" },
	{ "gate", "binding", config_set_binding, AT(binding), .expects = "off, learn or strict" },
	{ "gate", "backstop", config_set_bool, AT(backstop), .expects = "yes or no" },
	{ "gate", "mode", config_set_bool, AT(uplink_mode), .words = "ports uplink",
	  .expects = "ports or uplink" },
	{ "gate", "early_drop", config_set_word, AT(early_drop), .words = "off on auto",
	  .expects = "off, on or auto" },
	{ "gate", "max_vms", config_set_number, AT(max_vms), 2, MAX_VMS,
	  .expects = "a number from 2 to 1000000" },
	{ "gate", "max_tenants", config_set_number, AT(max_tenants), 1, MAX_VMS,
	  .expects = "a number from 1 to 1000000" },
	{ "gate", "max_overrides", config_set_number, AT(max_overrides), 1, MAX_VMS,
	  .expects = "a number from 1 to 1000000" },
	{ "gate", "flows_per_vm", config_set_power, AT(flows_per_vm), 16, MAX_FLOWS_PER_VM,
	  .expects = "a number from 16 to 65536" },
	{ "gate", "stamp", config_set_stamp,
	  .expects = "none, or mark:VALUE/MASK with VALUE within MASK, such as mark:0x25/0xff" },
	{ "gate", "forwarded", config_set_bool, AT(forward_drop), .words = "pass default",
	  .expects = "pass or default" },
	{ "gate", "to_vm", config_set_to_vm, .expects = "auto, yes or no" },
	{ "gate", "grace", config_set_grace, .expects = "0, or a time up to 1h, such as 60s" },
	{ "default", "state", config_set_state, .expects = "allow, limit or block" },
	{ "default", "rate", config_set_rates, .list = true,
	  .expects = "up to 4 rates, such as 5/s, 60/min, 200/h, 1000/d" },
	{ "default", "burst", config_set_number, AT(policy.limits.burst), 1, GATE_BURST_MAX,
	  .expects = "a number from 1 to 100000" },
	{ "default", "concurrent", config_set_number, AT(policy.limits.concurrent), 1,
	  MAX_FLOWS_PER_VM, .expects = "a number from 1 to half of flows_per_vm" },
	{ "default", "destinations", config_set_destinations,
	  .expects = "one rate, such as 100/h, or nothing" },
	{ "refuse", "block", config_set_refuse, AT(refuse[GATE_BLOCK]),
	  .expects = "drop, reset or icmp" },
	{ "refuse", "limit", config_set_refuse, AT(refuse[GATE_LIMIT]),
	  .expects = "drop, reset or icmp" },
	{ "refuse", "quarantine", config_set_refuse, AT(refuse_quarantine),
	  .expects = "drop, reset or icmp" },
	{ "exempt", "destinations", config_set_prefixes, .list = true,
	  .expects = "addresses and prefixes without host bits, such as 10.0.0.0/8" },
	{ "metrics", "listen", config_set_listen, AT(listen),
	  .expects = "ADDRESS:PORT, such as 127.0.0.1:9625 or [::1]:9625, or nothing" },
	{ "metrics", "per_vm", config_set_word, AT(per_vm), .words = "nonzero all off",
	  .expects = "nonzero, all or off" },
	{ "metrics", "textfile", config_set_path, AT(textfile), 0, 255,
	  .expects = "an absolute path of at most 255 bytes, or nothing" },
	{ "control", "socket", config_set_path, AT(socket), 1,
	  sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
	  .expects = "an absolute path of at most 107 bytes" },
	{ "control", "group", config_set_group, AT(group),
	  .expects = "the name of a group, or nothing" },
	{ "control", "readers", config_set_group, AT(readers),
	  .expects = "the name of a group, or nothing" },
	{ "control", "contact", config_set_string, AT(contact), 0, 250,
	  .expects = "up to 250 bytes" },
	{ "store", "path", config_set_path, AT(store_path), 1, 255,
	  .expects = "an absolute path of at most 255 bytes" },
	{ "bpf", "pin", config_set_path, AT(pin), 1, PIN_PATH_MAX,
	  .expects = "an absolute path of at most 180 bytes, below a bpffs" },
	{ "notify", "command", config_set_string, AT(notify_command), 0, COMMAND_MAX,
	  .expects = "a command of at most 1000 bytes, or nothing" },
};

struct origin {
	const char *file;
	int line;
};

/* One reading of all files. */
struct reading {
	struct gate_config *c;
	struct gate_error *err;
	struct origin set_at[ARRAY_SIZE(options)];
	bool default_given; /* the shown defaults of [default] are gone */

	/* the file being read */
	const char *file;
	FILE *stream;
	int line;
	bool goes_on; /* the line continues the value above it */
	int failed;   /* -errno once err is filled */
	int failed_line;
};

const struct gate_config_option *gate_config_option(unsigned i)
{
	static struct gate_config_option shown;

	if (i >= ARRAY_SIZE(options))
		return NULL;
	shown = (struct gate_config_option){ options[i].section, options[i].key,
					     options[i].expects };
	return &shown;
}

__attribute__((format(printf, 2, 3))) static void complain(struct reading *r, const char *fmt, ...)
{
	char sentence[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	r->failed =
		gate_error_set(r->err, GATE_ERR_USAGE, "%.90s:%d: %s", r->file, r->line, sentence);
	r->failed_line = r->line;
}

static bool known_section(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (strlen(options[i].section) == len && memcmp(options[i].section, name, len) == 0)
			return true;
	}
	return false;
}

/* Sections without keys never reach on_key(), so they are looked at here. */
static void check_section(struct reading *r, const char *line)
{
	const char *name = line + 1;
	size_t len = strcspn(name, "]");

	if (name[len] == ']' && !known_section(name, len))
		complain(r, "unknown section [%.*s]", (int)(len > 60 ? 60 : len), name);
}

/*
 * inih takes each indented line for a continuation. Here it is one only when it
 * is neither a key nor a section, so that a file may be indented throughout.
 */
static const char *look_at_line(struct reading *r, const char *line)
{
	const char *text = line + strspn(line, BLANKS);

	r->goes_on = false;
	if (*text == '[') {
		check_section(r, text);
		return text;
	}
	if (!*text || *text == '#' || *text == ';')
		return text;
	if (text == line || strchr(text, '='))
		return text;
	r->goes_on = true;
	return line;
}

/* The fgets of inih. NULL ends the file, also on an error. */
static char *next_line(char *buf, int size, void *arg)
{
	struct reading *r = arg;
	char *line = NULL, *ret = NULL;
	const char *text;
	size_t room = 0;
	ssize_t len;

	if (r->failed)
		return NULL;
	len = getline(&line, &room, r->stream);
	if (len < 0)
		goto out;
	r->line++;
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	if (memchr(line, '\0', (size_t)len)) {
		complain(r, "the line holds a NUL byte");
		goto out;
	}
	/* inih wants room for the line end too */
	if (len + 3 > size) {
		complain(r, "the line is longer than %d bytes; a list may go on in indented lines",
			 size - 3);
		goto out;
	}
	text = look_at_line(r, line);
	if (r->failed)
		goto out;
	memcpy(buf, text, strlen(text) + 1);
	ret = buf;
out:
	free(line);
	return ret;
}

static const struct config_option *find_option(const char *section, const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (strcmp(options[i].section, section) == 0 && strcmp(options[i].key, key) == 0)
			return &options[i];
	}
	return NULL;
}

/* One own key in [default] means that the section stands for itself. */
static void forget_default_policy(struct reading *r)
{
	if (r->default_given)
		return;
	r->default_given = true;
	r->c->policy.limits = (struct gate_limits){ 0 };
}

static int on_key(void *arg, const char *section, const char *key, const char *value)
{
	struct reading *r = arg;
	const struct config_option *o;
	int err;

	if (r->failed)
		return 0;
	o = find_option(section, key);
	if (!*section)
		complain(r, "\"%.50s\" stands before the first section", key);
	else if (!o)
		complain(r, "unknown key \"%.50s\" in [%s]", key, section);
	else if (r->goes_on && !o->list)
		complain(r, "an indented line can only continue a list, and %s is none", key);
	if (r->failed)
		return 0;

	if (strcmp(section, "default") == 0)
		forget_default_policy(r);
	err = o->set(o, r->c, value, r->goes_on);
	if (err == -ENOMEM) {
		r->failed = err;
		gate_error_set(r->err, GATE_ERR_FAILED, "out of memory");
		return 0;
	}
	if (err) {
		complain(r, "%s = %.60s: must be %s", key, value, o->expects);
		return 0;
	}
	r->set_at[o - options] = (struct origin){ r->file, r->line };
	return 1;
}

static int read_file(struct reading *r, const char *path)
{
	int bad_line;

	r->stream = fopen(path, "re");
	if (!r->stream) {
		int err = -errno;

		gate_error_set(r->err, GATE_ERR_FAILED, "cannot read %.200s: %s", path,
			       strerror(-err));
		return err;
	}
	r->file = path;
	r->line = 0;
	bad_line = ini_parse_stream(next_line, r, on_key, r);
	if (!r->failed && ferror(r->stream)) {
		r->failed = -EIO;
		gate_error_set(r->err, GATE_ERR_FAILED, "cannot read %.200s: %s", path,
			       strerror(EIO));
	}
	fclose(r->stream);
	/* What inih itself could not read, unless our own complaint came first. */
	if (bad_line > 0 && (!r->failed || bad_line < r->failed_line)) {
		r->line = bad_line;
		complain(r, "neither [section] nor key = value");
	}
	return r->failed;
}

static const struct origin *origin_of(const struct reading *r, const char *section, const char *key)
{
	return &r->set_at[find_option(section, key) - options];
}

/* Values that are impossible together. */
static int check_together(struct reading *r)
{
	const struct gate_config *c = r->c;
	uint32_t most = c->flows_per_vm / 2;
	const struct origin *at = origin_of(r, "default", "concurrent");

	if (c->policy.limits.concurrent <= most)
		return 0;
	if (!at->file)
		at = origin_of(r, "gate", "flows_per_vm");
	return gate_error_set(r->err, GATE_ERR_USAGE,
			      "%.90s:%d: concurrent = %u: must be at most half of flows_per_vm, "
			      "which is %u here",
			      at->file, at->line, c->policy.limits.concurrent, c->flows_per_vm);
}

static void set_defaults(struct gate_config *c)
{
	*c = (struct gate_config){
		.ports = { 25 },
		.nports = 1,
		.enforce = true,
		.binding = GATE_BINDING_LEARN,
		.backstop = true,
		.max_vms = 4096,
		.max_tenants = 1024,
		.max_overrides = 4096,
		.flows_per_vm = 1024,
		.stamp = 0x25,
		.stamp_mask = 0xff,
		.to_vm = true,
		.grace_s = GATE_GRACE_S,
		.policy = { .state = GATE_LIMIT,
			    .refuse = GATE_REFUSE_UNSET,
			    .limits = { .rates = { { 5, 1, 0 }, { 200, 3600, 0 } },
					.nrates = 2,
					.burst = 10,
					.concurrent = 50,
					.destinations = { 100, 3600, 0 } } },
		.refuse = { [GATE_BLOCK] = GATE_REFUSE_RESET },
	};
}

static int set_default_strings(struct gate_config *c)
{
	const struct {
		char **field;
		const char *value;
	} strings[] = {
		{ &c->listen, "127.0.0.1:9625" },
		{ &c->textfile, "" },
		{ &c->socket, "/run/gate25/control.sock" },
		{ &c->group, "gate25" },
		{ &c->readers, "" },
		{ &c->contact, "" },
		{ &c->store_path, "/var/lib/gate25/gate25.db" },
		{ &c->pin, "/sys/fs/bpf/gate25" },
		{ &c->notify_command, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		*strings[i].field = strdup(strings[i].value);
		if (!*strings[i].field)
			return -ENOMEM;
	}
	return 0;
}

static int is_conf(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return d->d_name[0] != '.' && len > 5 && strcmp(d->d_name + len - 5, ".conf") == 0;
}

/* Not alphasort(): the order must not hang on the locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The files to read: the main one (may be missing), then conf.d's. */
struct file_list {
	char **path;
	int count;
};

static void free_files(struct file_list *l)
{
	for (int i = 0; i < l->count; i++)
		free(l->path[i]);
	free(l->path);
}

static int add_conf_d(struct file_list *l, const char *dir, struct gate_error *err)
{
	struct dirent **entry;
	int n = scandir(dir, &entry, is_conf, by_bytes), ret = 0;
	char **grown;

	if (n < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (n < 0)
		return gate_error_set(err, GATE_ERR_FAILED, "cannot read %.200s: %s", dir,
				      strerror(errno));
	grown = reallocarray(l->path, (size_t)(l->count + n) + 1, sizeof(*grown));
	if (grown)
		l->path = grown;
	for (int i = 0; i < n; i++) {
		if (!grown || asprintf(&grown[l->count], "%s/%s", dir, entry[i]->d_name) < 0)
			ret = -ENOMEM;
		else
			l->count++;
		free(entry[i]);
	}
	free(entry);
	return ret;
}

static int list_files(const char *path, bool required, struct file_list *l, struct gate_error *err)
{
	const char *slash = strrchr(path, '/');
	char *dir = NULL;
	int ret;

	l->path = calloc(1, sizeof(*l->path));
	if (!l->path)
		return -ENOMEM;
	if (required || access(path, F_OK) == 0 || errno != ENOENT) {
		l->path[0] = strdup(path);
		if (!l->path[0])
			return -ENOMEM;
		l->count = 1;
	}
	if (asprintf(&dir, "%.*sconf.d", slash ? (int)(slash + 1 - path) : 0, path) < 0)
		return -ENOMEM;
	ret = add_conf_d(l, dir, err);
	free(dir);
	return ret;
}

int gate_config_load(const char *path, bool required, struct gate_config **out,
		     struct gate_error *err)
{
	struct gate_config *c = calloc(1, sizeof(*c));
	struct reading r = { .c = c, .err = err };
	struct file_list files = { 0 };
	int ret = -ENOMEM;

	/* What has no sentence of its own below ran out of memory. */
	gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	if (!c)
		return ret;
	set_defaults(c);
	ret = set_default_strings(c);
	if (!ret)
		ret = list_files(path, required, &files, err);
	for (int i = 0; !ret && i < files.count; i++)
		ret = read_file(&r, files.path[i]);
	if (!ret)
		ret = check_together(&r);
	free_files(&files);
	if (ret) {
		gate_config_free(c);
		return ret;
	}
	gate_error_set(err, GATE_OK, "%s", "");
	*out = c;
	return 0;
}

void gate_config_free(struct gate_config *c)
{
	if (!c)
		return;
	config_globs_clear(&c->bridges);
	config_globs_clear(&c->uplinks);
	config_globs_clear(&c->vm_ports);
	free(c->exempt);
	free(c->listen);
	free(c->textfile);
	free(c->socket);
	free(c->group);
	free(c->readers);
	free(c->contact);
	free(c->store_path);
	free(c->pin);
	free(c->notify_command);
	free(c);
}
