/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The CLI: what its files share. One table of commands (commands.c) and one of
 * options (args.c) drive parsing, help and completion; one writer (out.c,
 * format.c) makes text and JSON; one client (http.c, api.c) talks to the daemon.
 */
#ifndef GATE25_CLI_H
#define GATE25_CLI_H

#include "error.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_DEFAULT_SOCKET "/run/gate25/control.sock"
#define CLI_REASON_MAX	   255 /* bytes */

/* ---- arguments (args.c) ---- */

enum cli_opt {
	/* of every command */
	OPT_SOCKET,
	OPT_JSON,
	OPT_HELP,
	OPT_VERSION,
	/* of some */
	OPT_FOR,
	OPT_UNTIL,
	OPT_REASON,
	OPT_ON,
	OPT_RATE,
	OPT_BURST,
	OPT_CONCURRENT,
	OPT_DESTINATIONS,
	OPT_REFUSE,
	OPT_DRAIN,
	OPT_PORT,
	OPT_MAC,
	OPT_IP,
	OPT_PAIR,
	OPT_TENANT,
	OPT_BINDING,
	OPT_STATE,
	OPT_EXPIRING,
	OPT_SORT,
	OPT_LIMIT,
	OPT_SINCE,
	OPT_CUSTOMER,
	OPT_FOLLOW,
	OPT_SUBJECT,
	OPT_FROM,
	OPT_DRY_RUN,
	OPT_YES,
	OPT_PURGE,
	OPT_CONFIG,
	OPT_SHADOW,
	OPT_PROMOTE,
	OPT_DROP,
	OPT_MAX
};

#define O(name) (1ULL << OPT_##name)

/* What may stand in a place, for completion. */
enum cli_words {
	WORDS_NONE,
	WORDS_FILE,
	WORDS_COMMAND,
	WORDS_SUBJECT, /* VMs, tenants, default */
	WORDS_VM,      /* names of registered VMs */
	WORDS_TENANT,  /* their names */
	WORDS_STATE,
	WORDS_SORT,
	WORDS_REFUSE,
	WORDS_BINDING,
	WORDS_ON_OFF,
	WORDS_ADD_DEL,
	WORDS_NONE_WORD, /* "none" */
	WORDS_IMPORT,
};

struct cli_option {
	const char *name; /* without "--" */
	char letter;	  /* of a short form, 0 = none */
	bool many;	  /* may be given several times */
	const char *arg;  /* what follows, NULL = nothing */
	const char *help;
	enum cli_words words;
};
extern const struct cli_option cli_options[OPT_MAX];

struct cli;
struct cli_command {
	const char *name; /* "show", "vm add" */
	const char *args; /* synopsis of what follows, NULL = nothing */
	const char *summary;
	uint64_t options;	     /* O(...) | ... */
	unsigned min_args, max_args; /* max 0 with min > 0: any number */
	enum cli_words words[2];     /* of the first argument, of the others */
	int (*run)(struct cli *c);
	const char *more; /* further sentences of the help, NULL = none */
};
/* In the order of the help; ends with a name of NULL. */
extern const struct cli_command cli_commands[];

struct cli_values {
	const char **v;
	unsigned n;
};

struct cli {
	char **argv;
	const struct cli_command *command; /* NULL before one is known */
	bool named;			   /* it was given, and is no default */
	const char *socket;
	bool json;
	bool help, version;
	struct cli_values opt[OPT_MAX];
	struct cli_values args;
	char *owned; /* lines read from stdin, which `subjects` points into */

	bool color;
	unsigned width;	      /* of the terminal, 0 = no terminal */
	bool short_of_memory; /* some text could not be made; cli_finish() says so */
};

/* Reads argv into `c`. 0, or an exit code after the error was said. */
int cli_parse(struct cli *c, int argc, char **argv);
void cli_clear(struct cli *c);
/* The command whose name argv begins with; *used = its words. */
const struct cli_command *cli_find_command(int argc, char *const *argv, int *used);
/* Last value of an option, NULL = not given. */
const char *cli_value(const struct cli *c, enum cli_opt o);
static inline bool cli_has(const struct cli *c, enum cli_opt o)
{
	return c->opt[o].n > 0;
}
int cli_values_add(struct cli_values *l, const char *v);

