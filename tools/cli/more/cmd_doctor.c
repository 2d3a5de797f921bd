// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 doctor: every cause for not gating that can be found from here, with its remedy. */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RESULT 9  /* columns before what is found */
#define REMEDY 14 /* and before what is to be done */

static const struct {
	const char *name;
	enum cli_style style;
} findings[] = {
	[FINDING_OK] = { "ok", STYLE_GOOD },
	[FINDING_WARNING] = { "warning", STYLE_WARN },
	[FINDING_FAILED] = { "failed", STYLE_BAD },
	[FINDING_UNKNOWN] = { "unknown", STYLE_DIM },
};
_Static_assert(sizeof(findings) / sizeof(findings[0]) == FINDING_MAX, "a name for each finding");

void doctor_say(struct doctor *d, enum finding f, const char *code, const char *remedy,
		const char *fmt, ...)
{
	json_t *entry;
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = cli_vformat(fmt, ap);
	va_end(ap);
	d->failed = d->failed || f == FINDING_FAILED;
	if (!text) {
		d->c->short_of_memory = true;
		return;
	}
	entry = json_pack("{s:s, s:s, s:s, s:s?}", "code", code, "result", findings[f].name,
			  "message", text, "remedy", remedy);
	if (!entry || json_array_append_new(d->findings, entry))
		d->c->short_of_memory = true;
	if (!d->c->json) {
		cli_print(d->c, findings[f].style, "%-8s", findings[f].name);
		cli_print(d->c, STYLE_PLAIN, " ");
		cli_print_wrapped(d->c, RESULT, text);
		if (remedy) {
			cli_print(d->c, STYLE_PLAIN, "%*s -> ", REMEDY - 4, "");
			cli_print_wrapped(d->c, REMEDY, remedy);
		}
	}
	free(text);
}

static int load_config(struct doctor *d, struct gate_config **conf)
{
	const char *file = cli_value(d->c, OPT_CONFIG);
	const char *path = file ? file : GATE_DEFAULT_CONFIG;
	struct gate_error err;

	if (gate_config_load(path, file != NULL, conf, &err) == 0) {
		if (file || access(path, F_OK) == 0)
			doctor_say(d, FINDING_OK, "config", NULL, "the configuration %s is valid",
				   path);
		else
			doctor_say(d, FINDING_OK, "config", NULL, "no %s: the defaults hold", path);
		return 0;
	}
	doctor_say(d, FINDING_FAILED, "config", "correct it, then: systemctl reload gate25d", "%s",
		   err.message);
	/* the rest is looked at where the defaults are */
	if (gate_config_load("/dev/null", true, conf, &err) == 0)
		return 0;
	return cli_fail(d->c, &err);
}

int cmd_doctor(struct cli *c)
{
	struct doctor d = { .c = c, .findings = json_array() };
	struct gate_config *conf;
	json_t *answer;
	bool runs;
	int ret = load_config(&d, &conf);

	if (ret) {
		json_decref(d.findings);
		return ret;
	}
	d.conf = conf;
	if (!cli_has(c, OPT_SOCKET))
		c->socket = conf->socket;
	doctor_kernel(&d);
	doctor_bpffs(&d);
	doctor_hooks(&d);
	runs = doctor_daemon(&d);
	doctor_rights(&d, runs);
	doctor_links(&d);
	doctor_marks(&d);
	doctor_netns(&d);
	doctor_pass_through(&d);
	doctor_clock(&d);
	if (c->json) {
		answer = json_pack("{s:i, s:O}", "version", 1, "checks", d.findings);
		if (answer)
			cli_print_json(answer);
		json_decref(answer);
	}
	json_decref(d.findings);
	free(d.gated);
	gate_config_free(conf);
	return d.failed ? GATE_ERR_FAILED : 0;
}