/* ---- errors (out.c) ---- */

/* Says it and returns the exit code that belongs to err->code. */
int cli_fail(struct cli *c, const struct gate_error *err);
/* Of one of several subjects: the same with its name in front. */
int cli_fail_subject(struct cli *c, const char *subject, const struct gate_error *err);
/* Says "COMMAND: sentence; see gate25 help COMMAND". Returns exit code 2. */
int cli_usage(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int cli_exit_code(enum gate_error_code code);
/* For jansson and strdup: says "out of memory", returns exit code 1. */
int cli_no_memory(struct cli *c);

/* ---- the daemon (api.c) ---- */

/*
 * One request. `path` is percent-encoded already. body and out may be NULL; the
 * caller owns *out. 0, or -errno with err filled.
 */
int cli_call(struct cli *c, const char *method, const char *path, const json_t *body, json_t **out,
	     struct gate_error *err);
/* Hands a streamed answer to `sink`, as it comes; body from fd unless -1. */
int cli_stream(struct cli *c, const char *method, const char *path, int body_fd, int timeout_s,
	       int (*sink)(void *, const char *, size_t), void *arg, struct gate_error *err);
/* "/v1/policies/" + percent-encoded name [+ query]; freed by the caller, NULL = no memory. */
char *cli_path(const char *prefix, const char *name, const char *query);
/* "&key=value", percent-encoded, appended to *query (freed and replaced). 0 or -ENOMEM. */
int cli_query(char **query, const char *key, const char *value);

/* ---- text (out.c, table.c, format.c) ---- */

enum cli_style {
	STYLE_PLAIN,
	STYLE_GOOD,
	STYLE_WARN,
	STYLE_BAD,
	STYLE_WORST,
	STYLE_DIM,
	STYLE_HEAD,
	STYLE_MAX
};

/* Control characters become '?': they are others' and never reach a terminal. */
char *cli_clean(char *s);
/* Cleaned text, freed by the caller; NULL = no memory. */
char *cli_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *cli_vformat(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
/* Cleaned, without a line end; cli_end_line() gives that. */
void cli_print(struct cli *c, enum cli_style s, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void cli_end_line(void);
/*
 * The rest of a line of which `indent` columns are printed; on a terminal it goes on below itself,
 * parted at blanks.
 */
void cli_print_wrapped(struct cli *c, unsigned indent, const char *text);
const char *cli_style_on(const struct cli *c, enum cli_style s);
const char *cli_style_off(const struct cli *c, enum cli_style s);
/* One object a line. */
void cli_print_json(const json_t *j);
/* Flushes stdout; says so and returns 1 if something was lost, else `code`. */
int cli_finish(struct cli *c, int code);

struct cli_column {
	const char *title;
	bool right;    /* aligned */
	bool optional; /* left out where the terminal is narrow, the last one first */
	bool elastic;  /* cut with an ellipsis where it is narrow still */
};
struct cli_table;
struct cli_table *cli_table_new(const struct cli_column *columns, unsigned n);
/* Next cell, row by row. */
void cli_table_add(struct cli_table *t, enum cli_style s, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Prints and frees. */
void cli_table_end(struct cli *c, struct cli_table *t);

char *cli_count(uint64_t n, char buf[16]);		     /* 9999, 12.3k, 4.5M */
char *cli_bytes(uint64_t n, char buf[16]);		     /* 512 B, 3.4 MB */
char *cli_time(const char *rfc3339, char *buf, size_t size); /* "2026-12-24 10:00 UTC" */
enum cli_style cli_state_style(const char *state);

/* Members of objects from the API, which may be absent. */
const char *cli_str(const json_t *o, const char *key); /* NULL = absent or null */
uint64_t cli_uint(const json_t *o, const char *key);
bool cli_bool(const json_t *o, const char *key);

/* "5/s, 200/h:50, burst 10, ..."; freed by the caller. */
char *cli_limits_text(const json_t *policy);
/* "block (own, until ..., "ticket"); connections are reset"; freed by the caller. */
char *cli_effective_text(const char *subject, const json_t *effective);
/* "5/s, 200/h, until 2026-..., no drain": what a change of the history was; freed by the caller. */
char *cli_detail_text(const char *action, const json_t *detail);
/* "500/h, 5/s"; freed by the caller. */
char *cli_rates_text(const json_t *rates);
/* What is in force on ports where it differs, a line each. */
void cli_print_ports(struct cli *c, const char *subject, const json_t *answer);
/* The line after a change, with the ports that differ and the notes. */
void cli_print_in_force(struct cli *c, const json_t *answer);

/* ---- subjects (subjects.c) ---- */

/*
 * The subjects args[0 .. n - 1]; a "-" stands for lines of stdin. All are
 * checked before any is used. 0, or an exit code after the error was said.
 */
int cli_subjects(struct cli *c, unsigned n, struct cli_values *out);
/* Does one thing for one subject: 0 with *answer, or -errno with err. */
typedef int (*cli_each_fn)(struct cli *c, const char *subject, void *arg, json_t **answer,
			   struct gate_error *err);
/* Calls `one` for each and prints; sums up the exit code (5: some failed). */
int cli_each(struct cli *c, const struct cli_values *subjects, cli_each_fn one, void *arg,
	     void (*print)(struct cli *, const json_t *answer));

/* ---- long work (progress.c) ---- */

struct cli_progress {
	const char *name;
	size_t all;
	int64_t next_ns;
	bool on, shown;
};
void cli_progress_begin(struct cli_progress *p, const struct cli *c, size_t all);
void cli_progress_step(struct cli_progress *p, size_t done);
/* Before an error is said. */
void cli_progress_clear(struct cli_progress *p);
void cli_progress_end(struct cli_progress *p);

/* ---- shared by commands ---- */

/* --reason into a body, or into a query; 0 or an exit code. */
int cli_set_reason(struct cli *c, json_t *change);
int cli_query_reason(struct cli *c, char **query);
/* "a, b" of an array of strings, or of the objects' member `key`; freed by the caller. */
char *cli_join(const json_t *array, const char *key);
/* Ports, MACs, addresses of a show object. */
void cli_print_identity(struct cli *c, const json_t *vm);

/* Texts for the customers that the subjects belong to. */
int cli_show_customer(struct cli *c, const struct cli_values *subjects);
/* Counters of a VM or of the host. last_reply may be NULL. */
void cli_print_counters(struct cli *c, const json_t *counters, const json_t *last_reply);
/* Help on a command, NULL = on all. Returns 0. */
int cli_help(struct cli *c, const struct cli_command *cmd);

/* ---- commands ---- */
int cmd_status(struct cli *c);
int cmd_list(struct cli *c);
int cmd_show(struct cli *c);
int cmd_why(struct cli *c);
int cmd_allow(struct cli *c);
int cmd_limit(struct cli *c);
int cmd_block(struct cli *c);
int cmd_quarantine(struct cli *c);
int cmd_release(struct cli *c);
int cmd_inherit(struct cli *c);
int cmd_budget(struct cli *c);
int cmd_exempt(struct cli *c);
int cmd_observe(struct cli *c);
int cmd_vm_add(struct cli *c);
int cmd_vm_set(struct cli *c);
int cmd_vm_del(struct cli *c);
int cmd_vm_list(struct cli *c);
int cmd_vm_import(struct cli *c);
int cmd_events(struct cli *c);
int cmd_top(struct cli *c);
int cmd_report(struct cli *c);
int cmd_undo(struct cli *c);
int cmd_history(struct cli *c);
int cmd_export(struct cli *c);
int cmd_apply(struct cli *c);
int cmd_shadow(struct cli *c);
/* The differences that apply and promote answer with, as text. */
void cli_print_changes(struct cli *c, const json_t *answer);
/* The answer of GET /v1/shadow, as text. */
void cli_print_shadow(struct cli *c, const json_t *shadow);
int cmd_doctor(struct cli *c);
int cmd_detach(struct cli *c);
int cmd_version(struct cli *c);
int cmd_help(struct cli *c);
int cmd_complete(struct cli *c);

/* Reads argv, runs the command, returns the exit code. main() is nothing else. */
int cli_main(int argc, char **argv);

#endif
